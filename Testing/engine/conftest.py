"""A tiny model and a model folder of the test's own."""

from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.models.loading import save_model
from AttentionUNetSegmentationLib.models.store import MODEL_FOLDER_VARIABLE
from support import phantoms


@pytest.fixture
def own_model_folder(tmp_path, monkeypatch) -> Path:
    """The folder that added models go to."""
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """An untrained model, as a folder."""
    folder = tmp_path_factory.mktemp("model")
    untrained = phantoms.model()
    save_model(folder, untrained.network, untrained.spec)
    return folder


@pytest.fixture
def saved(tmp_path) -> Path:
    """An untrained model of the test's own, which it may change, as a folder."""
    model = phantoms.model()
    save_model(tmp_path / "model", model.network, model.spec)
    return tmp_path / "model"
