"""The logic for scripts: whatever goes wrong, the scene is as it was before, and one clear sentence says why."""

import json
import shutil
import threading
import time

import numpy as np
import pytest
import torch

import slicer_host

pytestmark = pytest.mark.slow

OOM = "CUDA out of memory. Tried to allocate 20.00 GiB"


@pytest.fixture
def copied_model(tmp_path, monkeypatch):
    """A copy of the bundled model in a user's model folder of its own; returns its folder."""
    from AttentionUNetSegmentationLib.models.store import PACKAGED_MODELS

    monkeypatch.setenv("ATTENTION_UNET_MODELS", str(tmp_path / "Modèles"))
    folder = tmp_path / "Modèles" / "copied"
    shutil.copytree(PACKAGED_MODELS / "abdomen-ct", folder)
    return folder


def start(logic, node, **options):
    """Start a run whose ends are collected."""
    ends = []
    logic.start(
        node,
        device="cpu",
        onFinished=lambda result: ends.append(("finished", result)),
        onError=lambda error: ends.append(("error", error)),
        onCancelled=lambda: ends.append(("cancelled", None)),
        **options,
    )
    return ends


def test_segment_reports_progress_and_returns_the_node(logic, add_ct, network):
    steps = []
    node = logic.segment(add_ct(), device="cpu", predictor=network(), progress=lambda *step: steps.append(step))
    assert node.GetClassName() == "vtkMRMLSegmentationNode"
    assert [fraction for fraction, _ in steps] == sorted(fraction for fraction, _ in steps)
    assert steps[0] == (0.0, "loading the model") and steps[-1] == (1.0, "done")


def test_it_runs_in_the_callers_thread(logic, add_ct, network):
    threads = set()
    logic.segment(
        add_ct(), device="cpu", predictor=network(), progress=lambda *_: threads.add(threading.current_thread())
    )
    assert threads == {threading.main_thread()}


def test_large_pages_are_asked_for_on_the_main_thread(logic, add_ct, network, wait, monkeypatch):
    """Others may be reading the environment while it is changed."""
    from AttentionUNetSegmentationLib.scene import runtimes

    threads = []
    monkeypatch.setattr(runtimes, "want_large_pages", lambda: threads.append(threading.current_thread()))
    ends = start(logic, add_ct(), predictor=network())
    wait(lambda: ends)
    assert threads == [threading.main_thread()]


@pytest.mark.parametrize("with_output", [False, True])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("the network broke"), "^the network broke$"),
        (RuntimeError(OOM), "^not enough memory: one pass on CPU ran out of it$"),
        (MemoryError(), "^not enough memory: one pass on CPU ran out of it$"),
    ],
    ids=repr,
)
def test_a_failing_network_leaves_the_scene_as_it_was(
    slicer, logic, add_ct, network, scene_nodes, error, told, with_output
):
    ct = add_ct()
    output = logic.segment(ct, device="cpu", predictor=network()) if with_output else None
    before, text = scene_nodes(), content(slicer, output)
    with pytest.raises(RuntimeError, match=told):
        logic.segment(ct, output, device="cpu", predictor=network(error=error))
    assert scene_nodes() == before and content(slicer, output) == text


def content(slicer, node):
    """A segmentation's attributes, segments and tags, and its maps' voxels."""
    if node is None:
        return None
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of
    from AttentionUNetSegmentationLib.scene.organ_table import rows

    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    maps = {name: slicer.util.arrayFromVolume(each).sum() for name, each in maps_of(node).items()}
    return attributes, rows(node), maps


@pytest.mark.parametrize(
    ("part", "with_output"),
    [(part, with_output) for part in ("write_maps", "_write_frames", "map_images") for with_output in (False, True)]
    + [("_new_segmentation", False)],
)
def test_failing_while_writing_takes_everything_back(
    slicer, logic, add_ct, network, scene_nodes, monkeypatch, part, with_output
):
    ct = add_ct()
    output = logic.segment(ct, device="cpu", predictor=network()) if with_output else None
    before, text = scene_nodes(), content(slicer, output)
    from AttentionUNetSegmentationLib.scene import request

    written = getattr(request, part)

    def write_then_fail(*arguments):
        written(*arguments)
        raise OSError("no space left on device")

    monkeypatch.setattr(request, part, write_then_fail)
    slicer.util.updateVolumeFromArray(ct, np.roll(slicer.util.arrayFromVolume(ct), 3, axis=1))
    with pytest.raises(OSError, match="no space left"):
        logic.segment(ct, output, device="cpu", predictor=network())
    assert scene_nodes() == before
    if part != "write_maps":  # which gives the old maps back if it fails, not if it succeeds
        assert content(slicer, output) == text


