"""The options of the learning task in groups, each validated once; configuration files have the same groups."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from .freezing import PARTS
from .losses import KINDS
from .optimisation import OPTIMIZERS, SCHEDULES

Group = TypeVar("Group")


@dataclass(frozen=True)
class NetworkOptions:
    """Which network.

    Attributes:
        architecture: "AttentionUNet", "UNet", or a MONAI network such as "monai.SegResNet" (``networks.build``).
        widths: Channels per scale.
        num_subgates: Coefficient maps per gate.
        gating_conv: See ``AttentionUNet``.
        initialisation: "open": PyTorch's, with gates that pass features (the paper's); "kaiming": the public code's
            (``networks.initialise_as_public_code``).
        monai_options: Constructor arguments of a MONAI network.
    """

    architecture: str = "AttentionUNet"
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    num_subgates: int = 2
    gating_conv: bool = False
    initialisation: Literal["open", "kaiming"] = "open"
    monai_options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_choice("network.initialisation", self.initialisation, ("open", "kaiming"))


@dataclass(frozen=True)
class LossOptions:
    """What is minimised.

    Attributes:
        kind: "dice" (the paper's) or "dice_ce", see ``SegmentationLoss``.
        class_weights: Weights of the loss's terms, background first; none: all 1.
        dice_smooth: Added to numerator and denominator of the Dice loss, in voxels.
        cross_entropy: Weight of the cross-entropy against the Dice loss in "dice_ce".
        auxiliary_weight: Weight of the loss on each scale's own scores (deep supervision), averaged over scales,
            beside the loss on the mixed scores.
    """

    kind: Literal["dice", "dice_ce"] = "dice_ce"
    class_weights: tuple[float, ...] | None = None
    dice_smooth: float = 50.0
    cross_entropy: float = 1.0
    auxiliary_weight: float = 0.0

    def __post_init__(self) -> None:
        _check_choice("loss.kind", self.kind, KINDS)
        if not 0 <= self.auxiliary_weight < math.inf:
            raise ValueError(f"loss.auxiliary_weight must not be negative, got {self.auxiliary_weight}")


@dataclass(frozen=True)
class OptimisationOptions:
    """How the weights move.

    Attributes:
        optimizer: "adam" (the paper's), "adamw", "muon", or "sgd" with Nesterov momentum (the public code's).
        learning_rate: Peak learning rate.
        schedule: "cosine", "steps" or "constant", see ``learning_rate_factor``.
        final_learning_rate: Learning rate of the last step of "cosine".
        warm_up_steps: Steps of linear warm-up, at most a tenth of all.
        weight_decay: The optimiser's weight decay.
        betas: Adam's betas; of "sgd" the first is the momentum. "muon" has them for what is no convolution.
    """

    optimizer: Literal["adam", "adamw", "muon", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    final_learning_rate: float = 0.0
    warm_up_steps: int = 40
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)

    def __post_init__(self) -> None:
        _check_choice("optimisation.optimizer", self.optimizer, OPTIMIZERS)
        _check_choice("optimisation.schedule", self.schedule, SCHEDULES)


@dataclass(frozen=True)
class BatchNormOptions:
    """What batch norm does in training.

    Attributes:
        mode: "train", or "frozen": running statistics are used and stay as they are.
        momentum: Share of the newest batch in the running statistics.
    """

    mode: Literal["train", "frozen"] = "train"
    momentum: float = 0.03

    def __post_init__(self) -> None:
        _check_choice("batch_norm.mode", self.mode, ("train", "frozen"))


@dataclass(frozen=True)
class FreezingOptions:
    """Which part of the network stays as it is.

    Attributes:
        part: "gates" or "trunk" (all but the gates) stays as it is for the first epochs; "none".
        epochs: For how many epochs; none: always.
    """

    part: Literal["none", "gates", "trunk"] = "none"
    epochs: int | None = None

    def __post_init__(self) -> None:
        _check_choice("freezing.part", self.part, PARTS)


def from_saved(kind: type[Group], value: Group | Mapping[str, Any]) -> Group:
    """A group as it is, or made of what a checkpoint holds of it: plain values, tuples as lists.

    Raises:
        ValueError: If a value does not fit.
        TypeError: If a key is unknown.
    """
    if not isinstance(value, Mapping):
        return value
    return kind(**{key: tuple(entry) if isinstance(entry, list) else entry for key, entry in value.items()})


def saved(group: Any) -> dict[str, Any]:
    """A group as plain values, which checkpoints hold: nothing of this package is needed to read them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(group).items()}


def _check_choice(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{key} must be one of {', '.join(known)}, got {value!r}")
