"""Splits: counts, patients, seeds, folds."""

import dataclasses

import pytest

from attention_unet_training.preparation.records import read_record, write_record
from attention_unet_training.preparation.splits import Fold, Split, draw_folds, draw_holdout, official_split


def own_patients(count: int) -> dict[str, str]:
    return {f"case{n:03}": f"patient{n:03}" for n in range(count)}


def several_scans(count: int, scans: int) -> dict[str, str]:
    return {f"case{n:03}": f"patient{n // scans:03}" for n in range(count)}


def patients_of(names, patients) -> set[str]:
    return {patients[name] for name in names}


@pytest.mark.parametrize(("text", "train", "test"), [("120/30", 120, 30), ("30/120", 30, 120), ("100/50", 100, 50)])
def test_exact_counts(text, train, test):
    drawn = draw_holdout(own_patients(150), text, seed=3)
    (fold,) = drawn.split.folds
    assert (len(fold.train), len(fold.test)) == (train, test)
    assert drawn.split.ids == set(own_patients(150))
    assert drawn.notes == ()
    assert drawn.name == text.replace("/", "-")
    assert (drawn.split.kind, drawn.split.seed) == ("holdout", 3)


@pytest.mark.parametrize(
    ("cases", "text", "counts"),
    [(80, "61/21", (60, 20)), (75, "120/30", (60, 15)), (2, "120/30", (1, 1)), (3, "30/120", (1, 2))],
)
def test_counts_shrink_in_proportion_and_that_is_said(cases, text, counts):
    drawn = draw_holdout(own_patients(cases), text, seed=0)
    assert (len(drawn.split.folds[0].train), len(drawn.split.folds[0].test)) == counts
    assert f"scaled to {counts[0]}/{counts[1]}" in drawn.notes[0]


def test_cases_beyond_the_counts_are_in_neither_side():
    drawn = draw_holdout(own_patients(40), "10/5", seed=0)
    assert (len(drawn.split.folds[0].train), len(drawn.split.folds[0].test)) == (10, 5)
    assert drawn.notes == ("10-5: 25 of 40 cases are in neither side",)


def test_the_seed_decides_not_the_order_of_the_cases():
    patients = own_patients(30)
    backwards = dict(reversed(patients.items()))
    assert draw_holdout(patients, "20/10", 1) == draw_holdout(backwards, "20/10", 1)
    assert draw_holdout(patients, "20/10", 1).split.folds != draw_holdout(patients, "20/10", 2).split.folds
    assert draw_folds(patients, 5, 1) == draw_folds(backwards, 5, 1)
    assert draw_folds(patients, 5, 1).split.folds != draw_folds(patients, 5, 2).split.folds


def test_every_case_is_equally_likely_to_be_tested():
    patients = own_patients(10)
    tested = [name for seed in range(500) for name in draw_holdout(patients, "5/5", seed).split.folds[0].test]
    counts = [tested.count(name) for name in patients]
    assert sum(counts) == 2500
    assert min(counts) > 200  # 250 expected, spread 11
    assert max(counts) < 300


@pytest.mark.parametrize("seed", range(5))
def test_all_scans_of_a_patient_are_on_one_side(seed):
    patients = several_scans(30, 3) | {"single": "someone"}
    (fold,) = draw_holdout(patients, "21/10", seed).split.folds
    assert (len(fold.train), len(fold.test)) == (21, 10)  # 10 = 3 + 3 + 3 + 1
    assert not patients_of(fold.train, patients) & patients_of(fold.test, patients)


def test_counts_that_patients_do_not_allow_are_met_as_nearly_as_possible():
    patients = several_scans(12, 4)
    drawn = draw_holdout(patients, "9/3", 0)
    assert (len(drawn.split.folds[0].train), len(drawn.split.folds[0].test)) == (8, 4)
    assert "8/4 instead of 9/3" in drawn.notes[0]


def test_the_sources_own_split_is_kept_and_no_patient_is_in_two_parts():
    parts = dict(zip("abcdefg", ["train", "train", "train", "validation", "validation", "test", ""], strict=True))
    patients = {name: name.upper() for name in parts} | {"b": "F", "c": "D", "e": "F"}
    drawn = official_split(patients, parts)
    assert drawn.split == Split("official", 0, (Fold(("a",), ("f",), ("d",)),))
    assert drawn.notes == (
        "official: e is left out of validation, as its patient F is in test too",
        "official: b is left out of train, as its patient F is in test too",
        "official: c is left out of train, as its patient D is in validation too",
        "official: 1 of 7 cases have no part in it",
    )
    without_test = official_split(own_patients(2), {"case000": "train", "case001": "validation"})
    assert without_test.split.folds == (Fold(("case000",), ("case001",)),)
    assert "no test case has labels" in without_test.notes[0]
    assert official_split(own_patients(2), {"case000": "train", "case001": "train"}) is None
    assert official_split(own_patients(2), {"case000": "", "case001": ""}) is None