def test_a_map_that_cannot_be_written_gives_the_old_maps_back(slicer, logic, add_ct, network, monkeypatch, scene_nodes):
    ct = add_ct()
    node = logic.segment(ct, device="cpu", predictor=network())
    before, text = scene_nodes(), content(slicer, node)
    from AttentionUNetSegmentationLib.scene import map_volumes

    filled = map_volumes._map_node

    def fail_at_the_fourth(entry, *arguments):
        if entry.name == "s3-2":
            raise MemoryError
        return filled(entry, *arguments)

    monkeypatch.setattr(map_volumes, "_map_node", fail_at_the_fourth)
    slicer.util.updateVolumeFromArray(ct, np.roll(slicer.util.arrayFromVolume(ct), 3, axis=1))
    with pytest.raises(MemoryError):
        logic.segment(ct, node, device="cpu", predictor=network())
    assert scene_nodes() == before and content(slicer, node) == text


def test_cancelling_the_blocking_form(logic, add_ct, network, scene_nodes):
    ct = add_ct()
    before = scene_nodes()
    with pytest.raises(RuntimeError, match="cancelled"):
        logic.segment(ct, device="cpu", predictor=network(), cancel=lambda: True)
    assert scene_nodes() == before


def test_the_model_stays_loaded_until_it_is_freed(slicer, logic, add_ct, copied_model):
    from AttentionUNetSegmentationLib.models import loading
    from AttentionUNetSegmentationLib.scene.mrml import result_line

    loads = []
    original = loading.load_model
    loading.load_model = lambda folder: loads.append(folder) or original(folder)
    try:
        small = slicer.util.addVolumeFromArray(
            (np.arange(4096) % 300).astype(np.int16).reshape(16, 16, 16), name="tiny"
        )
        for _ in range(2):
            logic.segment(small, model="copied", device="cpu")
        assert loads == [copied_model]
        logic.freeMemory()
        logic.segment(small, model="copied", device="cpu")
        assert loads == [copied_model] * 2
        description = json.loads((copied_model / "model.json").read_text())
        (copied_model / "model.json").write_text(json.dumps(description | {"version": "9.9"}))
        node = logic.segment(small, model="copied", device="cpu")
        assert loads == [copied_model] * 3 and "9.9" in result_line(node)
    finally:
        loading.load_model = original


def test_a_model_deleted_after_it_was_loaded_is_missed(slicer, logic, copied_model, scene_nodes):
    small = slicer.util.addVolumeFromArray((np.arange(4096) % 300).astype(np.int16).reshape(16, 16, 16), name="tiny")
    logic.segment(small, model="copied", device="cpu")
    before = scene_nodes()
    (copied_model / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match="the model has no weights"):
        logic.segment(small, model="copied", device="cpu")
    shutil.rmtree(copied_model)
    with pytest.raises(ValueError, match="there is no model 'copied'; available: abdomen-ct"):
        logic.segment(small, model="copied", device="cpu")
    assert scene_nodes() == before


def test_the_model_is_deleted_while_a_run_is_starting(logic, add_ct, copied_model, wait, scene_nodes, monkeypatch):
    from AttentionUNetSegmentationLib.scene import request

    read = request.find_model
    monkeypatch.setattr(request, "find_model", lambda name: (read(name), shutil.rmtree(copied_model))[0])
    ct = add_ct()
    before = scene_nodes()
    ends = start(logic, ct, model="copied")
    wait(lambda: ends)
    assert ends[0][0] == "error" and "there is no model 'copied'" in str(ends[0][1])
    assert scene_nodes() == before and not logic.isRunning


def test_out_of_memory_frees_the_model(slicer, logic, add_ct, monkeypatch):
    small = slicer.util.addVolumeFromArray((np.arange(4096) % 300).astype(np.int16).reshape(16, 16, 16), name="tiny")
    logic.segment(small, device="cpu")
    assert logic._cache._model is not None
    from AttentionUNetSegmentationLib.scene import frames

    def fail(*_):
        raise torch.OutOfMemoryError(OOM)

    monkeypatch.setattr(frames, "segment", fail)
    with pytest.raises(torch.OutOfMemoryError):
        logic.segment(small, device="cpu")
    assert logic._cache._model is None


def test_a_gpu_that_is_not_there_is_explained(logic, add_ct):
    if torch.cuda.is_available():
        pytest.skip("this computer has a GPU")
    with pytest.raises(ValueError, match="the device 'cuda' is not available"):
        logic.segment(add_ct(), device="cuda")


def test_an_unknown_option_is_an_error(logic, add_ct):
    with pytest.raises(TypeError, match="probabilites"):
        logic.segment(add_ct(), probabilites=True)


def test_a_background_run_ends_with_the_node(logic, add_ct, network, wait):
    ends = start(logic, add_ct(), predictor=network(seconds=0.2))
    assert logic.isRunning
    wait(lambda: ends)
    assert [kind for kind, _ in ends] == ["finished"] and not logic.isRunning
    assert ends[0][1].GetSegmentation().GetNumberOfSegments() == 4


def test_a_result_waits_until_a_scene_has_loaded(slicer, logic, add_ct, network, wait):
    """Slicer's timers run while it loads a scene, but its subject hierarchy gives no segment an item then."""
    ends = start(logic, add_ct(), predictor=network())
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    wait(logic._run._done.is_set)
    slicer_host.process_events(0.2)
    assert not ends and logic.isRunning and not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    wait(lambda: ends)
    assert [kind for kind, _ in ends] == ["finished"]


