"""A function over many items in several processes; a process that is killed costs the item it worked on, no other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import SimpleITK as sitk

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[int, Result | None]]:
    """Yield each item's index and result as they come.

    Args:
        function: A function at file scope; it must not raise.
        items: What it is called with; picklable, as are the results.
        workers: Number of processes; 0 runs everything in this one.

    Yields:
        Index and result; None as result where the process was killed, as for lack of memory.

    Raises:
        ValueError: If the number of processes is negative.
    """
    if workers < 0:
        raise ValueError(f"the number of worker processes must be 0 or more, got {workers}")
    if workers == 0:
        yield from ((index, function(item)) for index, item in enumerate(items))
        return
    open_items = dict(enumerate(items))
    for index, result in _pass(function, open_items, workers):
        del open_items[index]
        yield index, result
    # A killed process takes the whole pool along: what is left goes on one by one, so that the culprit is known.
    for index, item in open_items.items():
        found = [result for _, result in _pass(function, {index: item}, 1)]
        yield index, found[0] if found else None


def _pass(function: Callable[[Item], Result], items: dict[int, Item], workers: int) -> Iterator[tuple[int, Result]]:
    """Results until all are there or a process was killed."""
    # spawn, not fork: ITK's threads do not survive a fork
    pool = ProcessPoolExecutor(
        max(1, min(workers, len(items))), multiprocessing.get_context("spawn"), initializer=_one_thread
    )
    try:
        futures: dict[Future, int] = {pool.submit(function, item): index for index, item in items.items()}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                continue
    except BrokenProcessPool:  # killed while items were still being handed out
        return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
