"""Datasets over prepared cases: random training patches, and validation cases as the engine runs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..preparation.prepared import PreparedCase
from ..preparation.records import IGNORED
from ..preparation.volume_scaling import scaled_volume
from .augmentation import (
    Augmentation,
    Triple,
    draw_patch,
    draw_patch_of_volume,
    read_labels,
    read_window,
)

Sample = tuple[Tensor, Tensor, Tensor]


class OrganMap:
    """From a dataset's class numbers to the network's, by the organs' names.

    Args:
        dataset_organs: Organs of the dataset's classes 1, 2, ...
        organs: Organs of the network's classes 1, 2, ...

    Raises:
        ValueError: If they have no organ in common.
    """

    def __init__(self, dataset_organs: Sequence[str], organs: Sequence[str]) -> None:
        if not set(dataset_organs) & set(organs):
            raise ValueError(
                f"the dataset labels none of the network's organs: it has {', '.join(dataset_organs)}, "
                f"the network {', '.join(organs)}"
            )
        self.organs = tuple(organs)
        self._table = np.zeros(256, np.uint8)
        self._table[IGNORED] = IGNORED
        for number, organ in enumerate(dataset_organs, start=1):
            self._table[number] = self.organs.index(organ) + 1 if organ in self.organs else 0

    def classes(self, labels: np.ndarray) -> np.ndarray:
        """The network's class numbers of an array of the dataset's; ``IGNORED`` stays."""
        return self._table[labels]

    def labelled(self, case: PreparedCase) -> Tensor:
        """(organs,) bool: which of the network's organs the case labels."""
        return torch.tensor([organ in case.labelled for organ in self.organs])


class TrainingPatches(Dataset):
    """Random patches; number ``epoch * per_epoch + n`` depends on the seed and this number only.

    Every epoch walks through the cases in a new order, as often as it takes.

    Args:
        cases: The training cases.
        organs: The network's organs.
        shape_kji: Shape of a patch.
        augmentation: How patches vary.
        seed: Another seed gives other patches.
        per_epoch: Patches per epoch.
        per_volume: See ``CasesData``.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        organs: OrganMap,
        shape_kji: Triple,
        augmentation: Augmentation,
        seed: int,
        per_epoch: int,
        per_volume: bool = False,
    ) -> None:
        self._cases, self._organs = tuple(cases), organs
        self._shape: Triple = (shape_kji[0], shape_kji[1], shape_kji[2])
        self._augmentation, self._seed, self._per_epoch = augmentation, seed, per_epoch
        self._draw = draw_patch_of_volume if per_volume else draw_patch

    def __len__(self) -> int:
        return self._per_epoch

    def case_of(self, index: int) -> PreparedCase:
        """The case that patch number ``index`` is cut from."""
        epoch, number = divmod(index, self._per_epoch)
        walk, place = divmod(number, len(self._cases))
        return self._cases[np.random.default_rng([self._seed, 0, epoch, walk]).permutation(len(self._cases))[place]]

    def __getitem__(self, index: int) -> Sample:
        """Image (1, D, H, W) float32, class numbers (1, D, H, W) int64, labelled organs (organs,) bool."""
        case, rng = self.case_of(index), np.random.default_rng([self._seed, 1, index])
        labels = self._organs.classes(case.labels())
        image, target = self._draw(case.image(), labels, self._shape, self._augmentation, rng)
        return image, target, self._organs.labelled(case)


class ValidationCases(Dataset):
    """Whole cases, or the part of each around its organs' middle.

    Args:
        cases: The validation cases.
        organs: The network's organs.
        shape_kji: Shape of the part; None for whole cases.
        per_volume: See ``CasesData``.
    """

    def __init__(
        self, cases: Sequence[PreparedCase], organs: OrganMap, shape_kji: Triple | None, per_volume: bool = False
    ) -> None:
        self._cases, self._organs, self._shape, self._per_volume = tuple(cases), organs, shape_kji, per_volume

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> Sample:
        """As ``TrainingPatches``, of the case's or the part's shape."""
        case = self._cases[index]
        image: np.ndarray = scaled_volume(case.image()) if self._per_volume else case.image()
        labels = self._organs.classes(case.labels())
        if self._shape is not None:
            start = _start(labels, self._shape)
            image, labels = read_window(image, start, self._shape), read_labels(labels, start, self._shape)
        target = torch.from_numpy(labels.astype(np.int64))[None]
        return torch.from_numpy(image.astype(np.float32))[None], target, self._organs.labelled(case)


def _start(labels: np.ndarray, shape: Triple) -> list[int]:
    """Where a part around the organs' middle begins; one that is larger than the case has the case in its middle."""
    start = []
    organs = (labels > 0) & (labels != IGNORED)
    for axis, length in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(organs.any(axis=others))
        size = labels.shape[axis]
        middle = (occupied[0] + occupied[-1] + 1) // 2 if len(occupied) else size // 2
        start.append(int(np.clip(middle - length // 2, min(0, size - length), max(0, size - length))))
    return start
