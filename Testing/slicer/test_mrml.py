"""Voxels in, segments and maps out: everything lies where the CT lies, whatever its geometry."""

import re
from itertools import product

import numpy as np
import pytest
import vtk

from AttentionUNetSegmentationLib.volume import Grid, Volume
from support import phantoms

pytestmark = pytest.mark.slow

OBLIQUE = phantoms.grid((30, 42, 46), (2.0, 2.2, 3.0), phantoms.rotation(15, -20, 25), (8, -20, 45))
FLIPS = list(product((1, -1), repeat=3))
BALL_ML = 4 / 3 * np.pi * 18**3 / 1000
CENTRE = np.array((12.0, -25.0, 40.0))


@pytest.fixture
def turned(slicer):
    """A rotated and shifted linear transform node, and its matrix."""
    transform = vtk.vtkTransform()
    transform.Translate(40, -15, 25)
    transform.RotateWXYZ(50, 1, 2, -1)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turned")
    node.SetMatrixTransformToParent(transform.GetMatrix())
    return node, slicer.util.arrayFromVTKMatrix(transform.GetMatrix())


def world_points(slicer, node, ijk):
    """World positions of a volume node's indices (n, 3), by VTK's own matrices and transforms."""
    matrix, to_world = vtk.vtkMatrix4x4(), vtk.vtkGeneralTransform()
    node.GetIJKToRASMatrix(matrix)
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    array = slicer.util.arrayFromVTKMatrix(matrix)
    return np.array([to_world.TransformPoint(point) for point in ijk @ array[:3, :3].T + array[:3, 3]])


def centre_of_map(slicer, node):
    """Centre of mass of a map in the world."""
    alpha = slicer.util.arrayFromVolume(node).astype(float)
    ijk = (np.argwhere(np.ones_like(alpha, bool)) * alpha.reshape(-1, 1)).sum(axis=0)[::-1] / alpha.sum()
    return world_points(slicer, node, ijk[None])[0]


def centre_of_segment(slicer, node, volume_node, name):
    """Centre of mass in the world of a segment, exported by Slicer itself onto the CT's grid."""
    segment_id = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume_node)
    return world_points(slicer, volume_node, np.argwhere(mask)[:, ::-1]).mean(axis=0), np.count_nonzero(mask)


@pytest.mark.parametrize("flips", FLIPS, ids=str)
def test_a_ball_comes_back_at_its_place(slicer, logic, add_ct, network, flips):
    where = phantoms.grid((30, 42, 46), (2.0, 2.2, 3.0), phantoms.rotation(15, -20, 25) * np.array(flips), (8, -20, 45))
    ct = add_ct(where=where)
    node = logic.segment(ct, device="cpu", predictor=network())
    found, voxels = centre_of_segment(slicer, node, ct, "pancreas")
    assert np.abs(found - CENTRE).max() < 1.0
    assert voxels * where.voxel_volume_ml == pytest.approx(BALL_ML, rel=0.05)
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    maps = maps_of(node)
    assert sorted(maps) == ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]
    for name, map_node in maps.items():
        assert np.abs(centre_of_map(slicer, map_node) - CENTRE).max() < 1.0, name
        assert min(map_node.GetSpacing()) == pytest.approx(2.0 * 2 ** (int(name[1]) - 1))


def test_permuted_axes_give_the_same_place(slicer, logic, add_ct, network):
    hu = -100 + 300 * phantoms.ball(OBLIQUE, CENTRE, 18)
    for volume in phantoms.flipped_and_permuted(Volume(hu, OBLIQUE.ijk_to_ras)):
        ct = slicer.util.addVolumeFromArray(volume.voxels.astype(np.float32), name=volume.name)
        ct.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.ijk_to_ras))
        node = logic.segment(ct, device="cpu", predictor=network())
        assert np.abs(centre_of_segment(slicer, node, ct, "pancreas")[0] - CENTRE).max() < 1.0, volume.name


def test_results_follow_a_rotated_parent_transform(slicer, logic, add_ct, network, turned):
    transform_node, matrix = turned
    ct = add_ct()
    ct.SetAndObserveTransformNodeID(transform_node.GetID())
    node = logic.segment(ct, device="cpu", predictor=network(), probabilities=True)
    world = matrix[:3, :3] @ CENTRE + matrix[:3, 3]
    assert np.abs(centre_of_segment(slicer, node, ct, "pancreas")[0] - world).max() < 1.0
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of
    from AttentionUNetSegmentationLib.scene.organ_table import rows, world_centroid

    for name, map_node in maps_of(node).items():
        if map_node.GetImageData().GetScalarRange()[1] > 0.5:  # the organs that were not found have none
            assert np.abs(centre_of_map(slicer, map_node) - world).max() < 1.0, name
        assert map_node.GetParentTransformNode() is transform_node
    assert np.abs(np.subtract(world_centroid(node, rows(node)[0]), world)).max() < 1.0
    transform_node.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
    assert np.abs(centre_of_segment(slicer, node, ct, "pancreas")[0] - CENTRE).max() < 1.0


