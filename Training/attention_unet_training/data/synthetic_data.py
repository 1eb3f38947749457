"""Lightning's data for training on synthetic CT: endlessly many different patches, fixed validation patches."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from AttentionUNetSegmentationLib.imaging.preprocessing import scale_intensity
from AttentionUNetSegmentationLib.models.description import IntensitySpec

from ..synthetic_ct.atlas import TURN_WITHOUT_ORGANS, Atlas, choose_sources, load_atlas
from ..synthetic_ct.atlas_cache import fill_cache
from ..synthetic_ct.config import SyntheticCTConfig
from ..synthetic_ct.generator import generate
from ..synthetic_ct.preparation import PREPARED_SPACING_MM
from ..synthetic_ct.structures import TARGET_ORGANS, check_target_organs
from .people import check_apart, read_people
from .sampling import one_thread, shared_sampler
from .synthetic_options import AnatomyOptions, IntensityOptions, PatchOptions, VariationOptions

VALIDATION_SEED = 1 << 40  # far from every training seed
TURNS = 0x7475726E  # keeps these random numbers apart from those that make the patch of the same seed


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
        replicate_edges: bool = False,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._replicate_edges = replicate_edges
        known = [(weights or {}).get(name, 1.0) for name in anatomies.names]
        self._shares = [weight / max(known) for weight in known]
        self._anatomies, self._config, self._intensity = anatomies, config, intensity
        self._shape, self._spacing_mm = (shape_kji[0], shape_kji[1], shape_kji[2]), spacing_mm
        self._first_seed, self._count = first_seed, count

    def __len__(self) -> int:
        return self._count

    def turn(self, seed: int) -> int:
        """Number of the label map that the patch of this seed is made of.

        They take turns; one of lower weight passes its turn on to any map as often as its weight asks for.
        """
        number, rng = self._anatomies.turn(seed), np.random.default_rng([seed, TURNS])
        while rng.random() >= self._shares[number]:
            number = self._anatomies.turn(int(rng.integers(1 << 40)))
        return number

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (1, D, H, W) float32, scaled, and target (1, D, H, W) of class numbers.

        Without replicated edges D is the number of slices that the scan covers, else that of the patch.
        """
        seed = self._first_seed + index
        anatomy = self._anatomies[self.turn(seed)]
        sample = generate(anatomy, self._config, seed, self._shape, self._spacing_mm)
        kept = slice(None) if self._replicate_edges else slice(sample.slab.first, sample.slab.last + 1)
        image = scale_intensity(sample.image_hu[kept], self._intensity)
        return torch.from_numpy(image)[None], torch.from_numpy(sample.target[kept])[None].long()


