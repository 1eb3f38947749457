"""How many workers a cohort gets, and what each may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORKERS_PER_GPU = 3  # while one computes, the others read, resample and write
MAX_THREADS = 4  # unless more are asked for: a worker gains little from more


@dataclass(frozen=True)
class Node:
    """What a computer has: CPU cores, and GPUs that are to be used."""

    cores: int
    gpus: int = 0


@dataclass(frozen=True)
class Plan:
    """Workers, and the CPU cores and the share of a GPU of each."""

    workers: int
    threads: int
    gpus_each: float = 0.0


def plan_workers(nodes: Sequence[Node], workers: int | None = None, threads: int | None = None) -> Plan:
    """Share out what the computers have; what the user asks for stands.

    Args:
        nodes: The computers. Where one has GPUs, workers run on GPUs only.
        workers: Asked for.
        threads: For each worker, asked for.

    Raises:
        ValueError: If no computer has as many cores as a worker is to get.
    """
    with_gpus = [node for node in nodes if node.gpus and node.cores]
    if with_gpus:
        per_gpu = -(-workers // sum(node.gpus for node in with_gpus)) if workers else WORKERS_PER_GPU
        fit = min(node.cores // (per_gpu * node.gpus) for node in with_gpus)
        threads = threads or max(1, min(MAX_THREADS, fit))
        room = sum(min(per_gpu * node.gpus, node.cores // threads) for node in with_gpus)
        share = 1 / per_gpu
    else:
        fit = min(max(node.cores for node in nodes), sum(node.cores for node in nodes) // (workers or 1))
        threads = threads or max(1, min(MAX_THREADS, fit))
        room, share = sum(node.cores // threads for node in nodes), 0.0
    if not room:
        raise ValueError(f"no computer has {threads} cores for a worker: give fewer with --threads")
    return Plan(workers or room, threads, share)


def takes_gpus(device: str, backend: str) -> bool:
    """Whether a run that is asked for so uses a GPU where there is one.

    Raises:
        ValueError: If one GPU is asked for by its number.
    """
    if device.startswith("cuda:"):
        raise ValueError(f"a cohort shares out GPUs by itself: give --device cuda, not {device}")
    return backend != "openvino" and device in ("auto", "cuda")
