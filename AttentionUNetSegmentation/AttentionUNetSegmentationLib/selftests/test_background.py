"""Runs in the background, and their end."""

import time

import slicer

from .case import SelfTest, needs_torch
from .phantom import add_phantom, ball_predictor


@needs_torch
class BackgroundTest(SelfTest):
    """Segments while the event loop runs."""

    def test_runInBackground(self):
        """A run that was started ends while the event loop runs, and a second one is refused meanwhile."""
        volumeNode, _centre = add_phantom()
        nodes: list[slicer.vtkMRMLSegmentationNode] = []
        other_ends: list[object] = []
        steps: list[float] = []
        self.logic.start(
            volumeNode,
            device="cpu",
            predictor=ball_predictor(seconds=0.3),
            onProgress=lambda fraction, step: steps.append(fraction),
            onFinished=nodes.append,
            onError=other_ends.append,
            onCancelled=lambda: other_ends.append("cancelled"),
        )
        assert "running" in self.refusal(lambda: self.logic.start(volumeNode))
        self.wait(lambda: nodes or other_ends)
        assert not other_ends
        assert [node.GetClassName() for node in nodes] == ["vtkMRMLSegmentationNode"]
        assert steps and steps == sorted(steps)

    def test_cancelMidRun(self):
        """Cancelling takes effect within two seconds and leaves the scene as it was."""
        volumeNode, _centre = add_phantom()
        before = self.node_ids()
        ends: list[object] = []
        self.logic.start(
            volumeNode,
            device="cpu",
            predictor=ball_predictor(seconds=60),
            onFinished=ends.append,
            onError=ends.append,
            onCancelled=lambda: ends.append("cancelled"),
        )
        self.wait(lambda: False, 0.5)
        assert self.logic.isRunning
        began = time.monotonic()
        self.logic.cancel()
        self.wait(lambda: ends)
        assert time.monotonic() - began < 2.0
        assert ends == ["cancelled"]
        assert self.node_ids() == before
