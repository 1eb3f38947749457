"""Ray for the cohort tests."""

import os
import sys

import pytest

from AttentionUNetSegmentationLib.cohort.connection import connected


@pytest.fixture(scope="module")
def ray_here():
    """This computer's own Ray, on two cores; yields the computers."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for workers that tests define
        with connected("", 2) as nodes:
            assert [node.cores for node in nodes] == [2]
            yield nodes
