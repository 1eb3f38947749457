"""The smallest scripted module with every part of Slicer's template; the host's own tests run it."""

from typing import Annotated

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class HostExample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Host example")
        self.parent.categories = ["Testing"]
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="HostExample",
        sampleName="HostExampleVolume",
        uris="https://example.org/volume.nrrd",
        fileNames="volume.nrrd",
        nodeNames="HostExampleVolume",
        checksums="SHA256:00",
    )


@parameterNodeWrapper
class HostExampleParameterNode:
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0, 100)] = 50


class HostExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._guiTag = None
        self.calls = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/HostExample.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = HostExampleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.setParameterNode(self.logic.getParameterNode())

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.calls.append("enter")
        self.setParameterNode(self.logic.getParameterNode())

    def exit(self):
        self.calls.append("exit")
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, node):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButton)
        self._parameterNode = node
        if node is not None:
            self._guiTag = node.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.updateButton)
            self.updateButton()

    def updateButton(self, caller=None, event=None):
        self.ui.applyButton.enabled = self._parameterNode.inputVolume is not None

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("Counting failed."), waitCursor=True):
            count = self.logic.countAbove(self._parameterNode.inputVolume, self._parameterNode.threshold)
            self.ui.resultLabel.text = str(count)


class HostExampleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return HostExampleParameterNode(super().getParameterNode())

    def countAbove(self, volumeNode, threshold):
        if volumeNode.GetImageData() is None:
            raise ValueError("the volume is empty")
        return int((slicer.util.arrayFromVolume(volumeNode) > threshold).sum())


class HostExampleTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_countsVoxels(self):
        import numpy as np

        self.delayDisplay("Counting")
        volumeNode = slicer.util.addVolumeFromArray(np.arange(8, dtype=np.int16).reshape(2, 2, 2))
        assert HostExampleLogic().countAbove(volumeNode, 4) == 3