@pytest.mark.parametrize(
    ("scale", "shear", "said_mm"), [(1.0, 0.0, None), (1.2, 0.0, "1[0-9]"), (1.0, 0.5, "[1-9][0-9]")]
)
def test_a_transform_that_deforms_the_ct_is_said(slicer, logic, add_ct, network, turned, scale, shear, said_mm):
    """As those that Slicer's DICOM module puts on a CT with gantry tilt or missing slices."""
    deforming, ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode"), add_ct()
    matrix = np.diag([1.0, 1, scale, 1])
    matrix[1, 2] = shear
    deforming.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    deforming.SetAndObserveTransformNodeID(turned[0].GetID())
    ct.SetAndObserveTransformNodeID(deforming.GetID())
    warnings = " ".join(logic_warnings(logic.segment(ct, device="cpu", predictor=network())))
    pattern = f"under a transform that changes its shape by up to {said_mm} mm"
    assert bool(re.search(pattern, warnings)) == (said_mm is not None), warnings
    assert ("changes its shape" in warnings) == (said_mm is not None)


@pytest.mark.parametrize(("degrees", "is_said"), [(20, False), (50, True), (180, True)])
def test_a_transform_that_turns_the_ct_far_is_said(slicer, logic, add_ct, network, degrees, is_said):
    """As one that puts a wrong header right: the network sees the patient as the file has it."""
    turning, ct, transform = (
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode"),
        add_ct(),
        vtk.vtkTransform(),
    )
    transform.Translate(10, 20, 30)
    transform.RotateWXYZ(degrees, 1, 2, 3)
    turning.SetMatrixTransformToParent(transform.GetMatrix())
    ct.SetAndObserveTransformNodeID(turning.GetID())
    warnings = " ".join(logic_warnings(logic.segment(ct, device="cpu", predictor=network())))
    assert (f"under a transform that turns it by {degrees} degrees; organs" in warnings) is is_said, warnings


@pytest.fixture
def scaled(slicer, logic, add_ct, network):
    """A CT under a transform, and its result."""
    ct, transform = add_ct(), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.1, 1, 1, 1])))
    ct.SetAndObserveTransformNodeID(transform.GetID())
    return ct, logic.segment(ct, device="cpu", predictor=network())


@pytest.mark.parametrize("then", ["harden", "take away"])
@pytest.mark.parametrize("failing", [None, "write_maps", "put_into_folder"])
def test_a_ct_that_leaves_its_transform_leaves_no_edits_behind(
    slicer, logic, scaled, network, scene_nodes, monkeypatch, then, failing
):
    from AttentionUNetSegmentationLib.scene import attention_view, map_volumes, request

    ct, node = scaled
    nodes = scene_nodes()
    ct.HardenTransform() if then == "harden" else ct.SetAndObserveTransformNodeID(None)
    if failing:
        monkeypatch.delattr(request if failing == "write_maps" else map_volumes, failing)
        with pytest.raises(NameError):
            logic.segment(ct, node, device="cpu", predictor=network())
        monkeypatch.undo()
    assert (
        attention_view.map_node(node, "mean s2").GetParentTransformNode() is node.GetParentTransformNode() is not None
    )
    assert logic.segment(ct, node, device="cpu", predictor=network()) is node
    assert {each.GetParentTransformNode() for each in [node, *map_volumes.maps_of(node).values()]} == {None}
    assert scene_nodes() == nodes


def logic_warnings(node) -> list[str]:
    from AttentionUNetSegmentationLib.scene.mrml import result_notes

    return result_notes(node)


def test_segments_have_terminology_colours_geometry_and_provenance(slicer, logic, add_ct, network):
    ct = add_ct("CT mit Umlaut ä / 1.5")
    node = logic.segment(ct, device="cpu", predictor=network())
    segmentation = node.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == ["pancreas", "spleen", "right kidney", "left kidney"]
    right = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("right kidney"))
    assert np.round(np.array(right.GetColor()) * 255).tolist() == [185, 102, 83]
    text = vtk.reference("")
    assert right.GetTag("TerminologyEntry", text)
    assert "SCT^64033007^Kidney" in str(text) and "SCT^24028007^Right" in str(text)
    assert node.GetNodeReference("referenceImageGeometryRef") is ct
    assert node.GetName() == "CT mit Umlaut ä / 1.5 segmentation"
    assert node.GetAttribute("AttentionUNet.model") == "abdomen-ct"
    assert len(node.GetAttribute("AttentionUNet.model_sha256")) == 64
    assert node.GetAttribute("AttentionUNet.device") == "cpu" and node.GetAttribute("AttentionUNet.date")


