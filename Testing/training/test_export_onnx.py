"""The ONNX file: named outputs, open sizes, and the comparison with PyTorch that it has to pass."""

import json

import numpy as np
import pytest
import torch

from attention_unet_training.commands.export import export
from attention_unet_training.export import onnx as export_onnx
from attention_unet_training.export.onnx import onnx_difference, write_onnx
from support import phantoms
from support.training_checkpoints import tiny_network, write_checkpoint, write_description

pytestmark = pytest.mark.slow

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
NAMES = ["logits", "s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file that is written of a model alone, and how far it differs from the network."""
    folder = tmp_path_factory.mktemp("onnx")
    measured = folder / "measured.json"
    measured.write_text(
        json.dumps([{"data": "phantom", "organ": "spleen", "metric": "Dice", "value": 0.5, "cases": 2}])
    )
    checkpoint = write_checkpoint(folder / "best.ckpt", tiny_network())
    export(checkpoint, folder / "model", write_description(folder / "description.json"), measured)
    return folder / "model.onnx", export(folder / "model", onnx=folder / "model.onnx").onnx_difference


def test_outputs_are_named_and_sizes_are_open(written):
    model = onnx.load(written[0])
    assert [output.name for output in model.graph.output] == NAMES
    (image,) = model.graph.input
    sizes = [size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim]
    assert (image.name, sizes) == ("image", [1, 1, "16*depth", "16*height", "16*width"])


def test_it_gives_what_the_network_gives_at_a_size_of_its_own(written):
    path, difference = written
    assert 0 < difference < 1e-5
    x = torch.randn(1, 1, 32, 64, 48, generator=torch.Generator().manual_seed(3))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = dict(zip(NAMES, session.run(NAMES, {"image": x.numpy()}), strict=True))
    with torch.inference_mode():
        logits, attention = tiny_network()(x)
    for name, tensor in {"logits": logits, **attention}.items():
        np.testing.assert_allclose(got[name], tensor.numpy(), rtol=0, atol=1e-5 * float(tensor.abs().max()))
    assert got["s3-2"].shape == (1, 1, 8, 16, 12)


def test_the_description_travels_along(written):
    properties = {entry.key: entry.value for entry in onnx.load(written[0]).metadata_props}
    description = json.loads(properties["model.json"])
    assert description["labels"][1]["name"] == "spleen"
    model = written[0].parent / "model" / "model.json"
    assert description["weights"] == json.loads(model.read_text())["weights"]  # their hash


def test_another_networks_file_is_told_apart(written):
    assert onnx_difference(tiny_network(seed=1), written[0], sizes=((2, 2, 2),)) > 0.01


def test_a_huge_constant_class_hides_nothing():
    wanted = torch.full((1, 2, 2, 2, 2), -1e4)
    wanted[:, 1] = torch.linspace(-2, 2, 8).view(2, 2, 2)
    got = wanted.clone()
    got[0, 1, 0, 0, 0] += 0.01
    assert export_onnx.relative_difference(got, wanted) == pytest.approx(0.005)
    assert export_onnx.relative_difference(wanted, wanted) == 0
    got[0, 0, 0, 0, 0] = float("nan")
    assert export_onnx.relative_difference(got, wanted) == float("inf")


def test_a_file_that_differs_is_not_left(written, tmp_path, monkeypatch):
    ready = onnx.load(written[0])
    program = type("Program", (), {"model_proto": ready})()
    monkeypatch.setattr(export_onnx.torch.onnx, "export", lambda *arguments, **options: program)
    with pytest.raises(RuntimeError, match=r"would differ from the network by .* more than 0.0001: nothing"):
        write_onnx(tiny_network(seed=1), phantoms.spec(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
