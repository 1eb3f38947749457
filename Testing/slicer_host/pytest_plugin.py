"""Fixtures that share one host among the tests of a process.

The topmost conftest.py says `pytest_plugins = ["slicer_host.pytest_plugin"]`.
"""

import sys

import pytest

import slicer_host


@pytest.fixture(scope="session")
def slicer_session():
    """The `slicer` module of a started host; the tests are skipped where it cannot start."""
    missing = slicer_host.missing_packages()
    if missing:
        pytest.skip(f"the headless Slicer host needs {', '.join(missing)}")
    yield slicer_host.start()
    slicer_host.stop()


@pytest.fixture
def slicer(slicer_session):
    """The `slicer` module with an empty scene; fails the test if anything went wrong behind its back."""
    slicer_host.reset()
    slicer_host.check()
    yield slicer_session
    slicer_host.reset()
    slicer_host.check()


@pytest.fixture
def qt(slicer):
    """The `qt` module of the host."""
    return sys.modules["qt"]
