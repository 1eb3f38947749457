"""Training on synthetic CT, from label maps to an exported model, on a tiny network and a tiny label map."""

import dataclasses
import json
import shutil
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from attention_unet_training.cli import main
from attention_unet_training.commands.export import export
from attention_unet_training.data.people import RECORD
from attention_unet_training.data.sampling import EpochSampler
from attention_unet_training.data.synthetic_data import VALIDATION_SEED, SyntheticCTData
from attention_unet_training.data.synthetic_options import (
    AnatomyOptions,
    IntensityOptions,
    PatchOptions,
    VariationOptions,
)
from attention_unet_training.synthetic_ct.config import SyntheticCTConfig
from attention_unet_training.synthetic_ct.generator import generate
from attention_unet_training.task.options import LossOptions, NetworkOptions
from attention_unet_training.task.segmentation_task import SegmentationTask
from attention_unet_training.task.starting_weights import read_starting_weights
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.models.loading import load_model
from support.box_anatomy import BOXES, write_atlas
from support.training_checkpoints import write_description

pytestmark = pytest.mark.slow

WIDTHS = [2, 4, 4, 4, 4]
NETWORK = NetworkOptions(widths=tuple(WIDTHS))
STRUCTURES_SHOWN = ("vertebrae_L1", "liver", "spleen", "pancreas", "kidney_right", "kidney_left")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Path:
    """Two label maps of boxes."""
    boxes = {name: BOXES[name] for name in STRUCTURES_SHOWN}
    return write_atlas(tmp_path_factory.mktemp("atlas"), ("a", "b"), boxes)


def data(atlas: Path, cache: Path, **changes) -> SyntheticCTData:
    """The data of two small validation patches; ``changes`` are options of any group."""
    patches = {"shape_kji": (16, 32, 32), "spacing_mm": 3.0, "steps_per_epoch": 2, "validation_patches": 2}
    anatomies = {"held_out": ("b",), "cache": cache}

    def group(kind: type, options: dict) -> object:
        names = {field.name for field in dataclasses.fields(kind)}
        return kind(**options | {name: value for name, value in changes.items() if name in names})

    module = SyntheticCTData(
        atlas,
        group(AnatomyOptions, anatomies),
        group(PatchOptions, patches),
        group(VariationOptions, {}),
        group(IntensityOptions, {}),
        workers=0,
    )
    module.setup("fit")
    return module


def test_patches_are_scaled_and_belong_to_their_seed(atlas, tmp_path):
    full = {"replicate_edges": True}
    first, second = data(atlas, tmp_path, **full), data(atlas, tmp_path, mean_hu=100.0, std_hu=50.0, **full)
    (image, target), (other_image, other_target) = (module.train_dataloader().dataset[3] for module in (first, second))
    assert image.shape == target.shape == (1, 16, 32, 32)
    assert target.dtype == torch.int64
    torch.testing.assert_close(image * 120.0, other_image * 50.0 + 100.0)
    assert torch.equal(target, other_target)
    assert image.min() * 120 >= -200.001
    assert image.max() * 120 <= 300.001


def test_patches_are_the_same_however_few_maps_are_held_in_memory(atlas, tmp_path):
    for name in ("c", "d"):
        shutil.copy(atlas / "a.nii.gz", tmp_path / f"{name}.nii.gz")
    many = write_atlas(tmp_path, ("e", "f"), {"spleen": BOXES["spleen"], "liver": BOXES["liver"]})
    options = {"held_out": ["c"], "exclude": ["d"]}
    all_held, none_held = (data(many, tmp_path / "cache", memory_gb=room, **options) for room in (1, 0))
    first, second = (module.train_dataloader().dataset for module in (all_held, none_held))
    for number in range(4):
        assert all(map(torch.equal, first[number], second[number]))
    assert not (tmp_path / "cache" / "d.npz").exists()


def test_validation_alone_prepares_the_held_out_maps_only(atlas, tmp_path):
    patches = PatchOptions(shape_kji=(16, 32, 32), validation_patches=1)
    module = SyntheticCTData(atlas, AnatomyOptions(("b",), cache=tmp_path), patches, workers=0)
    task = SegmentationTask(network=NETWORK)
    pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False).validate(
        task, module, verbose=False
    )
    assert [path.name for path in tmp_path.iterdir()] == ["b.npz"]


