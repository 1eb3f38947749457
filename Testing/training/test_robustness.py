"""The conditions under which a model is tried, on a label map made of boxes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from attention_unet_training.cli import main
from attention_unet_training.commands import robustness
from attention_unet_training.commands.robustness import Score, measure, write_table
from attention_unet_training.synthetic_ct.conditions import BASE, CONDITIONS, Condition, make_ct
from AttentionUNetSegmentationLib.models.loading import save_model
from AttentionUNetSegmentationLib.models.provenance import BaseModel, Provenance
from support import phantoms

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def condition(name: str) -> Condition:
    return next(each for each in CONDITIONS if each.name == name)


def test_a_condition_changes_what_it_says_and_nothing_else(anatomy):
    base, base_target = make_ct(anatomy, condition(BASE), 3)
    plain, target = make_ct(anatomy, condition("no contrast"), 3)
    np.testing.assert_array_equal(target == 3, base_target == 3)
    assert phantoms.dice(target == 1, base_target == 1) > 0.6  # its random erosion differs
    spleen = target == 2
    assert np.median(base.voxels[spleen]) > np.median(plain.voxels[spleen]) + 30  # enhanced by contrast
    noisy, _ = make_ct(anatomy, condition("noise of 30 HU"), 3)
    assert noisy.voxels[spleen].std() > 1.5 * base.voxels[spleen].std()


def test_diseased_kidneys_hold_stones_and_lose_their_pelvis(anatomy):
    base, base_target = make_ct(anatomy, condition(BASE), 2)
    diseased, target = make_ct(anatomy, condition("kidneys with stones and wide pelvis"), 2)
    assert 0.2 < (target == 3).sum() / (base_target == 3).sum() < 0.98
    assert diseased.voxels[base_target == 3].max() > base.voxels[base_target == 3].max() + 50
    np.testing.assert_array_equal(target == 2, base_target == 2)


def test_a_removed_organ_is_gone_and_the_others_stay(anatomy):
    base, base_target = make_ct(anatomy, condition(BASE), 2)
    for name, gone, kept in (("spleen removed", 2, 3), ("left kidney removed", 3, 2)):
        ct, target = make_ct(anatomy, condition(name), 2)
        middle = base_target.shape[2] // 2
        left, right = np.s_[:, :, :middle], np.s_[:, :, middle:]
        assert (base_target[left] == gone).any()
        assert not (target[left] == gone).any()
        np.testing.assert_array_equal(target == kept, base_target == kept)
        np.testing.assert_array_equal(target[right] == gone, base_target[right] == gone)
        place = (base_target == gone) & (target != gone)
        assert np.median(ct.voxels[place]) < np.median(base.voxels[place]) - 50  # fat where the organ was


def test_an_organ_that_is_not_there_cannot_be_removed(anatomy):
    with pytest.raises(ValueError, match="has no prostate that could be removed"):
        make_ct(anatomy, Condition("x", removed="prostate"), 1)


def test_thick_slices_keep_organs_in_place(anatomy):
    base, target = make_ct(anatomy, condition(BASE), 6)
    thick, thick_target = make_ct(anatomy, condition("slices of 8 mm"), 6)
    assert thick.spacing_mm == (2.0, 2.0, 8.0)
    for value in (2, 3):
        assert not (target[[0, -1]] == value).any()  # up to 6 mm at the field's end fit into no thick slice
        np.testing.assert_allclose(
            phantoms.centroid_ras_mm(thick_target == value, thick.grid),
            phantoms.centroid_ras_mm(target == value, base.grid),
            atol=1.5,
        )


def test_a_small_field_is_as_high_as_it_says(anatomy):
    ct, target = make_ct(anatomy, condition("field of 60 mm"), 1)
    assert ct.voxels.shape[0] == target.shape[0] <= 30
    assert (target > 0).any()


def test_a_model_that_finds_the_truth_scores_one(anatomy, monkeypatch):
    class Result:
        warnings = ("a warning",)

    def segment(ct, model, options):
        result = Result()
        result.labels = np.where(truth == 3, 5, truth)  # the generator's kidney is the unsplit kidney of the engine
        return result

    _, truth = make_ct(anatomy, condition(BASE), 0)
    monkeypatch.setattr(robustness, "segment", segment)
    score = measure(phantoms.model(), anatomy, condition(BASE), [0])
    assert score.dice == {"pancreas": [1.0], "spleen": [1.0], "kidney": [1.0]}
    assert score.volume_ratio["kidney"] == [pytest.approx(1.0)]
    assert score.warnings == ["a warning"]


def test_a_model_that_lacks_an_organ_is_told(tmp_path, capsys):
    folder = tmp_path / "model"
    save_model(folder, phantoms.model(phantoms.LABELS[:1]).network, phantoms.spec(phantoms.LABELS[:1]))
    options = ["--atlas", "x", "--subject", "x", "--model", str(folder), "--output", str(tmp_path / "out")]
    assert robustness.main(options) == 1
    assert capsys.readouterr().err == (
        "error: the model test-model has no spleen; synthetic CT asks for pancreas, spleen, kidney\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_table_of_no_ct_is_refused(tmp_path, capsys):
    folders = ["--atlas", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(["robustness", *folders, "--subject", "a", "--model", "abdomen-ct", "--seeds", "0"]) == 1
    assert capsys.readouterr().err == "error: --seeds must be at least 1, got 0\n"
    assert not (tmp_path / "out").exists()


def test_the_table_tells_organs_that_are_outside(tmp_path: Path):
    score = Score("x")
    score.dice = {"pancreas": [0.5, 0.7], "spleen": [0.9, math.nan], "kidney": [math.nan, math.nan]}
    score.volume_ratio = {"pancreas": [1.0, 1.2], "spleen": [0.5, math.nan], "kidney": [math.nan, math.nan]}
    score.false_ml = {"pancreas": [], "spleen": [3.0], "kidney": [0.0, 8.0]}
    write_table([score], tmp_path, 2, "model 1 on the label map a")
    text = (tmp_path / "robustness.md").read_text()
    assert text.startswith("model 1 on the label map a. Dice, mean of 2 CTs")
    assert "| x | 0.60 (0.50); x 1.10 | 0.90 (0.90, n = 1); x 0.50; 3 ml | 4 ml |" in text
    content = json.loads((tmp_path / "robustness.json").read_text())
    assert content["measured"] == "model 1 on the label map a"
    assert content["conditions"][0]["dice"]["spleen"] == [0.9, None]
    lines = (tmp_path / "robustness.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 and lines[4] == "x,spleen,1,,"


def test_the_command_refuses_a_map_of_training_and_replaces_nothing_unasked(tmp_path, anatomy, monkeypatch, capsys):
    made = Provenance(training_cases=("t",), bases=(BaseModel("base", training_cases=("u",)),))
    save_model(tmp_path / "model", phantoms.model().network, phantoms.spec(provenance=made))
    monkeypatch.setattr(robustness, "CONDITIONS", [condition(BASE)])
    monkeypatch.setattr(robustness, "load_atlas", lambda *_, **__: [anatomy])
    folders = ["--atlas", "maps", "--model", str(tmp_path / "model"), "--output", str(tmp_path / "out")]
    for subject in ("t", "u"):
        assert main(["robustness", *folders, "--subject", subject]) == 1
        assert f"the model test-model, or what it started from, was trained on {subject}\n" in capsys.readouterr().err
    arguments = ["robustness", *folders, "--subject", "a", "--chest-subject", "c", "--seeds", "1"]
    assert main(arguments) == 0
    text = (tmp_path / "out" / "robustness.md").read_text()
    assert text.startswith("test-model 1, weights ") and "on the label map a (chest: c). Dice" in text
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".csv", ".json", ".md", ".png"]
    assert main(arguments) == 1
    assert "out exists already; --overwrite replaces it" in capsys.readouterr().err

    def fails(*_: object) -> None:
        raise ValueError("no memory")

    monkeypatch.setattr(robustness, "measure", fails)
    assert main([*arguments, "--overwrite"]) == 1
    assert (tmp_path / "out" / "robustness.md").read_text() == text
