"""How many workers a cohort gets, and what each may take."""

from __future__ import annotations

from dataclasses import dataclass

WORKERS_PER_GPU = 3  # while one computes, the others read, resample and write
MAX_THREADS = 4  # unless more are asked for: a worker gains little from more


@dataclass(frozen=True)
class Plan:
    """Workers, and the CPU cores and the share of a GPU of each."""

    workers: int
    threads: int
    gpus_each: float = 0.0


def plan_workers(cores: int, gpus: int, workers: int | None = None, threads: int | None = None) -> Plan:
    """Share out what a computer or cluster has; what the user asks for stands.

    Args:
        cores: Of all CPUs.
        gpus: To be used.
        workers: Asked for.
        threads: For each worker, asked for.
    """
    if gpus:
        workers = workers or min(WORKERS_PER_GPU * gpus, max(gpus, cores))
        each = 1 / max(1, -(-workers // gpus))
        return Plan(workers, threads or max(1, min(MAX_THREADS, cores // workers)), each)
    threads = threads or max(1, min(MAX_THREADS, cores // (workers or 1)))
    return Plan(workers or max(1, cores // threads), threads)


def takes_gpus(device: str, backend: str) -> bool:
    """Whether a run that is asked for so uses a GPU where there is one."""
    return backend != "openvino" and (device == "auto" or device.startswith("cuda"))
