"""A CT that shows a frame of a sequence: the current frame, or all of them."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def browser_of_two(slicer, add_ct):
    """Function that makes a browser with two frames; returns it, and its proxy volume."""

    def make(name="4D", values=("0", "0.5"), centres=((12, -25, 40), (4, -15, 50))):
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} sequence")
        sequence.SetIndexName("time")
        sequence.SetIndexUnit("s")
        for value, centre in zip(values, centres, strict=True):
            frame = add_ct(centre=centre, radius=14.0 if value == "0" else 18.0)
            sequence.SetDataNodeAtValue(frame, value)
            slicer.mrmlScene.RemoveNode(frame)
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        volume = browser.GetProxyNode(sequence)
        volume.SetName(name)
        return browser, volume

    return make


def select(slicer, browser, number):
    browser.SetSelectedItemNumber(number)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def pancreas(node):
    from AttentionUNetSegmentationLib.scene.organ_table import rows

    return next(row for row in rows(node) if row.name == "pancreas")


def test_by_default_only_the_current_frame_is_segmented(slicer, logic, network, browser_of_two):
    browser, volume = browser_of_two()
    predictor = network()
    select(slicer, browser, 1)
    node = logic.segment(volume, device="cpu", predictor=predictor)
    assert predictor.calls == 1
    assert pancreas(node).centroid_ras_mm == pytest.approx((4, -15, 50), abs=1)
    assert browser.GetSequenceNode(node) is None


def test_the_result_of_another_frame_is_not_replaced(slicer, widget, network, browser_of_two):
    browser, volume = browser_of_two()
    first = widget.logic.segment(volume, device="cpu", predictor=network())
    widget.logic.getParameterNode().outputSegmentation = first
    assert widget.ui.warningsLabel.text.endswith("organs and maps are of frame 0 only")
    select(slicer, browser, 1)
    second = widget.logic.segment(volume, first, device="cpu", predictor=network())
    assert second is not first
    assert pancreas(first).centroid_ras_mm == pytest.approx((12, -25, 40), abs=1)
    assert pancreas(second).centroid_ras_mm == pytest.approx((4, -15, 50), abs=1)
    widget.logic.getParameterNode().outputSegmentation = second
    assert "holds the result of frame 0; the result is in a new segmentation" in widget.ui.warningsLabel.text
    assert "organs and maps are of frame 0.5 only" in widget.ui.warningsLabel.text
    select(slicer, browser, 0)
    assert widget.logic.segment(volume, first, device="cpu", predictor=network()) is first
    select(slicer, browser, 1)
    assert widget.logic.segment(volume, first, device="cpu", predictor=network(), allFrames=True) is first


def test_an_edited_organ_is_not_measured_on_another_frame(slicer, logic, network, browser_of_two):
    browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network())
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, "pancreas", volume)
    array[: array.shape[0] // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, "pancreas", volume)
    edited = pancreas(node).mean_hu
    assert edited is not None
    select(slicer, browser, 1)
    assert pancreas(node).mean_hu is None
    select(slicer, browser, 0)
    assert pancreas(node).mean_hu == edited


@pytest.mark.parametrize("current", [0, 1])
def test_all_frames(slicer, logic, network, browser_of_two, current):
    browser, volume = browser_of_two()
    select(slicer, browser, current)
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    sequence = browser.GetSequenceNode(node)
    assert sequence.GetNumberOfDataNodes() == 2
    assert [sequence.GetNthIndexValue(n) for n in range(2)] == ["0", "0.5"]
    expected = ((12, -25, 40), (4, -15, 50))
    for number in (1, 0, 1):
        select(slicer, browser, number)
        assert pancreas(node).centroid_ras_mm == pytest.approx(expected[number], abs=1)
    table = node.GetNodeReference("AttentionUNet.FrameTable")
    assert table.GetTable().GetNumberOfRows() == 2
    assert [table.GetCellText(n, 0) for n in range(2)] == ["0", "0.5"]
    volumes = [float(table.GetCellText(n, 1)) for n in range(2)]
    assert all(table.GetTable().GetColumn(n).IsA("vtkDoubleArray") for n in range(2))  # texts cannot be plotted
    assert volumes == pytest.approx([4 / 3 * np.pi * r**3 / 1000 for r in (14, 18)], rel=0.06)


def test_surfaces_are_made_of_the_frame_that_is_shown_only(slicer, logic, network, browser_of_two):
    browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network())
    node.CreateClosedSurfaceRepresentation()
    again = logic.segment(volume, node, device="cpu", predictor=network(), allFrames=True)
    sequence = browser.GetSequenceNode(again)
    with_surfaces = [
        sequence.GetNthDataNode(n).GetSegmentation().ContainsRepresentation("Closed surface") for n in range(2)
    ]
    assert again is node and with_surfaces == [True, False]
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_the_first_run_shows_one_segmentation_only(slicer, logic, network, browser_of_two):
    """While sequence and node are joined the browser must not make a node of its own for the sequence."""
    _, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == [node]
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationDisplayNode") == [node.GetDisplayNode()]


def test_a_second_run_reuses_the_sequence_and_the_table(slicer, logic, network, browser_of_two, scene_nodes):
    browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    before = scene_nodes()
    select(slicer, browser, 1)
    assert logic.segment(volume, node, device="cpu", predictor=network(), allFrames=True) is node
    assert scene_nodes() == before
    for number, centre in ((1, (4, -15, 50)), (0, (12, -25, 40)), (1, (4, -15, 50))):
        select(slicer, browser, number)
        assert pancreas(node).centroid_ras_mm == pytest.approx(centre, abs=1)


def test_a_single_frame_can_be_redone(slicer, logic, network, browser_of_two):
    browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    slicer.util.updateVolumeFromArray(volume, slicer.util.arrayFromVolume(volume)[:, :, ::-1])
    logic.segment(volume, node, device="cpu", predictor=network())
    redone = pancreas(node).centroid_ras_mm
    select(slicer, browser, 1)
    assert pancreas(node).centroid_ras_mm == pytest.approx((4, -15, 50), abs=1)
    select(slicer, browser, 0)
    assert pancreas(node).centroid_ras_mm == redone != pytest.approx((12, -25, 40), abs=1)


def test_a_frame_that_is_redone_has_its_new_volume_in_the_table(slicer, logic, network, browser_of_two):
    _browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    table = node.GetNodeReference("AttentionUNet.FrameTable")
    before = [float(table.GetCellText(n, 1)) for n in range(2)]
    voxels = slicer.util.arrayFromVolume(volume).copy()
    voxels[:, :, : voxels.shape[2] // 2] = voxels.min()  # half of the ball is gone, about
    slicer.util.updateVolumeFromArray(volume, voxels)
    assert logic.segment(volume, node, device="cpu", predictor=network()) is node
    assert node.GetNodeReference("AttentionUNet.FrameTable") is table
    after = [float(table.GetCellText(n, 1)) for n in range(2)]
    assert after[0] == pytest.approx(pancreas(node).volume_ml, abs=0.001) and after[0] < 0.9 * before[0]
    assert after[1] == before[1]


def test_a_frame_is_not_written_over_the_one_that_is_shown_meanwhile(slicer, logic, network, browser_of_two, wait):
    browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    ends = []
    logic.start(volume, node, device="cpu", predictor=network(seconds=0.3), onFinished=ends.append, onError=ends.append)
    select(slicer, browser, 1)
    wait(lambda: ends)
    from AttentionUNetSegmentationLib.scene.mrml import result_notes

    assert ends[0] is not node and pancreas(ends[0]).centroid_ras_mm == pytest.approx((12, -25, 40), abs=1)
    assert "'4D segmentation' shows another frame now; the result is in a new segmentation" in result_notes(ends[0])
    for number, centre in ((1, (4, -15, 50)), (0, (12, -25, 40))):
        select(slicer, browser, number)
        assert pancreas(node).centroid_ras_mm == pytest.approx(centre, abs=1)


@pytest.mark.parametrize("replace", [False, True])
def test_a_frame_that_was_edited_is_kept_though_another_is_shown(slicer, logic, network, browser_of_two, replace):
    browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    browser.GetSequenceNode(node).GetNthDataNode(1).GetSegmentation().GetSegment("pancreas").SetName("mine")
    options = {"device": "cpu", "allFrames": True, "replaceEdited": replace}
    made = logic.segment(volume, node, predictor=network(), **options)
    assert (made is node) is replace
    kept = browser.GetSequenceNode(node).GetNthDataNode(1).GetSegmentation().GetSegment("pancreas").GetName()
    assert kept == ("pancreas" if replace else "mine")
    assert logic.segment(volume, made, predictor=network(), **options) is made


def test_the_users_own_segments_are_not_copied_from_frame_to_frame(slicer, logic, network, browser_of_two):
    browser, volume = browser_of_two()
    node = logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    frames = [browser.GetSequenceNode(node).GetNthDataNode(n).GetSegmentation() for n in range(2)]
    frames[1].AddEmptySegment("mine", "mine")
    made = logic.segment(volume, node, device="cpu", predictor=network(), allFrames=True, replaceEdited=True)
    assert made is not node and [frame.GetNumberOfSegments() for frame in frames] == [4, 5]


def test_the_table_follows_the_frame(slicer, widget, network, browser_of_two, wait):
    browser, volume = browser_of_two()
    node = widget.logic.segment(volume, device="cpu", predictor=network(), allFrames=True)
    widget.logic.getParameterNode().outputSegmentation = node
    assert "the maps are of frame 0 only" in widget.ui.warningsLabel.text
    before = float(widget.ui.organTable.item(0, 3).text())
    select(slicer, browser, 1)
    wait(lambda: float(widget.ui.organTable.item(0, 3).text()) > 1.5 * before)
    assert "the maps are of frame 0 only" in widget.ui.warningsLabel.text
    assert "spleen: not found" in widget.ui.warningsLabel.text
    widget.logic.segment(volume, node, device="cpu", predictor=network())
    wait(lambda: "the maps are of frame 0.5 only" in widget.ui.warningsLabel.text)
    select(slicer, browser, 0)
    wait(lambda: float(widget.ui.organTable.item(0, 3).text()) == pytest.approx(before))
    assert "the maps are of frame 0.5 only" in widget.ui.warningsLabel.text
    assert "the maps are of frame 0 only" not in widget.ui.warningsLabel.text


def test_two_browsers_are_kept_apart(slicer, logic, network, browser_of_two):
    first_browser, first = browser_of_two("first")
    second_browser, second = browser_of_two("second", values=("1", "2"), centres=((0, -20, 45), (10, -20, 45)))
    node = logic.segment(second, device="cpu", predictor=network(), allFrames=True)
    assert second_browser.GetSequenceNode(node).GetNumberOfDataNodes() == 2
    assert first_browser.GetSequenceNode(node) is None
    select(slicer, first_browser, 1)
    assert pancreas(node).centroid_ras_mm == pytest.approx((0, -20, 45), abs=1)
    assert logic.segment(first, device="cpu", predictor=network()) is not node


def test_a_volume_outside_a_sequence_has_no_frames(logic, add_ct, network, scene_nodes):
    ct = add_ct()
    before = scene_nodes()
    with pytest.raises(ValueError, match="'CT' is not part of a sequence"):
        logic.segment(ct, device="cpu", predictor=network(), allFrames=True)
    assert scene_nodes() == before


def test_cancelled_after_the_first_frame_nothing_is_left(logic, network, browser_of_two, scene_nodes):
    _browser, volume = browser_of_two()
    before, predictor = scene_nodes(), network()
    with pytest.raises(RuntimeError, match="cancelled"):
        logic.segment(volume, device="cpu", predictor=predictor, allFrames=True, cancel=lambda: predictor.calls > 1)
    assert scene_nodes() == before


def test_progress_covers_all_frames(logic, network, browser_of_two):
    _browser, volume = browser_of_two()
    steps = []
    logic.segment(volume, device="cpu", predictor=network(), allFrames=True, progress=lambda *step: steps.append(step))
    fractions = [fraction for fraction, _ in steps]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any(step.startswith("frame 2 of 2: ") for _, step in steps)


def test_another_frame_chosen_during_the_run_is_pointed_out(slicer, logic, network, browser_of_two, wait):
    browser, volume = browser_of_two()
    ends = []
    logic.start(volume, device="cpu", predictor=network(seconds=0.3), onFinished=ends.append, onError=ends.append)
    select(slicer, browser, 1)
    wait(lambda: ends)
    from AttentionUNetSegmentationLib.scene.mrml import result_notes

    assert "the sequence shows another frame now; the result is of frame 0" in result_notes(ends[0])


def test_the_panel_offers_all_frames_of_a_sequence_only(slicer, widget, add_ct, browser_of_two, wait):
    ct = add_ct("plain")
    parameters = widget.logic.getParameterNode()
    parameters.inputVolume = ct
    wait(lambda: not widget.ui.allFramesCheckBox.enabled)
    _browser, volume = browser_of_two()
    parameters.inputVolume = volume
    assert widget.ui.allFramesCheckBox.enabled
