"""Which samples make an epoch: new numbers every epoch, the same again after a resume, shared between processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import lightning.pytorch as pl
import torch
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler


class EpochSampler(DistributedSampler):
    """Numbers ``epoch * per_epoch ... (epoch + 1) * per_epoch - 1``, of which each process takes its share.

    Processes take turns, so that n processes with batches of b see in every step the samples that one process with
    batches of n * b would see. Being a ``DistributedSampler`` keeps Lightning from wrapping it into another one.

    Args:
        per_epoch: Samples per epoch, over all processes; those that do not fill every process's share are left out.
        processes: Number of processes.
        rank: Number of this process.
        every_epoch_anew: False gives the numbers of epoch 0 in every epoch, and leaves none out.

    Raises:
        ValueError: If there are fewer samples than processes.
    """

    def __init__(self, per_epoch: int, processes: int = 1, rank: int = 0, every_epoch_anew: bool = True) -> None:
        if per_epoch < processes:
            raise ValueError(f"an epoch needs a sample for each of the {processes} processes, got {per_epoch}")
        numbers = cast(Dataset, range(per_epoch))  # only its length is asked for
        super().__init__(numbers, num_replicas=processes, rank=rank, shuffle=False)
        self._per_epoch, self._anew = per_epoch, every_epoch_anew

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers())

    def __len__(self) -> int:
        return len(self._numbers())

    def _numbers(self) -> range:
        if not self._anew:
            return range(self.rank, self._per_epoch, self.num_replicas)
        # numbers go on from epoch to epoch, as each stands for another sample
        first, count = self.epoch * self._per_epoch, self._per_epoch // self.num_replicas * self.num_replicas
        return range(first + self.rank, first + count, self.num_replicas)


def shared_sampler(data: pl.LightningDataModule, per_epoch: int, every_epoch_anew: bool) -> EpochSampler:
    """The sampler of this process, for the data module of a running trainer or of none.

    Raises:
        ValueError: If there are fewer samples than processes.
    """
    processes, rank = (data.trainer.world_size, data.trainer.global_rank) if data.trainer else (1, 0)
    if per_epoch < processes:
        what = "data.samples_per_epoch" if every_epoch_anew else "data.validation_cases (or validation_patches)"
        raise ValueError(f"each of the {processes} processes needs a sample, got {per_epoch}: raise {what}")
    return EpochSampler(per_epoch, processes, rank, every_epoch_anew)


def one_thread(worker: int) -> None:
    """For ``worker_init_fn``: workers share the cores."""
    torch.set_num_threads(1)


def begin_resumed_epoch(trainer: pl.Trainer) -> None:
    """Give a resumed run the samples of its own epoch.

    Lightning starts the background workers, which take the first samples at once, before it tells the sampler which
    epoch it is; a resumed run would see those of epoch 0 again. Call it when training starts.

    Raises:
        RuntimeError: If it has not.
    """
    if trainer.current_epoch == 0:
        return
    loader, fetcher = trainer.train_dataloader, trainer.fit_loop._data_fetcher
    if loader is None or fetcher is None:
        raise RuntimeError("no training is running that could have been resumed")
    loader.sampler.set_epoch(trainer.current_epoch)
    iter(fetcher)  # Lightning has no public way to start the epoch's samples anew
