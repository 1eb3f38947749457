"""The 3D Slicer module: click Segment, see organs and where the network's attention gates let features pass."""

import logging
import sys
import unittest
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from AttentionUNetSegmentationLib.models.cache import ModelCache
    from AttentionUNetSegmentationLib.panels.run_timer import RunTimer
    from AttentionUNetSegmentationLib.scene.background_run import BackgroundRun

LIB = "AttentionUNetSegmentationLib"
DEVICES = {"Auto": "auto", "GPU": "mps" if sys.platform == "darwin" else "cuda", "CPU": "cpu"}


class AttentionUNetSegmentation(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Attention U-Net Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.contributors = ["The SlicerAttentionUNet authors"]
        self.parent.helpText = _(
            "Segments pancreas, spleen and kidneys on abdominal CT with a 3D Attention U-Net, and shows what each gate "
            "passed on. Choose a CT, click <b>Segment</b>, then choose a gate. Research use only, not for diagnosis."
        )
        self.parent.acknowledgementText = _(
            "Oktay O, Schlemper J, Le Folgoc L, et al.: Attention U-Net: Learning Where to Look for the Pancreas. "
            'Medical Imaging with Deep Learning 2018, <a href="https://arxiv.org/abs/1804.03999">arXiv:1804.03999</a>.'
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the bundled synthetic CT in the Sample Data module."""
    from AttentionUNetSegmentationLib.scene import sample_data

    sample_data.register()


@parameterNodeWrapper
class AttentionUNetSegmentationParameterNode:
    """What the user chose; saved with the scene."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    outputSegmentation: slicer.vtkMRMLSegmentationNode
    roi: slicer.vtkMRMLMarkupsROINode
    colorMap: slicer.vtkMRMLColorNode
    abdomenWindow: bool = True
    model: str = ""
    device: Annotated[str, Choice(list(DEVICES))] = "Auto"
    probabilities: bool = False
    allFrames: bool = False
    gate: str = "none"
    attentionOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    attentionThreshold: Annotated[FloatRange, RangeBounds(0, 1), Default(FloatRange(0.1, 1))]
    linkViews: bool = True

    if TYPE_CHECKING:  # what the decorator adds
        parameterNode: slicer.vtkMRMLScriptedModuleNode

        def __init__(self, parameterNode: slicer.vtkMRMLScriptedModuleNode) -> None: ...
        def connectParametersToGui(self, widgets: dict[str, object]) -> int: ...  # noqa: D102
        def disconnectGui(self, tag: int | None) -> None: ...  # noqa: D102


class AttentionUNetSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: AttentionUNetSegmentationLogic  # made by setup
        self._parameterNode: AttentionUNetSegmentationParameterNode | None = None
        self._parameterNodeGuiTag: int | None = None
        self._shownSegmentation: slicer.vtkMRMLSegmentationNode | None = None
        self._isStarting = False

    def setup(self) -> None:
        """Build the panel; what runs the network need not be installed for it."""
        ScriptedLoadableModuleWidget.setup(self)
        from AttentionUNetSegmentationLib.panels.attention import AttentionPanel
        from AttentionUNetSegmentationLib.panels.inputs import InputPanel
        from AttentionUNetSegmentationLib.panels.models import ModelPanel
        from AttentionUNetSegmentationLib.panels.organs import OrganPanel
        from AttentionUNetSegmentationLib.panels.progress import ProgressPanel, guarded

        panel = slicer.util.loadUI(self.resourcePath("UI/AttentionUNetSegmentation.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = AttentionUNetSegmentationLogic()
        self.inputPanel = InputPanel(self.ui, lambda: self._parameterNode)
        self.modelPanel = ModelPanel(self.ui, lambda: self._parameterNode, guarded)
        self.progressPanel = ProgressPanel(self.ui)
        self.attentionPanel = AttentionPanel(self.ui, lambda: self._parameterNode)
        self.organPanel = OrganPanel(self.ui, lambda: self.parent.isEntered, self.progressPanel, self.attentionPanel)
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

    def setParameterNode(self, parameterNode: "AttentionUNetSegmentationParameterNode | None") -> None:
        """Bind the panel to a parameter node; None releases it."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObservers(self._onParametersModified)
        self._parameterNode, self._parameterNodeGuiTag = parameterNode, None
        self.inputPanel.bind()
        if parameterNode is not None:
            named = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
            widgets = {name: widget for name, widget in named.items() if name}
            self._parameterNodeGuiTag = parameterNode.connectParametersToGui(widgets)  # connectGui gives no tag back
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
            self._checkCanSegment()

    def onSegment(self) -> None:
        """Start a run with the panel's choices."""
        if self.logic.isRunning or self._isStarting or self._parameterNode is None:
            return
        self.progressPanel.begin()
        self._isStarting = True  # while packages are installed events are handled: clicks, even a change of module
        self._checkCanSegment()
        from AttentionUNetSegmentationLib.monitor import Cancelled

        try:
            self._start(self._parameterNode)
        except Cancelled:
            self._onCancelled()
        except Exception as error:  # the button is a boundary: logged, and shown in one sentence
            logging.exception("The segmentation could not be started")
            self._onError(error)
        finally:
            self._isStarting = False
            self._showRunning(self.logic.isRunning)

    def _start(self, parameters: AttentionUNetSegmentationParameterNode) -> None:
        from AttentionUNetSegmentationLib.panels import dependencies
        from AttentionUNetSegmentationLib.panels.run_options import run_options

        dependencies.ensure_installed(DEVICES[parameters.device], offer_gpu=True)
        self.logic.start(
            **run_options(parameters),
            model=parameters.model,
            device=DEVICES[parameters.device],
            onProgress=self.progressPanel.show_progress,
            onFinished=self._onFinished,
            onError=self._onError,
            onCancelled=self._onCancelled,
        )

    def onCancel(self) -> None:
        """Ask the run to stop."""
        self.progressPanel.show_cancelling()
        self.logic.cancel()

    def onFreeMemory(self) -> None:
        """Drop the loaded network."""
        self.logic.freeMemory()
        self.progressPanel.say(_("The network was dropped; the next run loads it again."))

    def _onFinished(self, segmentationNode) -> None:
        self._showRunning(False)
        isShown = self.inputPanel.take(segmentationNode, self._parameterNode or self.logic.getParameterNode())
        self._refreshResult()
        if not isShown:
            self.progressPanel.say(_("Done: {name}").format(name=segmentationNode.GetName()))

    def _onCancelled(self) -> None:
        self._showRunning(False)
        self.progressPanel.say(_("Cancelled; the scene is as it was."))

    def _onError(self, error: Exception) -> None:
        self._showRunning(False)
        self.progressPanel.show_error(error)

    def _showRunning(self, isRunning: bool) -> None:
        self.progressPanel.show_running(isRunning)
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
        parameters = self._parameterNode
        node = self._shownSegmentation = parameters.outputSegmentation if parameters is not None else None
        self.attentionPanel.refresh(node)
        self.organPanel.refresh(node)
        if not self.logic.isRunning:
            self.progressPanel.show_result(node)
        self._checkCanSegment()

    def _clear(self) -> None:
        self._shownSegmentation = None
        self.organPanel.refresh(None)
        self.attentionPanel.clear()
        self.progressPanel.show_result(None)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller, event, node) -> None:
        if self._parameterNode is not None:
            self.inputPanel.forget(node)
        elif node is self._shownSegmentation:
            self._clear()  # nothing else would let go of it before the module is opened again

    def _scheduleSceneChanged(self, caller=None, event=None) -> None:
        self._sceneTimer.start(30)  # ms; at 0 it would run between the nodes of a scene that loads, and not after

    def _onSceneChanged(self) -> None:
        if slicer.mrmlScene.IsBatchProcessing():  # a scene is being loaded or closed
            self._scheduleSceneChanged()
        elif self._parameterNode is not None:
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
        self._cache: ModelCache | None = None
        self._run: BackgroundRun | None = None
        self._runTimer: RunTimer | None = None

    def getParameterNode(self) -> AttentionUNetSegmentationParameterNode:
        """The module's parameter node, typed; made anew, as an older one may have missed nodes of a loaded scene."""
        return AttentionUNetSegmentationParameterNode(super().getParameterNode())

    @property
    def isRunning(self) -> bool:
        """Whether a run that was started has not ended."""
        return self._run is not None and self._run.is_running

    def segment(self, volumeNode, segmentationNode=None, model="", progress=None, cancel=None, **options):
        """Segment a CT; returns the segmentation node when it is done.

        Args:
            volumeNode: The CT, a scalar volume node.
            segmentationNode: Where the organs go; a new one is made if none is given.
            model: Name or path of the model; the first one if empty.
            progress: Called with the fraction done in [0, 1] and the current step.
            cancel: Asked often; True stops the run.
            options: ``roi`` (a markups ROI node that limits the run), ``device`` ("auto", "cpu", "cuda", "mps"),
                ``probabilities`` (a map of each organ, off), ``attention`` (the gates' maps, on), ``allFrames`` (of the
                sequence that the volume belongs to, off), ``replaceEdited`` (replace segments that were changed since
                a run wrote them, off: then the result goes to a new segmentation), ``predictor`` (takes the network's
                place).

        Raises:
            ValueError: If a node, the model or an option cannot be used.
            RuntimeError: If what runs the network is missing, memory does not suffice, or the run was cancelled.
        """
        request, inputs, work = self._prepare(volumeNode, segmentationNode, model=model, **options)
        from AttentionUNetSegmentationLib.scene.request import write

        return write(request, inputs, work(progress or (lambda fraction, step: None), cancel or (lambda: False)))

    def start(
        self, volumeNode, segmentationNode=None, onProgress=None, onFinished=None, onError=None, onCancelled=None, **kw
    ):
        """Segment a CT in the background; see ``segment`` for the other arguments.

        The callbacks are called on the main thread, while Slicer's event loop runs: ``onProgress(fraction, step)``,
        then one of ``onFinished(segmentationNode)``, ``onError(exception)``, ``onCancelled()``.

        Returns:
            The run, with ``is_running``, ``cancel()`` and ``stop()``.

        Raises:
            ValueError: If a node, the model or an option cannot be used.
            RuntimeError: If a run is going on already, or what runs the network is missing.
        """
        request, inputs, work = self._prepare(volumeNode, segmentationNode, **kw)
        from AttentionUNetSegmentationLib.panels.run_timer import RunTimer
        from AttentionUNetSegmentationLib.scene.background_run import BackgroundRun, Callbacks

        callbacks = Callbacks(
            onProgress or (lambda fraction, step: None),
            lambda node: self._endRun(onFinished, node),
            lambda error: self._endRun(onError, error),
            lambda: self._endRun(onCancelled),
        )
        self._run = BackgroundRun(request, inputs, work, callbacks)
        self._run.start()
        self._runTimer = RunTimer(self._run)
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
        replaceEdited=False,
    ):
        """What is asked for, what was copied out of the scene for it, and the work."""
        from AttentionUNetSegmentationLib.panels import dependencies

        if self.isRunning:
            raise RuntimeError("a segmentation is running; wait for its end or cancel it")
        if predictor is None:
            dependencies.ensure_installed(device)
        from AttentionUNetSegmentationLib.models.cache import ModelCache
        from AttentionUNetSegmentationLib.scene import request as requests

        request = requests.Request(
            volumeNode, segmentationNode, model, roi, device, attention, probabilities, allFrames, replaceEdited
        )
        inputs = requests.read(request)
        self._cache = self._cache or ModelCache()
        return request, inputs, requests.work(request, inputs, self._cache, predictor)

    def _endRun(self, callback, *arguments) -> None:
        """Let go of the run, which has ended, then tell the caller."""
        self._run = None
        if self._runTimer is not None:
            self._runTimer.stop()
        if callback is not None:
            callback(*arguments)


class AttentionUNetSegmentationTest(ScriptedLoadableModuleTest):
    """What the button Reload and Test runs: the self-tests, which have files of their own."""

    def runTest(self, **options):
        """Run all self-tests; raises an error if one fails."""
        result = unittest.TextTestRunner(verbosity=2).run(load_tests(unittest.defaultTestLoader))
        if not result.wasSuccessful():
            failed = [str(test) for test, _traceback in result.failures + result.errors]
            raise AssertionError(f"self-tests failed: {', '.join(failed)}")


def load_tests(loader, standardTests=None, pattern=None):
    """Unittest's hook, by which ``slicer.testing.runUnitTest`` and CMake's tests find the self-tests."""
    return loader.loadTestsFromNames([f"{LIB}.selftests.test_organs", f"{LIB}.selftests.test_background"])
