"""The folder of a result's maps in the subject hierarchy."""

import pytest

pytestmark = pytest.mark.slow

FOLDER_DISPLAY = "vtkMRMLFolderDisplayNode"


@pytest.fixture
def maps_of(slicer):
    """The function that gives a result's maps by name."""
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    return maps_of


@pytest.fixture
def hierarchy(slicer):
    """The scene's subject hierarchy."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def test_maps_lie_in_a_folder_under_the_ct(hierarchy, maps_of, logic, add_ct, network):
    ct = add_ct()
    maps = maps_of(logic.segment(ct, device="cpu", predictor=network()))
    for name, node in maps.items():
        assert node.GetName() == f"{name} attention, CT"
        folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
        assert hierarchy.GetItemName(folder) == "CT attention"
        assert hierarchy.GetItemDataNode(hierarchy.GetItemParent(folder)) is ct
        display = node.GetDisplayNode()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
        assert not display.GetAutoWindowLevel() and display.GetApplyThreshold()
        assert display.GetColorNode().GetName() == "Attention"


@pytest.mark.parametrize("hidden", [False, True])
def test_the_maps_of_a_renamed_ct_are_renamed_and_moved(slicer, hierarchy, maps_of, logic, add_ct, network, hidden):
    ct = add_ct("first")
    node = logic.segment(ct, device="cpu", predictor=network())
    maps = maps_of(node)
    if hidden:  # by the folder's eye, which gives it a display node
        folder = hierarchy.GetItemChildWithName(hierarchy.GetItemByDataNode(ct), "first attention")
        hierarchy.SetItemDataNode(folder, slicer.mrmlScene.AddNewNodeByClass(FOLDER_DISPLAY, "first attention"))
    ct.SetName("second")
    logic.segment(ct, node, device="cpu", predictor=network())
    assert maps_of(node) == maps
    names = {f"s{s}-{g} attention, second" for s in (2, 3, 4) for g in (1, 2)}
    assert {each.GetName() for each in maps_of(node).values()} == names
    assert not hierarchy.GetItemChildWithName(hierarchy.GetItemByDataNode(ct), "first attention")
    assert not slicer.util.getNodesByClass(FOLDER_DISPLAY)


def test_a_volume_named_like_the_emptied_folder_stays(slicer, hierarchy, maps_of, logic, add_ct, network):
    ct = add_ct("first")
    node = logic.segment(ct, device="cpu", predictor=network())
    mine = add_ct("my attention")
    for each in maps_of(node).values():
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(each), hierarchy.GetItemByDataNode(mine))
    logic.segment(ct, node, device="cpu", predictor=network())
    assert slicer.mrmlScene.GetNodeByID(mine.GetID()) is mine and hierarchy.GetItemByDataNode(mine)
