"""What the self-tests share."""

import time
import unittest

import slicer

from ..inference.devices import has_openvino, has_torch

# A module that was installed to run on a CPU has OpenVINO only; what takes the network's place is written in PyTorch.
needs_torch = unittest.skipUnless(has_torch(), "needs PyTorch")
needs_runtime = unittest.skipUnless(has_torch() or has_openvino(), "needs OpenVINO or PyTorch")


class SelfTest(unittest.TestCase):
    """Begins with an empty scene and a logic of its own."""

    def setUp(self):
        """Empty the scene."""
        from AttentionUNetSegmentation import AttentionUNetSegmentationLogic

        slicer.mrmlScene.Clear(False)
        self.logic = AttentionUNetSegmentationLogic()

    def tearDown(self):
        """Stop what a failed test left running."""
        self.logic.stop()

    def refusal(self, call):
        """What the error says that a call has to raise."""
        try:
            call()
        except (ValueError, RuntimeError) as error:
            return str(error)
        raise AssertionError("nothing was refused")

    def node_ids(self):
        """IDs of all nodes in the scene."""
        return sorted(node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode"))

    def wait(self, condition, seconds=30.0):
        """Let the event loop run until a condition holds, for a time at most."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            slicer.app.processEvents()
            time.sleep(0.005)
