"""Dice in validation, person by person: of whom there is more to see counts no more than another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

OVERLAP, PREDICTED, TRUE = range(3)


class DiceByPerson:
    """Voxels of every person and organ, summed over the person's validation samples.

    A sample without an organ adds what is found there wrongly; it has no Dice of its own.

    Args:
        people: Person of each validation sample, in order; one alone is the person of all.
        organs: Number of organs: classes 1, 2, ...
        device: Where the voxels are.
    """

    def __init__(self, people: Sequence[str], organs: int, device: torch.device | str = "cpu") -> None:
        self.people = tuple(sorted(set(people)))
        self._rows = [self.people.index(person) for person in people]
        self.counts = torch.zeros(len(self.people), 3, organs, dtype=torch.int64, device=device)

    def add(self, sample: int, predicted: Tensor, target: Tensor, labelled: Tensor | None = None) -> None:
        """Count a batch, which shows one person.

        Args:
            sample: Its number.
            predicted: Class numbers (N, 1, D, H, W).
            target: The same of the reference.
            labelled: (N, organs) bool, which organs the reference labels; None for all.
        """
        row = self._rows[sample] if len(self.people) > 1 else 0
        for n in range(self.counts.shape[2]):
            known = slice(None) if labelled is None else labelled[:, n]
            found, true = predicted[known] == n + 1, target[known] == n + 1
            self.counts[row, :, n] += torch.stack([(found & true).sum(), found.sum(), true.sum()])


def dice_of(counts: Tensor) -> Tensor:
    """Dice (people, organs) of counts (people, 3, organs); NaN where no reference shows the organ."""
    dice = 2 * counts[:, OVERLAP] / (counts[:, PREDICTED] + counts[:, TRUE]).clamp(min=1)
    return dice.where(counts[:, TRUE] > 0, torch.nan)


def mean_over_people(dice: Tensor) -> tuple[Tensor, Tensor]:
    """Of Dice (people, organs): each organ's mean over people (organs,), and the mean over people of their own means.

    NaN takes no part; where there is nothing else the result is NaN.
    """
    return dice.nanmean(dim=0), dice.nanmean(dim=1).nanmean()
