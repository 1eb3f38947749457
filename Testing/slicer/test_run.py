"""A run that ended lets go of its volumes and results, whatever way it ended, and so do the panel's timers of it."""

import gc
import logging
import weakref

import pytest

import slicer_host

pytestmark = pytest.mark.slow


@pytest.fixture
def quiet():
    """No log: pytest keeps records, and with them the traceback of an error and every volume in its frames."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def voxels(logic, monkeypatch):
    """Weak references to the voxels and labels of every run."""
    from AttentionUNetSegmentationLib.scene import frames, request

    seen, read, segment_frames = [], request.read, frames.segment_frames

    def remembered_read(*arguments):
        inputs = read(*arguments)
        seen.extend(weakref.ref(volume.voxels) for volume in inputs.volumes)
        return inputs

    def remembered_segment(*arguments):
        results = segment_frames(*arguments)
        seen.extend(weakref.ref(result.labels) for result in results)
        return results

    monkeypatch.setattr(request, "read", remembered_read)
    monkeypatch.setattr(frames, "segment_frames", remembered_segment)
    return seen


def start(logic, node, predictor):
    """Start a run; returns the list that receives how it ended."""
    ends = []
    logic.start(
        node,
        device="cpu",
        predictor=predictor,
        onFinished=lambda result: ends.append("finished"),
        onError=lambda error: ends.append("error"),
        onCancelled=lambda: ends.append("cancelled"),
    )
    return ends


def alive(references):
    slicer_host.process_events(0.05)
    gc.collect()
    return [reference for reference in references if reference() is not None]


def test_a_finished_run_is_freed(logic, add_ct, network, wait, voxels, quiet):
    ends = start(logic, add_ct(), network())
    run = weakref.ref(logic._run)
    wait(lambda: ends)
    assert ends == ["finished"] and len(voxels) == 2 and alive([*voxels, run]) == []


def test_a_failed_run_is_freed(logic, add_ct, network, wait, voxels, quiet):
    ends = start(logic, add_ct(), network(error=RuntimeError("the network broke")))
    run = weakref.ref(logic._run)
    wait(lambda: ends)
    assert ends == ["error"] and len(voxels) == 1 and alive([*voxels, run]) == []


def test_a_cancelled_run_is_freed(logic, add_ct, network, wait, voxels, quiet):
    ends = start(logic, add_ct(), network(seconds=60))
    run = weakref.ref(logic._run)
    slicer_host.process_events(0.1)
    logic.cancel()
    wait(lambda: ends)
    assert ends == ["cancelled"] and len(voxels) == 1 and alive([*voxels, run]) == []


def test_a_stopped_run_is_freed(logic, add_ct, network, voxels, quiet):
    ends = start(logic, add_ct(), network(seconds=60))
    run = weakref.ref(logic._run)
    logic.stop()
    assert ends == ["cancelled"] and len(voxels) == 1 and alive([*voxels, run]) == []


def test_a_run_that_is_kept_by_a_script_keeps_nothing(logic, add_ct, network, wait, voxels, quiet):
    ends = []
    run = logic.start(add_ct(), device="cpu", predictor=network(), onFinished=ends.append)
    wait(lambda: ends)
    assert len(voxels) == 2 and alive(voxels) == []
    run.cancel()
    assert run.stop() is True and not run.is_running and len(ends) == 1


def test_a_panel_that_is_cleaned_up_lets_go_of_its_timers(slicer, qt, module, add_ct):
    parent = slicer.qMRMLWidget()
    parent.setLayout(qt.QVBoxLayout())
    panel = module.AttentionUNetSegmentationWidget(parent)
    panel.setup()
    add_ct()
    panel.cleanup()
    slicer_host.process_events(0.05)
    for timer in (panel._sceneTimer, panel.organPanel._timer):
        assert not timer.isActive() and timer.disconnect("timeout()") is False


def test_what_runs_on_the_thread_holds_no_node(module, add_ct, network):
    """Else the thread may hold a node's last reference, and delete it beside the main thread."""
    from AttentionUNetSegmentationLib.models.cache import ModelCache
    from AttentionUNetSegmentationLib.scene import request

    asked = request.Request(add_ct(), device="cpu")
    inputs = request.read(asked)
    work, asked = request.work(asked, inputs, ModelCache(), network()), weakref.ref(asked)
    gc.collect()
    assert asked() is None
    [result] = work(lambda *_: None, lambda: False)
    assert result.labels.shape == inputs.volumes[0].voxels.shape
