"""Lightning's data for training on synthetic CT: endlessly many different patches, fixed validation patches."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from AttentionUNetSegmentationLib.imaging.preprocessing import scale_intensity
from AttentionUNetSegmentationLib.models.description import IntensitySpec

from ..synthetic_ct.atlas import MEMORY_GB, TURN_WITHOUT_ORGANS, Atlas, choose_sources, load_atlas
from ..synthetic_ct.atlas_cache import fill_cache
from ..synthetic_ct.config import SyntheticCTConfig
from ..synthetic_ct.generator import generate
from ..synthetic_ct.preparation import PREPARED_SPACING_MM
from .sampling import shared_sampler

VALIDATION_SEED = 1 << 40  # far from every training seed


class SyntheticPatches(Dataset):
    """Patch number n is made from seed n: the same number always gives the same patch."""

    def __init__(
        self,
        anatomies: Atlas,
        config: SyntheticCTConfig,
        intensity: IntensitySpec,
        shape_kji: Sequence[int],
        spacing_mm: float,
        first_seed: int,
        count: int,
        replicate_edges: bool = True,
    ) -> None:
        self._replicate_edges = replicate_edges
        self._anatomies, self._config, self._intensity = anatomies, config, intensity
        self._shape, self._spacing_mm = tuple(shape_kji), spacing_mm
        self._first_seed, self._count = first_seed, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (1, D, H, W) float32, scaled, and target (1, D, H, W) of class numbers.

        Without replicated edges D is the number of slices that the scan covers, else that of the patch.
        """
        seed = self._first_seed + index
        anatomy = self._anatomies[self._anatomies.turn(seed)]
        sample = generate(anatomy, self._config, seed, self._shape, self._spacing_mm)
        kept = slice(None) if self._replicate_edges else slice(sample.slab.first, sample.slab.last + 1)
        image = scale_intensity(sample.image_hu[kept], self._intensity)
        return torch.from_numpy(image)[None], torch.from_numpy(sample.target[kept])[None].long()


