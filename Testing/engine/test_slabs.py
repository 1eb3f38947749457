"""Both backends, in slabs of any thickness, against the network as it is."""

import time

import numpy as np
import pytest
import torch
from openvino import InferRequest

from AttentionUNetSegmentationLib.inference import openvino_backend, openvino_graphs, slabs
from AttentionUNetSegmentationLib.inference.network import AttentionSubGate, AttentionUNet, UNet
from AttentionUNetSegmentationLib.inference.openvino_backend import OpenVinoBackend
from AttentionUNetSegmentationLib.inference.torch_backend import TorchBackend
from AttentionUNetSegmentationLib.monitor import Cancelled, Monitor

NETWORKS = {
    "paper": lambda: AttentionUNet(widths=(2, 4, 4, 4, 4)),
    "one sub-gate, gating convolution": lambda: AttentionUNet(widths=(2, 3, 4), num_subgates=1, gating_conv=True),
    "three sub-gates, gating convolution": lambda: AttentionUNet(1, 3, (3, 4, 5, 6), 3, gating_conv=True),
    "no gate": lambda: AttentionUNet(widths=(2, 3)),
    "seven classes": lambda: AttentionUNet(num_classes=7, widths=(16, 20, 24)),
    "U-Net": lambda: UNet(widths=(2, 4, 4, 4, 4)),
    "U-Net of two scales": lambda: UNet(num_classes=2, widths=(2, 3)),
}
BACKENDS = {
    "torch": TorchBackend,
    "openvino": lambda network: OpenVinoBackend({name: x.numpy() for name, x in network.state_dict().items()}),
}


def trained(network: UNet) -> UNet:
    """Evaluation mode, with batch norms that do something and gates that differ from voxel to voxel."""
    for module in network.modules():
        if isinstance(module, AttentionSubGate):
            module.theta.weight.data *= 5
            module.phi.bias.data.fill_(1)  # or ReLU leaves nothing of a few channels
            module.psi.weight.data *= 5
            module.psi.bias.data.zero_()
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return network.eval()


def in_slabs_of(thickness, backend, image, monkeypatch):
    monkeypatch.setattr(slabs, "SLAB_SLICES", thickness)
    return backend.run(image, Monitor(), in_slabs=True)


