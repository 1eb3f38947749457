"""Fixtures for all tests: a tiny model, and the headless Slicer host's ``slicer``, ``qt`` and ``slicer_session``.

Tests in page/ need a browser and a machine that does nothing else; they run by themselves: make test-browser.
"""

import signal
from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.models.loading import save_model
from support import phantoms

pytest_plugins = ["slicer_host.pytest_plugin"]
PAGE = Path(__file__).parent / "page"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so. Processes that tests start inherit it, and would never see Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests of the page out unless they are named."""
    named = any(Path(argument.split("::")[0]).resolve().is_relative_to(PAGE) for argument in config.args)
    return True if collection_path == PAGE and not named else None


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """An untrained model, as a folder."""
    folder = tmp_path_factory.mktemp("model")
    untrained = phantoms.model()
    save_model(folder, untrained.network, untrained.spec)
    return folder
