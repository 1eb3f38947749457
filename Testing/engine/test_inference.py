import time
import weakref
from collections import OrderedDict

import numpy as np
import pytest
import torch

from AttentionUNetSegmentationLib.inference import devices, memory
from AttentionUNetSegmentationLib.inference import prediction as inference
from AttentionUNetSegmentationLib.inference.devices import choose_backend, choose_device
from AttentionUNetSegmentationLib.inference.network import AttentionUNet
from AttentionUNetSegmentationLib.inference.openvino_backend import thread_limit
from AttentionUNetSegmentationLib.inference.prediction import Attempt, plan, predict
from AttentionUNetSegmentationLib.inference.torch_backend import TorchBackend
from AttentionUNetSegmentationLib.monitor import Cancelled, Monitor
from support import phantoms

WIDTHS = phantoms.TINY_WIDTHS


def test_the_tightest_memory_limit_of_a_job_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUP", tmp_path / "own")
    assert memory._free_container_bytes(10**9) == 10**9
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/slurm/job_7/step_0\n")
    for folder, limit in (("slurm/job_7/step_0", "max"), ("slurm/job_7", "5000"), ("slurm", "9000"), (".", "max")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n")
        (tmp_path / folder / "memory.current").write_text("1500\n")
        (tmp_path / folder / "memory.stat").write_text("anon 3\ninactive_file 500\n")
    assert memory._free_container_bytes(10**9) == 4000


def small_network() -> AttentionUNet:
    torch.manual_seed(0)
    network = AttentionUNet(widths=WIDTHS)
    for module in network.modules():  # batch norms that do something
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def constant(x):
    return torch.full((1, 3, *x.shape[2:]), 1.5), OrderedDict(
        a=torch.full((1, 1, *(n // 4 for n in x.shape[2:])), 0.25)
    )


def backend_of(network):
    return lambda device: TorchBackend(network, "cpu")


@pytest.mark.parametrize("shape", [(16, 16, 16), (5, 33, 100), (70, 20, 17)])
@pytest.mark.parametrize("tile", [None, 16, 32])
def test_any_size_constant_in_constant_out(shape, tile):
    result = predict(np.zeros(shape, np.float32), backend_of(constant), "cpu", WIDTHS, Monitor(), tile=tile)
    assert result.logits.shape == (3, *shape)
    np.testing.assert_allclose(result.logits, 1.5, rtol=1e-6)
    assert result.attention["a"].shape == tuple(-(-size // 4) for size in shape)
    np.testing.assert_allclose(result.attention["a"], 0.25, rtol=1e-6)
    assert result.strides["a"] == (4, 4, 4)


def test_small_tiles_are_warned_about_where_they_are_used():
    image = np.zeros((16, 16, 48), np.float32)
    tiled = predict(image, backend_of(constant), "cpu", WIDTHS, Monitor(), tile=32)
    assert tiled.reports == ["tiles of 32 voxels see little of the body: results are worse than with 160"]
    assert predict(image, backend_of(constant), "cpu", WIDTHS, Monitor(), tile=48).reports == []


def test_folded_batch_norms_give_the_networks_own_figures():
    network = small_network()
    x = torch.randn(1, 1, 32, 16, 16)
    with torch.inference_mode():
        expected, expected_attention = network(x)
    logits, attention = TorchBackend(network).run(x[0, 0].numpy(), Monitor())
    assert np.abs(logits - expected[0].numpy()).max() < 1e-5 * expected.abs().max()
    for name, alpha in attention.items():
        np.testing.assert_allclose(alpha, expected_attention[name][0, 0].numpy(), atol=1e-6)


def test_results_are_the_same_every_time():
    image = np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32)
    first, second = (predict(image, backend_of(small_network()), "cpu", WIDTHS, Monitor()) for _ in range(2))
    np.testing.assert_array_equal(first.logits, second.logits)


class Failing:
    """A backend that fails a number of times, then works."""

    name = "failing"

    def __init__(self, device: str, errors: list[BaseException]) -> None:
        self.device, self.errors, self.shapes, self.freed = device, errors, [], False

    def run(self, image, monitor, in_slabs=False):
        self.shapes.append((image.shape, in_slabs))
        if self.errors:
            raise self.errors.pop(0)
        return np.zeros((2, *image.shape), np.float32), {}

    def free(self):
        self.freed = True


@pytest.mark.parametrize(("device", "freed"), [("cuda", True), ("cpu", False)])
def test_a_gpu_gets_its_memory_back_after_a_run(monkeypatch, device, freed):
    monkeypatch.setattr(inference, "free_bytes", lambda device: 1 << 40)
    backend = Failing(device, [])
    predict(np.zeros((16, 16, 16), np.float32), lambda device: backend, device, WIDTHS, Monitor())
    assert backend.freed is freed


@pytest.mark.parametrize("error", [Cancelled(), RuntimeError("size mismatch")])
def test_a_gpu_gets_its_memory_back_after_a_run_that_ends_early(monkeypatch, error):
    monkeypatch.setattr(inference, "free_bytes", lambda device: 1 << 40)

    class Holding(Failing):
        def run(self, image, monitor, in_slabs=False):
            features = np.zeros(8)  # as a network's stages hold them
            self.features = weakref.ref(features)
            return super().run(image, monitor, in_slabs), features

        def free(self):
            self.left = self.features()

    backend = Holding("cuda", [error])
    with pytest.raises(type(error)):
        predict(np.zeros((16, 16, 16), np.float32), lambda device: backend, "cuda", WIDTHS, Monitor())
    assert backend.left is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
        RuntimeError("Check 'ptr' failed at cpu_memory.cpp:257: Failed to allocate 117440512 bytes"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_out_of_memory_falls_back_step_by_step_and_says_so(error, monkeypatch):
    monkeypatch.setattr(inference, "free_bytes", lambda device: 1 << 40)
    errors = [error] * 4
    made = []

    def make(device):
        made.append(Failing(device, errors))
        return made[-1]

    result = predict(np.zeros((32, 32, 256), np.float32), make, "cuda", WIDTHS, Monitor(), slabs=True)
    assert [backend.device for backend in made] == ["cuda", "cpu"]
    whole = (32, 32, 256)
    assert made[0].shapes == [(whole, False), (whole, True), ((32, 32, 192), True), ((32, 32, 160), True)]
    assert made[0].freed
    assert made[1].shapes == [(whole, True)]
    assert result.how == Attempt("cpu", None, in_slabs=True)
    assert result.reports == [
        "one pass on CUDA GPU: out of memory; went on with one pass in slabs on CUDA GPU",
        "one pass in slabs on CUDA GPU: out of memory; went on with tiles of 192 voxels in slabs on CUDA GPU",
        "tiles of 192 voxels in slabs on CUDA GPU: out of memory; "
        "went on with tiles of 160 voxels in slabs on CUDA GPU",
        "tiles of 160 voxels in slabs on CUDA GPU: out of memory; went on with one pass in slabs on CPU",
    ]


def test_memory_that_does_not_suffice_for_the_last_way_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(inference, "free_bytes", lambda device: 1 << 40)
    failing = Failing("cpu", [RuntimeError("Exception from infer_request.cpp:259: Failed to allocate 1 byte")] * 3)
    with pytest.raises(RuntimeError) as raised:
        predict(np.zeros((16, 16, 192), np.float32), lambda device: failing, "cpu", WIDTHS, Monitor(), slabs=True)
    assert str(raised.value) == "not enough memory: tiles of 160 voxels in slabs on CPU ran out of it"
    assert [shape[2] for shape, _ in failing.shapes] == [192, 160]  # no tile that would be the whole again


def test_a_device_that_lacks_an_operation_is_left_at_once(monkeypatch):
    monkeypatch.setattr(inference, "free_bytes", lambda device: 1 << 40)
    errors = [NotImplementedError("The operator 'aten::max_pool3d' is not implemented for the MPS device")]
    image = np.zeros((16, 16, 256), np.float32)
    result = predict(image, lambda device: Failing(device, errors), "mps", WIDTHS, Monitor(), slabs=True)
    assert result.how == Attempt("cpu", None, in_slabs=True)
    assert result.reports == [
        "one pass on Apple GPU: the device lacks an operation; went on with one pass in slabs on CPU"
    ]


def test_tiles_as_large_as_the_volume_are_one_pass():
    image = np.zeros((16, 32, 48), np.float32)
    result = predict(image, backend_of(constant), "cpu", WIDTHS, Monitor(), tile=48)
    assert result.how == Attempt("cpu", None)


def test_a_device_without_room_for_the_weights_is_left_for_the_cpu(monkeypatch):
    monkeypatch.setattr(inference, "free_bytes", lambda device: 1 << 40)

    def make(device):
        if device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Failing(device, [])

    result = predict(np.zeros((16, 16, 16), np.float32), make, "cuda", WIDTHS, Monitor())
    assert result.how == Attempt("cpu", None)


def test_a_backend_that_cannot_run_in_slabs_is_never_asked_to():
    assert not any(attempt.in_slabs for attempt in plan((16, 16, 16), "cpu", WIDTHS)[0])
    with pytest.raises(ValueError, match="only U-Nets can run in slabs"):
        TorchBackend(constant).run(np.zeros((16, 16, 16), np.float32), Monitor(), in_slabs=True)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [None, 32])
def test_slabs_and_one_go_give_the_same_figures(tile):
    network = small_network()
    image = np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32)
    expected = predict(image, backend_of(network), "cpu", WIDTHS, Monitor(), tile=tile)
    result = predict(image, backend_of(network), "cpu", WIDTHS, Monitor(), tile=tile, slabs=True)
    assert result.how == Attempt("cpu", tile, in_slabs=True)
    np.testing.assert_allclose(result.logits, expected.logits, atol=1e-5 * np.abs(expected.logits).max())
    assert result.attention.keys() == expected.attention.keys() != set()
    for name, alpha in result.attention.items():
        np.testing.assert_allclose(alpha, expected.attention[name], atol=1e-5)


def test_other_errors_are_not_swallowed():
    failing = Failing("cpu", [RuntimeError("size mismatch")])
    with pytest.raises(RuntimeError, match="size mismatch"):
        predict(np.zeros((16, 16, 16), np.float32), lambda device: failing, "cpu", WIDTHS, Monitor())


def test_the_estimate_rules_out_what_cannot_fit(monkeypatch):
    widths, shape = (16, 32, 64, 128, 256), (256, 256, 256)
    one_pass = memory.forward_bytes(widths, shape)
    monkeypatch.setattr(inference, "free_bytes", lambda device: one_pass)  # only 80 % of it may be planned for
    attempts, reports = plan(shape, "cuda", widths, slabs=True)
    assert attempts[0] == Attempt("cuda", None, in_slabs=True)
    assert "one pass on CUDA GPU takes about" in reports[0]
    assert reports[0].endswith("went on with one pass in slabs on CUDA GPU")
    smallest = memory.forward_bytes(widths, (160, 160, 160), in_slabs=True)
    monkeypatch.setattr(inference, "free_bytes", lambda device: smallest / 0.8)
    attempts, reports = plan(shape, "cpu", widths, slabs=True)
    assert attempts == [Attempt("cpu", 160, in_slabs=True)]
    ways = ["one pass in slabs on CPU", "tiles of 192 voxels in slabs on CPU"]
    assert [report.split(" takes")[0] for report in reports] == ways
    monkeypatch.setattr(inference, "free_bytes", lambda device: smallest)
    expected = r"not enough memory: tiles of 160 voxels in slabs on CPU takes about 1.8 GB, 1.4 of 1.8 GB free may be"
    with pytest.raises(RuntimeError, match=expected):
        plan(shape, "cpu", widths, slabs=True)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nothing_helps_where_the_scores_of_the_whole_do_not_fit_into_the_computer(monkeypatch, device):
    monkeypatch.setattr(inference, "free_bytes", lambda device: 3 << 30 if device == "cpu" else 1 << 40)
    plan((160, 208, 256), device, WIDTHS, slabs=True)
    with pytest.raises(RuntimeError) as raised:
        plan((1008, 208, 256), device, WIDTHS, slabs=True)
    assert str(raised.value) == (
        "not enough memory: the scores of a volume of this size take about 3.8 GB, 2.6 of 3.2 GB free may be used; "
        "choose a smaller part of it"
    )
    with pytest.raises(RuntimeError, match=r"this size take about 3\.0 GB"):
        plan((160, 208, 256), device, WIDTHS, slabs=True, num_classes=20)  # as many scores as organs


def test_slabs_need_about_half_of_the_memory():
    widths, shape = (16, 32, 64, 128, 256), (240, 144, 192)
    whole, slabs = memory.forward_bytes(widths, shape), memory.forward_bytes(widths, shape, in_slabs=True)
    assert slabs - memory.BYTES_AT_START < (whole - memory.BYTES_AT_START) * 0.6


@pytest.mark.slow
def test_progress_rises_to_the_end_and_cancel_stops_between_stages():
    seen = []
    network = small_network()
    image = np.zeros((32, 32, 32), np.float32)
    predict(image, backend_of(network), "cpu", WIDTHS, Monitor(lambda f, step: seen.append(f)), tile=16)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    assert len(set(seen)) > 20
    asked = []
    with pytest.raises(Cancelled):
        predict(image, backend_of(network), "cpu", WIDTHS, Monitor(None, lambda: len(asked) > 20 or asked.append(1)))


@pytest.mark.slow
def test_no_stage_of_the_real_network_blocks_longer_than_two_seconds():
    """Cancel is asked between stages, so the longest silence is the longest wait: here for a whole abdomen.

    Counted in processor time of the calling thread, which takes part in every stage, alone or not: other work on
    the machine does not matter, and a stage on one thread counts in full.
    """
    backend = TorchBackend(AttentionUNet().eval())
    asked = [time.thread_time()]

    def cancel() -> bool:
        asked.append(time.thread_time())
        return False

    image = np.zeros((160, 144, 192), np.float32)
    predict(image, lambda device: backend, "cpu", (16, 32), Monitor(None, cancel))
    assert len(asked) > 100
    assert sum(np.diff(asked)) > 1.0  # the clock counts the work
    assert max(np.diff(asked)) < 2.0


def test_devices_and_backends_are_checked(monkeypatch):
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="device must be one of auto, cpu, cuda, mps or cuda:NUMBER, got 'tpu'"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda' is not available"):
            choose_device("cuda")
    with pytest.raises(ValueError, match="runs on the CPU only"):
        choose_backend("openvino", "cuda")
    assert choose_backend("auto", "cpu") == "openvino"
    monkeypatch.setattr(devices, "has_openvino", lambda: False)
    assert choose_backend("auto", "cpu") == "torch"
    assert choose_backend("auto", "cuda") == "torch"
    monkeypatch.setattr(devices, "has_torch", lambda: False)
    with pytest.raises(ValueError, match="needs OpenVINO"):
        choose_backend("auto", "cpu")
    assert choose_device("auto", "openvino") == "cpu"
    assert choose_device("cpu:0") == "cpu"


@pytest.mark.parametrize(("told", "limit"), [("3", {"INFERENCE_NUM_THREADS": 3}), ("", {}), ("0", {}), ("4,2", {})])
def test_openvino_takes_as_many_threads_as_the_environment_allows(monkeypatch, told, limit):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert thread_limit() == limit