def completed(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Label maps of boxes named after recipient and donor, with the record that says so."""
    write_atlas(folder, [f"{recipient}_{donor}" for recipient, donor in pairs], {"spleen": BOXES["spleen"]})
    record = {f"{recipient}_{donor}": {"recipient": recipient, "donor": donor} for recipient, donor in pairs}
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def test_every_person_who_is_held_out_has_validation_patches(tmp_path):
    maps = completed(tmp_path, ("p", "w"), ("q", "w"), ("q", "x"), ("r", "y"))
    module = data(maps, tmp_path / "cache", held_out=("p_w", "q_w", "q_x"), validation_patches=6)
    drawn = [module._held_out.names[n % 3] for n in range(VALIDATION_SEED, VALIDATION_SEED + 6)]
    assert module.validation_people == tuple(name[0] for name in drawn)
    assert sorted(module.validation_people) == [*"ppqqqq"]
    with pytest.raises(ValueError, match="validation_patches: 1 show 1 of the 2 people who are held out"):
        data(maps, tmp_path / "cache", held_out=("p_w", "q_w", "q_x"), validation_patches=1)


def test_nobody_is_trained_on_who_is_held_out(tmp_path):
    maps = completed(tmp_path, ("p", "w"), ("q", "w"), ("q", "x"), ("r", "y"))
    for held_out in (("p_w",), ("q_x",)):
        with pytest.raises(ValueError, match="people who are held out: q_w shows"):
            data(maps, tmp_path / "cache", held_out=held_out)
    assert not (tmp_path / "cache").exists()  # told before minutes are spent
    module = data(maps, tmp_path / "cache", held_out=("p_w",), exclude=("q_w",))
    assert module.hparams["training_ids"] == ["q_x", "r_y"]


def test_label_maps_are_drawn_as_often_as_their_weights_say(tmp_path):
    maps = write_atlas(tmp_path, "abcd", {"spleen": BOXES["spleen"]})
    options = {"held_out": ("d",), "cache": tmp_path / "cache"}
    even, uneven = (data(maps, **options, weights=weights) for weights in ({}, {"b": 0.25}))
    numbers = range(3000)
    assert [even.train_dataloader().dataset.turn(n) for n in numbers] == [n % 3 for n in numbers]
    turns = [uneven.train_dataloader().dataset.turn(n) for n in numbers]
    shares = [turns.count(number) / len(turns) for number in range(3)]
    assert shares == pytest.approx([4 / 9, 1 / 9, 4 / 9], abs=0.03)
    assert turns == [uneven.train_dataloader().dataset.turn(n) for n in numbers]
    often = data(maps, **options, weights={"a": 4.0, "c": 4.0}).train_dataloader().dataset
    assert [often.turn(n) for n in numbers] == turns  # only the ratio counts
    assert len(set(uneven.validation_people)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"a": 0.0}}, "weights must be positive, a has 0.0"),
        ({"weights": {"a": float("inf")}}, "weights must be positive, a has inf"),
        ({"weights": {"b": 1.0}}, "held out or excluded are b"),
        ({"weights": {"z": 1.0}}, "held_out and weights must name label maps of .*, which has no z"),
        ({"held_out": ("z",)}, "held_out and weights must name label maps of .*, which has no z"),
    ],
)
def test_unusable_names_and_weights_of_label_maps_are_refused(atlas, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        data(atlas, tmp_path, **options)


def test_a_map_cannot_be_held_out_and_excluded():
    with pytest.raises(ValueError, match="either held out or excluded, both are b"):
        AnatomyOptions(("b",), ("b",))


def test_every_epoch_has_new_patches_and_a_resumed_one_the_same():
    sampler = EpochSampler(3)
    assert list(sampler) == [0, 1, 2]
    sampler.set_epoch(2)
    assert list(sampler) == [6, 7, 8]


def test_validation_patches_never_change_and_come_from_held_out_maps(atlas, tmp_path):
    module = data(atlas, tmp_path)
    once = [image for image, _ in module.val_dataloader()]
    again = [image for image, _ in module.val_dataloader()]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert {anatomy.name for anatomy in module.val_dataloader().dataset._anatomies} == {"b"}
    assert {anatomy.name for anatomy in module.train_dataloader().dataset._anatomies} == {"a"}


def test_phases_and_masses_of_the_training_patches_can_be_weighted(atlas, tmp_path):
    none = {name: float(name == "none") for name in SyntheticCTConfig().contrast.phases}
    module = data(atlas, tmp_path, phase_weights=none, mass_probability=0.0)
    config = module.train_dataloader().dataset._config
    assert {name: phase.weight for name, phase in config.contrast.phases.items()} == none
    assert config.masses.probability == 0
    anatomy = module.train_dataloader().dataset._anatomies[0]
    assert {generate(anatomy, config, seed, (4, 8, 8)).phase for seed in range(6)} == {"none"}
    assert module.val_dataloader().dataset._config == SyntheticCTConfig()  # so that stages can be compared


def test_a_phase_that_is_not_named_keeps_its_weight(atlas, tmp_path):
    config = data(atlas, tmp_path, phase_weights={"none": 0.5}).training_config
    default = SyntheticCTConfig()
    assert config.contrast.phases["none"].weight == 0.5
    assert config.contrast.phases["arterial"] == default.contrast.phases["arterial"]
    assert config.masses == default.masses


def test_training_patches_can_be_bent_more_than_the_validation_patches(atlas, tmp_path):
    module = data(atlas, tmp_path, elastic_strength=2.0)
    expected = [2 * strength.high for strength in SyntheticCTConfig().deformation.elastic_sd_mm]
    assert [strength.high for strength in module.training_config.deformation.elastic_sd_mm] == expected
    assert module.val_dataloader().dataset._config == SyntheticCTConfig()
    assert data(atlas, tmp_path).training_config == SyntheticCTConfig()
    first, second = (m.train_dataloader().dataset[0][1] for m in (module, data(atlas, tmp_path)))
    assert not torch.equal(first, second)


def test_without_replicated_edges_patches_are_as_high_as_the_scan(atlas, tmp_path):
    filled, cut = (data(atlas, tmp_path, replicate_edges=keep).train_dataloader().dataset for keep in (True, False))
    heights = set()
    for n in range(12):
        (image, target), (whole_image, whole_target) = cut[n], filled[n]
        height = image.shape[1]
        heights.add(height)
        assert image.shape == target.shape == (1, height, 32, 32)
        sample = generate(cut._anatomies[0], cut._config, n, (16, 32, 32), 3.0)
        kept = slice(sample.slab.first, sample.slab.last + 1)
        assert torch.equal(image, whole_image[:, kept])
        assert torch.equal(target, whole_target[:, kept])
        beyond = torch.cat([whole_image[0, : kept.start] - image[0, 0], whole_image[0, kept.stop :] - image[0, -1]])
        assert not beyond.any()
    assert len(heights) > 2


@pytest.mark.parametrize("auxiliary", [0.0, 0.5])
def test_the_loss_of_a_low_patch_does_not_count_its_padding(auxiliary):
    """The loss is that of the patch's own voxels, with the edge repeated below them as at inference."""
    torch.manual_seed(0)
    task = SegmentationTask(["a"], network=NETWORK, loss=LossOptions(auxiliary_weight=auxiliary))
    task.log = lambda *_, **__: None
    task.network.eval()
    assert task.network.size_divisor == 16
    image, target = 5 + 10 * torch.randn(1, 1, 10, 16, 16), torch.zeros(1, 1, 10, 16, 16, dtype=torch.long)
    target[:, :, 7:, 4:8] = 1
    padded = torch.cat([image, image[:, :, -1:].expand(-1, -1, 6, -1, -1)], dim=2)
    scores, _ = task.network.scores_per_scale(padded)
    scores = [score[:, :, :10] for score in scores]
    expected = task.loss(task.network.mix(torch.cat(scores, dim=1)), target)
    expected = expected + auxiliary * sum(task.loss(score, target) for score in scores) / len(scores)
    torch.testing.assert_close(task.training_step((image, target), 0), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2}, "batch_size must be 1 without replicated edges"),
        ({"elastic_strength": -1.0}, "elastic_strength must not be negative"),
        ({"elastic_strength": float("nan")}, "elastic_strength must not be negative"),
        ({"phase_weights": {"venous": 1.0}}, "unknown phase venous"),
        ({"phase_weights": {"none": -1.0}}, "must not be negative"),
        ({"phase_weights": {"none": float("nan")}}, "must not be negative"),
        ({"phase_weights": dict.fromkeys(SyntheticCTConfig().contrast.phases, 0.0)}, "nor all zero"),
        ({"mass_probability": 1.5}, "masses.probability"),
    ],
)
def test_unusable_weights_of_the_generator_are_refused(atlas, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        data(atlas, tmp_path, **changes)


def test_validation_dice_by_hand():
    task = SegmentationTask(["a", "b"], network=NETWORK, loss=LossOptions(class_weights=(1, 1, 1)))
    logged = {}
    task.log = lambda name, value, **_: logged.update({name: float(value)})
    task.log_dict = lambda values, **_: logged.update({name: float(value) for name, value in values.items()})
    target = torch.zeros(1, 1, 16, 16, 16, dtype=torch.long)
    target[..., :4] = 1  # a quarter of the voxels; the network says "a" everywhere
    task.forward = lambda x: (torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1, 1).expand(1, 3, 16, 16, 16), {})
    task.all_gather = lambda x: x
    task.on_validation_epoch_start()
    task.validation_step((torch.zeros(1, 1, 16, 16, 16), target), 0)
    task.on_validation_epoch_end()
    assert logged["dice_a"] == pytest.approx(2 * 0.25 / 1.25)
    assert "dice_b" not in logged  # nothing shows it, so nobody can say whether it would be found
    assert logged["dice"] == logged["dice_a"]


