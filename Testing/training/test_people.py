"""Who is shown by label maps, and that nobody is in training who is held out."""

import json

import pytest

from attention_unet_training.data.people import RECORD, Shown, check_apart, read_people

NAMES = ("a", "b", "a_b", "c_b", "c_d")


def write(folder, content):
    (folder / RECORD).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def entry(recipient, donor):
    return {"recipient": recipient, "donor": donor, "misfit": 0.1, "lost": {}}


@pytest.fixture
def people(tmp_path):
    record = {f"{r}_{d}": entry(r, d) for r, d in (("a", "b"), ("c", "b"), ("c", "d"))}
    return read_people(write(tmp_path, record | {"elsewhere": entry("e", "f")}), NAMES)


def test_completed_maps_show_two_people_and_others_one(people):
    assert people["a"] == Shown("a", "a")
    assert people["c_d"] == Shown("c", "d")
    assert set(people) == set(NAMES)


def test_without_a_record_names_are_not_taken_apart(tmp_path):
    assert read_people(tmp_path, NAMES)["a_b"] == Shown("a_b", "a_b")
    check_apart(read_people(tmp_path, NAMES), ["a"], ["a_b", "b"])


@pytest.mark.parametrize(
    ("held_out", "training", "message"),
    [
        (["a"], ["a_b", "b"], "a_b shows a, as a does;"),  # the organs are a's
        (["b"], ["a", "a_b"], "a_b shows b, as b does;"),  # all else is b's
        (["a_b"], ["b"], "b shows b, as a_b does;"),  # the whole map of a donor
        (["a_b"], ["a"], "a shows a, as a_b does;"),
        (["a_b"], ["c_b"], "c_b shows b, as a_b does;"),  # both are completed by b
        (["c_d"], ["c_b", "a"], "c_b shows c, as c_d does;"),  # the same organs
    ],
)
def test_people_who_are_held_out_are_refused_in_training(people, held_out, training, message):
    with pytest.raises(ValueError, match=f"training must not show people who are held out: {message}"):
        check_apart(people, held_out, training)


def test_a_map_that_is_bent_towards_someone_held_out_is_refused_too(tmp_path):
    bent = entry("a", "b") | {"towards": "c", "share": 0.5}
    people = read_people(write(tmp_path, {"a_b_to_c": bent}), ["a_b_to_c", "c", "d"])
    assert people["a_b_to_c"] == Shown("a", "b", "c")
    check_apart(people, ["d"], ["a_b_to_c", "c"])
    with pytest.raises(ValueError, match="a_b_to_c shows c, as c does"):
        check_apart(people, ["c"], ["a_b_to_c"])
    with pytest.raises(ValueError, match="c shows c, as a_b_to_c does"):
        check_apart(people, ["a_b_to_c"], ["c"])


def test_of_several_maps_one_is_named_and_the_others_counted(people):
    with pytest.raises(ValueError, match="a_b shows b, as b does, and so do 1 more; hold such label maps out too"):
        check_apart(people, ["b"], ["c_b", "a_b", "c_d"])


def test_people_who_share_nobody_pass(people):
    check_apart(people, ["a", "b", "a_b"], ["c_d"])
    check_apart(people, [], NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ([1], "must hold an entry for each completed label map"),
        ({"a_b": ["a", "b"]}, "a_b must have a recipient and a donor"),
        ({"a_b": {"recipient": "a"}}, "a_b must have a recipient and a donor"),
        ({"a_b": {"recipient": "a", "donor": 3}}, "a_b must have a recipient and a donor"),
        ({"a_b": {"recipient": "a", "donor": "b", "towards": 3}}, "a_b must have a recipient and a donor"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        read_people(write(tmp_path, content), NAMES)
    assert str(error.value).startswith(str(tmp_path / RECORD))
