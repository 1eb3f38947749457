"""A scene that is closed, saved or loaded, and a result that is removed from it, as the panel shows them."""

import slicer_host
from panel_reading import cells, gates


def test_closing_the_scene_clears_the_panel(slicer, widget, done):
    widget.ui.gateSelector.setCurrentIndex(1)
    widget.ui.probabilitiesCheckBox.click()
    slicer.mrmlScene.Clear(False)
    slicer_host.process_events(0.05)
    assert widget.ui.organTable.rowCount == 0 and gates(widget) == ["none"]
    assert widget.ui.statusLabel.text == "" == widget.ui.warningsLabel.text
    assert widget._parameterNode.gate == "none" and not widget.ui.probabilitiesCheckBox.checked


def test_removing_the_result_clears_the_panel(slicer, widget, done, wait):
    widget.ui.gateSelector.setCurrentIndex(1)
    slicer.mrmlScene.RemoveNode(done)
    wait(lambda: widget.ui.organTable.rowCount == 0)
    assert gates(widget) == ["none"]
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetForegroundVolumeID() is None


def test_save_and_load(slicer, widget, done, tmp_path, wait):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s2-2"))
    widget.ui.attentionOpacitySlider.value = 0.35
    widget.ui.deviceSelector.setCurrentIndex(2)
    before = cells(widget, 2), cells(widget, 3), cells(widget, 4), widget.ui.statusLabel.text, gates(widget)
    share = widget.ui.attentionShareLabel.text
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    wait(lambda: widget.ui.organTable.rowCount == 4)
    after = cells(widget, 2), cells(widget, 3), cells(widget, 4), widget.ui.statusLabel.text, gates(widget)
    assert after == before
    assert widget.ui.gateSelector.currentText == "s2-2" and widget.ui.attentionShareLabel.text == share
    assert widget.ui.attentionOpacitySlider.value == 0.35 and widget.ui.deviceSelector.currentText == "CPU"
    assert widget.ui.inputSelector.currentNode().GetName() == "CT ä"