def test_a_second_run_reuses_nodes_and_leaves_nothing_stale(slicer, logic, add_ct, network, scene_nodes):
    ct = add_ct()
    node = logic.segment(ct, device="cpu", predictor=network(), probabilities=True)
    node.GetSegmentation().AddEmptySegment("mine", "my own")
    node.CreateClosedSurfaceRepresentation()
    with_probabilities = scene_nodes()
    assert logic.segment(ct, node, device="cpu", predictor=network(), probabilities=True) is node
    assert scene_nodes() == with_probabilities
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    logic.segment(ct, node, device="cpu", predictor=network(), attention=False)
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    assert maps_of(node) == {}
    assert [each.GetName() for each in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")] == ["CT"]
    names = [node.GetSegmentation().GetNthSegment(n).GetName() for n in range(5)]
    assert sorted(names) == ["left kidney", "my own", "pancreas", "right kidney", "spleen"]


def test_taking_back_removes_folders_but_nothing_that_stands_for_data(slicer, add_ct):
    """The application has items for segments, too: removing one would remove a segment that was just given back."""
    from AttentionUNetSegmentationLib.scene.mrml import nodes_removed_on_error

    ct, old_map = add_ct(), add_ct("old map")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.RemoveItem(hierarchy.GetItemByDataNode(ct), False, False)

    def add_then_fail():
        folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "new folder")
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(old_map), folder)
        segment = hierarchy.CreateHierarchyItem(hierarchy.GetItemByDataNode(node), "spleen", "Segments")
        hierarchy.SetItemAttribute(segment, node.GetSegmentIDAttributeName(), "spleen")
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), ct)
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "new table")
        raise MemoryError

    with pytest.raises(MemoryError), nodes_removed_on_error():
        add_then_fail()
    assert hierarchy.GetItemByDataNode(ct) and hierarchy.GetItemByDataNode(old_map)
    assert slicer.mrmlScene.GetNodeByID(old_map.GetID()) is old_map
    assert hierarchy.GetItemChildWithName(hierarchy.GetItemByDataNode(node), "spleen")
    assert not hierarchy.GetItemByName("new folder") and not slicer.util.getNodesByClass("vtkMRMLTableNode")


def test_own_segments_under_another_transform_are_not_moved(slicer, logic, add_ct, network, turned):
    ct = add_ct()
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    output.GetSegmentation().AddEmptySegment("mine", "my own")
    output.SetAndObserveTransformNodeID(turned[0].GetID())
    with pytest.raises(ValueError, match="different parent transform"):
        logic.segment(ct, output, device="cpu", predictor=network())


@pytest.mark.parametrize(("factor", "fits"), [(1, True), (2, False), (0.5, False)])
def test_own_segments_keep_their_voxels_when_the_scene_is_saved(slicer, logic, add_ct, network, factor, fits):
    """Slicer saves all segments on one lattice, that of the first."""
    shape = tuple(int(size * factor) for size in OBLIQUE.shape_kji)
    scaled = Grid(shape, OBLIQUE.ijk_to_ras @ np.diag([1 / factor] * 3 + [1]))
    ct, other = add_ct(where=OBLIQUE), add_ct("other", scaled)
    mine = np.zeros(shape, dtype=np.uint8)
    mine[5:9, 3:8, 4:10] = 1
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    output.GetSegmentation().AddEmptySegment("tumour", "tumour")
    slicer.util.updateSegmentBinaryLabelmapFromArray(mine, output, "tumour", other)
    if not fits:
        with pytest.raises(ValueError, match="'mine' has other segments, whose voxels are not those of 'CT'; choose"):
            logic.segment(ct, output, device="cpu", predictor=network())
        return
    node = logic.segment(ct, output, device="cpu", predictor=network())
    assert node is output and node.GetSegmentation().GetNumberOfSegments() == 5
    node.GetSegmentation().CollapseBinaryLabelmaps(False)  # as saving does
    from AttentionUNetSegmentationLib.scene.ownership import edited_segments

    assert edited_segments(node) == []
    assert (slicer.util.arrayFromSegmentBinaryLabelmap(node, "tumour", other) == mine).all()


