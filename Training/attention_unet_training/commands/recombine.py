"""A folder of label maps -> a folder with more: organs of one person in the body of another.

Few label maps show few shapes and arrangements of organs, however they are deformed. The new maps serve `fit` and
`synthesise` like any others (--data.atlas). Label maps that are held out of training neither give nor receive organs;
they and the others are written too, so that the new folder replaces the old one. `recombined.json` says whose
organs each map has: the licence and attribution of the originals hold for the new maps.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.formats.files import to_sitk
from AttentionUNetSegmentationLib.volume import Volume

from ..staging import Output, staged
from ..synthetic_ct.atlas import Atlas, load_atlas
from ..synthetic_ct.label_files import LABEL_TABLE
from ..synthetic_ct.preparation import PREPARED_SPACING_MM
from ..synthetic_ct.recombination import RecombinationConfig, recombine
from ..synthetic_ct.structures import STRUCTURES

RECORD = "recombined.json"
PREFIX = "mixed_"
ATTEMPTS = 20
MOST_DONORS = 8  # for one new map, of a large folder

_LOGGER = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train recombine``; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        record = recombine_atlas(
            parsed.atlas, parsed.output, parsed.count, parsed.held_out, parsed.seed, parsed.cache, parsed.overwrite
        )
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {one_sentence(error)}", file=sys.stderr)
        return 1
    print(f"wrote {len(record)} new label maps beside the originals to {parsed.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train recombine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--atlas", type=Path, required=True, help="folder of label maps or TotalSegmentator subjects")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--count", type=int, default=36, metavar="N", help="new label maps (default: 36)")
    parser.add_argument("--held-out", nargs="+", default=[], metavar="NAME", help="label maps held out of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/atlas_cache"), help="folder for prepared maps")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    return parser


def recombine_atlas(
    atlas: Path,
    output: Path,
    count: int,
    held_out: list[str],
    seed: int = 0,
    cache: Path | None = None,
    overwrite: bool = False,
) -> dict[str, dict[str, str]]:
    """Write label maps of mixed anatomies, and the originals, at 2 mm.

    Args:
        atlas: Folder of label maps (``synthetic_ct.atlas.load_atlas``).
        output: Folder to write.
        count: New maps; each label map that is not held out is the recipient of about equally many.
        held_out: Subjects that neither give nor receive.
        seed: Seed of what is drawn.
        cache: Folder for prepared maps; None prepares them anew.
        overwrite: Whether the output may exist.

    Returns:
        Of each new map the recipient and, by group of organs, the donor.

    Raises:
        ValueError: If ``count`` or ``seed`` is out of range, a subject does not exist, has the name of a new map, fewer
            than two are not held out, or the output exists.
        RuntimeError: If nothing can be mixed, as too few bones are common to the maps or no organ finds room. A single
            map that nothing fits into is passed over with a warning.
    """
    if count < 1 or seed < 0:
        raise ValueError(f"count must be positive and seed not negative, got {count} and {seed}")
    files = ("*.nii.gz", LABEL_TABLE, RECORD)
    with staged([Output(output, files)], overwrite) as (draft,):
        anatomies = load_atlas(atlas, cache, processes=os.cpu_count() or 1)
        named_alike = [name for name in anatomies.names if name.startswith(PREFIX)]
        unknown = sorted(set(held_out) - set(anatomies.names))
        if named_alike or unknown:
            trouble = f"no subject of {atlas} may be called" if named_alike else f"no subject of {atlas} is called"
            raise ValueError(f"{trouble} {(named_alike or unknown)[0]}")
        mixable = [number for number, name in enumerate(anatomies.names) if name not in held_out]
        if len(mixable) < 2:
            raise ValueError(f"mixing needs two label maps that are not held out, {atlas} has {len(mixable)}")
        draft.mkdir()
        for anatomy in anatomies:
            _write(draft / f"{anatomy.name}.nii.gz", anatomy.labels, PREPARED_SPACING_MM)
        record: dict[str, dict[str, str]] = {}
        recipients = list(mixable)
        while len(record) < count:
            if not recipients:
                raise RuntimeError(
                    f"no map of {atlas} can be mixed: too few whole bones in common, or no organ finds room"
                )
            turn = len(record) % len(recipients)
            recipient = anatomies.names[recipients[turn]]
            mixture = _mixture(anatomies, recipients[turn], mixable, seed, len(record))
            if mixture is None:
                _LOGGER.warning("%s is passed over: nothing of the others fits into it", recipient)
                del recipients[turn]
                continue
            labels, taken = mixture
            name = f"{PREFIX}{len(record):03d}"
            _write(draft / f"{name}.nii.gz", labels, PREPARED_SPACING_MM)
            record[name] = {"recipient": recipient, **taken}
        table = {"0": "background"} | {str(number): name for number, name in enumerate(STRUCTURES, start=1)}
        (draft / LABEL_TABLE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        (draft / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _mixture(
    anatomies: Atlas, recipient: int, mixable: list[int], seed: int, new: int
) -> tuple[np.ndarray, dict[str, str]] | None:
    """Labels and donors by group, as `recombine` gives them; None if in several attempts nothing fits."""
    others = [number for number in mixable if number != recipient]
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, new, attempt])
        chosen = others
        if len(others) > MOST_DONORS:
            chosen = rng.choice(others, MOST_DONORS, replace=False).tolist()
        donors = [anatomies[number] for number in chosen]
        labels, taken = recombine(anatomies[recipient], donors, RecombinationConfig(), rng)
        if taken:
            return labels, taken
    return None


def _write(path: Path, labels: np.ndarray, spacing_mm: float) -> None:
    volume = Volume(labels, np.diag([spacing_mm] * 3 + [1.0]))
    sitk.WriteImage(to_sitk(volume), str(path), useCompression=True)
