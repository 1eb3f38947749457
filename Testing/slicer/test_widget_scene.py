"""A scene that is closed, saved or loaded, and a result that is removed from it, as the panel shows them."""

import pytest
import vtk

import slicer_host
from support.panel_reading import cells, gates


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


@pytest.mark.parametrize("panel", ["open", "left", "made later"])
def test_every_choice_comes_back_whenever_the_panel_is_opened(
    slicer, module, widget, done, add_ct, tmp_path, panel, monkeypatch
):
    from slicer.parameterNodeWrapper import FloatRange

    chosen = widget._parameterNode
    add_ct("another")  # with one CT it would be chosen anyway
    chosen.roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    chosen.colorMap = slicer.util.getNode("Attention")
    chosen.device, chosen.probabilities, chosen.allFrames, chosen.linkViews = "CPU", True, True, False
    chosen.gate, chosen.attentionThreshold = "s2-2", FloatRange(0.25, 0.75)
    nodes = [chosen.getValue(name).GetName() for name in ("inputVolume", "outputSegmentation", "roi", "colorMap")]
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    if panel == "left":
        slicer_host.leave()
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    if panel == "left":
        slicer_host.enter("AttentionUNetSegmentation")
    if panel == "made later":
        monkeypatch.setattr(module, "LIB", "none")  # keeps the engine's modules, which other tests hold on to
        widget = slicer_host.reload_module("AttentionUNetSegmentation")
    for shown in (widget._parameterNode, widget.logic.getParameterNode()):
        names = ("inputVolume", "outputSegmentation", "roi", "colorMap")
        assert [shown.getValue(name).GetName() for name in names] == nodes
        assert (shown.device, shown.probabilities, shown.allFrames, shown.linkViews) == ("CPU", True, True, False)
        assert (shown.gate, shown.attentionThreshold) == ("s2-2", FloatRange(0.25, 0.75))
    assert cells(widget, 2) == ["pancreas", "spleen", "right kidney", "left kidney"] and len(gates(widget)) == 10
    assert widget.ui.gateSelector.currentText == "s2-2"
    selectors = (widget.ui.inputSelector, widget.ui.outputSelector, widget.ui.roiSelector, widget.ui.colorMapSelector)
    assert [selector.currentNode().GetName() for selector in selectors] == nodes


@pytest.mark.parametrize("replace", [False, True])
def test_the_ct_of_a_loaded_scene_is_chosen(slicer, widget, add_ct, tmp_path, wait, replace):
    """Where the scene replaces another one, Slicer knows modalities only after the import has ended."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for name, modality in (("CT", "CT"), ("PET", "PT")):
        hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(add_ct(name)), "DICOM.Modality", modality)
    widget._parameterNode.inputVolume = None
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAddedEvent, lambda *_: slicer_host.process_events(0))
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": replace})  # its progress bar lets timers run
    wait(lambda: widget.ui.inputSelector.currentNode() is not None)
    assert widget._parameterNode.inputVolume.GetName() == "CT" and widget.ui.segmentButton.enabled


def test_what_comes_within_a_batch_is_looked_at_after_it(slicer, widget, add_ct, wait):
    slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
    ct = add_ct()
    slicer_host.process_events(0.1)
    assert widget._parameterNode.inputVolume is None
    slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
    wait(lambda: widget._parameterNode.inputVolume is ct)


def test_loading_a_scene_keeps_the_result_if_the_choices_come_before_it(slicer, module, add_ct, network, tmp_path):
    ct = add_ct()
    widget = slicer_host.enter("AttentionUNetSegmentation")  # its parameter node stands between CT and result
    widget._parameterNode.outputSegmentation = widget.logic.segment(ct, predictor=network(), device="cpu")
    widget.ui.attentionOpacitySlider.value = 0.35
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert widget._parameterNode.inputVolume.GetName() == "CT"
    assert widget._parameterNode.outputSegmentation.GetName() == "CT segmentation"
    assert widget.ui.organTable.rowCount == 4 and widget.ui.attentionOpacitySlider.value == 0.35
    widget.logic.stop()


def test_what_selectors_say_during_an_import_is_not_taken(slicer, widget, add_ct):
    first, second = add_ct("first"), add_ct("second")
    widget.ui.inputSelector.setCurrentNode(first)
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    widget.ui.inputSelector.setCurrentNode(second)
    assert widget.logic.getParameterNode().inputVolume is first
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    assert widget.logic.getParameterNode().inputVolume is first
    assert widget.ui.inputSelector.currentNode() is first


def test_importing_a_scene_keeps_the_choices(slicer, widget, done):
    """Slicer's selectors build their lists anew when an import ends, and lose their node before modules hear of it."""
    ct, selectors = widget._parameterNode.inputVolume, (widget.ui.inputSelector, widget.ui.outputSelector)

    def lose(caller, event):
        for selector in selectors:
            selector.setCurrentNode(None)

    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndImportEvent, lose, 1.0)
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    slicer.mrmlScene.RemoveObserver(tag)
    assert widget._parameterNode.inputVolume is ct and widget._parameterNode.outputSegmentation is done
    assert [selector.currentNode() for selector in selectors] == [ct, done]
    assert widget.ui.organTable.rowCount == 4


def test_in_place_of_a_removed_result_none_is_chosen(slicer, widget, done):
    """Slicer's selectors choose another node when theirs goes: here the user's own segmentation."""
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    selector = widget.ui.outputSelector

    def jump(caller, event):
        if selector.currentNode() is done:
            selector.setCurrentNode(mine)

    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAboutToBeRemovedEvent, jump, -10.0)
    slicer.mrmlScene.RemoveNode(done)
    slicer.mrmlScene.RemoveObserver(tag)
    assert widget._parameterNode.outputSegmentation is None and selector.currentNode() is None


def test_entering_again_shows_the_same_parameters_and_leaves_no_old_binding(slicer, widget, add_ct):
    ct = widget._parameterNode.inputVolume = add_ct()
    left = widget._parameterNode
    slicer_host.leave()
    assert widget._parameterNode is None
    assert not widget.hasObserver(left.parameterNode, vtk.vtkCommand.ModifiedEvent, widget._onParametersModified)
    widget.ui.attentionOpacitySlider.value = 0.25
    left.attentionOpacity = 0.75
    assert (left.attentionOpacity, widget.ui.attentionOpacitySlider.value) == (0.75, 0.25)
    slicer_host.enter("AttentionUNetSegmentation")
    assert widget._parameterNode.inputVolume is ct and widget.ui.attentionOpacitySlider.value == 0.75


def test_a_closed_scene_brings_parameters_of_its_own(slicer, widget, add_ct, wait):
    widget._parameterNode.inputVolume = add_ct()
    slicer.mrmlScene.Clear(0)
    shown = widget._parameterNode
    assert shown.inputVolume is None
    assert shown.parameterNode is slicer.mrmlScene.GetNodeByID(shown.parameterNode.GetID())
    shown.inputVolume = another = add_ct("another")
    assert widget.ui.inputSelector.currentNode() is another


def test_a_module_that_is_left_lets_go_of_a_removed_result(slicer, widget, done):
    slicer_host.leave()
    assert widget.organPanel.table
    slicer.mrmlScene.RemoveNode(done)
    assert widget._shownSegmentation is None and not widget.organPanel.table