def add_roi(slicer, centre, size, degrees=0.0):
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    roi.SetXYZ(centre) if hasattr(roi, "SetXYZ") else roi.SetCenter(centre)
    roi.SetSize(size)
    if degrees:
        transform = vtk.vtkTransform()
        transform.Translate(centre)
        transform.RotateZ(degrees)
        roi.SetAndObserveObjectToNodeMatrix(transform.GetMatrix())
    return roi


@pytest.mark.parametrize("degrees", [0.0, 40.0])
@pytest.mark.parametrize("under_transform", [False, True])
def test_a_roi_limits_the_run(slicer, logic, add_ct, network, turned, degrees, under_transform):
    ct = add_ct()
    roi = add_roi(slicer, tuple(CENTRE), (50, 50, 50), degrees)
    if under_transform:
        for node in (ct, roi):
            node.SetAndObserveTransformNodeID(turned[0].GetID())
    predictor = network()
    shapes = []

    def watched(x):
        shapes.append(tuple(x.shape[2:]))
        return predictor(x)

    node = logic.segment(ct, roi=roi, device="cpu", predictor=watched)
    whole = logic.segment(ct, device="cpu", predictor=watched)
    assert np.prod(shapes[0]) < 0.8 * np.prod(shapes[1])
    found, voxels = centre_of_segment(slicer, node, ct, "pancreas")
    expected, expected_voxels = centre_of_segment(slicer, whole, ct, "pancreas")
    assert np.abs(found - expected).max() < 0.5
    assert voxels == pytest.approx(expected_voxels, rel=0.03)


def test_only_the_voxels_of_a_roi_are_labelled(slicer, logic, add_ct, network):
    from AttentionUNetSegmentationLib.scene.mrml import result_notes

    ct = add_ct(where=phantoms.grid((30, 42, 46), (2.0, 2.2, 3.0), centre_ras_mm=(8, -20, 45)))
    roi = add_roi(slicer, (CENTRE[0], CENTRE[1], CENTRE[2] + 20), (60, 60, 40))  # the ball's upper half
    node = logic.segment(ct, roi=roi, device="cpu", predictor=network())
    edge = "pancreas: reaches the edge of the region of interest, so its volume is incomplete"
    assert edge in result_notes(node)
    height = centre_of_segment(slicer, node, ct, "pancreas")[0][2] - CENTRE[2]
    assert height == pytest.approx(3 / 8 * 18, abs=1.5)


def test_a_roi_elsewhere_or_empty_is_refused(slicer, logic, add_ct, network):
    ct = add_ct()
    with pytest.raises(ValueError, match="'box' lies outside the volume 'CT'"):
        logic.segment(ct, roi=add_roi(slicer, (900, 0, 0), (20, 20, 20)), predictor=network())
    with pytest.raises(ValueError, match="is empty"):
        logic.segment(ct, roi=add_roi(slicer, tuple(CENTRE), (0, 20, 20)), predictor=network())


def bad_inputs(slicer, add_ct):
    labels = slicer.util.addVolumeFromArray(
        np.zeros((5, 5, 5), np.uint8), name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    vector = slicer.util.addVolumeFromArray(
        np.zeros((5, 5, 5, 3), np.uint8), name="colour", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    flat = slicer.util.addVolumeFromArray(np.arange(400, dtype=np.int16).reshape(1, 20, 20), name="flat")
    nan = add_ct("nan")
    slicer.util.updateVolumeFromArray(nan, np.where(np.eye(42, 46) > 0, np.nan, np.zeros((30, 42, 46))))
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "surface")
    cases = [(labels, "label map"), (vector, "colour or vector"), (empty, "no voxels"), (flat, "at least 4 voxels")]
    return [*cases, (nan, "NaN"), (model, "a CT volume is needed"), (None, "no input volume")]


def test_odd_inputs_are_refused_in_one_sentence(slicer, logic, add_ct, network, scene_nodes):
    for node, reason in bad_inputs(slicer, add_ct):
        before = scene_nodes()
        with pytest.raises(ValueError, match=reason) as refused:
            logic.segment(node, device="cpu", predictor=network())
        assert "\n" not in str(refused.value)
        assert scene_nodes() == before, reason


def test_a_map_of_this_module_is_no_input(slicer, logic, add_ct, network):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    node = logic.segment(add_ct(), device="cpu", predictor=network())
    with pytest.raises(ValueError, match="'s2-1 attention, CT' is a map made by this module"):
        logic.segment(maps_of(node)["s2-1"], device="cpu", predictor=network())