class SyntheticCTData(pl.LightningDataModule):
    """Synthetic patches from a folder of label maps.

    Args:
        atlas: Folder of label maps (``synthetic_ct.atlas.load_atlas``).
        held_out: Label maps used for validation only.
        exclude: Label maps that are not used at all.
        cache: Folder for prepared maps.
        memory_gb: How much prepared maps may take in memory; of more, each is read from the cache when it is drawn.
        shape_kji: Patch size in voxels.
        spacing_mm: Voxel spacing.
        batch_size: Patches per step and process.
        steps_per_epoch: Steps between validations.
        validation_patches: Number of fixed validation patches.
        first_seed: Seed of the first patch; change it to go on with patches that were never seen.
        phase_weights: How often each contrast phase is drawn for training, as relative weights; a phase that is not
            named keeps the generator's weight. Validation patches keep the generator's numbers, so that stages can be
            compared.
        mass_probability: Share of the training patches with masses; None for the generator's.
        elastic_strength: Factor of the elastic deformation of the training patches, at every scale: above 1 the few
            label maps there are vary more than the generator's own numbers let them.
        replicate_edges: Whether patches of which the scan covers a part along z are filled with copies of its first
            and last slice. Without them such patches are lower, as a CT of that height is at inference, and neither
            loss nor validation counts copies; ``batch_size`` must then be 1.
        workers: Background processes that generate.
        clip_hu: Intensity rule: clipping range.
        mean_hu: Intensity rule: what becomes 0.
        std_hu: Intensity rule: what becomes 1.

    Raises:
        ValueError: If a contrast phase is unknown, no phase has a positive weight, a number is out of range, patches of
            different heights would have to share a batch, or a label map is both held out and excluded.
    """

    def __init__(
        self,
        atlas: Path,
        held_out: Sequence[str] = (),
        exclude: Sequence[str] = (),
        cache: Path = Path("runs/atlas_cache"),
        memory_gb: float = MEMORY_GB,
        shape_kji: tuple[int, int, int] = (80, 96, 96),
        spacing_mm: float = 2.0,
        batch_size: int = 1,
        steps_per_epoch: int = 250,
        validation_patches: int = 16,
        first_seed: int = 0,
        phase_weights: Mapping[str, float] | None = None,
        mass_probability: float | None = None,
        elastic_strength: float = 1.0,
        replicate_edges: bool = True,
        workers: int = 1,
        clip_hu: tuple[float, float] = (-200.0, 300.0),
        mean_hu: float = 0.0,
        std_hu: float = 120.0,
    ) -> None:
        super().__init__()
        if batch_size > 1 and not replicate_edges:
            raise ValueError(f"batch_size must be 1 without replicated edges: heights differ; got {batch_size}.")
        if both := sorted(set(held_out) & set(exclude)):
            raise ValueError(f"a label map is either held out or excluded, both are {', '.join(both)}.")
        self.save_hyperparameters()
        self.intensity = IntensitySpec(tuple(clip_hu), mean_hu, std_hu)
        self.training_config = _training_config(phase_weights or {}, mass_probability, elastic_strength)
        self._train: Atlas | None = None
        self._held_out: Atlas | None = None

    def prepare_data(self) -> None:
        """Prepare the label maps that the cache lacks; on one process of each machine."""
        options = self.hparams
        only_held_out = self.trainer is not None and self.trainer.state.fn != TrainerFn.FITTING
        include = options.held_out if only_held_out else None
        sources = choose_sources(options.atlas, include, () if only_held_out else options.exclude)
        fill_cache(sources, Path(options.cache), PREPARED_SPACING_MM, os.cpu_count() or 1)

    def setup(self, stage: str) -> None:
        """Read prepared label maps from the cache."""
        options = self.hparams
        self._held_out = load_atlas(options.atlas, options.cache, include=options.held_out)
        if stage == "fit":
            left_out = [*options.held_out, *options.exclude]
            self._train = load_atlas(options.atlas, options.cache, exclude=left_out, memory_gb=options.memory_gb)
            if without := len(self._train.without_organs):
                rank_zero_info(
                    f"{without} of {len(self._train)} label maps show none of the organs; they make up one patch in "
                    f"{TURN_WITHOUT_ORGANS} at most"
                )

    def _patches(
        self,
        anatomies: Atlas,
        config: SyntheticCTConfig,
        first_seed: int,
        count: int,
    ) -> SyntheticPatches:
        options = self.hparams
        return SyntheticPatches(
            anatomies,
            config,
            self.intensity,
            options.shape_kji,
            options.spacing_mm,
            first_seed,
            count,
            options.replicate_edges,
        )

    def train_dataloader(self) -> DataLoader:
        """Batches of new patches, generated in the background."""
        options = self.hparams
        processes = self.trainer.world_size if self.trainer else 1
        per_epoch = options.steps_per_epoch * options.batch_size * processes
        return DataLoader(
            self._patches(self._train, self.training_config, options.first_seed, per_epoch),
            batch_size=options.batch_size,
            sampler=shared_sampler(self, per_epoch, every_epoch_anew=True),
            num_workers=options.workers,
            persistent_workers=options.workers > 0,
            worker_init_fn=_one_thread,
        )

    def val_dataloader(self) -> DataLoader:
        """The same patches every time, from the held-out maps."""
        count = self.hparams.validation_patches
        patches = self._patches(self._held_out, SyntheticCTConfig(), VALIDATION_SEED, count)
        sampler = shared_sampler(self, len(patches), every_epoch_anew=False)
        workers = min(1, self.hparams.workers)
        return DataLoader(patches, batch_size=1, sampler=sampler, num_workers=workers, worker_init_fn=_one_thread)


def _training_config(
    phase_weights: Mapping[str, float], mass_probability: float | None, elastic_strength: float
) -> SyntheticCTConfig:
    config = SyntheticCTConfig()
    phases = dict(config.contrast.phases)
    unknown = sorted(set(phase_weights) - set(phases))
    if unknown:
        raise ValueError(f"phase_weights: unknown phase {', '.join(unknown)}; known are {', '.join(phases)}.")
    for name, weight in phase_weights.items():
        phases[name] = dataclasses.replace(phases[name], weight=weight)
    weights = [phase.weight for phase in phases.values()]
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"phase_weights must not be negative, nor all zero, got {dict(phase_weights)}.")
    masses = config.masses
    if mass_probability is not None:
        masses = dataclasses.replace(masses, probability=mass_probability)
    contrast = dataclasses.replace(config.contrast, phases=phases)
    if not 0 <= elastic_strength < math.inf:
        raise ValueError(f"elastic_strength must not be negative, got {elastic_strength}.")
    elastic = tuple(strength.scaled(elastic_strength) for strength in config.deformation.elastic_sd_mm)
    deformation = dataclasses.replace(config.deformation, elastic_sd_mm=elastic)
    return dataclasses.replace(config, contrast=contrast, masses=masses, deformation=deformation)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
