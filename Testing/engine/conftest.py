"""A model folder, a model of the test's own, and results without a picture."""

from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.command import batch
from AttentionUNetSegmentationLib.models.loading import save_model
from AttentionUNetSegmentationLib.models.store import MODEL_FOLDER_VARIABLE
from support import phantoms


@pytest.fixture
def own_model_folder(tmp_path, monkeypatch) -> Path:
    """The folder that added models go to."""
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def saved(tmp_path) -> Path:
    """An untrained model of the test's own, which it may change, as a folder."""
    model = phantoms.model()
    save_model(tmp_path / "model", model.network, model.spec)
    return tmp_path / "model"


@pytest.fixture
def no_picture(monkeypatch) -> None:
    """Results have a few bytes in place of the picture, which takes as long to draw as all the rest of a tiny CT."""
    monkeypatch.setattr(batch, "write_overview", lambda volume, segmentation, path: path.write_bytes(b"picture"))
