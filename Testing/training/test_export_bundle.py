"""The MONAI bundle: it loads, runs on a NIfTI file, and gives the labels that the engine's network gives."""

import json

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, load_bundle_config, run, verify_net_in_out

from attention_unet_training.export.bundle import LogitsOnly, write_bundle, write_torchscript
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.imaging.preprocessing import preprocess, scale_intensity
from AttentionUNetSegmentationLib.inference.prediction import pad_to_multiple
from AttentionUNetSegmentationLib.models.description import Measurement
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support.training_checkpoints import tiny_network

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MONAI's own
LPS = np.diag([-1.0, -1.0, 1.0])
SPEC = phantoms.spec(measured=(Measurement("phantom", "spleen", "Dice", 0.5, 2),), citation="somebody")
"""Its labels have the values 1, 2 and 5."""


def lively_network():
    """An untrained network that gives every class somewhere."""
    network = tiny_network(seed=3)
    with torch.no_grad():
        network.mix.weight *= 40
        x = torch.randn(1, 1, 32, 48, 48, generator=torch.Generator().manual_seed(0))
        network.mix.bias -= network(x)[0].mean(dim=(0, 2, 3, 4))
    return network


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "abdomen"
    write_bundle(lively_network(), SPEC, folder)
    return folder


def phantom_ct(spacing_mm=(2.0, 2.0, 2.0), shape=(28, 40, 37)) -> Volume:
    """A noisy ball with the array axes of most CTs: left, posterior, superior."""
    where = phantoms.grid(shape, spacing_mm, LPS, (5.0, -7.0, 30.0))
    noise = np.random.default_rng(1).normal(0, 60, shape)
    hu = phantoms.hu_from([(phantoms.ball(where, (0, 0, 30), 22), 120.0)], -90.0) + noise
    return Volume(np.round(hu).astype(np.int16), where.ijk_to_ras)


def run_bundle(bundle, folder, ct: Volume) -> Volume:
    (folder / "in").mkdir()
    write_volume(ct, folder / "in" / "case.nii.gz")
    run(
        config_file=str(bundle / "configs" / "inference.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        bundle_root=str(bundle),
        dataset_dir=str(folder / "in"),
        output_dir=str(folder / "out"),
        device="cpu",
    )
    return read_volume(folder / "out" / "case_labels.nii.gz")


def test_labels_equal_the_engines_network_on_the_same_grid(bundle, tmp_path):
    ct = phantom_ct()
    network_input = preprocess(ct, SPEC.spacing_mm, SPEC.intensity)
    assert network_input.image.shape == ct.voxels.shape  # nothing was cropped: the same grid, axes turned
    padded = pad_to_multiple(network_input.image, 16)
    with torch.inference_mode():
        classes = lively_network()(torch.from_numpy(padded)[None, None])[0][0].argmax(dim=0).numpy()
    k, j, i = network_input.image.shape
    wanted = np.array([0, 1, 2, 5])[classes[:k, :j, :i]]
    assert set(np.unique(wanted)) == {0, 1, 2, 5}
    got = run_bundle(bundle, tmp_path, ct)
    assert got.grid.same_as(ct.grid)
    assert (got.voxels[:, ::-1, ::-1] == wanted).mean() > 0.9999  # the file's axes run left and back, the network's not


def test_other_spacings_come_back_on_the_cts_grid(bundle, tmp_path):
    ct = phantom_ct((1.5, 1.5, 3.0), (20, 48, 44))
    got = run_bundle(bundle, tmp_path, ct)
    assert got.grid.same_as(ct.grid)
    assert set(np.unique(got.voxels)) <= {0, 1, 2, 5}
    assert len(np.unique(got.voxels)) > 1


def test_preprocessing_scales_as_the_engine_does(bundle, tmp_path):
    ct = phantom_ct()
    write_volume(ct, tmp_path / "case.nii.gz")
    parser = ConfigParser(load_bundle_config(str(bundle), "inference.json").get())
    parser["bundle_root"] = str(bundle)
    image = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "case.nii.gz")})["image"]
    assert image.shape == (1, 32, 48, 48)
    wanted = scale_intensity(ct.voxels[:, ::-1, ::-1].astype(np.float32), SPEC.intensity)
    np.testing.assert_allclose(image.numpy()[0, :28, :40, :37], wanted, atol=1e-5)
    assert (image[0, 28:] == image[0, 27]).all()


def test_monais_own_check_of_inputs_and_outputs_passes(bundle):
    verify_net_in_out(
        "network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        device="cpu",
        n=2,
        bundle_root=str(bundle),
    )


def test_the_state_dict_fits_the_network_with_attention(bundle):
    parser = ConfigParser(load_bundle_config(str(bundle), "inference.json").get())
    network = parser.get_parsed_content("network_with_attention").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    x = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (logits, attention), (wanted, _) = network(x), lively_network()(x)
    torch.testing.assert_close(logits, wanted)
    assert list(attention) == ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]


def test_licence_and_metrics_travel_along(bundle):
    assert "Apache-2.0" in (bundle / "LICENSE").read_text()
    text = (bundle / "docs" / "README.md").read_text()
    assert "| phantom | spleen | Dice | 0.5 | 2 |" in text
    assert "0 background, 1 pancreas, 2 spleen, 5 kidney" in text
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["eval_metrics"] == {"Dice spleen (phantom; 2 cases)": 0.5}
    assert metadata["data_source"] == "none"


def test_a_torchscript_file_that_differs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(LogitsOnly, "forward", lambda self, x: self.network(x)[0] * 1.01)
    with pytest.raises(RuntimeError, match="does not give the network's logits"):
        write_torchscript(tiny_network(), tmp_path / "model.ts")


def test_the_written_nifti_has_whole_numbers(bundle, tmp_path):
    run_bundle(bundle, tmp_path, phantom_ct(shape=(20, 32, 32)))
    assert nibabel.load(tmp_path / "out" / "case_labels.nii.gz").get_data_dtype() == np.uint8
