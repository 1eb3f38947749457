"""Files written by the real storage nodes read back as they were."""

import hashlib

import numpy as np
import pytest

import slicer_host

PANCREAS = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~"
    "SCT^15776009^Pancreas~^^~Anatomic codes - DICOM master list~^^~^^"
)
IJK_TO_RAS = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])


@pytest.fixture
def volume(slicer):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    return slicer.util.addVolumeFromArray(array, IJK_TO_RAS, "CT")


@pytest.fixture
def segmentation(slicer, volume):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("pancreas", "pancreas", (0.5, 0.25, 1))
    node.GetSegmentation().GetSegment("pancreas").SetTag("TerminologyEntry", PANCREAS)
    labels = (slicer.util.arrayFromVolume(volume) > 40).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, "pancreas", volume)
    return node


def ijk_to_ras_of(slicer, node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nii.gz", "ct.mha"])
def test_volumes(slicer, volume, tmp_path, name):
    path = str(tmp_path / name)
    assert slicer.util.saveNode(volume, path)
    again = slicer.util.loadVolume(path, {"name": "again"})
    assert again.GetName() == "again"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), slicer.util.arrayFromVolume(volume))
    np.testing.assert_allclose(ijk_to_ras_of(slicer, again), IJK_TO_RAS, atol=1e-5)


def test_segmentations(slicer, volume, segmentation, tmp_path):
    import vtk

    path = str(tmp_path / "organs.seg.nrrd")
    assert slicer.util.saveNode(segmentation, path)
    again = slicer.util.loadSegmentation(path)
    segment = again.GetSegmentation().GetSegment("pancreas")
    assert (segment.GetName(), segment.GetColor()) == ("pancreas", (0.5, 0.25, 1))
    tag = vtk.reference("")
    assert segment.GetTag("TerminologyEntry", tag) and tag.get() == PANCREAS
    found = slicer.util.arrayFromSegmentBinaryLabelmap(again, "pancreas", volume)
    np.testing.assert_array_equal(found, slicer.util.arrayFromVolume(volume) > 40)


@pytest.mark.parametrize("name", ["scene.mrb", "scene.mrml"])
def test_scenes(slicer, volume, segmentation, tmp_path, name):
    expected = slicer.util.arrayFromVolume(volume).copy()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.CreateFolderItem(hierarchy.GetItemByDataNode(volume), "Results")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(segmentation), folder)
    slicer.util.setSliceViewerLayers(background=volume, foreground=volume, foregroundOpacity=0.25)
    if name.endswith(".mrml"):
        slicer.util.saveNode(volume, str(tmp_path / "CT.nrrd"))
        slicer.util.saveNode(segmentation, str(tmp_path / "organs.seg.nrrd"))
    assert slicer.util.saveScene(str(tmp_path / name))
    slicer.mrmlScene.Clear()
    assert slicer.mrmlScene.GetFirstNodeByName("CT") is None
    slicer.util.loadScene(str(tmp_path / name))
    again = slicer.util.getNode("CT")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), expected)
    segments = slicer.util.getNode("organs").GetSegmentation()
    assert segments.GetNthSegment(0).GetName() == "pancreas"
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(slicer.util.getNode("organs")))
    assert hierarchy.GetItemName(folder) == "Results"
    assert hierarchy.GetItemDataNode(hierarchy.GetItemParent(folder)) is again
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert (composite.GetBackgroundVolumeID(), composite.GetForegroundOpacity()) == (again.GetID(), 0.25)


def test_tables(slicer, tmp_path):
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "volumes")
    slicer.util.updateTableFromArray(table, [np.array([1.5, 2.5])], ["ml"])
    assert slicer.util.exportNode(table, str(tmp_path / "volumes.csv"))
    again = slicer.util.loadTable(str(tmp_path / "volumes.csv"))
    assert [again.GetCellText(row, 0) for row in range(2)] == ["1.5", "2.5"]


def test_a_missing_file_raises(slicer, tmp_path):
    with pytest.raises(RuntimeError, match="no.nrrd"):
        slicer.util.loadVolume(str(tmp_path / "no.nrrd"))


def test_sample_data_from_a_file_uri_with_checksum(slicer, volume, tmp_path):
    import SampleData

    path = tmp_path / "sample.nrrd"
    slicer.util.saveNode(volume, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = {"category": "T", "uris": path.as_uri(), "fileNames": "copy.nrrd", "nodeNames": "Sample"}
    SampleData.SampleDataLogic.registerCustomSampleDataSource(sampleName="ok", checksums=f"SHA256:{digest}", **entry)
    SampleData.SampleDataLogic.registerCustomSampleDataSource(sampleName="bad", checksums="SHA256:" + "0" * 64, **entry)
    node = SampleData.downloadSample("ok")
    assert (node.GetName(), node.GetStorageNode()) == ("Sample", None)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), slicer.util.arrayFromVolume(volume))
    with pytest.raises(ValueError, match="does not have the checksum"):
        SampleData.downloadSample("bad")


def test_sample_data_are_not_downloaded(slicer):
    import SampleData

    source = SampleData.SampleDataSource(uris="https://example.org/a.nrrd", fileNames="a.nrrd", nodeNames="a")
    with pytest.raises(ValueError, match="downloads nothing"):
        SampleData.SampleDataLogic().downloadFromSource(source)


def test_simpleitk_images(slicer, volume):
    pytest.importorskip("SimpleITK", reason="sitkUtils needs SimpleITK")
    import sitkUtils

    image = sitkUtils.PullVolumeFromSlicer(volume)
    assert image.GetSpacing() == (1.5, 2.0, 3.0)
    assert image.GetOrigin() == (-10.0, 20.0, 30.0)
    again = sitkUtils.PushVolumeToSlicer(image, name="again")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), slicer.util.arrayFromVolume(volume))
    np.testing.assert_allclose(ijk_to_ras_of(slicer, again), IJK_TO_RAS)


def test_packages_are_checked_and_never_installed(slicer, tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy>=1.20  # present\n\nno-such-package-x>=1\n")
    requirements = slicer.packaging.load_requirements(tmp_path / "requirements.txt")
    assert [slicer.packaging.pip_check(item) for item in requirements] == [True, False]
    slicer.packaging.pip_ensure(requirements, requester="Test")
    assert slicer_host.shown_messages() == []
    with slicer_host.testing_mode(False):
        with slicer_host.answering(accept=False), pytest.raises(RuntimeError, match="declined"):
            slicer.packaging.pip_ensure(requirements, requester="Test")
        with pytest.raises(RuntimeError, match="installs nothing"):
            slicer.packaging.pip_ensure(requirements)
    with pytest.raises(RuntimeError, match="installs nothing"):
        slicer.util.pip_install("no-such-package-x")
