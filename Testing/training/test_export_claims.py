"""A model says where it comes from, and nothing that is true of another model only."""

import json
import re

import pytest

from attention_unet_training.commands.export import export
from attention_unet_training.task.checkpoints import load_network
from attention_unet_training.task.segmentation_task import SegmentationTask
from attention_unet_training.task.starting_weights import read_starting_weights
from AttentionUNetSegmentationLib.models.description import ModelSpec
from AttentionUNetSegmentationLib.models.loading import add_model, load_model, save_model
from AttentionUNetSegmentationLib.models.provenance import BaseModel, Provenance
from support import phantoms
from support.training_checkpoints import DESCRIPTIONS, tiny_network, write_checkpoint, write_description

MEASURED = [{"data": "phantom", "organ": "spleen", "metric": "Dice", "value": 0.3, "cases": 2}]
BUNDLED = json.loads((DESCRIPTIONS / "abdomen-ct.json").read_text(encoding="utf-8"))
REAL = {
    "dataset_name": "mine",
    "split": "2-1",
    "fold": 0,
    "training_ids": ["a"],
    "validation_ids": ["b"],
    "test_ids": ["c"],
    "seed": 3,
}
SYNTHETIC = {"atlas": "/somewhere/maps", "anatomies": {"held_out": ["b"]}, "training_ids": ["s1", "s2"]}
BASE = {"name": "abdomen-ct", "version": "0.8.0", "sha256": "0" * 64, "training_data": "maps", "synthetic": True}
TASK = {
    "bases": [BASE],
    "loss": {"kind": "dice"},
    "optimisation": {"learning_rate": 0.01},
    "software": {"torch": "2"},
    "seed": 5,
}


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTENTION_UNET_MODELS", str(tmp_path / "models"))


@pytest.fixture
def measured(tmp_path):
    (tmp_path / "measured.json").write_text(json.dumps(MEASURED))
    return tmp_path / "measured.json"


def exported(tmp_path, measured, task=None, data=REAL, seed=0, **description) -> ModelSpec:
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", tiny_network(seed=seed), task=task, **data)
    fields = write_description(tmp_path / "d.json", **description)
    export(checkpoint, tmp_path / "model", fields, measured, overwrite=True)
    return load_model(tmp_path / "model").spec


def with_labels(**changes: object) -> list[dict]:
    """The labels that users fill in, the first one changed."""
    first, *others = json.loads((DESCRIPTIONS / "my-model.json").read_text(encoding="utf-8"))["labels"]
    return [first | changes, *others]


def test_a_model_says_how_it_was_trained(tmp_path, measured):
    spec = exported(tmp_path, measured, TASK)
    assert spec.provenance == Provenance(
        (BaseModel("abdomen-ct", "0.8.0", "0" * 64, "maps", (), True),),
        "mine",
        "2-1",
        0,
        ("a",),
        ("b",),
        ("c",),
        False,
        5,
        {"kind": "dice"},
        {"learning_rate": 0.01},
        7,
        {"torch": "2"},
    )
    told = "fine-tuned from abdomen-ct 0.8.0; trained on mine, training cases: 1, split 2-1, fold 0; 7 steps"
    assert spec.origin() == f"CTs of a test ({told})"
    assert export(tmp_path / "model", tmp_path / "copy").spec == spec


def test_an_older_checkpoint_says_what_it_can(tmp_path, measured):
    spec = exported(tmp_path, measured, {"init_from": "models/abdomen-ct", "loss": "dice"}, {})
    assert spec.provenance == Provenance((BaseModel("abdomen-ct"),), steps=7)


def test_models_without_provenance_still_load(tmp_path):
    spec = save_model(tmp_path / "old", tiny_network(), phantoms.spec())
    content = json.loads((tmp_path / "old" / "model.json").read_text())
    assert content.pop("provenance") is None
    (tmp_path / "old" / "model.json").write_text(json.dumps(content))
    assert load_model(tmp_path / "old").spec == spec
    assert spec.origin() == spec.training_data
    content["provenance"] = {"bases": [{"name": "x", "nonsense": 1}]}
    with pytest.raises(ValueError, match=r"model.provenance.bases\[0\] has unknown keys: nonsense"):
        ModelSpec.from_json(json.dumps(content))


