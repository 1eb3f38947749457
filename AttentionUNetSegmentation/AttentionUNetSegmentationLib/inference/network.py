"""Attention U-Net and the U-Net it is compared with (Oktay et al. 2018, arXiv:1804.03999).

Both networks share one encoder, one decoder and one deeply supervised output; the Attention U-Net filters the
skip connections of every scale but the first and the coarsest with attention gates (paper, section 2 and
figures 1 and 2). Where the paper is silent the choice follows the authors' public code and is named here.

Tensors are (N, C, D, H, W), that is channels first and KJI voxel order. Scales are counted from 1 (full
resolution); scale s has 1 / 2^(s-1) of the resolution.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Predictor = Callable[[Tensor], tuple[Tensor, Mapping[str, Tensor]]]
"""What a network is to the engine: (N, 1, D, H, W) -> logits (N, C, D, H, W), name -> coefficients (N, 1, d, h, w)."""

DEFAULT_WIDTHS = (16, 32, 64, 128, 256)
PSI_BIAS_AT_START = 3.0  # sigmoid(3) = 0.95: gates pass features at the start and still have a gradient


def resample_linearly(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resample spatial axes to ``size`` with trilinear interpolation, ``align_corners=False``."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="trilinear", align_corners=False)


class ConvolutionBlock(nn.Module):
    """Two 3x3x3 convolutions with bias, each followed by batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)
        self.norm1: nn.BatchNorm3d | nn.Identity = nn.BatchNorm3d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, kernel_size=3, padding=1)
        self.norm2: nn.BatchNorm3d | nn.Identity = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, D, H, W) -> (N, out, D, H, W)."""
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(x)), inplace=True)


class AttentionSubGate(nn.Module):
    """One additive attention gate (eq. 1 and 2): one coefficient per voxel, shared by all channels of the skip.

    ``theta`` is a stride-2 convolution with a kernel of 2 and without bias. The paper writes a 1x1x1 convolution on
    features downsampled to the gating grid; this form is the public code's, and gives the paper's parameter count.
    """

    def __init__(self, skip_channels: int, gating_channels: int, inter_channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv3d(skip_channels, inter_channels, kernel_size=2, stride=2, bias=False)  # W_x
        self.phi = nn.Conv3d(gating_channels, inter_channels, kernel_size=1)  # W_g, b_g
        self.psi = nn.Conv3d(inter_channels, 1, kernel_size=1)  # psi, b_psi
        self.output = nn.Conv3d(skip_channels, skip_channels, kernel_size=1)
        self.norm = nn.BatchNorm3d(skip_channels)
        nn.init.constant_(self.psi.get_parameter("bias"), PSI_BIAS_AT_START)

    def coefficients(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Attention coefficients in [0, 1] on the skip's grid, (N, 1, *skip grid) (eq. 1, 2)."""
        theta = self.theta(skip)
        phi = resample_linearly(self.phi(gating), theta.shape[2:])
        alpha = torch.sigmoid(self.psi(F.relu(theta + phi)))
        return resample_linearly(alpha, skip.shape[2:])

    def forward(self, skip: Tensor, gating: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gated features (shape of ``skip``) and the coefficients (N, 1, *skip grid)."""
        alpha = self.coefficients(skip, gating)
        return self.norm(self.output(skip * alpha)), alpha


class AttentionGate(nn.Module):
    """Multi-dimensional attention gate: ``num_subgates`` sub-gates side by side, fused by a 1x1x1 convolution.

    Args:
        skip_channels: Channels F_l of the skip connection.
        gating_channels: Channels F_g of the gating signal.
        num_subgates: Coefficient maps per gate; the paper's networks use 2.

    Raises:
        ValueError: If ``num_subgates`` is below 1.
    """

    def __init__(self, skip_channels: int, gating_channels: int, num_subgates: int = 2) -> None:
        super().__init__()
        if num_subgates < 1:
            raise ValueError(f"num_subgates must be at least 1, got {num_subgates}")
        self.subgates = nn.ModuleList(
            AttentionSubGate(skip_channels, gating_channels, skip_channels) for _ in range(num_subgates)
        )
        self.combine = nn.Conv3d(num_subgates * skip_channels, skip_channels, kernel_size=1)
        self.norm = nn.BatchNorm3d(skip_channels)

    def forward(self, skip: Tensor, gating: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the fused gated features (shape of ``skip``) and one coefficient map per sub-gate."""
        gated, coefficients = zip(*(subgate(skip, gating) for subgate in self.subgates), strict=True)
        fused = F.relu(self.norm(self.combine(torch.cat(gated, dim=1))), inplace=True)
        return fused, list(coefficients)


class GatingSignal(nn.Module):
    """1x1x1 convolution, batch norm and ReLU on the bottleneck, as the public code has it before its first gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, kernel_size=1)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, d, h, w) -> the same shape."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


class UNet(nn.Module):
    """The paper's 3D U-Net: max pooling down, trilinear upsampling up, deep supervision at every decoder scale.

    Args:
        in_channels: Channels of the input image.
        num_classes: Classes of the output, background included.
        widths: Channels per scale, fine to coarse; one entry per scale.

    Raises:
        ValueError: If fewer than two widths or two classes are given.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 4, widths: Sequence[int] = DEFAULT_WIDTHS) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"widths needs at least 2 scales, got {tuple(widths)}")
        if num_classes < 2:
            raise ValueError(f"num_classes needs background and at least one organ, got {num_classes}")
        self.widths = tuple(int(width) for width in widths)
        self.in_channels, self.num_classes = in_channels, num_classes
        inputs = (in_channels, *self.widths[:-1])
        self.encoder = nn.ModuleList(map(ConvolutionBlock, inputs, self.widths))
        self.decoder = nn.ModuleList(  # decoder[s - 1] works at scale s
            ConvolutionBlock(skip + below, skip) for skip, below in zip(self.widths[:-1], self.widths[1:], strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv3d(width, num_classes, kernel_size=1) for width in self.widths[:-1])
        self.mix = nn.Conv3d(num_classes * len(self.heads), num_classes, kernel_size=1)

    @property
    def size_divisor(self) -> int:
        """Every spatial size of the input must be a multiple of this."""
        return 2 ** (len(self.widths) - 1)

    def attention_names(self) -> list[str]:
        """Names of the coefficient maps that ``forward`` returns, in order; none for U-Net."""
        return []

    def forward(self, x: Tensor) -> tuple[Tensor, OrderedDict[str, Tensor]]:
        """Score every voxel.

        Args:
            x: (N, in_channels, D, H, W); D, H, W multiples of ``size_divisor``.

        Returns:
            Logits (N, num_classes, D, H, W), and the attention coefficients in [0, 1] by name, each
            (N, 1, d, h, w) on its skip connection's grid; empty for U-Net.

        Raises:
            ValueError: If a spatial size is not a multiple of ``size_divisor``.
        """
        scores, attention = self.scores_per_scale(x)
        return self.mix(torch.cat(scores, dim=1)), attention

    def scores_per_scale(self, x: Tensor) -> tuple[list[Tensor], OrderedDict[str, Tensor]]:
        """The deep-supervision outputs before mixing, fine to coarse, each (N, num_classes, D, H, W)."""
        if any(size % self.size_divisor for size in x.shape[2:]):
            raise ValueError(f"spatial sizes must be multiples of {self.size_divisor}, got {tuple(x.shape[2:])}")
        skip = self.encoder[0](x)
        features, coarse_scores, attention = self.scales_from(2, F.max_pool3d(skip, kernel_size=2))
        _, top = self.decode(1, skip, resample_linearly(features, x.shape[2:]))
        return [top, *(resample_linearly(scores, x.shape[2:]) for scores in coarse_scores)], attention

    def scales_from(self, finest: int, x: Tensor) -> tuple[Tensor, list[Tensor], OrderedDict[str, Tensor]]:
        """A scale and all coarser ones.

        Args:
            finest: The scale, counted from 1.
            x: What its encoder block gets: the pooled output of the one before, (N, widths[finest - 2], d, h, w).

        Returns:
            Decoder features of the scale, the scores of it and of each coarser one at its own resolution, the
            coefficients.
        """
        skips = [self.encoder[finest - 1](x)]
        for block in self.encoder[finest:]:
            skips.append(block(F.max_pool3d(skips[-1], kernel_size=2)))
        features = skips.pop()
        gating = self._first_gating(features)
        scores: list[Tensor] = []
        attention: OrderedDict[str, Tensor] = OrderedDict()
        while skips:
            scale = finest + len(skips) - 1
            skip, coefficients = self.filter_skip(scale, skips.pop(), gating)
            features, own_scores = self.decode(scale, skip, resample_linearly(features, skip.shape[2:]))
            gating = features
            scores.insert(0, own_scores)
            attention = OrderedDict({**coefficients, **attention})
        return features, scores, attention

    def decode(self, scale: int, skip: Tensor, upsampled: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's features of a scale, and their scores.

        Args:
            scale: Counted from 1.
            skip: The skip connection, filtered.
            upsampled: The next coarser scale's features on the skip connection's grid.
        """
        features = self.decoder[scale - 1](torch.cat([skip, upsampled], dim=1))
        return features, self.heads[scale - 1](features)

    def filter_skip(self, scale: int, skip: Tensor, gating: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The skip connection of a scale as its decoder gets it, and the coefficients; U-Net passes it as it is.

        Args:
            scale: Counted from 1.
            skip: The skip connection.
            gating: The gating signal, on the next coarser grid.
        """
        return skip, {}

    def _first_gating(self, bottleneck: Tensor) -> Tensor:
        """The gating signal of the coarsest gate."""
        return bottleneck


class AttentionUNet(UNet):
    """U-Net with an attention gate on every skip connection but the first (paper, figure 1).

    The gate of the coarsest skip connection is steered by the bottleneck, each finer one by the decoder's output of the
    scale below. Coefficient maps are named ``s<scale>-<sub-gate>``: s2-1, s2-2, s3-1, ...

    Args:
        in_channels: Channels of the input image.
        num_classes: Classes of the output, background included.
        widths: Channels per scale, fine to coarse.
        num_subgates: Coefficient maps per gate (multi-dimensional attention).
        gating_conv: Put ``GatingSignal`` on the bottleneck for the coarsest gate, as in the public code.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 4,
        widths: Sequence[int] = DEFAULT_WIDTHS,
        num_subgates: int = 2,
        gating_conv: bool = False,
    ) -> None:
        super().__init__(in_channels, num_classes, widths)
        self.num_subgates = num_subgates
        self.gating_signal = GatingSignal(self.widths[-1]) if gating_conv else None
        self.gates = nn.ModuleDict(
            {
                f"s{scale}": AttentionGate(self.widths[scale - 1], self.widths[scale], num_subgates=num_subgates)
                for scale in self.gated_scales
            }
        )

    @property
    def gated_scales(self) -> range:
        """Scales with a gate: all that have a skip connection but the first."""
        return range(2, len(self.widths))

    def attention_names(self) -> list[str]:
        """``s2-1, s2-2, s3-1, ...``: fine to coarse, sub-gates in order."""
        return [f"s{scale}-{index + 1}" for scale in self.gated_scales for index in range(self.num_subgates)]

    def _first_gating(self, bottleneck: Tensor) -> Tensor:
        return bottleneck if self.gating_signal is None else self.gating_signal(bottleneck)

    def filter_skip(self, scale: int, skip: Tensor, gating: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See ``UNet``."""
        if scale not in self.gated_scales:
            return skip, {}
        gated, coefficients = self.gates[f"s{scale}"](skip, gating)
        return gated, {f"s{scale}-{index + 1}": alpha for index, alpha in enumerate(coefficients)}
