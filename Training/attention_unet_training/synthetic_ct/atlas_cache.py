"""Keeps prepared label maps on disk, one NPZ file each, so that each is prepared once only."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from AttentionUNetSegmentationLib.atomic import move_into_place, scratch_folder
from AttentionUNetSegmentationLib.errors import one_sentence

from .label_files import LabelSource, read_labels
from .preparation import PREPARATION_VERSION, OrganPosition, PreparedAnatomy, prepare_anatomy

MOST_PROCESSES = 8  # each takes about 1 GB for a whole trunk at 1.5 mm

_LOGGER = logging.getLogger(__name__)
_VOLUMES = ("labels", "hull_distance_mm", "border_depth_mm", "bone_distance_mm")
_MAPPINGS = ("organ_distance_mm", "organ_points_mm")  # of arrays by organ
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError)  # what numpy raises for damaged files


def prepare(source: LabelSource, spacing_mm: float) -> PreparedAnatomy:
    """Read a subject and prepare it; errors as of `read_labels` and `prepare_anatomy`."""
    labels, names, ijk_to_ras = read_labels(source)
    return prepare_anatomy(labels, names, ijk_to_ras, source.name, spacing_mm)


def load_subject(source: LabelSource, cache_folder: Path, spacing_mm: float) -> PreparedAnatomy:
    """Load one subject from the cache, or prepare it and fill the cache."""
    path, key = _path(source, cache_folder), _cache_key(source, spacing_mm)
    if path.is_file():
        try:
            cached = _read_cache(path, key)
        except _DAMAGE as error:
            _LOGGER.warning("%s cannot be read (%s) and is made anew", path, error)
            cached = None
        if cached is not None:
            return cached
    anatomy = prepare(source, spacing_mm)
    _write_cache(path, key, anatomy)
    return anatomy


def read_organs(source: LabelSource, cache_folder: Path, spacing_mm: float) -> frozenset[str]:
    """Names of the movable organs that a subject shows; of a subject in the cache nothing else is read."""
    path = _path(source, cache_folder)
    if _is_cached(source, cache_folder, spacing_mm):
        with np.load(path, allow_pickle=False) as archive:
            return frozenset(json.loads(str(archive["header"]))["organs"])
    return frozenset(load_subject(source, cache_folder, spacing_mm).organs)


def fill_cache(sources: Sequence[LabelSource], cache_folder: Path, spacing_mm: float, processes: int = 1) -> None:
    """Prepare the subjects that the cache does not hold as they are now; those that cannot be are told at the end.

    Args:
        sources: The subjects.
        cache_folder: Made if it does not exist.
        spacing_mm: Voxel size of the preparation.
        processes: How many prepare side by side, at most `MOST_PROCESSES`.

    Raises:
        ValueError: If subjects cannot be prepared; all of them are named, the others are in the cache then.
        OSError: If the cache cannot be written.
    """
    waiting = [source for source in sources if not _is_cached(source, cache_folder, spacing_mm)]
    if not waiting:
        return
    cache_folder.mkdir(parents=True, exist_ok=True)
    processes = min(processes, len(waiting), MOST_PROCESSES)
    results = _in_processes if processes > 1 else _one_by_one
    console = Console(stderr=True)
    outcomes = track(
        results(waiting, cache_folder, spacing_mm, processes),
        "Preparing label maps",
        total=len(waiting),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    troubles = [trouble for trouble in outcomes if trouble]
    if troubles:
        raise ValueError(
            f"{len(troubles)} of {len(sources)} label maps cannot be prepared and must be mended or excluded: "
            + "; ".join(sorted(troubles))
        )


def _one_by_one(waiting: Sequence[LabelSource], cache_folder: Path, spacing_mm: float, _: int) -> Iterator[str | None]:
    return (_fill(source, cache_folder, spacing_mm) for source in waiting)


def _in_processes(
    waiting: Sequence[LabelSource], cache_folder: Path, spacing_mm: float, processes: int
) -> Iterator[str | None]:
    """As `_one_by_one`, in any order; new processes, as forked ones can inherit locks that are held."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        futures = [pool.submit(_fill, source, cache_folder, spacing_mm) for source in waiting]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fill(source: LabelSource, cache_folder: Path, spacing_mm: float) -> str | None:
    """Prepare one subject into the cache; returns why that cannot be."""
    key = _cache_key(source, spacing_mm)
    try:
        anatomy = prepare(source, spacing_mm)
    except (ValueError, RuntimeError, OSError) as error:
        return f"{source.name} ({one_sentence(error)})"
    _write_cache(_path(source, cache_folder), key, anatomy)
    return None


def _path(source: LabelSource, cache_folder: Path) -> Path:
    return cache_folder / f"{source.name}.npz"


def _cache_key(source: LabelSource, spacing_mm: float) -> str:
    """Digest of everything the preparation depends on; files count by name, size and time of change."""
    description = json.dumps(
        {
            "version": PREPARATION_VERSION,
            "spacing_mm": spacing_mm,
            "names": None if source.names is None else sorted(source.names.items()),
            "files": [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in source.files],
        }
    )
    return hashlib.sha256(description.encode()).hexdigest()


def _is_cached(source: LabelSource, cache_folder: Path, spacing_mm: float) -> bool:
    path = _path(source, cache_folder)
    if not path.is_file():
        return False
    try:
        with np.load(path, allow_pickle=False) as archive:
            return json.loads(str(archive["header"]))["key"] == _cache_key(source, spacing_mm)
    except _DAMAGE as error:
        _LOGGER.warning("%s cannot be read (%s) and is made anew", path, error)
        return False


def _write_cache(path: Path, key: str, anatomy: PreparedAnatomy) -> None:
    """Write the file at once, so that no reader meets half of it."""
    header = {
        "key": key,
        "name": anatomy.name,
        "spacing_mm": anatomy.spacing_mm,
        "organs": {name: asdict(position) for name, position in anatomy.organs.items()},
    }
    arrays = {name: getattr(anatomy, name) for name in _VOLUMES}
    for mapping in _MAPPINGS:
        arrays |= {f"{mapping}/{organ}": array for organ, array in getattr(anatomy, mapping).items()}
    with scratch_folder(path.parent) as scratch:
        with (scratch / path.name).open("wb") as stream:
            np.savez_compressed(stream, header=np.array(json.dumps(header)), **arrays)
        move_into_place(scratch, path.parent)


def _read_cache(path: Path, key: str) -> PreparedAnatomy | None:
    """Return the cached anatomy; None where the cache belongs to another state of the source."""
    with np.load(path, allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        if header["key"] != key:
            return None
        mappings: dict[str, Any] = {
            mapping: {name.partition("/")[2]: archive[name] for name in archive.files if name.startswith(f"{mapping}/")}
            for mapping in _MAPPINGS
        }
        organs = {
            name: OrganPosition(tuple(position["centroid_mm"]), tuple(position["spread_mm"]))
            for name, position in header["organs"].items()
        }
        return PreparedAnatomy(
            name=header["name"],
            spacing_mm=header["spacing_mm"],
            organs=organs,
            **mappings,
            **{name: archive[name] for name in _VOLUMES},
        )
