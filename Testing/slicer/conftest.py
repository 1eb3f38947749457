"""The module in the headless host."""

import sys
from pathlib import Path

import pytest

import slicer_host

MODULE = Path(slicer_host.__file__).parents[2] / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"


@pytest.fixture
def module(slicer):
    """The module's Python file, loaded as the application loads it."""
    slicer_host.load_module(MODULE)
    return sys.modules["AttentionUNetSegmentation"]


@pytest.fixture
def logic(module):
    """A logic of the module; stopped at the end."""
    made = module.AttentionUNetSegmentationLogic()
    yield made
    made.stop()


@pytest.fixture
def widget(module):
    """The module's panel, shown."""
    shown = slicer_host.enter("AttentionUNetSegmentation")
    yield shown
    shown.logic.stop()
