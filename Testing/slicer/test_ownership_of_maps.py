"""A map is the module's own only while it is what a run wrote; one that was changed stays, and a new one is made."""

import numpy as np
import pytest
import vtk

pytestmark = pytest.mark.slow


@pytest.fixture
def maps_of(slicer):
    """The function that gives a result's maps by name."""
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    return maps_of


def rename(slicer, node):
    node.SetName("before therapy")


def paint(slicer, node):
    slicer.util.arrayFromVolume(node)[0, 0, 0] += 0.5


def move(slicer, node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    matrix.SetElement(0, 3, matrix.GetElement(0, 3) + 0.5)
    node.SetIJKToRASMatrix(matrix)


def align(slicer, node):
    node.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())


def empty(slicer, node):
    node.SetAndObserveImageData(None)


def forget_fingerprint(slicer, node):
    """As an older version wrote it."""
    node.RemoveAttribute("AttentionUNet.Written")


def state(slicer, node):
    voxels = None if node.GetImageData() is None else slicer.util.arrayFromVolume(node).tobytes()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return node.GetName(), voxels, slicer.util.arrayFromVTKMatrix(matrix).tolist(), node.GetTransformNodeID()


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize(
    "change", [rename, paint, move, align, empty, forget_fingerprint], ids=lambda change: change.__name__
)
def test_a_changed_map_stays(slicer, result, again, maps_of, change, attention):
    ct, node = result
    before = maps_of(node)
    mine = before.pop("s2-1")
    change(slicer, mine)
    as_changed = state(slicer, mine)
    assert again(ct, node, attention=attention, replaceEdited=True) is node
    assert slicer.mrmlScene.GetNodeByID(mine.GetID()) is mine and state(slicer, mine) == as_changed
    made = maps_of(node)
    new = made.pop("s2-1", None)
    assert made == (before if attention else {}) and new is not mine
    assert (new is not None) is attention
    if attention:
        name = "s2-1 attention, CT"
        assert new.GetName() == (name if change is rename else f"{name}_1") and new.GetImageData().GetNumberOfPoints()
        assert again(ct, node) is node and maps_of(node)["s2-1"] is new


def test_a_changed_map_of_a_scale_stays(slicer, result, again, maps_of):
    from AttentionUNetSegmentationLib.scene.attention_view import map_node

    ct, node = result
    own, mine = map_node(node, "mean s2"), map_node(node, "mean s3")
    paint(slicer, mine)
    own_id = own.GetID()
    again(ct, node)
    assert slicer.mrmlScene.GetNodeByID(mine.GetID()) is mine and slicer.mrmlScene.GetNodeByID(own_id) is None
    assert sorted(maps_of(node)) == ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]


@pytest.mark.parametrize("changed", [False, True])
def test_it_is_known_after_saving_and_loading(slicer, result, again, maps_of, tmp_path, changed):
    _, node = result
    maps_of(node)["s3-1"].GetDisplayNode().SetThreshold(0.3, 0.9)  # no change of the map
    if changed:
        paint(slicer, maps_of(node)["s3-1"])
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    node = slicer.util.getNode("CT segmentation")
    before = maps_of(node)
    assert again(slicer.util.getNode("CT"), node) is node
    assert {name for name, each in maps_of(node).items() if each is not before[name]} == (
        {"s3-1"} if changed else set()
    )


def test_after_a_failure_maps_are_known_as_before(slicer, result, again, maps_of, monkeypatch):
    from AttentionUNetSegmentationLib.scene import map_volumes

    ct, node = result
    before = maps_of(node)
    states = {name: state(slicer, each) for name, each in before.items()}
    ct.SetName("renamed")
    align(slicer, ct)
    slicer.util.arrayFromVolume(ct)[:] = np.roll(slicer.util.arrayFromVolume(ct), 3, axis=0)

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(map_volumes, "put_into_folder", fail)
    with pytest.raises(OSError, match="no space"):
        again(ct, node)
    assert {name: state(slicer, each) for name, each in before.items()} == states
    monkeypatch.undo()
    assert again(ct, node) is node and maps_of(node) == before


def test_maps_of_two_results_of_one_ct_have_names_of_their_own(slicer, result, again):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    ct, first = result
    second = again(ct, None)
    for _ in range(2):
        names = [{name: node.GetName() for name, node in maps_of(each).items()} for each in (first, second)]
        assert names[0]["s2-1"] == "s2-1 attention, CT" and names[1]["s2-1"] == "s2-1 attention, CT_1"
        assert len({name for each in names for name in each.values()}) == 12
        again(ct, second)
        again(ct, first)
