"""Lightning's data for training on prepared cases (``attention-unet-train prepare``)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader

from ..preparation.organ_names import one_sided
from ..preparation.prepared import PreparedCase, PreparedDataset
from ..preparation.splits import OFFICIAL, Fold
from .augmentation import Augmentation
from .case_patches import OrganMap, TrainingPatches, ValidationCases
from .intensity_augmentation import IntensityAugmentation
from .sampling import EpochSampler, one_thread, shared_sampler

RIGHT_TO_LEFT = 2  # the axis of a patch (D, H, W)


class CasesData(pl.LightningDataModule):
    """Random patches of the training cases, and validation on whole cases that training never sees.

    The voxels stay on disk and are memory-mapped, so that a thousand cases need no more memory than two. The test part
    of a split is never touched: cases for validation are the split's own, or are taken out of the training part.

    Args:
        dataset: Folder of a prepared dataset.
        organs: The network's organs; filled in from ``model.organs`` by ``attention-unet-train fit``.
        split: Name of a split of the dataset, such as "120-30"; none makes every case a training case.
        fold: Number of the fold, from 0.
        shape_kji: Patch size in voxels (D, H, W); the paper's 160 x 160 x 96.
        batch_size: Patches per step and process.
        samples_per_epoch: Patches per epoch, over all processes; none: one per training case.
        augmentation: How patches vary.
        per_volume: The public code's order: the whole volume is augmented, scaled to mean 0 and standard deviation 1,
            and then cut. Only ``evaluate --grid public-code`` measures such a network, and none can be exported.
        validation_cases: Cases used for validation.
        validate_on: "held_out": validation cases are left out of training; "train": they are training cases (for an
            overfit check, or to train on all of them; its Dice then says nothing about new cases).
        validation_shape_kji: Validate on a part of this size around the organs; none: on whole cases, in one pass.
        seed: Seed of patches and of the choice of validation cases.
        workers: Background processes that read and transform.
    """

    def __init__(
        self,
        dataset: Path,
        organs: Sequence[str] = ("pancreas", "spleen", "kidney"),
        split: str | None = None,
        fold: int = 0,
        shape_kji: tuple[int, int, int] = (96, 160, 160),
        batch_size: int = 2,
        samples_per_epoch: int | None = None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        per_volume: bool = False,
        validation_cases: int = 4,
        validate_on: Literal["held_out", "train"] = "held_out",
        validation_shape_kji: tuple[int, int, int] | None = None,
        seed: int = 0,
        workers: int = 2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.hparams.update(dataset=str(dataset), augmentation=asdict(augmentation))  # checkpoints hold plain values
        self._augmentation = augmentation
        self.training_cases: tuple[PreparedCase, ...] = ()
        self.validation_cases: tuple[PreparedCase, ...] = ()
        self.labelled_organs: frozenset[str] = frozenset()  # by at least one training case
        self._intensities: IntensityAugmentation | None = None
        self._organs: OrganMap  # of the dataset that ``setup`` opens

    def setup(self, stage: str) -> None:
        """Open the dataset and choose cases; adds what an exported model must know to the hyperparameters.

        Raises:
            ValueError: If the dataset, split or fold does not exist, too few cases remain for training, or patches are
            flipped that show organs of one side.
        """
        options = self.hparams
        dataset = PreparedDataset.open(Path(options["dataset"]))
        self._organs = OrganMap(dataset.organs, options["organs"])
        if unknown := [organ for organ in dataset.organs if organ not in options["organs"]]:
            rank_zero_warn(
                f"{', '.join(unknown)} of {dataset.folder} are background: they are no organs of the network"
            )
        _check_flips(self._augmentation, options["organs"])
        if len(set(dataset.spacing_mm)) > 1:
            raise ValueError(f"networks are trained on isotropic voxels, {dataset.folder} has {dataset.spacing_mm} mm")
        fold = _fold(dataset, options["split"], options["fold"])
        cases = dataset.cases if fold is None else [case for case in dataset.cases if case.id in fold.train]
        if fold is not None and fold.validation and options["validate_on"] == "held_out":  # the source's own
            self.training_cases = tuple(cases)
            self.validation_cases = tuple(case for case in dataset.cases if case.id in fold.validation)
        else:
            self.training_cases, self.validation_cases = choose_validation(
                cases, options["validation_cases"], options["validate_on"], options["seed"]
            )
        self.labelled_organs = frozenset(organ for case in self.training_cases for organ in case.labelled)
        rule = dataset.intensity
        if self._augmentation.intensity_probability:
            self._intensities = IntensityAugmentation(self._augmentation.intensity_probability, rule)
        options.update(
            dataset_name=dataset.name,
            spacing_mm=float(dataset.spacing_mm[0]),
            intensity={"clip_hu": list(rule.clip_hu), "mean_hu": rule.mean_hu, "std_hu": rule.std_hu},
            training_ids=[case.id for case in self.training_cases],
            validation_ids=[case.id for case in self.validation_cases],
            test_ids=list(fold.test if fold else ()),
        )

    @property
    def validation_people(self) -> tuple[str, ...]:
        """The patient of each validation case."""
        return tuple(case.patient for case in self.validation_cases)

    def on_after_batch_transfer(self, batch: Sequence[Tensor], dataloader_idx: int) -> Sequence[Tensor]:
        """Vary intensities of training patches, on the device that trains."""
        trainer = self.trainer
        if trainer is None or not trainer.training or self._intensities is None:
            return batch
        image, *rest = batch
        place = (self.hparams["seed"], trainer.current_epoch, trainer.fit_loop.batch_idx + 1, trainer.global_rank)
        return (self._intensities(image, int(np.random.SeedSequence(place).generate_state(1)[0])), *rest)

    def train_dataloader(self) -> DataLoader:
        """Batches of (image, class numbers, labelled organs), as ``TrainingPatches`` gives them.

        Raises:
            ValueError: If an epoch is shorter than one batch on every process.
        """
        options = self.hparams
        per_epoch = options["samples_per_epoch"] or len(self.training_cases)
        sampler = shared_sampler(self, per_epoch, every_epoch_anew=True)
        batch_size = options["batch_size"]
        if len(sampler) < batch_size:
            raise ValueError(
                f"an epoch of {per_epoch} samples is shorter than a batch of {batch_size} on each of "
                f"{sampler.num_replicas} processes: set data.samples_per_epoch"
            )
        patches = TrainingPatches(
            self.training_cases,
            self._organs,
            options["shape_kji"],
            self._augmentation,
            options["seed"],
            per_epoch,
            options["per_volume"],
        )
        return self._loader(patches, batch_size, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Validation cases, one by one, shared between processes."""
        options = self.hparams
        cases = ValidationCases(
            self.validation_cases, self._organs, options["validation_shape_kji"], options["per_volume"]
        )
        return self._loader(cases, 1, shared_sampler(self, len(cases), every_epoch_anew=False))

    def _loader(
        self,
        patches: TrainingPatches | ValidationCases,
        batch_size: int,
        sampler: EpochSampler,
        drop_last: bool = False,
    ) -> DataLoader:
        workers = min(self.hparams["workers"], len(sampler))
        return DataLoader(
            patches,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=one_thread,
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
        )


