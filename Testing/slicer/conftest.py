"""The module in the headless host, phantoms in its scene, and a network that needs no training."""

import importlib.util
import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import vtk

import slicer_host
from AttentionUNetSegmentationLib.models.store import PACKAGED_MODELS, read_spec
from support import phantoms

MODULE = Path(slicer_host.__file__).parents[2] / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"
BACKGROUND_HU, BALL_HU = -100.0, 200.0
CENTRE_RAS_MM, RADIUS_MM = (12.0, -25.0, 40.0), 18.0
GATES = ("s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2")


class BallNetwork:
    """Predictor: what is as dense as the ball is pancreas, and every gate passes what lies inside.

    Args:
        seconds: How long it computes, stoppable at any time.
        error: Raised instead of a result.
    """

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.spec = read_spec(PACKAGED_MODELS / "abdomen-ct")
        self.seconds, self.error, self.calls = seconds, error, 0

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, OrderedDict[str, torch.Tensor]]:
        self.calls += 1
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline:
            time.sleep(0.02)
            x = x + 0
        if self.error is not None:
            raise self.error
        hu = x * self.spec.intensity.std_hu + self.spec.intensity.mean_hu
        inside = torch.clamp((hu - BACKGROUND_HU) / (BALL_HU - BACKGROUND_HU), 0, 1)
        others = [torch.full_like(inside, -20.0)] * (self.spec.num_classes - 2)
        logits = torch.cat([10 * (1 - inside), 10 * inside, *others], dim=1)
        pool = torch.nn.functional.avg_pool3d
        return logits, OrderedDict((name, pool(inside, 2 ** (int(name[1]) - 1))) for name in GATES)


@pytest.fixture
def network():
    """The class of the predictor."""
    return BallNetwork


@pytest.fixture
def add_ct(slicer):
    """Function that adds a CT of a ball to the scene, on an oblique grid unless another is given."""

    def add(name="CT", where=None, centre=CENTRE_RAS_MM, radius=RADIUS_MM):
        where = where or phantoms.grid((30, 42, 46), (2.0, 2.2, 3.0), phantoms.rotation(15, -20, 25), (8, -20, 45))
        hu = BACKGROUND_HU + (BALL_HU - BACKGROUND_HU) * phantoms.ball(where, centre, radius)
        node = slicer.util.addVolumeFromArray(np.round(hu).astype(np.int16), name=name)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(where.ijk_to_ras))
        return node

    return add


@pytest.fixture
def module(slicer):
    """The module's Python file, loaded as the application loads it."""
    slicer_host.load_module(MODULE)
    return sys.modules["AttentionUNetSegmentation"]


@pytest.fixture
def logic(module):
    """A logic of the module; stopped at the end."""
    made = module.AttentionUNetSegmentationLogic()
    yield made
    made.stop()


@pytest.fixture
def result(logic, add_ct, network):
    """A CT and the result of a run on it."""
    ct = add_ct()
    return ct, logic.segment(ct, device="cpu", predictor=network())


@pytest.fixture
def again(logic, network):
    """Function that segments once more into the same node."""

    def run(ct, node, **options):
        return logic.segment(ct, node, device="cpu", predictor=network(), **options)

    return run


@pytest.fixture
def widget(module):
    """The module's panel, shown."""
    shown = slicer_host.enter("AttentionUNetSegmentation")
    yield shown
    shown.logic.stop()


@pytest.fixture
def scene_nodes(slicer):
    """Function that lists the scene: ID and name of every node, and every subject hierarchy item."""

    def nodes():
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        items = vtk.vtkIdList()
        hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
        names = [hierarchy.GetItemName(items.GetId(n)) for n in range(items.GetNumberOfIds())]
        everything = slicer.util.getNodesByClass("vtkMRMLNode")
        return sorted((node.GetID(), node.GetName() or "") for node in everything), sorted(names)

    return nodes


@pytest.fixture
def wait(slicer):
    """Function that lets the event loop run until a condition holds."""
    return slicer_host.wait_until


@pytest.fixture
def predicting(widget, network, monkeypatch):
    """Function that gives the panel's runs a predictor; returns the predictor."""

    def use(**arguments):
        predictor = network(**arguments)
        prepare = type(widget.logic)._prepare
        monkeypatch.setattr(
            widget.logic, "_prepare", lambda *args, **rest: prepare(widget.logic, *args, predictor=predictor, **rest)
        )
        return predictor

    return use


@pytest.fixture
def done(widget, add_ct, predicting, wait):
    """The panel after a run; returns its segmentation node."""
    predicting()
    add_ct("CT ä")
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    return widget.logic.getParameterNode().outputSegmentation


@pytest.fixture
def dependencies(module):
    from AttentionUNetSegmentationLib.panels import dependencies

    return dependencies


@pytest.fixture
def having(dependencies, monkeypatch):
    """Function that says what there is: packages by their names, and a kind of GPU."""
    find = importlib.util.find_spec

    def only(*packages, gpu=""):
        absent = {"torch", "openvino"} - set(packages)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in absent else find(name, *rest)
        )
        monkeypatch.setattr(dependencies.devices, "find_gpu", lambda: gpu)

    return only
