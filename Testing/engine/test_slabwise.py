import pytest
import torch

from AttentionUNetSegmentationLib.inference.network import AttentionUNet, UNet
from AttentionUNetSegmentationLib.inference.slabwise import SlabwiseUNet, interpolated_slices


def trained(network: UNet) -> UNet:
    """Evaluation mode, with batch norms that do something."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("slab", [2, 6, 16, 64])
@pytest.mark.parametrize(
    "make",
    [
        lambda: AttentionUNet(widths=(2, 4, 4, 4, 4)),
        lambda: AttentionUNet(widths=(2, 3, 4), num_subgates=1, gating_conv=True),
        lambda: UNet(widths=(2, 4, 4, 4, 4)),
        lambda: UNet(widths=(2, 3)),
    ],
)
def test_slabs_give_the_networks_own_figures(slab, make):
    torch.manual_seed(0)
    network = trained(make())
    x = torch.randn(1, 1, 48, 16, 32)
    with torch.inference_mode():
        expected, expected_attention = network(x)
        logits, attention = SlabwiseUNet(network, slab)(x)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    assert list(attention) == list(expected_attention)
    for name, alpha in attention.items():
        torch.testing.assert_close(alpha, expected_attention[name], rtol=1e-5, atol=1e-6)


def test_a_slab_sees_exactly_its_halo():
    """A change in one slice reaches as far as it does in the network, and no less."""
    torch.manual_seed(0)
    network = trained(UNet(widths=(2, 3)))
    x = torch.randn(1, 1, 32, 8, 8)
    changed = x.clone()
    changed[:, :, 15] += 5
    with torch.inference_mode():
        expected = (network(changed)[0] - network(x)[0]).abs().amax(dim=(0, 1, 3, 4))
        slabwise = SlabwiseUNet(network, 2)
        result = (slabwise(changed)[0] - slabwise(x)[0]).abs().amax(dim=(0, 1, 3, 4))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-6)
    assert 4 < (expected > 0).sum() < 32


@pytest.mark.parametrize(("start", "stop"), [(0, 16), (0, 1), (3, 9), (14, 16), (7, 8)])
@pytest.mark.parametrize("depth", [8, 4, 2, 1])
def test_interpolated_slices_equal_those_of_the_whole(depth, start, stop):
    x = torch.randn(2, 3, depth, 3, 4)
    whole = torch.nn.functional.interpolate(x, size=(16, 6, 8), mode="trilinear", align_corners=False)
    torch.testing.assert_close(interpolated_slices(x, (16, 6, 8), start, stop), whole[:, :, start:stop])


def test_wrong_slabs_are_refused():
    with pytest.raises(ValueError, match="slab must be an even number of at least 2, got 3"):
        SlabwiseUNet(UNet(widths=(2, 3)), 3)
    with pytest.raises(ValueError, match="multiples of 2"):
        SlabwiseUNet(UNet(widths=(2, 3)))(torch.zeros(1, 1, 5, 4, 4))
    with pytest.raises(ValueError, match="16 slices are no multiple of 3"):
        interpolated_slices(torch.zeros(1, 1, 3, 4, 4), (16, 4, 4), 0, 4)
