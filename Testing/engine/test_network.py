import pytest
import torch
from torch import nn

from AttentionUNetSegmentationLib.inference.network import AttentionGate, AttentionSubGate, AttentionUNet, UNet

WIDTHS = (2, 4, 4, 4, 4)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (UNet, 5_888_004),
        (AttentionUNet, 6_407_018),
        (lambda: AttentionUNet(gating_conv=True), 6_473_322),
        (lambda: AttentionUNet(num_subgates=1), 6_147_847),
        (lambda: UNet(widths=(17, 33, 67, 134, 268)), 6_448_826),
        (lambda: UNet(widths=(21, 43, 85, 170, 340)), 10_388_242),
    ],
)
def test_parameter_counts_are_the_papers(network, expected):
    assert count(network()) == expected


@pytest.mark.parametrize("gating_conv", [False, True])
def test_forward_gives_logits_and_every_coefficient_map(gating_conv):
    network = AttentionUNet(num_classes=3, widths=WIDTHS, gating_conv=gating_conv)
    logits, attention = network(torch.randn(2, 1, 16, 32, 48))
    assert logits.shape == (2, 3, 16, 32, 48)
    assert list(attention) == ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"] == network.attention_names()
    sizes = [tuple(alpha.shape[2:]) for alpha in attention.values()]
    assert sizes == [(8, 16, 24)] * 2 + [(4, 8, 12)] * 2 + [(2, 4, 6)] * 2
    assert all(alpha.min() >= 0 and alpha.max() <= 1 for alpha in attention.values())


def test_u_net_has_no_attention():
    logits, attention = UNet(num_classes=2, widths=WIDTHS).eval()(torch.randn(1, 1, 16, 16, 16))
    assert logits.shape == (1, 2, 16, 16, 16)
    assert not attention


@pytest.mark.parametrize("seed", range(3))
def test_gates_pass_features_at_the_start_without_saturating(seed):
    torch.manual_seed(seed)
    _, attention = AttentionUNet()(torch.randn(1, 1, 32, 32, 32))
    for alpha in attention.values():
        assert 0.90 <= alpha.mean() <= 0.97
        assert alpha.max() < 0.99


def test_every_parameter_of_the_gates_learns_from_the_first_step():
    torch.manual_seed(0)
    network = AttentionUNet(widths=(4, 8, 8, 8, 8))
    network(torch.randn(2, 1, 32, 32, 32))[0].square().mean().backward()
    for name, parameter in network.named_parameters():
        if ".psi." in name or ".theta." in name or ".phi." in name:
            assert parameter.grad.abs().max() > 0, name


def test_sizes_that_the_divisor_does_not_divide_are_refused_with_the_rule():
    with pytest.raises(ValueError, match=r"multiples of 16, got \(16, 16, 20\)"):
        UNet(widths=WIDTHS)(torch.zeros(1, 1, 16, 16, 20))


def test_a_gate_without_a_subgate_is_refused():
    with pytest.raises(ValueError, match="num_subgates must be at least 1, got 0"):
        AttentionGate(4, 8, num_subgates=0)


def hand_made_gate(theta: float, phi: float, phi_bias: float, psi: float, psi_bias: float) -> AttentionSubGate:
    """A gate on one channel whose weights are plain numbers; its output convolution and norm do nothing."""
    gate = AttentionSubGate(1, 1, 1).eval()
    with torch.no_grad():
        gate.theta.weight.fill_(theta)
        gate.phi.weight.fill_(phi)
        gate.phi.bias.fill_(phi_bias)
        gate.psi.weight.fill_(psi)
        gate.psi.bias.fill_(psi_bias)
        gate.output.weight.fill_(1)
        gate.output.bias.fill_(0)
    gate.norm.eps = 0.0
    return gate