def test_what_a_training_starts_from_is_kept_to_the_first(tmp_path, measured):
    """A model, fine-tuned from a checkpoint that was fine-tuned from a model: all of them are named."""
    exported(tmp_path, measured, TASK)
    bases = read_starting_weights(tmp_path / "model").bases
    assert [base["name"] for base in bases] == ["my-model", "abdomen-ct"]
    assert bases[0]["sha256"] == load_model(tmp_path / "model").spec.weights.sha256
    assert (bases[0]["training_data"], bases[0]["training_cases"]) == ("CTs of a test", ["a"])
    middle = write_checkpoint(tmp_path / "middle.ckpt", tiny_network(), task={"bases": bases}, **REAL)
    bases = read_starting_weights(middle).bases
    assert [base["name"] for base in bases] == [f"{tmp_path.name}/middle.ckpt", "my-model", "abdomen-ct"]
    assert [base["synthetic"] for base in bases] == [False, False, True]
    task = SegmentationTask(network=load_options(middle), init_from=str(middle))
    assert task.hparams["bases"] == bases
    assert set(task.hparams["software"]) >= {"attention-unet", "python", "torch", "lightning", "monai"}


def load_options(checkpoint):
    from attention_unet_training.task.checkpoints import read_training_options

    return read_training_options(checkpoint).network


def test_the_bundled_models_description_is_not_taken_for_another(tmp_path, measured):
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", tiny_network(), **REAL)
    named = rf"abdomen-ct {BUNDLED['version']} is another model, in .*; give this one another name"
    with pytest.raises(ValueError, match=named):
        export(checkpoint, tmp_path / "model", DESCRIPTIONS / "abdomen-ct.json", measured)
    assert not (tmp_path / "model").exists()


def test_statements_copied_from_the_bundled_model_are_all_named(tmp_path, measured):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        exported(tmp_path, measured, TASK, **BUNDLED | {"name": "mine", "version": "1"})
    message = str(refused.value)
    for claim in ("caution (pancreas)", "trained_hu (spleen)", "training_data"):
        assert f"{claim} of abdomen-ct" in message
    assert "trained on mine, training cases: 1" in message


CAUTION = BUNDLED["labels"][0]["caution"]
FIRST, SECOND = re.findall(r"0\.\d\d", CAUTION)  # Dice on two real CTs


@pytest.mark.parametrize(
    "change",
    [
        {"training_data": BUNDLED["training_data"]},
        {"training_data": f" {BUNDLED['training_data'].upper().replace(' ', '  ')}."},
        {"training_data": "Maps."},
        *(
            {"labels": with_labels(caution=text)}
            for text in (CAUTION, f"{CAUTION}.", CAUTION.replace(FIRST, f"{FIRST}0"))
        ),
        {"labels": with_labels(caution=f"Often wrong: DICE {FIRST[1:]}")},
        {"labels": with_labels(caution=f"Often wrong (Dice {SECOND.replace('.', ',')})")},
        {"intended_use": f"Research; the pancreas has a Dice of {SECOND}."},
    ],
)
@pytest.mark.parametrize("checked", [False, True])
def test_what_is_copied_from_another_model_is_refused(tmp_path, measured, change, checked):
    with pytest.raises(ValueError, match="d.json says what is not true of these weights"):
        exported(tmp_path, measured, TASK, claims_checked=checked, **change)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(
            ("training_data", text)
            for text in (
                "synthetic CT of six label maps",
                "100 % synthetic CT",
                "our CTs; has never seen a REAL CT",
                "not a single real CT",
                "no-real CT",
                "no  real CT",
                "real-CT-free",
                "none of them real",
                "simulated CT only",
                "trained without patient data",
                "no CT of patients was used",
                "no clinical CT",
                "synthesised scans",
            )
        ),
        ("intended_use", "Research. The model was trained on synthetic CT."),
        ("title", "Pancreas, trained on purely synthetic CT"),
        ("labels", with_labels(caution="it has seen no real pancreas")),
    ],
)
def test_a_model_that_saw_real_cts_speaks_of_real_data_only_where_that_was_checked(tmp_path, measured, key, text):
    where = "caution (pancreas)" if key == "labels" else key
    with pytest.raises(
        ValueError, match=rf'd.json: {re.escape(where)} speaks of ".*", and these weights have seen real'
    ):
        exported(tmp_path, measured, TASK, **{key: text})
    assert exported(tmp_path, measured, TASK, claims_checked=True, **{key: text}).provenance.bases