def test_a_split_that_would_train_on_published_test_cases_is_refused():
    with pytest.raises(ValueError, match=r"no training case beside its 1 test cases \(b is left out of train, as its"):
        official_split({"a": "A", "b": "A"}, {"a": "test", "b": "train"})
    with pytest.raises(ValueError, match="no training case beside its 1 test cases, so no split is drawn"):
        official_split(own_patients(2), {"case000": "test", "case001": ""})


@pytest.mark.parametrize("seed", range(5))
def test_splits_are_drawn_within_the_sources_own(seed):
    patients = own_patients(20)
    names = sorted(patients)
    within = Fold(tuple(names[:10]), tuple(names[13:]), tuple(names[10:13]))
    (fold,) = draw_holdout(patients, "8/4", seed, within).split.folds
    assert (len(fold.train), len(fold.test)) == (8, 4)
    assert set(fold.train) <= set(names[:13])
    assert set(fold.test) <= set(names[13:])
    drawn = draw_holdout(patients, "120/30", seed, within)
    assert (len(drawn.split.folds[0].train), len(drawn.split.folds[0].test)) == (13, 7)
    assert drawn.notes == ("120-30: drawn within the source's own parts, 13 training and 7 test cases",)
    folds = draw_folds(patients, 3, seed, within)
    assert folds.split.ids == set(names[:13])
    assert "7 test cases of the source's own split are in no fold" in folds.notes[0]


def test_a_patient_in_two_parts_is_noticed():
    with pytest.raises(ValueError, match="a and b are of one patient, x, but in two parts"):
        Fold(("a", "c"), ("b",)).check_patients({"a": "x", "b": "x", "c": "y"})
    Fold(("a", "b"), ("c",)).check_patients({"a": "x", "b": "x", "c": "y"})


@pytest.mark.parametrize(("patients", "spread"), [(own_patients(23), 1), (several_scans(23, 2), 2)])
def test_folds_test_every_case_once(patients, spread):
    split = draw_folds(patients, 5, 7).split
    assert (split.kind, len(split.folds)) == ("folds", 5)
    assert sorted(name for fold in split.folds for name in fold.test) == sorted(patients)
    sizes = [len(fold.test) for fold in split.folds]
    assert max(sizes) - min(sizes) <= spread
    for fold in split.folds:
        assert len(fold.train) + len(fold.test) == len(patients)
        assert not patients_of(fold.train, patients) & patients_of(fold.test, patients)


def test_what_cannot_be_drawn():
    patients = own_patients(10)
    for text in ("120", "120-30", "0/10", "10/0", "a/b", "-1/5"):
        with pytest.raises(ValueError, match="must look like 120/30"):
            draw_holdout(patients, text, 0)
    for count in (1, 11):
        with pytest.raises(ValueError, match=rf"must lie in 2..10 \(patients\), got {count}"):
            draw_folds(patients, count, 0)
    with pytest.raises(ValueError, match="at least 2 patients, got 1"):
        draw_holdout({"a": "x", "b": "x"}, "1/1", 0)
    with pytest.raises(ValueError, match="a in two"):
        Fold(("a",), ("a", "b"))
    with pytest.raises(ValueError, match="0 train, 1 test"):
        Fold((), ("a",))


def test_a_split_on_disk_is_the_same_split(tmp_path):
    split = draw_folds(own_patients(7), 3, 5).split
    write_record(split, tmp_path / "folds-3.json")
    assert read_record(Split, tmp_path / "folds-3.json") == split
    write_record(dataclasses.replace(split, seed=9), tmp_path / "folds-3.json")
    assert [path.name for path in tmp_path.iterdir()] == ["folds-3.json"]
    text = (tmp_path / "folds-3.json").read_text()
    for broken, message in ((text.replace('"seed"', '"sed"'), "unknown keys: sed"), (text[:-5], "not valid JSON")):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(ValueError, match=message):
            read_record(Split, tmp_path / "broken.json")
