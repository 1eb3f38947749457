"""How a model's weights came about, as training recorded it; optional in ``model.json``, and shown with the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BaseModel:
    """What a training started from: a model, or a checkpoint.

    Attributes:
        name: Of the model; folder and file of a checkpoint.
        version: Of the model; the step of a checkpoint.
        sha256: Hash of its weights file; "" if the training did not record it.
        training_data: What it says it was trained on; of a checkpoint the data set's name.
        training_cases: Names of the cases it was trained on, if it says so.
        synthetic: Whether it has seen synthetic CT only.
        dataset: Name of the data set of a model, if it says so.
        validation_cases: Names of the cases that chose it, if it says so.
    """

    name: str
    version: str = ""
    sha256: str = ""
    training_data: str = ""
    training_cases: tuple[str, ...] = ()
    synthetic: bool = False
    dataset: str = ""
    validation_cases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Data and options of a training. Names of cases are those of the data set, which come from names of files.

    Attributes:
        bases: What the training started from, then what that started from, and so on; empty for random weights.
        dataset: Name of the data set, or of the folder of label maps of synthetic CT.
        split: The split of it; "" if all cases were training cases.
        fold: Of the split, from 0.
        training_cases: Cases (label maps, for synthetic CT) that were trained on.
        validation_cases: Cases that chose the checkpoint.
        test_cases: Cases of the split that training did not touch.
        synthetic: Whether the weights have seen synthetic CT only, those of all bases included.
        seed: Of the training.
        loss: Options of the loss.
        optimisation: Options of the optimiser, with the learning rate.
        steps: Training steps done.
        software: Name -> version.
        changes: What was done to the weights after training, one sentence each.
    """

    bases: tuple[BaseModel, ...] = ()
    dataset: str = ""
    split: str = ""
    fold: int | None = None
    training_cases: tuple[str, ...] = ()
    validation_cases: tuple[str, ...] = ()
    test_cases: tuple[str, ...] = ()
    synthetic: bool = False
    seed: int | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    optimisation: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    software: dict[str, Any] = field(default_factory=dict)
    changes: tuple[str, ...] = ()

    def told(self) -> str:
        """Base, data, counts and changes in one line."""
        parts = [f"fine-tuned from {base.name} {base.version}".strip() for base in self.bases[:1]]
        if self.dataset:
            count = f", training cases: {len(self.training_cases)}" if self.training_cases else ""
            fold = f", fold {self.fold}" if self.fold is not None else ""
            parts.append(f"trained on {self.dataset}{count}" + (f", split {self.split}{fold}" if self.split else ""))
        return "; ".join([*parts, f"{self.steps} steps", *self.changes])
