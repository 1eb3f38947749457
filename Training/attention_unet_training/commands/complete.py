"""Label maps of a few organs and label maps of whole bodies -> whole bodies with those organs.

Public data sets often label pancreas, spleen and kidneys, but no bowel, vessels, muscles and bones, without which no
CT can be painted. Each such map is completed from a few whole ones: those whose organs fit best, and none much more
often than the others. What any map of the few organs shows is never taken from a whole one: a person without
gallbladder stays without. So maps that show more than the others, bowel above all, go into a folder of their own.
People who are held out of training complete each other only.

``--bent N`` adds N maps of each person of training, bent part of the way towards N others of them, or away.

DIR gets the completed maps and the whole ones, for `fit` and `synthesise`; DIR/pictures gets a picture of each, to look
at before training; DIR/completed.json says who gave what, and which structures of the donor are mostly covered. `fit`
reads it, and refuses to train on a person who is held out. The licences and attributions of both sources hold for the
new maps.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from rich.console import Console
from rich.progress import track

from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.formats.files import to_sitk
from AttentionUNetSegmentationLib.volume import Volume

from ..data.people import RECORD
from ..refusals import told_in_one_line
from ..staging import Output, staged
from ..synthetic_ct.atlas import choose_sources
from ..synthetic_ct.bending import Bend, choose_bends
from ..synthetic_ct.bending import bend as bend_labels
from ..synthetic_ct.completion import CompletionConfig, complete, shown, smooth
from ..synthetic_ct.label_files import LABEL_TABLE, LabelSource, read_labels
from ..synthetic_ct.label_picture import label_picture
from ..synthetic_ct.organ_distances import ORGANS
from ..synthetic_ct.pairing import choose_pairs, misfit, whole_organs
from ..synthetic_ct.plausibility import check_bowel, check_organs
from ..synthetic_ct.preparation import ras_labels
from ..synthetic_ct.structures import STRUCTURES

SPACING_MM = 1.5
PICTURES = "pictures"
FILES = ("*.nii.gz", LABEL_TABLE, f"{PICTURES}/*.png", RECORD)

_LOGGER = logging.getLogger(__name__)


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train complete``; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    record = complete_maps(**vars(parsed))
    bent = sum("towards" in entry for entry in record.values())
    told = f", and {bent} bent ones," if bent else ""
    print(f"wrote {len(record) - bent} completed label maps{told} beside the whole ones to {parsed.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train complete",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--partial", type=Path, required=True, metavar="DIR", help="label maps of a few organs")
    parser.add_argument("--whole", type=Path, required=True, metavar="DIR", help="label maps of whole bodies")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--donors", type=int, default=3, metavar="N", help="whole maps that complete each (default: 3)")
    parser.add_argument("--bent", type=int, default=0, metavar="N", help="bent maps of each person (default: none)")
    parser.add_argument("--held-out", nargs="+", default=[], metavar="NAME", help="maps of both kinds for validation")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N", help="side by side, 2 GB each")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    return parser


def complete_maps(
    partial: Path,
    whole: Path,
    output: Path,
    donors: int,
    bent: int = 0,
    held_out: Sequence[str] = (),
    processes: int = 1,
    overwrite: bool = False,
) -> dict[str, dict[str, Any]]:
    """Write completed label maps, and the whole ones, at 1.5 mm.

    Args:
        partial: Folder of label maps of a few organs (`label_files.find_label_sources`).
        whole: Folder of label maps of whole bodies.
        output: Folder to write.
        donors: How many whole maps complete each map, if there are so many.
        bent: How many maps of each person of training are bent towards others of training (`bending`).
        held_out: Names of maps for validation.
        processes: How many maps are completed side by side.
        overwrite: Whether the output may exist.

    Returns:
        Of each completed map the recipient, the donor, how badly they fit, and what structures of the donor lost; of
        each bent one besides recipient and donor towards whom, and by what share of the way.

    Raises:
        ValueError: If a number is not positive, a name is unknown or in both folders, a whole map was completed itself,
            or the output exists.
        RuntimeError: If no map can be completed; a single one that cannot is passed over with a warning.
    """
    if donors < 1 or processes < 1 or bent < 0:
        raise ValueError(
            f"donors and processes must be positive, bent not negative, got {donors}, {processes} and {bent}"
        )
    with staged([Output(output, FILES)], overwrite) as (draft,):
        wholes, partials = ({source.name: source for source in choose_sources(folder)} for folder in (whole, partial))
        if (whole / RECORD).is_file():
            raise ValueError(f"{whole} holds completed maps: give the whole ones that they were made from")
        if twice := sorted(wholes.keys() & partials.keys()):
            raise ValueError(f"{whole} and {partial} both have a map called {twice[0]}")
        if unknown := sorted(set(held_out) - wholes.keys() - partials.keys()):
            raise ValueError(f"neither {whole} nor {partial} has a map called {unknown[0]}")
        (draft / PICTURES).mkdir(parents=True)
        with _workers(processes) as run:
            record = _complete_all(wholes, partials, donors, held_out, draft, run)
            if not record:
                raise RuntimeError(f"no map of {partial} can be completed")
            people = {name: (entry["recipient"], entry["donor"]) for name, entry in record.items()}
            people |= {name: (name, name) for name in wholes}
            training = {name: pair for name, pair in people.items() if pair[0] not in held_out}  # nor are donors then
            record |= _bend_all(training, bent, draft, run)
        table = {"0": "background"} | {str(number): name for number, name in enumerate(STRUCTURES, start=1)}
        (draft / LABEL_TABLE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        (draft / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _complete_all(
    wholes: dict[str, LabelSource],
    partials: dict[str, LabelSource],
    donors_each: int,
    held_out: Sequence[str],
    output: Path,
    run: Callable,
) -> dict[str, dict[str, Any]]:
    donors = {name: _read(source) for name, source in wholes.items()}
    for name, labels in donors.items():
        _write(output / f"{name}.nii.gz", labels)
    recipients = run("Smoothing", _smoothed, {name: (source,) for name, source in partials.items()})
    own = sorted({name for labels in recipients.values() for name in shown(labels)})
    misfits = _misfits(recipients, donors, held_out)
    pairs = choose_pairs(misfits, donors_each)
    for here in sorted(recipients.keys() - {here for here, _ in pairs}):
        _LOGGER.warning("%s is passed over: no whole map shows three of its organs whole", here)
    tasks = {}
    for here, there in pairs:
        name = f"{here}_{there}"
        files = output / f"{name}.nii.gz", output / PICTURES / f"{name}.png"
        tasks[here, there] = (recipients[here], donors[there], own, *files)
    return {
        f"{here}_{there}": {"recipient": here, "donor": there, "misfit": round(misfits[here, there], 3), "lost": lost}
        for (here, there), lost in run("Completing", _complete, tasks).items()
    }


def _bend_all(
    people: Mapping[str, tuple[str, str]], each: int, output: Path, run: Callable
) -> dict[str, dict[str, Any]]:
    """Bend the maps of an output, of which recipient and donor are given; returns their part of the record."""
    of_person: dict[str, list[str]] = {}
    for name in sorted(people):
        of_person.setdefault(people[name][0], []).append(name)
    bends = {f"{bend.name}_to_{bend.towards}": bend for bend in choose_bends(of_person, each)}
    tasks = {
        name: (
            bend,
            *(output / f"{n}.nii.gz" for n in (bend.name, bend.towards, name)),
            output / PICTURES / f"{name}.png",
        )
        for name, bend in bends.items()
    }
    record = {}
    for name in run("Bending", _bend, tasks):
        (person, donor), other = people[bends[name].name], people[bends[name].towards][0]
        record[name] = {"recipient": person, "donor": donor, "towards": other, "share": bends[name].share}
    return record


@contextmanager
def _workers(processes: int) -> Iterator[Callable]:
    """A function that calls another with each of some arguments and returns the results by key, without refusals."""

    def run(doing: str, function: Callable, arguments: dict) -> dict:
        outcomes = mapping(functools.partial(_tried, function), arguments.values())
        shown_outcomes = track(
            outcomes, doing, len(arguments), console=console, transient=True, disable=not console.is_terminal
        )
        results = {}
        for key, result in zip(arguments, shown_outcomes, strict=True):
            if isinstance(result, Exception):
                name = key if isinstance(key, str) else " from ".join(key)
                _LOGGER.warning("%s is passed over: %s", name, one_sentence(result))
            else:
                results[key] = result
        return results

    console = Console(stderr=True)
    if processes == 1:
        mapping: Callable = map
        yield run
        return
    context = multiprocessing.get_context("spawn")  # forked ones can inherit locks that are held
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        mapping = pool.map
        try:
            yield run
        finally:
            pool.shutdown(cancel_futures=True)


def _tried(function: Callable, arguments: tuple) -> Any:
    """What the function returns, or the error by which it refuses."""
    try:
        return function(*arguments)
    except (ValueError, RuntimeError) as error:
        return error


def _read(source: LabelSource) -> np.ndarray:
    return ras_labels(*read_labels(source), source.name, SPACING_MM)


def _smoothed(source: LabelSource) -> np.ndarray:
    labels = smooth(_read(source), SPACING_MM, CompletionConfig())
    check_organs(labels, SPACING_MM)
    return labels


def _misfits(
    recipients: Mapping[str, np.ndarray], donors: Mapping[str, np.ndarray], held_out: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Of each recipient and donor who are both held out, or both not."""
    here, there = (
        {name: whole_organs(labels, ORGANS, SPACING_MM) for name, labels in maps.items()}
        for maps in (recipients, donors)
    )
    pairs = [(first, second) for first in here for second in there if (first in held_out) == (second in held_out)]
    return {(first, second): misfit(here[first], there[second]) for first, second in pairs}


def _complete(
    recipient: np.ndarray, donor: np.ndarray, own: Sequence[str], path: Path, picture: Path
) -> dict[str, float]:
    """Write a completed map and its picture; returns what structures of the donor lost."""
    completed = complete(recipient, donor, own, SPACING_MM, CompletionConfig())
    check_bowel(completed.labels, SPACING_MM)
    _write(path, completed.labels)
    label_picture(completed.labels, picture)
    return completed.lost


def _bend(bend: Bend, path: Path, towards: Path, result: Path, picture: Path) -> None:
    """Write a bent map and its picture."""
    names = dict(enumerate(STRUCTURES, start=1))
    labels, other = (_read(LabelSource(each.name, (each,), names)) for each in (path, towards))
    bent = bend_labels(labels, other, bend.share, SPACING_MM, CompletionConfig())
    _write(result, bent)
    label_picture(bent, picture)


def _write(path: Path, labels: np.ndarray) -> None:
    volume = Volume(labels, np.diag([SPACING_MM] * 3 + [1.0]))
    sitk.WriteImage(to_sitk(volume), str(path), useCompression=True)