@pytest.fixture(scope="module")
def checkpoint(atlas, tmp_path_factory) -> Path:
    """What `attention-unet-train fit` leaves after two epochs of two steps."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ["fit", "--config", "abdomen_ct.yaml", "--data.atlas", str(atlas), "--data.workers", "0"]
    arguments += ["--data.patches.spacing_mm", "3"]
    arguments += ["--data.anatomies.cache", str(folder / "cache"), "--data.anatomies.held_out", "[b]"]
    arguments += ["--data.patches.shape_kji", "[16, 32, 32]", "--data.patches.steps_per_epoch", "2"]
    arguments += ["--data.patches.validation_patches", "1", "--model.network.widths", str(WIDTHS)]
    arguments += ["--trainer.default_root_dir", str(folder), "--trainer.max_epochs", "2", "--trainer.logger", "false"]
    arguments += ["--trainer.callbacks", "lightning.pytorch.callbacks.ModelCheckpoint"]
    arguments += ["--trainer.callbacks.dirpath", str(folder), "--trainer.callbacks.save_last", "true"]
    arguments += ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    # on feature maps of a few voxels, bfloat16 convolutions on CPUs (oneDNN, torch 2.13) give gradients full of noise
    arguments += ["--trainer.precision", "32-true"]
    assert main(arguments) == 0
    return folder / "last.ckpt"


@pytest.mark.filterwarnings("ignore")
def test_fit_then_export_gives_a_model_that_loads(checkpoint, tmp_path):
    measured = [{"data": "x", "organ": "spleen", "metric": "Dice", "value": 0.5, "cases": 1}]
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    description = write_description(tmp_path / "d.json")
    arguments = ["export", str(checkpoint), str(tmp_path / "model"), "--description", str(description)]
    assert main([*arguments, "--measured", str(tmp_path / "measured.json")]) == 0
    model = load_model(tmp_path / "model")
    assert model.spec.spacing_mm == (3.0, 3.0, 3.0)
    assert model.spec.provenance.synthetic
    assert (model.spec.provenance.training_cases, model.spec.provenance.validation_cases) == (("a",), ("b",))
    assert model.spec.intensity.mean_hu == -25.0
    assert model.spec.architecture.widths == tuple(WIDTHS)
    assert model.spec.quality() == "Dice: spleen 0.50 (x, 1 case)"
    trained = read_starting_weights(checkpoint).state
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(tensor.float(), trained[name].half().float())


@pytest.mark.filterwarnings("ignore")
def test_export_refuses_other_organs(checkpoint, tmp_path):
    description = write_description(tmp_path / "description.json")
    fields = json.loads(description.read_text())
    description.write_text(json.dumps(fields | {"labels": fields["labels"][::-1]}))
    with pytest.raises(ValueError, match="the checkpoint was trained for"):
        export(checkpoint, tmp_path / "model", description)


@pytest.mark.filterwarnings("ignore")
def test_training_can_start_from_a_checkpoint(checkpoint):
    task = SegmentationTask(network=NETWORK, init_from=str(checkpoint))
    for name, tensor in read_starting_weights(checkpoint).state.items():
        torch.testing.assert_close(task.network.state_dict()[name], tensor)


@pytest.mark.parametrize(("held_out", "said"), [("b", False), ("a", True)])
def test_validate_tells_which_label_maps_the_weights_were_trained_on(
    checkpoint, atlas, tmp_path, capsys, held_out, said
):
    options = {
        "data.atlas": atlas,
        "data.anatomies.held_out": f"[{held_out}]",
        "data.anatomies.cache": tmp_path,
        "data.patches.shape_kji": "[16,32,32]",
        "data.patches.validation_patches": 1,
        "model.network.widths": WIDTHS,
        "model.init_from": checkpoint,
    }
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    assert main(["validate", "--config", "abdomen_ct.yaml", *given]) == 0
    ending = capsys.readouterr().out.splitlines()[-1]
    assert (ending == f"These weights were trained on cases of these names: {held_out}") is said


def test_synthesise_writes_a_marked_ct_and_its_labels(atlas, tmp_path):
    arguments = ["synthesise", "--atlas", str(atlas), "--cache", str(tmp_path / "cache"), "--output"]
    arguments += [str(tmp_path / "ct.nrrd"), "--labels", str(tmp_path / "labels.nrrd"), "--spacing", "2", "2", "4"]
    assert main([*arguments, "--attribution", "somebody"]) == 0
    ct, labels = read_volume(tmp_path / "ct.nrrd"), read_volume(tmp_path / "labels.nrrd")
    assert ct.grid.same_as(labels.grid)
    assert ct.spacing_mm == (2, 2, 4)
    assert np.diag(ct.ijk_to_ras[:3, :3]).tolist() == [-2, -2, 4]
    assert set(np.unique(labels.voxels)) == {0, 1, 2, 3}
    spleen, kidneys = (np.argwhere(labels.voxels == value).mean(axis=0)[::-1] for value in (2, 3))
    assert labels.grid.ras_of(spleen)[0] < labels.grid.ras_of(kidneys)[0]  # the spleen is on the left
    image = sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    assert image.GetMetaData("attribution") == "somebody"
    assert "Synthetic" in image.GetMetaData("description")


def test_the_command_explains_itself(capsys):
    assert main(["--help"]) == 0
    assert "synthesise" in capsys.readouterr().out
    assert main(["nonsense"]) == 2
    assert "unknown command 'nonsense'" in capsys.readouterr().err
    assert main(["synthesise", "--atlas", "/nowhere", "--output", "x.nrrd"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [([], "nothing to write"), (["--preview", "x.png", "--labels", "x.nrrd"], "--labels needs --output")],
)
def test_synthesise_says_what_it_has_no_file_for(capsys, options, message):
    with pytest.raises(SystemExit):
        main(["synthesise", "--atlas", "/nowhere", *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("organs", [("spleen", "pancreas", "kidney"), ("pancreas",)])
def test_networks_of_other_organs_than_the_generators_are_refused(tmp_path, organs):
    with pytest.raises(ValueError, match=f"pancreas, spleen, kidney, in this order, .* has {', '.join(organs)}$"):
        SyntheticCTData(tmp_path, organs=organs)