def choose_validation(
    cases: Sequence[PreparedCase], count: int, validate_on: str, seed: int
) -> tuple[tuple[PreparedCase, ...], tuple[PreparedCase, ...]]:
    """Training cases and validation cases; held-out ones share no patient with training.

    Whole patients are drawn until ``count`` cases are reached.

    Raises:
        ValueError: If no validation case is asked for, or none remains for training.
    """
    if count < 1:
        raise ValueError(f"validation_cases must be at least 1, got {count}; validate_on: train keeps all for training")
    if validate_on == "train":
        return tuple(cases), tuple(cases[:count])
    # sorted before it is shuffled: sets have another order in every process
    patients = sorted({case.patient for case in cases})
    random.Random(seed).shuffle(patients)
    held_out: set[str] = set()
    chosen: list[PreparedCase] = []
    while patients and len(chosen) < count:
        held_out.add(patients.pop())
        chosen = [case for case in cases if case.patient in held_out]
    training = tuple(case for case in cases if case.patient not in held_out)
    if not training:
        raise ValueError(
            f"validation_cases: {count} of {len(cases)} cases leave none for training; "
            "ask for fewer (finetune: --validation-cases)"
        )
    return training, tuple(chosen)


def _check_flips(augmentation: Augmentation, organs: Sequence[str]) -> None:
    """Refuse to mirror patients whose left and right are told apart."""
    sided = one_sided(organs)
    if sided and RIGHT_TO_LEFT in augmentation.flip_axes and augmentation.flip_probability:
        raise ValueError(f"data.augmentation.flip_axes must leave out {RIGHT_TO_LEFT}: it would mirror the {sided}")


def _fold(dataset: PreparedDataset, split: str | None, fold: int) -> Fold | None:
    if split is None:
        if OFFICIAL in dataset.split_names():
            rank_zero_warn(f"trains on all cases of {dataset.folder}, test cases of its split {OFFICIAL!r} included")
        return None
    folds = dataset.split(split).folds
    if not 0 <= fold < len(folds):
        raise ValueError(f"the split {split!r} has the folds 0..{len(folds) - 1}, got {fold}")
    return folds[fold]