@pytest.mark.parametrize(
    ("network", "thickness"), [*((name, 2) for name in NETWORKS), *(("paper", slices) for slices in (6, 16, 64))]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_slabs_give_the_networks_own_figures(backend, network, thickness, monkeypatch):
    torch.manual_seed(0)
    module = trained(NETWORKS[network]())
    image = np.random.default_rng(0).normal(size=(48, 16, 32)).astype(np.float32)
    with torch.inference_mode():
        expected, expected_attention = module(torch.from_numpy(image)[None, None])
    logits, attention = in_slabs_of(thickness, BACKENDS[backend](module), image, monkeypatch)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(logits, expected[0].numpy(), rtol=0, atol=1e-6 * scale)
    assert list(attention) == list(expected_attention)
    if network == "paper":  # gates at slabs' borders can be wrong only where their coefficients differ
        assert max(np.ptp(alpha) for alpha in attention.values()) > 0.05
    for name, alpha in attention.items():
        np.testing.assert_allclose(alpha, expected_attention[name][0, 0].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_slab_sees_exactly_its_halo(backend, monkeypatch):
    """A change in one slice reaches as far as it does in the network, and no less."""
    torch.manual_seed(0)
    network = trained(UNet(widths=(2, 3)))
    image = np.random.default_rng(0).normal(size=(32, 8, 8)).astype(np.float32)
    changed = image.copy()
    changed[15] += 5
    whole = TorchBackend(network)
    expected = np.abs(whole.run(changed, Monitor())[0] - whole.run(image, Monitor())[0]).max(axis=(0, 2, 3))
    ways = [in_slabs_of(2, BACKENDS[backend](network), array, monkeypatch)[0] for array in (changed, image)]
    np.testing.assert_allclose(np.abs(ways[0] - ways[1]).max(axis=(0, 2, 3)), expected, rtol=1e-3, atol=1e-5)
    assert 4 < (expected > 1e-5).sum() < 32


@pytest.mark.parametrize("name", ["running_var", "weight"])
def test_openvino_refuses_what_would_not_be_finite(name):
    """Its ReLUs make 0 of NaN, so that the scores would not show it."""
    weights = {key: x.numpy().copy() for key, x in UNet(widths=(2, 3)).state_dict().items()}
    weights[f"encoder.1.norm2.{name}"][:] = {"running_var": -1.0, "weight": 3e38}[name]
    weights["encoder.1.conv2.weight"] *= 100
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="weights that are not finite numbers"):
        OpenVinoBackend(weights)


def test_slabs_get_thinner_where_networks_and_planes_are_large():
    bundled = openvino_graphs.Graphs({name: x.numpy() for name, x in AttentionUNet().state_dict().items()})
    per_voxel = [bundled.work_per_voxel(scale) for scale in (1, 2, 3)]
    assert per_voxel == [27648, 4 * 27648, 16 * 27648]  # 27 * ((16 + 32) * 16 + 16 * 16); so the same at each scale
    for times, slices in ((1, 24), (4, 10), (16, 2), (1000, 2)):
        assert slabs.slices_at_a_time(times * per_voxel[0] * 224**2) == slices
    assert slabs.slices_at_a_time(per_voxel[0] * 320**2) == 24  # 640 mm
    assert slabs.slices_at_a_time(0.0) == 24


def test_openvino_runs_a_large_network_in_thinner_slabs(monkeypatch):
    torch.manual_seed(0)
    backend = BACKENDS["openvino"](trained(UNet(widths=(2, 3, 4))))
    image = np.random.default_rng(0).normal(size=(24, 16, 32)).astype(np.float32)
    depths, infer = [], openvino_backend._Parts._infer

    def recorded(parts, name, inputs):
        depths.append((name, inputs[0].shape[2]))
        return infer(parts, name, inputs)

    monkeypatch.setattr(openvino_backend._Parts, "_infer", recorded)
    expected, _ = backend.run(image, Monitor())
    assert ("encoder 1", 24) in depths
    depths.clear()
    work = 27 * ((2 + 3) * 2 + 2 * 2) * 16 * 32  # of a slice of the first decoder block
    monkeypatch.setattr(slabs, "SLAB_WORK", 11 * work)  # with two slices more on either side
    logits, _ = backend.run(image, Monitor())
    assert max(depth for name, depth in depths if name == "encoder 1") == 10
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_openvino_stops_in_the_middle_of_a_request(monkeypatch):
    cancelled, cancel_request = [], InferRequest.cancel
    monkeypatch.setattr(InferRequest, "cancel", lambda self: (cancelled.append(self), cancel_request(self)))
    backend = BACKENDS["openvino"](AttentionUNet(widths=(16, 32)).eval())
    asked = []

    def cancel() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 1 and asked[-1] - asked[-2] > 0.04  # only while a request is waited for

    with pytest.raises(Cancelled):
        backend.run(np.zeros((64, 160, 160), np.float32), Monitor(None, cancel))
    small = np.zeros((16, 16, 16), np.float32)
    assert len(cancelled) == 1
    assert np.isfinite(backend.run(small, Monitor())[0]).all()  # what was cancelled can run again


def test_memory_given_back_early_changes_nothing(monkeypatch):
    torch.manual_seed(0)
    backend = BACKENDS["openvino"](trained(AttentionUNet(widths=(2, 4, 4, 4, 4))))
    image = np.random.default_rng(0).normal(size=(48, 16, 32)).astype(np.float32)
    logits, attention = backend.run(image, Monitor())
    monkeypatch.setattr(openvino_backend, "LARGE_VOXELS", 0)
    for _ in range(2):
        backend.free()
        lean_logits, lean_attention = backend.run(image, Monitor())
        np.testing.assert_array_equal(lean_logits, logits)
        for name, alpha in attention.items():
            np.testing.assert_array_equal(lean_attention[name], alpha)


@pytest.mark.slow
def test_no_openvino_request_lasts_longer_than_two_seconds(monkeypatch):
    """So cancel is heeded within two seconds even where a request cannot be interrupted.

    Here for half an abdomen, as the slabs of a whole one are no thicker. Counted in processor time of all threads
    together: other work on the machine does not matter, and one core suffices.
    """
    backend = BACKENDS["openvino"](AttentionUNet().eval())
    seconds = []
    infer = openvino_backend._Parts._infer

    def timed(*args):
        began = time.process_time()
        outputs = infer(*args)
        seconds.append(time.process_time() - began)
        return outputs

    monkeypatch.setattr(openvino_backend._Parts, "_infer", timed)
    backend.run(np.zeros((80, 144, 192), np.float32), Monitor())
    assert len(seconds) > 10
    assert sum(seconds) > 1.0  # the clock counts the work
    assert max(seconds) < 2.0
