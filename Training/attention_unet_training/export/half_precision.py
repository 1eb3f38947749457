"""Weights as a model folder holds them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def half_rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a model folder gives them back: rounded to half precision, in float32.

    Raises:
        ValueError: If a weight is not finite, or too large for half precision.
    """
    rounded = {name: t.half().float() if t.is_floating_point() else t for name, t in state.items()}
    unusable = [name for name, tensor in rounded.items() if not torch.isfinite(tensor).all()]
    if unusable:
        raise ValueError(f"{unusable[0]} is not finite in half precision: the training diverged")
    return rounded
