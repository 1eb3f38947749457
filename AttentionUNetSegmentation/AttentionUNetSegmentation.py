"""The 3D Slicer module: click Segment, see organs and where the network's attention gates let features pass."""

import hashlib
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, FloatRange, RangeBounds, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

LIB = "AttentionUNetSegmentationLib"
SAMPLE = "SyntheticAbdomenCT"
SAMPLE_SHA256 = "b144531dd19f9cbc571d05b1b18aa7147654242434e7d26ed8de6c2cc86b62e5"
DEVICES = {"Auto": "auto", "GPU": "mps" if sys.platform == "darwin" else "cuda", "CPU": "cpu"}


class AttentionUNetSegmentation(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Attention U-Net Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["The SlicerAttentionUNet authors"]
        self.parent.helpText = _(
            "Segments pancreas, spleen and kidneys on abdominal CT with a 3D Attention U-Net, and shows over the CT "
            "what each attention gate passed on. Choose a CT, click <b>Segment</b>, then choose a gate. Research use "
            "only, not for diagnosis."
        )
        self.parent.acknowledgementText = _(
            "Oktay O, Schlemper J, Le Folgoc L, et al.: Attention U-Net: Learning Where to Look for the Pancreas. "
            'Medical Imaging with Deep Learning 2018, <a href="https://arxiv.org/abs/1804.03999">arXiv:1804.03999</a>.'
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the bundled synthetic CT in the Sample Data module; its file is part of the module."""
    import SampleData

    resources = Path(__file__).resolve().parent / "Resources"
    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):  # newer than Slicer 5.10
        SampleData.SampleDataLogic.registerCustomSampleDataCategory("AttentionUNet", title=_("Attention U-Net"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="AttentionUNet",
        sampleName=SAMPLE,
        thumbnailFileName=str(resources / "Icons" / f"{SAMPLE}.png"),
        uris=(resources / "SampleData" / f"{SAMPLE}.nrrd").as_uri(),
        fileNames=f"{SAMPLE}.nrrd",
        nodeNames=SAMPLE,
        checksums=f"SHA256:{SAMPLE_SHA256}",
    )


@parameterNodeWrapper
class AttentionUNetSegmentationParameterNode:
    """What the user chose; saved with the scene."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    outputSegmentation: slicer.vtkMRMLSegmentationNode
    roi: slicer.vtkMRMLMarkupsROINode
    colorMap: slicer.vtkMRMLColorNode
    model: str = ""
    device: Annotated[str, Choice(list(DEVICES))] = "Auto"
    probabilities: bool = False
    allFrames: bool = False
    gate: str = "none"
    attentionOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    attentionThreshold: Annotated[FloatRange, RangeBounds(0, 1), Default(FloatRange(0, 1))]
    linkViews: bool = True


class AttentionUNetSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._shownSegmentation = None
        self._isStarting = False

    def setup(self) -> None:
        """Build the panel; PyTorch need not be installed for it."""
        ScriptedLoadableModuleWidget.setup(self)
        from AttentionUNetSegmentationLib.panels.attention import AttentionPanel
        from AttentionUNetSegmentationLib.panels.inputs import InputPanel
        from AttentionUNetSegmentationLib.panels.models import ModelPanel
        from AttentionUNetSegmentationLib.panels.organs import OrganPanel

        panel = slicer.util.loadUI(self.resourcePath("UI/AttentionUNetSegmentation.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = AttentionUNetSegmentationLogic()
        self.inputPanel = InputPanel(self.ui, lambda: self._parameterNode)
        self.modelPanel = ModelPanel(self.ui, lambda: self._parameterNode, self._guarded)
        self.organPanel = OrganPanel(self.ui, self._guarded, lambda: self.parent.isEntered)
        self.attentionPanel = AttentionPanel(self.ui, lambda: self._parameterNode)
        self._sceneTimer = qt.QTimer()  # one refresh for many nodes added or removed in a row
        self._sceneTimer.setSingleShot(True)
        self._sceneTimer.connect("timeout()", self._onSceneChanged)
        self._connect()
        self._showRunning(False)
        self.initializeParameterNode()

    def _connect(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)
        self.addObserver(scene, scene.NodeAddedEvent, self._scheduleSceneChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self._scheduleSceneChanged)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegment)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.ui.freeMemoryButton.connect("clicked(bool)", self.onFreeMemory)
        slicer.app.connect("aboutToQuit()", self.logic.stop)

    def cleanup(self) -> None:
        """Called when the application exits, or the module is reloaded."""
        slicer.app.disconnect("aboutToQuit()", self.logic.stop)
        self.logic.stop()
        self.setParameterNode(None)
        self.organPanel.close()
        self.removeObservers()
        self._sceneTimer.stop()
        self._sceneTimer.disconnect("timeout()", self._onSceneChanged)  # PythonQt's connection keeps the widget alive

    def onReload(self) -> None:
        """Load the Lib package anew as well."""
        for name in [name for name in sys.modules if name == LIB or name.startswith(LIB + ".")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens another module; a run goes on."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """A run is cancelled; its result would have no place."""
        self.logic.stop()
        self.setParameterNode(None)
        self._clear()

    def onSceneStartImport(self, caller=None, event=None) -> None:
        """Let go of the parameters: until the end of the import references and selectors are not to be trusted."""
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None) -> None:
        """Show what the scene holds after it was closed, or loaded."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that there is a parameter node, and that the panel shows it."""
        self.setParameterNode(self.logic.getParameterNode())
        self.modelPanel.refresh()
        self.inputPanel.preselect()
        self._refreshResult()

    def setParameterNode(self, parameterNode) -> None:
        """Bind the panel to a parameter node; None releases it."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self._parameterNode = parameterNode
        self._parameterNodeGuiTag = None
        self.inputPanel.bind()
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
            self._checkCanSegment()

    def onSegment(self) -> None:
        """Start a run with the panel's choices."""
        if self.logic.isRunning or self._isStarting or self._parameterNode is None:
            return
        self._say(_("Starting"))
        self.ui.warningsLabel.setText("")
        self._isStarting = True  # while PyTorch is installed events are handled: clicks, even a change of module
        self._checkCanSegment()
        try:
            self._start(self._parameterNode)
        except Exception as error:  # the button is a boundary: logged, and shown in one sentence
            logging.exception("The segmentation could not be started")
            self._onError(error)
        finally:
            self._isStarting = False
            self._showRunning(self.logic.isRunning)

    def _start(self, parameters) -> None:
        from AttentionUNetSegmentationLib.panels import dependencies
        from AttentionUNetSegmentationLib.panels.inputs import output_for
        from AttentionUNetSegmentationLib.scene.sequences import frames_of

        dependencies.ensure(self._say)
        self.logic.start(
            parameters.inputVolume,
            output_for(parameters.inputVolume, parameters.outputSegmentation),
            model=parameters.model,
            roi=parameters.roi,
            device=DEVICES[parameters.device],
            probabilities=parameters.probabilities,
            allFrames=parameters.allFrames and frames_of(parameters.inputVolume) is not None,
            onProgress=self._onProgress,
            onFinished=self._onFinished,
            onError=self._onError,
            onCancelled=self._onCancelled,
        )

    def onCancel(self) -> None:
        """Ask the run to stop."""
        self.ui.statusLabel.setText(_("Cancelling"))
        self.ui.cancelButton.setEnabled(False)
        self.logic.cancel()

    def onFreeMemory(self) -> None:
        """Drop the loaded network."""
        self.logic.freeMemory()
        self.ui.statusLabel.setText(_("The network was dropped; the next run loads it again."))

    def _guarded(self, action) -> None:
        """Run an action of a button; if it fails, log the traceback and show one sentence, once."""
        from AttentionUNetSegmentationLib.errors import one_sentence

        try:
            action()
        except Exception as error:  # the button is a boundary
            logging.exception("The action failed")
            slicer.util.errorDisplay(one_sentence(error))

    def _say(self, text: str) -> None:
        """Show a text now, even if the event loop does not come to it soon."""
        self.ui.statusLabel.setText(text)
        self.ui.statusLabel.repaint()

    def _onProgress(self, fraction: float, step: str) -> None:
        self.ui.progressBar.setValue(round(100 * fraction))
        self.ui.statusLabel.setText(step)

    def _onFinished(self, segmentationNode) -> None:
        self._showRunning(False)
        from AttentionUNetSegmentationLib.panels.dependencies import gpu_note

        parameters = self._parameterNode or self.logic.getParameterNode()
        parameters.outputSegmentation = segmentationNode
        self._refreshResult()
        gpuNote = gpu_note() if parameters.device != "CPU" else ""
        self.ui.warningsLabel.setText("\n".join(filter(None, [self.ui.warningsLabel.text, gpuNote])))

    def _onCancelled(self) -> None:
        self._showRunning(False)
        self.ui.statusLabel.setText(_("Cancelled; the scene is as it was."))

    def _onError(self, error: Exception) -> None:
        from AttentionUNetSegmentationLib.errors import one_sentence

        self._showRunning(False)
        self.ui.statusLabel.setText(one_sentence(error))
        slicer.util.errorDisplay(one_sentence(error))

    def _showRunning(self, isRunning: bool) -> None:
        self.ui.progressBar.setVisible(isRunning)
        self.ui.progressBar.setValue(0)
        self.ui.cancelButton.setEnabled(isRunning)
        self.ui.freeMemoryButton.setEnabled(not isRunning)
        self._checkCanSegment()

    def _onParametersModified(self, caller=None, event=None) -> None:
        if self._parameterNode is None:
            return
        self._checkCanSegment()
        self.inputPanel.update()
        if self._parameterNode.outputSegmentation is not self._shownSegmentation:
            self._refreshResult()
        else:
            self.attentionPanel.update()

    def _checkCanSegment(self) -> None:
        self.inputPanel.offer_run(self.modelPanel.chosen, self.logic.isRunning or self._isStarting)

    def _refreshResult(self) -> None:
        """Fill the panel from the output segmentation alone."""
        from AttentionUNetSegmentationLib.scene.mrml import result_line, result_notes

        node = self._parameterNode.outputSegmentation if self._parameterNode is not None else None
        self._shownSegmentation = node
        self.organPanel.refresh(node)
        self.attentionPanel.refresh(node)
        if not self.logic.isRunning:
            self.ui.statusLabel.setText(result_line(node))
            self.ui.warningsLabel.setText("\n".join(result_notes(node)))
        self._checkCanSegment()

    def _clear(self) -> None:
        self._shownSegmentation = None
        self.organPanel.refresh(None)
        self.attentionPanel.clear()
        self.ui.statusLabel.setText("")
        self.ui.warningsLabel.setText("")

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller, event, node) -> None:
        if self._parameterNode is not None:
            self.inputPanel.forget(node)

    def _scheduleSceneChanged(self, caller=None, event=None) -> None:
        self._sceneTimer.start(0)

    def _onSceneChanged(self) -> None:
        if self._parameterNode is None or slicer.mrmlScene.IsClosing():
            return
        self.inputPanel.preselect()
        if self._parameterNode.outputSegmentation is not self._shownSegmentation:
            self._refreshResult()
        else:
            self.attentionPanel.follow_scene(self._shownSegmentation)
        self._checkCanSegment()


class AttentionUNetSegmentationLogic(ScriptedLoadableModuleLogic):
    """Segments volumes; works without a GUI."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._cache = None
        self._run = None
        self._parameters = None

    def getParameterNode(self):
        """The module's parameter node, typed; the same object while it is the same node."""
        node = super().getParameterNode()
        if self._parameters is None or self._parameters.parameterNode is not node:
            self._parameters = AttentionUNetSegmentationParameterNode(node)
        return self._parameters

    @property
    def isRunning(self) -> bool:
        """Whether a run that was started has not ended."""
        return self._run is not None and self._run.is_running

    def segment(self, volumeNode, segmentationNode=None, model="", progress=None, cancel=None, **options):
        """Segment a CT, and return when it is done.

        Args:
            volumeNode: The CT, a scalar volume node.
            segmentationNode: Where the organs go; a new one is made if none is given.
            model: Name or path of the model; the first one if empty.
            progress: Called with the fraction done in [0, 1] and the current step.
            cancel: Asked often; True stops the run.
            options: ``roi`` (a markups ROI node that limits the run), ``device`` ("auto", "cpu", "cuda", "mps"),
                ``probabilities`` (a map of each organ, off), ``attention`` (the gates' maps, on), ``allFrames`` (of the
                sequence that the volume belongs to, off), ``predictor`` (takes the network's place).

        Returns:
            The segmentation node.

        Raises:
            ValueError: If a node, the model or an option cannot be used.
            RuntimeError: If PyTorch is missing, memory does not suffice, or the run was cancelled.
        """
        request, inputs, work = self._prepare(volumeNode, segmentationNode, model=model, **options)
        from AttentionUNetSegmentationLib.scene.request import write

        try:
            outcomes = work(progress or (lambda fraction, step: None), cancel or (lambda: False))
        except Exception as error:
            self._freeOnOutOfMemory(error)
            raise
        return write(request, inputs, outcomes)

    def start(
        self,
        volumeNode,
        segmentationNode=None,
        onProgress=None,
        onFinished=None,
        onError=None,
        onCancelled=None,
        **rest,
    ):
        """Segment a CT in the background; see ``segment`` for the other arguments.

        The callbacks are called on the main thread, while Slicer's event loop runs: ``onProgress(fraction, step)``,
        then one of ``onFinished(segmentationNode)``, ``onError(exception)``, ``onCancelled()``.

        Returns:
            The run, with ``is_running``, ``cancel()`` and ``stop()``.

        Raises:
            ValueError: If a node, the model or an option cannot be used.
            RuntimeError: If a run is going on already, or PyTorch is missing.
        """
        request, inputs, work = self._prepare(volumeNode, segmentationNode, **rest)
        from AttentionUNetSegmentationLib.panels.run import Run
        from AttentionUNetSegmentationLib.scene.job import Job

        def failed(error: Exception) -> None:
            self._freeOnOutOfMemory(error)
            self._endRun(onError, error)

        self._run = Run(
            request,
            inputs,
            Job(work),
            onProgress or (lambda fraction, step: None),
            lambda node: self._endRun(onFinished, node),
            failed,
            lambda: self._endRun(onCancelled),
        )
        self._run.start()
        return self._run

    def cancel(self) -> None:
        """Ask the run to stop; its ``onCancelled`` follows soon."""
        if self._run is not None:
            self._run.cancel()

    def stop(self) -> None:
        """Cancel the run and wait for it, for a few seconds at most."""
        if self._run is not None:
            self._run.stop()

    def freeMemory(self) -> None:
        """Drop the loaded network, and give the GPU's memory back."""
        if self._cache is not None and not self.isRunning:
            self._cache.free()

    def _prepare(
        self,
        volumeNode,
        segmentationNode,
        model="",
        roi=None,
        device="auto",
        probabilities=False,
        attention=True,
        predictor=None,
        allFrames=False,
    ):
        """What is asked for, what was copied out of the scene for it, and the work."""
        from AttentionUNetSegmentationLib.panels import dependencies

        if self.isRunning:
            raise RuntimeError("a segmentation is running; wait for its end or cancel it")
        dependencies.ensure()
        from AttentionUNetSegmentationLib.inference.backends import choose_device
        from AttentionUNetSegmentationLib.models.cache import ModelCache
        from AttentionUNetSegmentationLib.pipeline import Options
        from AttentionUNetSegmentationLib.scene import request as requests

        options = Options(device=choose_device(device), attention=attention, probabilities=probabilities)
        request = requests.Request(volumeNode, segmentationNode, model, roi, options, allFrames)
        inputs = requests.read(request)
        self._cache = self._cache or ModelCache()
        return request, inputs, requests.work(inputs, options, self._cache, predictor)

    def _endRun(self, callback, *arguments) -> None:
        """Let go of the run, which has ended, then tell the caller."""
        self._run = None
        if callback is not None:
            callback(*arguments)

    def _freeOnOutOfMemory(self, error: Exception) -> None:
        from AttentionUNetSegmentationLib.errors import is_out_of_memory

        if is_out_of_memory(error) and self._cache is not None:
            self._cache.free()


class AttentionUNetSegmentationTest(ScriptedLoadableModuleTest):
    """Self-test; PyTorch has to be installed, else it fails. ``runTest`` and unittest both run every ``test_``."""

    BACKGROUND_HU, BALL_HU = -100.0, 200.0
    GATES = ("s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2")

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(False)
        self.logic = AttentionUNetSegmentationLogic()

    def tearDown(self):
        """Stop what a failed test left running."""
        self.logic.stop()

    def test_sampleDataToOrgansAndBack(self):
        """Sample CT -> Segment -> plausible organs, six maps in place -> save, clear, load -> the same."""
        import SampleData

        registerSampleData()
        volumeNode = SampleData.SampleDataLogic().downloadSample(SAMPLE)
        path = Path(__file__).resolve().parent / "Resources" / "SampleData" / f"{SAMPLE}.nrrd"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == SAMPLE_SHA256
        segmentationNode = self.logic.segment(volumeNode, device="cpu")
        before = self._summary(segmentationNode)
        for organ, low, high in (("spleen", 40, 600), ("right kidney", 50, 400), ("left kidney", 50, 400)):
            assert low < before["ml"][organ] < high, f"{organ}: {before['ml'][organ]} ml"
        assert 0 < before["ml"]["pancreas"] < 250, f"pancreas: {before['ml']['pancreas']} ml"
        assert sorted(before["maps"]) == sorted(self.GATES)
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

    def test_ballUnderObliqueGeometryAndTransform(self):
        """A ball at a known place comes back there, as segment and in every map, and follows a parent transform."""
        import numpy as np

        volumeNode, centre = self._phantom()
        transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkTransform()
        matrix.Translate(30, -20, 10)
        matrix.RotateY(35)
        transformNode.SetMatrixTransformToParent(matrix.GetMatrix())
        volumeNode.SetAndObserveTransformNodeID(transformNode.GetID())
        segmentationNode = self.logic.segment(volumeNode, device="cpu", predictor=self._predictor())
        from AttentionUNetSegmentationLib.scene.map_volumes import maps_of
        from AttentionUNetSegmentationLib.scene.mrml import grid_of_node
        from AttentionUNetSegmentationLib.scene.organ_table import rows, world_centroid

        pancreas = next(row for row in rows(segmentationNode) if row.name == "pancreas")
        world = matrix.TransformPoint(*centre)
        found = world_centroid(segmentationNode, pancreas)
        assert np.abs(np.subtract(found, world)).max() < 2.0
        assert abs(pancreas.volume_ml - 4 / 3 * np.pi * 18**3 / 1000) < 2.5
        assert segmentationNode.GetTransformNodeID() == transformNode.GetID()
        for name, node in maps_of(segmentationNode).items():
            alpha = slicer.util.arrayFromVolume(node).astype(float)
            ijk = (np.argwhere(alpha >= 0) * alpha.reshape(-1, 1)).sum(axis=0)[::-1] / alpha.sum()
            assert np.abs(grid_of_node(node).ras_of(ijk) - centre).max() < 2.0, name
            assert node.GetTransformNodeID() == transformNode.GetID()

    def test_runInBackground(self):
        """A run that was started ends while the event loop runs, and a second one is refused meanwhile."""
        volumeNode, _centre = self._phantom()
        ends, steps = [], []
        self.logic.start(
            volumeNode,
            device="cpu",
            predictor=self._predictor(seconds=0.3),
            onProgress=lambda fraction, step: steps.append(fraction),
            onFinished=ends.append,
            onError=ends.append,
            onCancelled=lambda: ends.append("cancelled"),
        )
        assert "running" in self._refusal(lambda: self.logic.start(volumeNode))
        self._wait(lambda: ends)
        assert [end.GetClassName() for end in ends] == ["vtkMRMLSegmentationNode"]
        assert steps and steps == sorted(steps)

    def test_cancelMidRun(self):
        """Cancelling takes effect within two seconds and leaves the scene as it was."""
        volumeNode, _centre = self._phantom()
        before = self._nodeIDs()
        ends = []
        self.logic.start(
            volumeNode,
            device="cpu",
            predictor=self._predictor(seconds=60),
            onFinished=ends.append,
            onError=ends.append,
            onCancelled=lambda: ends.append("cancelled"),
        )
        self._wait(lambda: False, 0.5)
        assert self.logic.isRunning
        began = time.monotonic()
        self.logic.cancel()
        self._wait(lambda: ends)
        assert time.monotonic() - began < 2.0
        assert ends == ["cancelled"]
        assert self._nodeIDs() == before

    def test_missingModel(self):
        """A model that is not there is an error of one sentence that names it, and nothing is left behind."""
        volumeNode, _centre = self._phantom()
        before = self._nodeIDs()
        assert "no-such-model" in self._refusal(lambda: self.logic.segment(volumeNode, model="no-such-model"))
        assert self._nodeIDs() == before

    def _phantom(self):
        """An oblique, flipped volume node with a ball of 18 mm radius, and the ball's centre in RAS."""
        import numpy as np

        shape, centre = (36, 60, 56), np.array([12.0, -25.0, 40.0])
        a, b = np.radians(20), np.radians(-15)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        axes = turn @ tilt @ np.diag([-1.8, -1.8, 3.0])
        origin = centre - axes @ (np.array([26.0, 31.0, 17.0]))
        k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
        distance = np.linalg.norm(np.stack([i, j, k], axis=-1) @ axes.T + origin - centre, axis=-1)
        inside = np.clip(0.5 + (18 - distance) / 4, 0, 1)
        hu = self.BACKGROUND_HU + (self.BALL_HU - self.BACKGROUND_HU) * inside
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = axes, origin
        node = slicer.util.addVolumeFromArray(hu.astype(np.int16), name="Phantom")
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        return node, centre

    def _predictor(self, seconds=0.0):
        """Takes the network's place: the ball is pancreas, and every gate passes what lies inside it."""
        import torch

        from AttentionUNetSegmentationLib.models.store import list_models

        spec = list_models()[0].spec

        def predict(x):
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                time.sleep(0.02)
                x = x + 0  # each call of torch is a chance to cancel
            hu = x * spec.intensity.std_hu + spec.intensity.mean_hu
            inside = torch.clamp((hu - self.BACKGROUND_HU) / (self.BALL_HU - self.BACKGROUND_HU), 0, 1)
            others = [torch.full_like(inside, -20.0)] * (spec.num_classes - 2)
            logits = torch.cat([10 * (1 - inside), 10 * inside, *others], dim=1)
            pool = torch.nn.functional.avg_pool3d
            return logits, {name: pool(inside, 2 ** (int(name[1]) - 1)) for name in self.GATES}

        return predict

    def _summary(self, segmentationNode):
        """What has to survive saving and loading."""
        from AttentionUNetSegmentationLib.scene.map_volumes import maps_of
        from AttentionUNetSegmentationLib.scene.mrml import result_line
        from AttentionUNetSegmentationLib.scene.organ_table import rows

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
        from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

        organs, ct = [0.0] * 6, [0.0] * 6
        segmentationNode.GetRASBounds(organs)
        volumeNode.GetRASBounds(ct)
        for name, node in maps_of(segmentationNode).items():
            bounds, voxel = [0.0] * 6, max(node.GetSpacing())
            node.GetRASBounds(bounds)
            for low in (0, 2, 4):
                assert bounds[low] <= organs[low] and bounds[low + 1] >= organs[low + 1], name
                assert bounds[low] > ct[low] - voxel and bounds[low + 1] < ct[low + 1] + voxel, name

    def _refusal(self, call):
        """What the error says that a call has to raise."""
        try:
            call()
        except (ValueError, RuntimeError) as error:
            return str(error)
        raise AssertionError("nothing was refused")

    def _nodeIDs(self):
        return sorted(node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode"))

    def _wait(self, condition, seconds=30.0):
        """Let the event loop run until a condition holds, for a time at most."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            slicer.app.processEvents()
            time.sleep(0.005)
