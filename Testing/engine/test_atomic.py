"""Files that appear when they are complete, or not at all."""

import os

import pytest

from AttentionUNetSegmentationLib import atomic
from AttentionUNetSegmentationLib.atomic import move_into_place, scratch_folder, sha256_of, write_text


def fill(folder, content):
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_sha256_of_a_known_content(tmp_path):
    fill(tmp_path, {"a": "abc"})  # the standard's own example
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_text_comes_with_the_folders_above_it_and_leaves_nothing_else(tmp_path):
    write_text(tmp_path / "a" / "b" / "t.txt", "ä\n")
    assert (tmp_path / "a" / "b" / "t.txt").read_bytes() == "ä\n".encode()
    write_text(tmp_path / "a" / "b" / "t.txt", "new")
    assert tree(tmp_path) == {"a/b/t.txt": "new"}


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_text(tmp_path / "t.txt", "old")
    monkeypatch.setattr(atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_text(tmp_path / "t.txt", "new")
    assert tree(tmp_path) == {"t.txt": "old"}


def test_files_and_folders_are_exchanged_and_others_stay(tmp_path):
    fill(tmp_path, {"a": "old", "case/x": "old", "case/gone": "old", "stale": "old", "mine": "mine"})
    with scratch_folder(tmp_path) as scratch:
        fill(scratch, {"a": "new", "case/x": "new"})
        move_into_place(scratch, tmp_path, replaced=["stale"])
    assert tree(tmp_path) == {"a": "new", "case/x": "new", "mine": "mine"}


def test_the_last_entry_is_there_only_while_all_others_are(tmp_path, monkeypatch):
    fill(tmp_path, {"a": "old", "b": "old", "report": "old"})
    seen, replace = [], os.replace

    def watched(old, new):
        replace(old, new)
        seen.append((tmp_path / "report").is_file())

    monkeypatch.setattr(atomic.os, "replace", watched)
    with scratch_folder(tmp_path) as scratch:
        fill(scratch, {"a": "new", "b": "new", "report": "new"})
        move_into_place(scratch, tmp_path, last="report")
    assert seen == [False] * 5 + [True]
    assert set(tree(tmp_path).values()) == {"new"}


@pytest.mark.parametrize("moves", range(1, 7))
def test_what_cannot_be_moved_is_put_back(tmp_path, monkeypatch, moves):
    before = {"a": "old", "case/x": "old", "report": "old", "mine": "mine"}
    fill(tmp_path, before)
    count, replace = 0, os.replace

    def failing(old, new):
        nonlocal count
        count += 1
        if count == moves:
            raise KeyboardInterrupt
        replace(old, new)

    with scratch_folder(tmp_path) as scratch:
        fill(scratch, {"a": "new", "case/x": "new", "report": "new"})
        monkeypatch.setattr(atomic.os, "replace", failing)
        with pytest.raises(KeyboardInterrupt):
            move_into_place(scratch, tmp_path, last="report")
    assert tree(tmp_path) == before


def test_what_cannot_be_put_back_is_kept_and_named(tmp_path, monkeypatch):
    """Another program has opened a new file before the next one cannot be moved."""
    fill(tmp_path, {"a": "old a", "b": "old b", "c": "old c"})
    replace = os.replace

    def locked(old, new):
        if str(new).endswith("b") and ".writing-" in str(old) and ".replaced" not in str(old):
            raise PermissionError("b is locked")
        if str(old) == str(tmp_path / "a") and (tmp_path / "a").read_text() == "new a":
            raise PermissionError("a is locked")
        replace(old, new)

    monkeypatch.setattr(atomic.os, "replace", locked)
    with scratch_folder(tmp_path) as scratch:
        fill(scratch, {"a": "new a", "b": "new b", "c": "new c"})
        with pytest.raises(OSError, match=r"not-put-back-\w+ keeps what could not be put back in its place: a$"):
            move_into_place(scratch, tmp_path, last="b")
    found = tree(tmp_path)
    assert sorted(found.values()) == ["new a", "old a", "old b", "old c"]
    assert (found["a"], found["b"], found["c"]) == ("new a", "old b", "old c")


def test_a_folder_in_the_way_of_a_file_is_left_alone(tmp_path):
    fill(tmp_path, {"a": "old", "b/kept": "kept"})
    with scratch_folder(tmp_path) as scratch:
        fill(scratch, {"a": "new", "b": "new"})
        with pytest.raises(OSError, match="directory"):
            move_into_place(scratch, tmp_path)
    assert tree(tmp_path) == {"a": "old", "b/kept": "kept"}


def test_a_folder_may_have_any_ordinary_name(tmp_path):
    with scratch_folder(tmp_path) as scratch:
        fill(scratch, {"backup/x": "new"})
        move_into_place(scratch, tmp_path)
    assert tree(tmp_path) == {"backup/x": "new"}
