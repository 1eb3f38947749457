"""Sessions' folders lie in a folder of the test's own, and nothing of a session outlives a test; what is uploaded."""

import asyncio
import inspect
import sys
import tempfile
from pathlib import Path

import pytest

from support.phantom_files import scan, write_slices


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the tests that are coroutines."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True


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


@pytest.fixture
def session(tmp_path) -> Path:
    """A session's folder beside a secret that is readable as voxels."""
    (tmp_path / "secret.raw").write_bytes(b"-top secret-data")
    (tmp_path / "session").mkdir()
    return tmp_path / "session"


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> list[tuple[str, bytes]]:
    """The files of a real series."""
    folder = tmp_path_factory.mktemp("series")
    write_slices(folder, scan())
    return [(f"DICOM/S1/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]
