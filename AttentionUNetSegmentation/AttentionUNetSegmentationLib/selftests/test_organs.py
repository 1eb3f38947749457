"""A CT in, organs and attention maps out, in their places."""

import os
import tempfile

import numpy as np
import slicer
import vtk

from ..atomic import sha256_of
from ..scene.map_volumes import maps_of
from ..scene.mrml import grid_of_node, result_line
from ..scene.organ_table import rows, world_centroid
from ..scene.sample_data import SAMPLE, SAMPLE_FILE, SAMPLE_SHA256, register
from .case import SelfTest, needs_runtime, needs_torch
from .phantom import GATES, add_phantom, ball_predictor


@needs_runtime
class OrgansTest(SelfTest):
    """Segments by the blocking form of the logic."""

    def test_sampleDataToOrgansAndBack(self):
        """Sample CT -> Segment -> plausible organs, six maps in place -> save, clear, load -> the same."""
        import SampleData

        register()
        volumeNode = SampleData.SampleDataLogic().downloadSample(SAMPLE)
        assert sha256_of(SAMPLE_FILE) == SAMPLE_SHA256
        segmentationNode = self.logic.segment(volumeNode, device="cpu")
        before = self._summary(segmentationNode)
        for organ, low, high in (("spleen", 40, 600), ("right kidney", 50, 400), ("left kidney", 50, 400)):
            assert low < before["ml"][organ] < high, f"{organ}: {before['ml'][organ]} ml"
        assert 0 < before["ml"]["pancreas"] < 250, f"pancreas: {before['ml']['pancreas']} ml"
        assert sorted(before["maps"]) == sorted(GATES)
        self._checkMapsCover(segmentationNode, volumeNode)
        with tempfile.TemporaryDirectory() as folder:
            scene = os.path.join(folder, "scene.mrb")
            assert slicer.util.saveScene(scene)
            slicer.mrmlScene.Clear(False)
            slicer.util.loadScene(scene)
            loaded = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            assert len(loaded) == 1
            after = self._summary(loaded[0])
        for part in before:
            assert after[part] == before[part]

    @needs_torch
    def test_ballUnderObliqueGeometryAndTransform(self):
        """A ball at a known place comes back there, as segment and in every map, and follows a parent transform."""
        volumeNode, centre = add_phantom()
        transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkTransform()
        matrix.Translate(30, -20, 10)
        matrix.RotateY(35)
        transformNode.SetMatrixTransformToParent(matrix.GetMatrix())
        volumeNode.SetAndObserveTransformNodeID(transformNode.GetID())
        segmentationNode = self.logic.segment(volumeNode, device="cpu", predictor=ball_predictor())

        pancreas = next(row for row in rows(segmentationNode) if row.name == "pancreas")
        world = matrix.TransformPoint(*centre)
        found = world_centroid(segmentationNode, pancreas)
        assert found is not None and np.abs(np.subtract(found, world)).max() < 2.0
        assert pancreas.volume_ml is not None and abs(pancreas.volume_ml - 4 / 3 * np.pi * 18**3 / 1000) < 2.5
        assert segmentationNode.GetTransformNodeID() == transformNode.GetID()
        maps = maps_of(segmentationNode)
        assert len(maps) == 6
        for name, node in maps.items():
            alpha = slicer.util.arrayFromVolume(node).astype(float)
            ijk = (np.argwhere(alpha >= 0) * alpha.reshape(-1, 1)).sum(axis=0)[::-1] / alpha.sum()
            assert np.abs(grid_of_node(node).ras_of(ijk) - centre).max() < 2.0, name
            assert node.GetTransformNodeID() == transformNode.GetID()

    def test_missingModel(self):
        """A model that is not there is an error of one sentence that names it, and nothing is left behind."""
        volumeNode, _centre = add_phantom()
        before = self.node_ids()
        assert "no-such-model" in self.refusal(lambda: self.logic.segment(volumeNode, model="no-such-model"))
        assert self.node_ids() == before

    def _summary(self, segmentationNode):
        """What has to survive saving and loading."""
        table, maps = rows(segmentationNode), maps_of(segmentationNode)
        displays = {name: node.GetDisplayNode() for name, node in maps.items()}
        return {
            "ml": {row.name: row.volume_ml for row in table},
            "colors": {row.name: tuple(round(channel, 4) for channel in row.color_rgb) for row in table},
            "line": result_line(segmentationNode),
            "maps": {name: round(float(slicer.util.arrayFromVolume(maps[name]).mean()), 5) for name in maps},
            "windows": {name: (each.GetWindowLevelMin(), each.GetWindowLevelMax()) for name, each in displays.items()},
            "palettes": {name: each.GetColorNode().GetName() for name, each in displays.items()},
        }

    def _checkMapsCover(self, segmentationNode, volumeNode):
        """Every map's bounds enclose every organ, and lie within the CT's, by one voxel of the map."""
        organs, ct = [0.0] * 6, [0.0] * 6
        segmentationNode.GetRASBounds(organs)
        volumeNode.GetRASBounds(ct)
        for name, node in maps_of(segmentationNode).items():
            bounds, voxel = [0.0] * 6, max(node.GetSpacing())
            node.GetRASBounds(bounds)
            for low in (0, 2, 4):
                assert bounds[low] <= organs[low] and bounds[low + 1] >= organs[low + 1], name
                assert bounds[low] > ct[low] - voxel and bounds[low + 1] < ct[low + 1] + voxel, name
