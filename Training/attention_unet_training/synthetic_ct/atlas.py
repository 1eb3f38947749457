"""Loads a folder of label maps as prepared anatomies, keeping the preparation in a cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .label_files import LabelSource, find_label_sources, read_labels
from .preparation import PREPARATION_VERSION, OrganPosition, PreparedAnatomy, prepare_anatomy

_LOGGER = logging.getLogger(__name__)
_VOLUMES = ("labels", "hull_distance_mm", "border_depth_mm", "bone_distance_mm")
_MAPPINGS = ("organ_distance_mm", "organ_points_mm")  # of arrays by organ


def load_atlas(
    folder: Path | str,
    cache_folder: Path | str | None = None,
    include: Collection[str] | None = None,
    exclude: Collection[str] = (),
    spacing_mm: float = 2.0,
) -> list[PreparedAnatomy]:
    """Load the subjects of a folder, sorted by name.

    Args:
        folder: Folder in one of the layouts of `find_label_sources`.
        cache_folder: Where to keep the prepared subjects; None prepares them anew.
        include: Names of the subjects to load; None loads all.
        exclude: Names of subjects to leave out.
        spacing_mm: Voxel size of the preparation.

    Raises:
        ValueError: If a named subject does not exist or none is left.
    """
    sources = find_label_sources(Path(folder))
    known = {source.name for source in sources}
    missing = sorted((set(include or ()) | set(exclude)) - known)
    if missing:
        raise ValueError(f"Subjects named in include or exclude must exist in {folder}; unknown: {missing}.")
    chosen = [
        source for source in sources if (include is None or source.name in include) and source.name not in exclude
    ]
    if not chosen:
        raise ValueError(f"No subject is left of the {len(sources)} in {folder}.")
    return [load_subject(source, Path(cache_folder) if cache_folder else None, spacing_mm) for source in chosen]


def load_subject(source: LabelSource, cache_folder: Path | None, spacing_mm: float = 2.0) -> PreparedAnatomy:
    """Load one subject from the cache, or prepare it and fill the cache."""
    path = cache_folder / f"{source.name}.npz" if cache_folder else None
    key = _cache_key(source, spacing_mm)
    if path and path.is_file():
        try:
            cached = _read_cache(path, key)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            _LOGGER.warning("%s cannot be read (%s) and is made anew", path, error)
            cached = None
        if cached is not None:
            return cached
    labels, names, ijk_to_ras = read_labels(source)
    anatomy = prepare_anatomy(labels, names, ijk_to_ras, source.name, spacing_mm)
    if path:
        _write_cache(path, key, anatomy)
    return anatomy


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


def _write_cache(path: Path, key: str, anatomy: PreparedAnatomy) -> None:
    """Write beside the final place and rename, so that no reader meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "key": key,
        "name": anatomy.name,
        "spacing_mm": anatomy.spacing_mm,
        "organs": {name: asdict(position) for name, position in anatomy.organs.items()},
    }
    arrays = {name: getattr(anatomy, name) for name in _VOLUMES}
    for mapping in _MAPPINGS:
        arrays |= {f"{mapping}/{organ}": array for organ, array in getattr(anatomy, mapping).items()}
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, header=np.array(json.dumps(header)), **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_cache(path: Path, key: str) -> PreparedAnatomy | None:
    """Return the cached anatomy; None where the cache belongs to another state of the source."""
    with np.load(path, allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        if header["key"] != key:
            return None
        mappings = {
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
