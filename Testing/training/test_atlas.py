"""Tests of folders of label maps: their layouts, their cache, and many maps in little memory."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from attention_unet_training.synthetic_ct import atlas as atlas_module
from attention_unet_training.synthetic_ct import atlas_cache, load_atlas
from attention_unet_training.synthetic_ct.atlas import choose_sources
from attention_unet_training.synthetic_ct.label_files import find_label_sources
from attention_unet_training.synthetic_ct.preparation import PREPARED_SPACING_MM
from attention_unet_training.synthetic_ct.structures import number_of
from support.box_anatomy import BOXES, box_anatomy, box_labels

pytestmark = pytest.mark.slow


@pytest.fixture
def anatomy():
    return box_anatomy()


def write_image(array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # LPS directions of a RAS+ grid
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def write_multilabel(folder: Path, name: str = "case") -> None:
    """With another numbering than the package's own."""
    names = {number + 7: structure for number, structure in enumerate(BOXES, start=1)}
    labels, own = np.zeros((40, 40, 60), np.uint8), box_labels()
    for number, structure in names.items():
        labels[own == number_of(structure)] = number
    write_image(labels, folder / f"{name}.nii.gz")
    (folder / "labels.json").write_text(json.dumps({"0": "background"} | names))


def assert_same(one, other) -> None:
    for field in ("labels", "hull_distance_mm", "border_depth_mm", "bone_distance_mm"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field
    assert (one.name, one.spacing_mm, one.organs) == (other.name, other.spacing_mm, other.organs)
    for field in ("organ_distance_mm", "organ_points_mm"):
        first, second = getattr(one, field), getattr(other, field)
        assert list(first) == list(second)
        assert all(np.array_equal(first[organ], second[organ]) for organ in second), field


@pytest.mark.parametrize("table", ['{"spleen": 1}', "[]", "{"])
def test_a_table_of_labels_that_is_none_is_named(tmp_path, table):
    (tmp_path / "labels.json").write_text(table)
    with pytest.raises(ValueError, match=f"{tmp_path}/labels.json must be a JSON object of numbers and names"):
        find_label_sources(tmp_path)


@pytest.mark.parametrize("subfolder", ["segmentations", "."])
def test_folder_of_masks_equals_multilabel_file(tmp_path, anatomy, subfolder):
    write_multilabel(tmp_path / "multi")
    labels = box_labels()
    for structure in BOXES:
        mask = (labels == number_of(structure)).astype(np.uint8)
        write_image(mask, tmp_path / "masks" / "case" / subfolder / f"{structure}.nii.gz")
    write_image(np.ones_like(labels), tmp_path / "masks" / "case" / subfolder / "body_trunc.nii.gz")
    (multi,), (masks,) = load_atlas(tmp_path / "multi"), load_atlas(tmp_path / "masks")
    assert np.array_equal(multi.labels, anatomy.labels)
    assert np.array_equal(masks.labels, multi.labels)
    assert multi.name == masks.name == "case"


def test_cache_is_used_until_the_source_changes(tmp_path, monkeypatch):
    write_multilabel(tmp_path / "atlas")
    calls = []
    prepare = atlas_cache.prepare_anatomy

    def counted(*arguments):
        calls.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(atlas_cache, "prepare_anatomy", counted)
    (first,) = load_atlas(tmp_path / "atlas", tmp_path / "cache")
    (again,) = load_atlas(tmp_path / "atlas", tmp_path / "cache")
    assert len(calls) == 1
    assert_same(again, first)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["case.npz"]  # no temporary file is left

    os.utime(tmp_path / "atlas" / "case.nii.gz", ns=(1, 1))
    load_atlas(tmp_path / "atlas", tmp_path / "cache")
    assert len(calls) == 2
    monkeypatch.setattr(atlas_cache, "PREPARATION_VERSION", -1)
    load_atlas(tmp_path / "atlas", tmp_path / "cache")
    assert len(calls) == 3


@pytest.mark.parametrize(
    "damage",
    [lambda whole: whole[:200], lambda whole: whole[:-200], lambda whole: b"", lambda whole: b"x" * 500],
    ids=["beginning only", "end missing", "empty", "something else"],
)
def test_damaged_cache_is_rebuilt(tmp_path, anatomy, damage):
    write_multilabel(tmp_path / "atlas")
    load_atlas(tmp_path / "atlas", tmp_path / "cache")
    cached = tmp_path / "cache" / "case.npz"
    cached.write_bytes(damage(cached.read_bytes()))
    (rebuilt,) = load_atlas(tmp_path / "atlas", tmp_path / "cache")
    assert np.array_equal(rebuilt.labels, anatomy.labels)


def test_a_cache_damaged_within_is_rebuilt_when_read(tmp_path, anatomy):
    write_multilabel(tmp_path / "atlas")
    load_atlas(tmp_path / "atlas", tmp_path / "cache")
    cached = tmp_path / "cache" / "case.npz"
    whole = bytearray(cached.read_bytes())
    at = whole.index(b"hull_distance_mm.npy") + 100
    whole[at : at + 40] = bytes(40)
    cached.write_bytes(whole)
    (rebuilt,) = load_atlas(tmp_path / "atlas", tmp_path / "cache")
    assert np.array_equal(rebuilt.hull_distance_mm, anatomy.hull_distance_mm)


def test_subjects_are_chosen_by_name(tmp_path):
    for name in ("a", "b", "c"):
        write_multilabel(tmp_path, name)
    assert [one.name for one in load_atlas(tmp_path, exclude=["b"])] == ["a", "c"]
    assert [one.name for one in load_atlas(tmp_path, include=["b"])] == ["b"]
    with pytest.raises(ValueError, match=r"unknown: \['z'\]"):
        load_atlas(tmp_path, exclude=["z"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds neither"):
        load_atlas(tmp_path / "empty")


@pytest.fixture
def three(tmp_path) -> Path:
    for name in ("a", "b", "c"):
        write_multilabel(tmp_path / "maps", name)
    return tmp_path / "maps"


def test_what_does_not_fit_into_memory_is_read_when_asked_for(three, tmp_path):
    whole = load_atlas(three, tmp_path / "cache")
    room_gb = 2.5 * whole[0].nbytes / 1e9
    partly, none = (load_atlas(three, tmp_path / "cache", memory_gb=room) for room in (room_gb, 0))
    assert partly.names == none.names == whole.names == ("a", "b", "c")
    for number, kept in enumerate(whole):
        assert whole[number] is kept
        assert (partly[number] is partly[number]) == (number < 2)
        assert none[number] is not none[number]
        assert_same(partly[number], kept)
        assert_same(none[number], kept)
    assert none[-1].name == "c"
    assert whole[-1] is whole[2]
    for atlas in (whole, partly, none):
        assert len(atlas) == len(list(atlas)) == 3
        with pytest.raises(IndexError):
            atlas[3]


def test_size_in_memory_counts_every_volume(anatomy):
    assert anatomy.nbytes == anatomy.labels.size * (1 + 6 * 2)  # labels, six distances in half precision


def test_without_a_cache_all_are_held(three):
    atlas = load_atlas(three, memory_gb=0)
    assert all(atlas[number] is atlas[number] for number in range(3))


def test_copies_for_other_processes_read_from_the_cache(three, tmp_path):
    atlas = load_atlas(three, tmp_path / "cache")
    sent = pickle.dumps(atlas)
    assert len(sent) < atlas[0].nbytes / 10
    for copy, kept in zip(pickle.loads(sent), atlas, strict=True):  # noqa: S301 - our own bytes
        assert_same(copy, kept)


def test_a_cache_file_lost_later_is_made_anew(three, tmp_path):
    atlas = load_atlas(three, tmp_path / "cache", memory_gb=0)
    before = atlas[1]
    (tmp_path / "cache" / "b.npz").unlink()
    assert_same(atlas[1], before)
    assert (tmp_path / "cache" / "b.npz").is_file()


def test_several_processes_fill_the_cache_as_one_does(three, tmp_path):
    (three / "c.nii.gz").write_bytes(b"not an image")
    for processes in (1, 2):
        with pytest.raises(ValueError, match=r"1 of 3 label maps cannot be prepared .*: c \("):
            load_atlas(three, tmp_path / str(processes), processes=processes)
        assert sorted(path.name for path in (tmp_path / str(processes)).iterdir()) == ["a.npz", "b.npz"]
    one, two = (load_atlas(three, tmp_path / cache, memory_gb=0, exclude=["c"]) for cache in ("1", "2"))
    for first, second in zip(one, two, strict=True):
        assert_same(first, second)


def test_all_maps_that_cannot_be_used_are_named_and_the_others_kept(three, tmp_path):
    (three / "a.nii.gz").write_bytes(b"not an image")
    write_image(np.zeros((4, 4, 4), np.uint8), three / "c.nii.gz")
    with pytest.raises(
        ValueError, match=r"2 of 3 label maps cannot be prepared .*: a \(.*\); c \(.*structure"
    ) as error:
        load_atlas(three, tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["b.npz"]
    assert load_atlas(three, tmp_path / "cache", exclude=["a", "c"]).names == ("b",)


def test_a_map_that_broke_after_it_was_cached_is_named_before_anything_is_read(three, tmp_path):
    load_atlas(three, tmp_path / "cache")
    (three / "b.nii.gz").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"1 of 3 label maps cannot be prepared .*: b \("):
        load_atlas(three, tmp_path / "cache", memory_gb=0)


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_maps(three, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(FileExistsError):
        load_atlas(three, tmp_path / "cache")


def write_masks(folder: Path, structure: str, *names: str) -> None:
    """A folder of masks for each name, of a vertebra and one structure."""
    labels = box_labels()
    for name in names:
        for shown in ("vertebrae_L1", structure):
            write_image((labels == number_of(shown)).astype(np.uint8), folder / name / f"{shown}.nii.gz")


@pytest.mark.parametrize("memory_gb", [4, 0])
def test_maps_without_organs_make_one_patch_in_ten(tmp_path, memory_gb):
    write_masks(tmp_path / "maps", "kidney_left", "a", "c", "e")
    write_masks(tmp_path / "maps", "liver", "b", "d")
    atlas = load_atlas(tmp_path / "maps", tmp_path / "cache", memory_gb=memory_gb)
    assert atlas.names == ("a", "b", "c", "d", "e")
    assert (atlas.with_organs, atlas.without_organs) == ((0, 2, 4), (1, 3))
    turns = [atlas.turn(number) for number in range(60)]
    assert turns[:20] == [0, 2, 4, 0, 2, 4, 0, 2, 4, 1, 0, 2, 4, 0, 2, 4, 0, 2, 4, 3]
    assert [turns.count(number) for number in range(5)] == [18, 3, 18, 3, 18]


def test_few_maps_without_organs_take_turns_as_the_others_do(tmp_path, monkeypatch):
    write_masks(tmp_path / "maps", "kidney_left", "a")
    write_masks(tmp_path / "maps", "liver", "b")
    both = load_atlas(tmp_path / "maps")
    assert [both.turn(number) for number in (0, 1, 9, 19)] == [0, 0, 1, 1]
    monkeypatch.setattr(atlas_module, "TURN_WITHOUT_ORGANS", 2)
    assert [both.turn(number) for number in range(4)] == [0, 1, 0, 1]
    nothing = load_atlas(tmp_path / "maps", include=["b"])
    assert [nothing.turn(number) for number in range(12)] == [0] * 12


def test_the_organs_of_a_cached_map_are_known_without_reading_its_volumes(three, tmp_path, monkeypatch):
    load_atlas(three, tmp_path / "cache")
    monkeypatch.setattr(atlas_cache, "_read_cache", None)
    assert load_atlas(three, tmp_path / "cache", memory_gb=0).with_organs == (0, 1, 2)


def test_the_organs_of_a_map_whose_cache_broke_are_found_anew(three, tmp_path):
    load_atlas(three, tmp_path / "cache")
    source = choose_sources(three)[0]
    (tmp_path / "cache" / "a.npz").write_bytes(b"x")
    assert "pancreas" in atlas_cache.read_organs(source, tmp_path / "cache", PREPARED_SPACING_MM)
