import json

import pytest

from AttentionUNetSegmentationLib.models.description import ArchitectureSpec, Measurement, ModelError, ModelSpec
from AttentionUNetSegmentationLib.models.loading import load_model
from support import phantoms
from support.model_files import edit

pytestmark = pytest.mark.usefixtures("own_model_folder")


def test_json_round_trip():
    spec = phantoms.spec()
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_widths_that_are_not_given_are_the_papers():
    assert ArchitectureSpec("UNet").widths == (16, 32, 64, 128, 256)


def test_texts_of_a_model_cannot_steer_a_terminal_or_forge_a_line(saved):
    texts = dict.fromkeys(
        ("title", "licence", "version", "training_data"), "\x1b[31m\n  measured: Dice 0.99 \x9b \u202e"
    )
    edit(saved, **texts)
    spec = load_model(saved).spec
    for key in texts:
        assert getattr(spec, key) == r"\x1b[31m\n  measured: Dice 0.99 \x9b \u202e"


LABEL = {"name": "spleen", "value": 1, "code": "78961009", "meaning": "Spleen", "color_rgb": [1, 2, 3]}
SIDE = {"name": "left spleen", "value": 2, "modifier_code": "7771000", "modifier_meaning": "Left"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "unknown keys: surprise"),
        ({"spacing_mm": [2, 2]}, "spacing_mm needs 3 entries, got 2"),
        ({"spacing_mm": [2, 2, "2"]}, r"spacing_mm\[2\] must be of type float, got '2'"),
        ({"spacing_mm": [2, 2, 0]}, "spacing_mm must lie in"),
        ({"labels": []}, "labels must not be empty"),
        ({"labels": [LABEL | {"plausible_ml": [0, float("inf")]}]}, r"plausible_ml\[1\] must be a finite number"),
        ({"labels": [LABEL | {"trained_hu": [float("nan"), 40]}]}, r"trained_hu\[0\] must be a finite number"),
        ({"labels": [LABEL | {"trained_hu": [40, 10**400]}]}, r"trained_hu\[1\] must be a finite number"),
        ({"labels": [LABEL | {"place": "up"}]}, r"place must be one of .*'left'.*, got 'up'"),
        ({"labels": [LABEL | {"plausible_ml": [600, 40]}]}, r"plausible_ml must rise, got \[600.0, 40.0\]"),
        ({"labels": [LABEL | {"name": "x" * 300}]}, "a label's name may have 60 letters, got 300"),
        ({"labels": [LABEL | {"sides": {"right": SIDE | {"name": "../x"}, "left": SIDE}}]}, "usable as a file name"),
        ({"format_version": 2}, "format_version must be 1, got 2"),
        ({"name": "../evil"}, "name must consist of"),
        ({"licence": " "}, "licence must not be empty"),
        ({"architecture": {"type": "UNet", "widths": [2] * 9}}, "widths needs two to eight numbers in 1..4096"),
        ({"architecture": {"type": "UNet", "widths": [2, 10**12]}}, "widths needs two to eight numbers in 1..4096"),
        ({"licence": "x" * 20_000_000}, "has more than 16777216 bytes"),
        ({"architecture": {"type": "ResNet"}}, "architecture.type must be one of AttentionUNet, UNet, got 'ResNet'"),
        ({"architecture": {"type": "UNet", "depth": 3}}, "model.architecture has unknown keys: depth"),
        ({"intensity": {"clip_hu": [300, -200], "mean_hu": 0, "std_hu": 1}}, "clip_hu must rise"),
        ({"intensity": {"clip_hu": [-200, 300], "mean_hu": 0}}, "model.intensity lacks keys: std_hu"),
        ({"weights": {"file": "../w.pt", "sha256": "0" * 64}}, "plain file name"),
        ({"weights": {"file": "w.pt", "sha256": "xyz"}}, "64 hexadecimal"),
    ],
)
def test_descriptions_are_validated(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(saved)
    assert "model.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_must_be_told_apart(saved):
    content = json.loads((saved / "model.json").read_text())
    content["labels"][1]["value"] = 3  # the right kidney's
    edit(saved, labels=content["labels"])
    with pytest.raises(ModelError, match="every label needs a value of its own"):
        load_model(saved)
    content["labels"][1] |= {"value": 9, "name": content["labels"][0]["name"].upper()}  # files would replace each other
    edit(saved, labels=content["labels"])
    with pytest.raises(ModelError, match="every label needs a name of its own"):
        load_model(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_broken_json(saved, content):
    (saved / "model.json").write_text(content)
    with pytest.raises(ModelError, match=r"model\.json cannot be used"):
        load_model(saved)


@pytest.mark.parametrize("name", ["", " . ", "a/b", "a:b", "../../evil", "a\nb"])
def test_label_names_must_be_usable_as_file_names(saved, name):
    content = json.loads((saved / "model.json").read_text())
    content["labels"][0]["name"] = name
    edit(saved, labels=content["labels"])
    with pytest.raises(ModelError, match="usable as a file name"):
        load_model(saved)


def test_quality_is_one_line_of_measured_figures():
    assert phantoms.spec().quality() == "no figures were measured"
    measured = (Measurement("CT A", "spleen", "Dice", 0.9), Measurement("CT A", "kidney", "Dice", 0.8))
    assert phantoms.spec(measured=measured).quality() == "Dice: spleen 0.90, kidney 0.80 (CT A, 1 case)"
