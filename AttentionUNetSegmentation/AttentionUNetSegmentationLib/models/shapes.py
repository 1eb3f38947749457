"""The shapes of a network's weights by their names, known from its description without making the network."""

from __future__ import annotations

from itertools import pairwise

from .description import ArchitectureSpec

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(architecture: ArchitectureSpec, num_classes: int) -> Shapes:
    """Name -> shape of everything in the ``state_dict`` of the network that ``loading.build_network`` makes."""
    widths = architecture.widths
    shapes: Shapes = {}
    for n, (before, width) in enumerate(pairwise((architecture.in_channels, *widths))):
        shapes |= _block(f"encoder.{n}", before, width)
    for n, (width, below) in enumerate(pairwise(widths)):
        shapes |= _block(f"decoder.{n}", width + below, width)
        shapes |= _convolution(f"heads.{n}", width, num_classes, 1)
    shapes |= _convolution("mix", num_classes * (len(widths) - 1), num_classes, 1)
    if architecture.type == "UNet":
        return shapes
    if architecture.gating_conv:
        shapes |= _convolution("gating_signal.conv", widths[-1], widths[-1], 1) | _norm(
            "gating_signal.norm", widths[-1]
        )
    for n, (width, below) in enumerate(pairwise(widths[1:]), start=2):
        for subgate in (f"gates.s{n}.subgates.{m}" for m in range(architecture.num_subgates)):
            shapes[f"{subgate}.theta.weight"] = (width, width, 2, 2, 2)
            shapes |= _convolution(f"{subgate}.phi", below, width, 1) | _convolution(f"{subgate}.psi", width, 1, 1)
            shapes |= _convolution(f"{subgate}.output", width, width, 1) | _norm(f"{subgate}.norm", width)
        shapes |= _convolution(f"gates.s{n}.combine", architecture.num_subgates * width, width, 1)
        shapes |= _norm(f"gates.s{n}.norm", width)
    return shapes


def _block(name: str, before: int, width: int) -> Shapes:
    first = _convolution(f"{name}.conv1", before, width, 3) | _norm(f"{name}.norm1", width)
    return first | _convolution(f"{name}.conv2", width, width, 3) | _norm(f"{name}.norm2", width)


def _convolution(name: str, before: int, width: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (width, before, kernel, kernel, kernel), f"{name}.bias": (width,)}


def _norm(name: str, width: int) -> Shapes:
    values = {f"{name}.{value}": (width,) for value in ("weight", "bias", "running_mean", "running_var")}
    return {**values, f"{name}.num_batches_tracked": ()}
