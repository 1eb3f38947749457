"""Choice of the model: adding, removing, and models that cannot be used."""

import shutil

import pytest

import slicer_host
from support.panel_reading import errors, model_version


@pytest.mark.slow
def test_models_are_added_and_removed(widget, module, tmp_path, monkeypatch):
    from AttentionUNetSegmentationLib.models.store import PACKAGED_MODELS

    monkeypatch.setenv("ATTENTION_UNET_MODELS", str(tmp_path / "models"))
    source = tmp_path / "mine"
    shutil.copytree(PACKAGED_MODELS / "abdomen-ct", source)
    text = (source / "model.json").read_text(encoding="utf-8")
    (source / "model.json").write_text(text.replace('"name": "abdomen-ct"', '"name": "mine"'), encoding="utf-8")
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(source / "model.json")):
        widget.ui.addModelButton.click()
    assert errors() == [] and widget.ui.modelSelector.currentText.startswith(f"mine {model_version()}:")
    assert widget._parameterNode.model == "mine" and widget.ui.removeModelButton.enabled
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(source / "model.json")):
        widget.ui.addModelButton.click()
    assert len(errors()) == 1 and "is there already" in errors()[0]
    with slicer_host.testing_mode(False), slicer_host.answering(accept=False):
        widget.ui.removeModelButton.click()
    assert (tmp_path / "models" / "mine").is_dir()
    with slicer_host.testing_mode(False), slicer_host.answering(accept=True):
        widget.ui.removeModelButton.click()
    assert not (tmp_path / "models" / "mine").exists()
    assert widget.ui.modelSelector.currentText.startswith("abdomen-ct")


def test_a_file_that_is_no_model_is_refused_once(widget, tmp_path):
    (tmp_path / "wrong.zip").write_bytes(b"no zip")
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(tmp_path / "wrong.zip")):
        widget.ui.addModelButton.click()
    assert len(errors()) == 1 and "is not a readable zip" in errors()[0]


def test_a_scenes_model_that_is_not_installed_is_named_not_replaced(widget, add_ct, wait):
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget._parameterNode.model = "mine"  # as a scene from another computer says
    for _ in range(2):
        widget.initializeParameterNode()
        slicer_host.process_events(0.05)
        assert widget.ui.modelSelector.currentText == "mine (unusable)"
        assert not widget.ui.segmentButton.enabled and not widget.ui.removeModelButton.enabled
        assert "'mine' is not installed" in widget.ui.segmentButton.toolTip
        assert widget._parameterNode.model == "mine"
    widget.ui.modelSelector.setCurrentIndex(0)
    assert widget._parameterNode.model == "abdomen-ct" and widget.ui.segmentButton.enabled


def test_a_damaged_model_cannot_be_run(widget, add_ct, tmp_path, monkeypatch, wait):
    folder = tmp_path / "models" / "damaged"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv("ATTENTION_UNET_MODELS", str(tmp_path / "models"))
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.modelPanel.refresh("damaged")
    slicer_host.process_events(0.05)
    assert widget.ui.modelSelector.currentText == "damaged (unusable)"
    assert not widget.ui.segmentButton.enabled and "lacks keys" in widget.ui.segmentButton.toolTip
    assert "lacks keys" in widget.ui.modelInfoLabel.text and widget.ui.modelDetailsButton.isHidden()
