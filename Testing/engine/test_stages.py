import copy

import pytest
import torch
from torch import nn

from AttentionUNetSegmentationLib.inference.network import AttentionUNet
from AttentionUNetSegmentationLib.inference.stages import StageGuard, network_work


def run(network, x, slab_work, on_work=lambda work: None):
    with torch.inference_mode(), StageGuard(on_work, slab_work) as guard:
        return network(x), guard.work


@pytest.mark.parametrize("slab_work", [1.0, 3e4, 2e5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_slabs_change_nothing(slab_work, layout):
    torch.manual_seed(0)
    network = AttentionUNet(widths=(2, 4, 4, 4, 4)).eval().to(memory_format=layout)
    x = torch.randn(1, 1, 32, 16, 48).to(memory_format=layout)
    (expected, expected_attention), _ = run(network, x, slab_work=0)
    (logits, attention), _ = run(network, x, slab_work)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    for name, alpha in attention.items():
        torch.testing.assert_close(alpha, expected_attention[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("convolution", "is_cut"),
    [
        (nn.Conv3d(2, 3, 3, padding=1), True),
        (nn.Conv3d(2, 3, 3), True),
        (nn.Conv3d(2, 3, (5, 1, 3), padding=(2, 0, 1), bias=False), True),
        (nn.Conv3d(2, 4, 1, groups=2), True),
        (nn.Conv3d(2, 3, 2, stride=2), False),
        (nn.Conv3d(2, 3, 3, padding=2, dilation=2), False),
        (nn.Conv3d(2, 3, 3, padding="same"), False),
    ],
)
def test_slabs_of_any_convolution_equal_the_whole(convolution, is_cut):
    x, reports = torch.randn(2, 2, 11, 6, 7), []
    expected = convolution(x)
    result, _ = run(convolution, x, 1.0, reports.append)
    assert (len(reports) > 8) == is_cut
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "is_cut"), [((16, 12, 14), True), ((24, 6, 7), True), ((8, 12, 14), True), ((12, 12, 14), False)]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_slabs_of_an_interpolation_equal_the_whole(size, is_cut, layout):
    x, reports = torch.randn(2, 3, 8, 6, 7).to(memory_format=layout), []

    def network(x):
        return torch.nn.functional.interpolate(x, size=size, mode="trilinear", align_corners=False)

    result, _ = run(network, x, 1.0, reports.append)
    assert (len(reports) > 4) == is_cut
    torch.testing.assert_close(result, network(x), rtol=1e-5, atol=1e-5)


def test_slabs_of_a_concatenation_equal_the_whole():
    parts, reports = [torch.randn(2, channels, 8, 6, 7) for channels in (1, 3)], []
    result, _ = run(lambda x: torch.cat(x, dim=1), parts, 1.0, reports.append)
    assert len(reports) > 4
    torch.testing.assert_close(result, torch.cat(parts, dim=1), rtol=0, atol=0)


def test_work_is_counted_by_hand_and_without_computing():
    convolution = nn.Conv3d(2, 3, 3, padding=1)
    _, work = run(convolution, torch.zeros(1, 2, 4, 5, 6), slab_work=0)
    assert work == 2 * 3 * 27 * 4 * 5 * 6
    network = AttentionUNet(widths=(2, 4, 4, 4, 4)).eval()
    _, work = run(network, torch.zeros(1, 1, 16, 32, 16), slab_work=1e4)
    assert network_work(copy.deepcopy(network).to("meta"), (1, 1, 16, 32, 16)) == pytest.approx(work)


def test_every_slab_reports_and_can_stop_the_run():
    seen = []
    network = nn.Conv3d(1, 1, 3, padding=1)

    def stop_in_the_middle(work):
        seen.append(work)
        if work > 27 * 16 * 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(network, torch.zeros(1, 1, 8, 4, 4), 27 * 16 * 2, stop_in_the_middle)
    assert max(seen) == 27 * 16 * 6