def test_gate_equals_equations_1_and_2_by_hand():
    gate = hand_made_gate(theta=0.5, phi=2.0, phi_bias=-1.0, psi=0.25, psi_bias=0.125)
    skip = torch.full((1, 1, 2, 2, 2), 3.0)
    gating = torch.full((1, 1, 1, 1, 1), 1.5)
    # W_x sums 8 voxels: 0.5 * 8 * 3 = 12; W_g g + b_g = 2 * 1.5 - 1 = 2; psi: 0.25 * 14 + 0.125 = 3.625
    expected = 1 / (1 + torch.exp(torch.tensor(-3.625)))
    gated, alpha = gate(skip, gating)
    assert alpha.shape == skip.shape
    torch.testing.assert_close(alpha, expected.expand_as(skip))
    torch.testing.assert_close(gated, 3.0 * alpha)


def test_gate_clips_negative_sums_before_psi():
    gate = hand_made_gate(theta=0.5, phi=2.0, phi_bias=-1.0, psi=0.25, psi_bias=0.125)
    _, alpha = gate(torch.full((1, 1, 2, 2, 2), -3.0), torch.zeros(1, 1, 1, 1, 1))
    torch.testing.assert_close(alpha, torch.full_like(alpha, torch.sigmoid(torch.tensor(0.125)).item()))


def test_coefficients_are_resampled_trilinearly_without_aligned_corners():
    gate = hand_made_gate(theta=1.0, phi=0.0, phi_bias=0.0, psi=1.0, psi_bias=0.0)
    skip = torch.zeros(1, 1, 2, 2, 4)
    skip[..., 2:] = 1 / 8  # theta: 0 and 1, so alpha: 0.5 and sigmoid(1)
    low, high = 0.5, torch.sigmoid(torch.tensor(1.0)).item()
    _, alpha = gate(skip, torch.zeros(1, 1, 1, 1, 2))
    expected = torch.tensor([low, 0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high, high])
    torch.testing.assert_close(alpha[0, 0, 0, 0], expected)


def test_gradient_into_the_skip_is_scaled_by_the_coefficient_held_constant():
    """Equation 3, first term: d(x * alpha) / dx = alpha where alpha is held constant."""
    torch.manual_seed(0)
    gate = AttentionSubGate(3, 5, 3).double().eval()
    skip = torch.randn(1, 3, 4, 4, 4, dtype=torch.double, requires_grad=True)
    gating = torch.randn(1, 5, 2, 2, 2, dtype=torch.double)
    alpha = gate.coefficients(skip, gating).detach()
    upstream = torch.randn_like(skip)
    gradient = torch.autograd.grad(skip * alpha, skip, upstream)[0]
    torch.testing.assert_close(gradient, alpha * upstream)
    # and the gate as a whole: output norm and convolution are linear, so its gradient is theirs times alpha,
    # plus the second term of equation 3, which flows through the coefficients
    gate.coefficients = lambda *_: alpha
    through_gate = torch.autograd.grad(gate(skip, gating)[0], skip, upstream)[0]
    plain = torch.randn_like(skip).requires_grad_()
    after_product = torch.autograd.grad(gate.norm(gate.output(plain)), plain, upstream)[0]
    torch.testing.assert_close(through_gate, alpha * after_product)


def test_gate_filters_what_reaches_the_decoder():
    """With a closed gate the skip's features have no influence on the gate's output."""
    torch.manual_seed(0)
    gate = AttentionGate(4, 8).eval()
    for subgate in gate.subgates:
        nn.init.constant_(subgate.psi.bias, -200.0)
    gating = torch.randn(1, 8, 2, 2, 2)
    first, _ = gate(torch.randn(1, 4, 4, 4, 4), gating)
    second, coefficients = gate(torch.randn(1, 4, 4, 4, 4), gating)
    assert max(alpha.max() for alpha in coefficients) < 1e-30
    torch.testing.assert_close(first, second)


def test_mixed_output_joins_the_scales_from_fine_to_coarse():
    torch.manual_seed(0)
    network = UNet(num_classes=2, widths=WIDTHS).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    scores, _ = network.scores_per_scale(x)
    assert len(scores) == 4
    torch.testing.assert_close(network(x)[0], network.mix(torch.cat(scores, dim=1)))
    # the coarsest head sees 1/8 of the resolution: along an axis, its output is linear between block centres
    inner = scores[-1][0, 0, 8, 8, 4:12]
    torch.testing.assert_close(inner.diff().diff(), torch.zeros(6), atol=1e-5, rtol=0)
