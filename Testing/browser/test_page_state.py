"""What a visitor's state may hold, and what becomes of anything else."""

import pytest

from AttentionUNetSegmentationLib.models.store import PACKAGED_MODELS, read_spec

SPECS = {"abdomen-ct": read_spec(PACKAGED_MODELS / "abdomen-ct")}
GATES = ["none", "s2-1"]
CHOICES = ("window", "layout", "model", "gate", "color", "opacity", "threshold")


@pytest.fixture
def put_right(slicer):
    """The function, which belongs to a session, whose process holds the Slicer host."""
    pytest.importorskip("trame_server")
    from AttentionUNetSegmentationLib.browser.page_state import put_right

    return put_right


@pytest.fixture
def page(put_right):
    """A state as a page begins with."""
    from trame_server.state import State

    from AttentionUNetSegmentationLib.browser.page_state import start_values

    state = State()
    state.update({**start_values(SPECS, can_upload=True), "window": "", "layout": ""})
    put_right(state, SPECS, GATES)
    state.error = ""
    return state


@pytest.mark.parametrize("name", CHOICES)
def test_what_is_not_offered_is_put_right_in_a_sentence(page, put_right, name):
    before = {choice: page[choice] for choice in CHOICES}
    for forged in ("/etc/passwd", {"a": 1}, [2, 1], None, 7, True):
        page.update({name: forged, "error": ""})
        put_right(page, SPECS, GATES)
        assert page.error == f"That {name} does not exist.", forged
        assert {choice: page[choice] for choice in CHOICES} == before


def test_what_is_offered_stays(page, put_right):
    page.update({"gate": "s2-1", "opacity": 1, "threshold": [0.2, 0.4], "model": ""})
    put_right(page, SPECS, GATES)
    assert (page.gate, page.opacity, page.threshold, page.model, page.error) == ("s2-1", 1, [0.2, 0.4], "", "")
