"""Pictures of the views and of the panel show what they should, at the right place."""

import numpy as np
import pytest

import slicer_host


@pytest.fixture
def scene_with_a_ball(slicer):
    """A grey block of 40 mm around the origin, with a red cube of 20 mm inside."""
    array = np.zeros((40, 40, 40), np.int16)
    array[10:30, 10:30, 10:30] = 100
    ijk_to_ras = np.diag([2.0, 2.0, 2.0, 1.0])
    ijk_to_ras[:3, 3] = -39
    volume = slicer.util.addVolumeFromArray(array, ijk_to_ras, "CT")
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment_id = node.GetSegmentation().AddEmptySegment("cube", "cube", (1, 0, 0))
    labels = np.zeros_like(array, dtype=np.uint8)
    labels[15:25, 15:25, 15:25] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, segment_id, volume)
    slicer.util.setSliceViewerLayers(background=volume)
    return node


@pytest.mark.parametrize("view", ["Red", "Yellow", "Green"])
def test_slice_with_segment(scene_with_a_ball, view):
    from slicer_host import render

    rgb = render.render_slice(view, (200, 160))
    assert (rgb.shape, rgb.dtype) == ((160, 200, 3), np.uint8)
    inside, around, outside = rgb[80, 100], rgb[80, 70], rgb[4, 4]
    assert inside[0] > 170 and inside[1] < 90 and inside[2] < 90
    assert around.tolist() == [127, 127, 127]
    assert outside.tolist() == [0, 0, 0]


def test_foreground_overlay_uses_its_color_table_and_threshold(slicer, scene_with_a_ball):
    from slicer_host import render

    overlay = slicer.util.addVolumeFromArray(np.ones((40, 40, 40), np.float32), name="attention")
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = -39
    overlay.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    array = slicer.util.arrayFromVolume(overlay)
    array[:, :, :20] = 0
    slicer.util.arrayFromVolumeModified(overlay)
    display = overlay.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGreen")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetThreshold(0.5, 1)
    display.ApplyThresholdOn()
    scene_with_a_ball.GetDisplayNode().SetVisibility(False)
    slicer.util.setSliceViewerLayers(foreground=overlay, foregroundOpacity=1.0)
    rgb = render.render_slice("Red", (200, 200))
    # Radiological view: the patient's right, where the overlay is 1, is on the left of the picture.
    np.testing.assert_allclose(rgb[100, 70], (0, 255, 0), atol=2)
    np.testing.assert_allclose(rgb[100, 130], (127, 127, 127), atol=2)


def test_panel_picture(qt, tmp_path):
    from slicer_host import render

    label = qt.QLabel()
    label.setStyleSheet("background: rgb(10, 20, 30)")
    label.setFixedSize(41, 23)
    render.save_widget(label, tmp_path / "panel.png")
    image = qt.QImage(str(tmp_path / "panel.png"))
    assert (image.width(), image.height()) == (41, 23)
    assert image.pixelColor(20, 10).getRgb() == (10, 20, 30, 255)
    slicer_host.process_events()