def test_whether_claims_were_checked_is_yes_or_no(tmp_path, measured):
    with pytest.raises(ValueError, match="d.json: claims_checked must be true or false, got 'yes'"):
        exported(tmp_path, measured, TASK, claims_checked="yes")


@pytest.mark.parametrize(
    "change",
    [
        {"training_data": "fine-tuned on 16 CTs of our hospital, 0.8 mm slices"},
        {"labels": with_labels(caution="often too small, Dice 0.3")},
        {"intended_use": BUNDLED["intended_use"], "title": BUNDLED["title"]},
        {"intended_use": "Research on adult patients. Not for any clinical use."},
    ],
)
def test_what_is_true_may_be_said(tmp_path, measured, change):
    assert exported(tmp_path, measured, TASK, **change).provenance.bases


def test_a_figure_that_these_weights_have_too_is_no_copy(tmp_path, measured):
    measured.write_text(json.dumps([MEASURED[0] | {"value": float(FIRST) - 0.002}]))
    assert exported(tmp_path, measured, TASK, labels=with_labels(caution=f"often wrong, Dice {FIRST}")).provenance


def test_a_model_of_synthetic_ct_may_say_so_but_inherits_no_figures(tmp_path, measured):
    spec = exported(tmp_path, measured, None, SYNTHETIC, training_data=BUNDLED["training_data"])
    assert spec.provenance.synthetic
    assert (spec.provenance.dataset, spec.provenance.training_cases) == ("maps", ("s1", "s2"))
    with pytest.raises(ValueError, match=r"caution \(pancreas\) of abdomen-ct"):
        exported(tmp_path, measured, None, SYNTHETIC, labels=with_labels(caution=BUNDLED["labels"][0]["caution"]))
    staged = TASK | {"bases": [BASE | {"name": "stage_1/last.ckpt"}]}
    assert exported(tmp_path, measured, staged, SYNTHETIC, training_data=BUNDLED["training_data"]).provenance.synthetic
    before_bases = {"init_from": "stage_1/last.ckpt"}
    assert exported(tmp_path, measured, before_bases, SYNTHETIC, training_data="no real CT").provenance.synthetic
    on_real = TASK | {"bases": [BASE | {"synthetic": False}]}
    with pytest.raises(ValueError, match='training_data speaks of "real"'):
        exported(tmp_path, measured, on_real, SYNTHETIC, training_data="maps; no real CT")


def test_a_name_and_version_stand_for_one_set_of_weights(tmp_path, measured):
    exported(tmp_path, measured)
    add_model(tmp_path / "model")
    exported(tmp_path, measured)  # the same weights again
    with pytest.raises(ValueError, match="my-model 1 is another model"):
        exported(tmp_path, measured, seed=1)
    assert exported(tmp_path, measured, seed=1, version="2").version == "2"


def test_figures_of_other_weights_are_refused(tmp_path, measured):
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", tiny_network(), **REAL)
    own = load_network(checkpoint).sha256
    measured.write_text(json.dumps([MEASURED[0] | {"weights": own}]))
    spec = export(checkpoint, tmp_path / "model", write_description(tmp_path / "d.json"), measured).spec
    assert spec.quality() == "Dice: spleen 0.30 (phantom, 2 cases)"
    measured.write_text(json.dumps([MEASURED[0] | {"weights": "0" * 64}]))
    with pytest.raises(ValueError, match="has figures that were measured with other weights"):
        export(checkpoint, tmp_path / "other", tmp_path / "d.json", measured)