def test_a_second_run_is_refused_in_both_forms(logic, add_ct, network, wait):
    ct = add_ct()
    ends = start(logic, ct, predictor=network(seconds=0.5))
    for call in (logic.start, logic.segment):
        with pytest.raises(RuntimeError, match="a segmentation is running"):
            call(ct, predictor=network())
    wait(lambda: ends)
    assert [kind for kind, _ in ends] == ["finished"]


def test_the_event_loop_goes_on_during_a_run(qt, logic, add_ct, network, wait):
    ticks = []
    timer = qt.QTimer()
    timer.setInterval(10)
    timer.connect("timeout()", lambda: ticks.append(time.monotonic()))
    timer.start()
    ends = start(logic, add_ct(), predictor=network(seconds=1.0))
    wait(lambda: ends)
    timer.stop()
    assert len(ticks) > 10 and max(np.diff(ticks)) < 0.5


def test_an_error_in_the_background_is_reported_once(logic, add_ct, network, wait, scene_nodes):
    ct = add_ct()
    before = scene_nodes()
    ends = start(logic, ct, predictor=network(seconds=0.1, error=RuntimeError("the network broke")))
    wait(lambda: ends)
    wait_a_little(wait)
    assert [(kind, str(what)) for kind, what in ends] == [("error", "the network broke")]
    assert scene_nodes() == before


def wait_a_little(wait, seconds=0.2):
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def test_cancelling_in_the_background(logic, add_ct, network, wait, scene_nodes):
    ct = add_ct()
    before = scene_nodes()
    ends = start(logic, ct, predictor=network(seconds=60))
    wait_a_little(wait)
    began = time.monotonic()
    logic.cancel()
    wait(lambda: ends)
    assert time.monotonic() - began < 2.0
    assert ends == [("cancelled", None)] and scene_nodes() == before


def test_removing_the_input_cancels(slicer, logic, add_ct, network, wait):
    ct = add_ct()
    ends = start(logic, ct, predictor=network(seconds=60))
    wait_a_little(wait)
    slicer.mrmlScene.RemoveNode(ct)
    wait(lambda: ends)
    assert ends == [("cancelled", None)]
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_closing_the_scene_cancels_and_nothing_is_written_into_the_next(slicer, logic, add_ct, network, wait):
    ends = start(logic, add_ct(), predictor=network(seconds=0.5))
    slicer.mrmlScene.Clear(False)
    replacement = add_ct()  # gets the same node ID
    wait(lambda: ends)
    wait_a_little(wait, 0.6)
    assert ends == [("cancelled", None)]
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == [replacement]
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_closing_the_scene_does_not_wait_for_packages(slicer, logic, add_ct, network, wait, monkeypatch):
    from AttentionUNetSegmentationLib.scene import background_run

    def import_slowly(x):
        time.sleep(1.5)  # cannot be stopped
        return network()(x)

    monkeypatch.setattr(background_run.runtimes, "is_loading", lambda: True)
    ends = start(logic, add_ct(), predictor=import_slowly)
    time.sleep(0.3)
    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.StartCloseEvent, lambda *_: logic.stop())
    began = time.monotonic()
    slicer.mrmlScene.Clear(False)
    slicer.mrmlScene.RemoveObserver(tag)
    assert time.monotonic() - began < 1.0 and ends == [("cancelled", None)]
    wait(lambda: not [thread for thread in threading.enumerate() if thread.name == "AttentionUNet"])


def test_removing_the_output_during_the_run_makes_a_new_one(slicer, logic, add_ct, network, wait):
    ct = add_ct()
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    ends = start(logic, ct, predictor=network(seconds=0.3), segmentationNode=output)
    slicer.mrmlScene.RemoveNode(output)
    wait(lambda: ends)
    assert ends[0][0] == "finished" and ends[0][1] is not output
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == [ends[0][1]]


def test_a_volume_changed_during_the_run_is_pointed_out(slicer, logic, add_ct, network, wait):
    ct = add_ct()
    ends = start(logic, ct, predictor=network(seconds=0.3))
    ct.SetOrigin(0, 0, 0)
    wait(lambda: ends)
    from AttentionUNetSegmentationLib.scene.mrml import result_notes

    assert any("the volume was changed during the run" in note for note in result_notes(ends[0][1]))


def test_stop_waits_for_the_thread(logic, add_ct, network):
    ends = start(logic, add_ct(), predictor=network(seconds=60))
    logic.stop()
    assert ends == [("cancelled", None)] and not logic.isRunning
    assert not [thread for thread in threading.enumerate() if thread.name == "AttentionUNet"]


def test_it_works_without_a_main_window(slicer, logic, add_ct, network):
    with slicer_host.no_main_window():
        node = logic.segment(add_ct(), device="cpu", predictor=network())
    assert node.GetSegmentation().GetNumberOfSegments() == 4
