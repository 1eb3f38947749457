"""Files written by the real storage nodes read back as they were; sample data are checked, packages not installed."""

import hashlib

import numpy as np
import pytest

IJK_TO_RAS = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])


@pytest.fixture
def volume(slicer):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    return slicer.util.addVolumeFromArray(array, IJK_TO_RAS, "CT")


def test_scenes(slicer, volume, tmp_path):
    import vtk

    path = str(tmp_path / "scene.mrb")
    expected = slicer.util.arrayFromVolume(volume).copy()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    segmentation.GetSegmentation().AddEmptySegment("pancreas", "pancreas", (0.5, 0.25, 1))
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.CreateFolderItem(hierarchy.GetItemByDataNode(volume), "Results")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(segmentation), folder)
    slicer.util.setSliceViewerLayers(background=volume, foreground=volume, foregroundOpacity=0.25)
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear()
    assert slicer.mrmlScene.GetFirstNodeByName("CT") is None
    slicer.util.loadScene(path)
    again, matrix = slicer.util.getNode("CT"), vtk.vtkMatrix4x4()
    again.GetIJKToRASMatrix(matrix)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), expected)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrix), IJK_TO_RAS, atol=1e-5)
    segment = slicer.util.getNode("organs").GetSegmentation().GetNthSegment(0)
    assert (segment.GetName(), segment.GetColor()) == ("pancreas", (0.5, 0.25, 1))
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(slicer.util.getNode("organs")))
    assert hierarchy.GetItemName(folder) == "Results"
    assert hierarchy.GetItemDataNode(hierarchy.GetItemParent(folder)) is again
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert (composite.GetBackgroundVolumeID(), composite.GetForegroundOpacity()) == (again.GetID(), 0.25)


def test_only_mrb_files_are_written(slicer, tmp_path):
    with pytest.raises(NotImplementedError, match="scene.mrml"):
        slicer.util.saveScene(str(tmp_path / "scene.mrml"))


def test_a_missing_file_raises(slicer, tmp_path):
    with pytest.raises(RuntimeError, match="no.nrrd"):
        slicer.util.loadVolume(str(tmp_path / "no.nrrd"))


@pytest.fixture
def register(slicer, tmp_path):
    """Function that registers a data set of one volume, at a file:// URI unless another is given."""
    import SampleData

    path = tmp_path / "sample.nrrd"
    path.write_bytes(b"NRRD0004\ntype: short\ndimension: 3\nsizes: 1 1 2\nencoding: raw\nendian: little\n\n\1\0\2\0")
    here, right = path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()

    def add(name, uri=here, digest=right):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            "Test", sampleName=name, uris=uri, fileNames="copy.nrrd", nodeNames="Sample", checksums=f"SHA256:{digest}"
        )

    return add


def test_sample_data_come_from_a_file_uri_with_its_checksum(slicer, register):
    import SampleData

    register("right")
    register("wrong", digest="0" * 64)
    node = SampleData.SampleDataLogic().downloadSample("right")
    assert (node.GetName(), node.GetStorageNode()) == ("Sample", None)
    assert slicer.util.arrayFromVolume(node).ravel().tolist() == [1, 2]
    with pytest.raises(ValueError, match="does not have the checksum"):
        SampleData.SampleDataLogic().downloadSample("wrong")


def test_sample_data_are_not_downloaded(register):
    import SampleData

    register("far", uri="https://example.org/a.nrrd")
    with pytest.raises(ValueError, match="downloads nothing"):
        SampleData.SampleDataLogic().downloadSample("far")


def test_packages_are_never_installed(slicer):
    with pytest.raises(RuntimeError, match="installs nothing; asked for: no-such-package-x"):
        slicer.util.pip_install("no-such-package-x")