class SyntheticCTData(pl.LightningDataModule):
    """Synthetic patches from a folder of label maps.

    Args:
        atlas: Folder of label maps (``synthetic_ct.atlas.load_atlas``).
        anatomies: Which label maps are used, and where they are kept.
        patches: What patches look like, and how many make an epoch.
        variation: What training patches vary in otherwise than the generator's numbers say.
        intensity: The network's intensity rule.
        organs: The network's organs; filled in from ``model.organs``.
        workers: Background processes that generate.

    Raises:
        ValueError: If an option is out of range, or the organs are not the generator's.
    """

    def __init__(
        self,
        atlas: Path,
        anatomies: AnatomyOptions = AnatomyOptions(),  # noqa: B008 - frozen, as the groups below
        patches: PatchOptions = PatchOptions(),  # noqa: B008
        variation: VariationOptions = VariationOptions(),  # noqa: B008
        intensity: IntensityOptions = IntensityOptions(),  # noqa: B008
        organs: Sequence[str] = tuple(TARGET_ORGANS),
        workers: int = 1,
    ) -> None:
        super().__init__()
        check_target_organs(organs)
        self.save_hyperparameters()
        self.atlas, self.anatomies, self.patches, self.workers = atlas, anatomies, patches, workers
        self.intensity, self.training_config = intensity.rule(), variation.generator_config()
        # checkpoints hold plain values; the spacing lies where that of ``CasesData`` does
        self.hparams.update(
            atlas=str(atlas),
            anatomies=dataclasses.asdict(anatomies) | {"cache": str(anatomies.cache)},
            patches=dataclasses.asdict(patches),
            variation=dataclasses.asdict(variation),
            intensity=dataclasses.asdict(intensity),
            spacing_mm=patches.spacing_mm,
        )
        self._train: Atlas | None = None
        self._held_out: Atlas | None = None
        self.validation_people: tuple[str, ...] = ()  # of each validation patch

    def prepare_data(self) -> None:
        """Prepare the label maps that the cache lacks; on one process of each machine."""
        options = self.anatomies
        only_held_out = self.trainer is not None and self.trainer.state.fn != TrainerFn.FITTING
        if not only_held_out:
            self._check_maps()
        include = options.held_out if only_held_out else None
        sources = choose_sources(self.atlas, include, () if only_held_out else options.exclude)
        fill_cache(sources, options.cache, PREPARED_SPACING_MM, os.cpu_count() or 1)

    def setup(self, stage: str) -> None:
        """Read prepared label maps from the cache.

        Raises:
            ValueError: If a label map does not exist, or one of training shows a person who is held out.
        """
        options = self.anatomies
        if stage == "fit":
            self._check_maps()
        self._held_out = load_atlas(self.atlas, options.cache, include=options.held_out, memory_gb=options.memory_gb)
        self.hparams.update(validation_ids=list(self._held_out.names))
        people = read_people(self.atlas, self._held_out.names)
        patches = self._validation_patches()
        self.validation_people = tuple(
            people[self._held_out.names[patches.turn(VALIDATION_SEED + n)]].person for n in range(len(patches))
        )
        shown, there = (len(set(them)) for them in (self.validation_people, [one.person for one in people.values()]))
        if shown < there:
            raise ValueError(
                f"validation_patches: {len(patches)} show {shown} of the {there} people who are held out, ask for more."
            )
        if stage == "fit":
            left_out = [*options.held_out, *options.exclude]
            self._train = load_atlas(self.atlas, options.cache, exclude=left_out, memory_gb=options.memory_gb)
            self.hparams.update(training_ids=list(self._train.names))  # for the exported model's provenance
            if without := len(self._train.without_organs):
                rank_zero_info(
                    f"{without} of {len(self._train)} label maps show none of the organs; they make up one patch in "
                    f"{TURN_WITHOUT_ORGANS} at most"
                )

    def _check_maps(self) -> None:
        options = self.anatomies
        names = [source.name for source in choose_sources(self.atlas, exclude=options.exclude)]
        if unknown := sorted({*options.held_out, *options.weights} - set(names)):
            raise ValueError(f"held_out and weights must name label maps of {self.atlas}, which has no {unknown[0]}.")
        training = [name for name in names if name not in options.held_out]
        check_apart(read_people(self.atlas, names), options.held_out, training)

    def _patches(
        self,
        anatomies: Atlas | None,
        config: SyntheticCTConfig,
        first_seed: int,
        count: int,
        weights: Mapping[str, float] | None = None,
    ) -> SyntheticPatches:
        if anatomies is None:
            raise RuntimeError("setup has to read the label maps before patches are made of them")
        options = self.patches
        return SyntheticPatches(
            anatomies,
            config,
            self.intensity,
            options.shape_kji,
            options.spacing_mm,
            first_seed,
            count,
            options.replicate_edges,
            weights,
        )

    def _validation_patches(self) -> SyntheticPatches:
        return self._patches(self._held_out, SyntheticCTConfig(), VALIDATION_SEED, self.patches.validation_patches)

    def train_dataloader(self) -> DataLoader:
        """Batches of new patches, generated in the background."""
        options = self.patches
        processes = self.trainer.world_size if self.trainer else 1
        per_epoch = options.steps_per_epoch * options.batch_size * processes
        return DataLoader(
            self._patches(self._train, self.training_config, options.first_seed, per_epoch, self.anatomies.weights),
            batch_size=options.batch_size,
            sampler=shared_sampler(self, per_epoch, every_epoch_anew=True),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            worker_init_fn=one_thread,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader:
        """The same patches every time, from the held-out maps."""
        patches = self._validation_patches()
        sampler = shared_sampler(self, len(patches), every_epoch_anew=False)
        workers = min(self.workers, len(sampler))
        return DataLoader(patches, batch_size=1, sampler=sampler, num_workers=workers, worker_init_fn=one_thread)
