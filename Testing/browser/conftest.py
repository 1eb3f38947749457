"""Sessions' folders lie in a folder of the test's own, and nothing of a session outlives a test."""

import sys
import tempfile

import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp", reason="the group view of pyproject.toml is not installed")
    if sys.platform != "linux":
        pytest.skip("/proc, which tells what processes are left, is Linux's")
    from support.browser_front import children, folders, of_other_tests

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    of_other_tests.update(children())
    yield
    assert folders() == []
    assert children() == []
