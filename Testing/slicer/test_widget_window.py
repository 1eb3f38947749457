"""The abdomen window: set where the window is automatic, never in place of one that the user chose."""

import numpy as np
import pytest

import slicer_host
from support import phantoms

BODY = phantoms.grid((24, 40, 40), (8.0, 8.0, 8.0))


@pytest.fixture
def abdomen(slicer):
    """Function that adds the display node of a body of fat and soft tissue in air, its window automatic."""

    def add(change=lambda hu: hu, modality=""):
        shells = [(phantoms.ball(BODY, (0, 0, 0), radius), hu) for radius, hu in ((90, -90.0), (75, 50.0))]
        hu = phantoms.hu_from(shells, -1000.0) + np.random.default_rng(0).normal(0, 10, BODY.shape_kji)
        node = slicer.util.addVolumeFromArray(change(hu).astype(np.float32), name="CT")
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(BODY.ijk_to_ras))
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", modality)
        return node.GetDisplayNode()

    return add


def shown(display):
    slicer_host.process_events(0.05)
    return bool(display.GetAutoWindowLevel()) or (display.GetWindow(), display.GetLevel())


def test_a_ct_with_an_automatic_window_gets_the_abdomen_window_until_it_is_unticked(slicer, widget, abdomen):
    display = abdomen()
    assert shown(display) == (400, 60)
    widget.ui.abdomenWindowCheckBox.click()
    assert shown(display) is True
    other = abdomen()
    assert shown(other) is True
    widget.ui.abdomenWindowCheckBox.click()
    assert shown(display) == (400, 60) and shown(other) is True  # the input only
    widget.ui.inputSelector.setCurrentNode(other.GetDisplayableNode())
    assert shown(other) == (400, 60)


def test_a_window_that_was_chosen_stays(widget, abdomen):
    display = abdomen()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(1500, -600)
    for _ in range(3):
        assert shown(display) == (1500, -600)
        widget.ui.abdomenWindowCheckBox.click()


def test_a_window_that_is_changed_later_stays(widget, abdomen):
    display = abdomen()
    assert shown(display) == (400, 60)
    display.SetWindowLevel(350, 50)
    for _ in range(3):
        widget.ui.abdomenWindowCheckBox.click()
        assert shown(display) == (350, 50)


def test_a_window_that_is_made_automatic_again_stays_so(widget, abdomen):
    display = abdomen()
    assert shown(display) == (400, 60)
    display.AutoWindowLevelOn()
    slicer_host.leave()
    slicer_host.enter("AttentionUNetSegmentation")
    widget.ui.attentionOpacitySlider.value = 0.3
    assert shown(display) is True


@pytest.mark.parametrize(
    ("change", "modality"),
    [(lambda hu: hu + 1024, ""), (lambda hu: hu * 10, ""), (lambda hu: hu, "MR")],
)
def test_what_is_no_ct_in_hu_keeps_its_window(widget, abdomen, change, modality):
    display = abdomen(change, modality)
    assert shown(display) is True
    assert widget.ui.inputSelector.currentNode() is display.GetDisplayableNode()


def test_the_choice_is_saved_with_the_scene(slicer, widget, abdomen, tmp_path):
    display = abdomen()
    assert shown(display) == (400, 60)
    widget.ui.abdomenWindowCheckBox.click()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert widget.ui.abdomenWindowCheckBox.checked
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    slicer_host.process_events(0.05)
    assert not widget.ui.abdomenWindowCheckBox.checked
    assert shown(slicer.util.getNode("CT").GetDisplayNode()) is True
