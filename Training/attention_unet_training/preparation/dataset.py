"""A source -> a prepared dataset: all cases in parallel, what is there already is kept, what fails is left out."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from AttentionUNetSegmentationLib.atomic import SCRATCH
from AttentionUNetSegmentationLib.command.batch import check_writable
from AttentionUNetSegmentationLib.models.description import IntensitySpec

from .agreement import following, outvoted
from .case import CaseOptions, CasePreparation, CaseTask, prepare_case
from .copies import stands_for_nobody, with_shared_patients, without_copies
from .layouts import csv_table
from .organ_names import BACKGROUND, is_tumour, labelled_organs, listed, map_names, meaning
from .patients import told
from .prepared import PreparedDataset
from .records import CASES_FOLDER, DATASET_FILE, FORMAT, DatasetRecord, LeftOut, read_record, write_record
from .source import DatasetSource
from .workers import run_parallel

DEFAULT_ORGANS = ("pancreas", "spleen", "kidney")
DEFAULT_INTENSITY = IntensitySpec((-200.0, 300.0), -25.0, 130.0)  # as the bundled model
SPACING_RANGE_MM = (0.1, 20.0)


@dataclass(frozen=True)
class PrepareOptions:
    """How a dataset is prepared.

    Attributes:
        name: What the dataset is called.
        organs: Names of the classes 1, 2, ...; None for the default ones, of which the source may lack some.
        spacing_mm: Along i, j, k.
        intensity: The intensity rule.
        tumour: "organ" or "background": what labelled tumours count as.
        allow_missing: Keep cases in which a labelled organ has no voxels, if another one has.
        ignore_unknown: Take label values without a name as background.
        trust_geometry: Leave labels where their geometry puts them on the CT, whatever content says.
        workers: Processes; 0 for none beside this one.
        overwrite: Do everything again, and replace another dataset in the same folder.
    """

    name: str
    organs: tuple[str, ...] | None = None
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    intensity: IntensitySpec = DEFAULT_INTENSITY
    tumour: str = "organ"
    allow_missing: bool = False
    ignore_unknown: bool = False
    trust_geometry: bool = False
    workers: int = 1
    overwrite: bool = False

    def __post_init__(self) -> None:
        low, high = SPACING_RANGE_MM
        if not self.name.strip():
            raise ValueError("the dataset needs a name")
        if self.organs is not None and (
            not all(organ.strip() for organ in self.organs) or len(set(self.organs)) != len(self.organs)
        ):
            raise ValueError(f"organs must be distinct names, got {list(self.organs)}")
        if not all(low <= spacing <= high for spacing in self.spacing_mm):
            raise ValueError(f"the spacing must lie in {low:g}..{high:g} mm, got {list(self.spacing_mm)}")


@dataclass(frozen=True)
class Prepared:
    """What came out: the dataset, how each case ended, and what to tell."""

    dataset: PreparedDataset
    outcomes: tuple[CasePreparation, ...]
    remarks: tuple[str, ...]


def case_options(source: DatasetSource, options: PrepareOptions) -> tuple[CaseOptions, tuple[str, ...]]:
    """What every case needs to know, and remarks on what the source does not label.

    Raises:
        ValueError: If an organ that was asked for, or every default one, has no label in the source, or a label value
            belongs to two organs.
    """
    organs = options.organs or DEFAULT_ORGANS
    labelled = labelled_organs(source.label_names, organs, required=options.organs is not None)
    mapping = map_names(source.label_names, organs, options.tumour)
    for case in source.cases:
        if strangers := sorted(set(case.labelled) - set(organs)):
            raise ValueError(
                f"{case.labels_source}: labelled names {strangers[0]!r}, but organs are {', '.join(organs)}"
            )
    where = {pair: entry.path for case in source.cases for entry in case.labels for pair in entry.table.items()}
    for (value, names), path in where.items():
        try:
            meaning(value, names, mapping)  # refuses a contradiction before anything is done
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    remarks = [f"labels: {name} -> {organ}" for name, organ in mapping.items() if name != organ]
    if nothing := set(source.label_names) - set(mapping):
        remarks.append(f"labels that mean no organ: {listed(nothing)}")
    unlabelled = [organ for organ in organs if organ not in labelled]
    if unlabelled:
        remarks.append(f"the source does not label {', '.join(unlabelled)}; the cases say so")
    if options.tumour != BACKGROUND and any(is_tumour(name) for name in mapping):
        remarks.append("tumours count as their organ (--tumour background to change that)")
    shared = CaseOptions(
        organs,
        labelled,
        mapping,
        options.spacing_mm,
        options.intensity,
        options.allow_missing,
        options.ignore_unknown,
        options.trust_geometry,
    )
    return shared, tuple(remarks)


def prepare_dataset(
    source: DatasetSource,
    folder: Path,
    options: PrepareOptions,
    progress: Callable[[CasePreparation], None] = lambda outcome: None,
) -> Prepared:
    """Prepare all cases of a source.

    Args:
        source: The cases.
        folder: The dataset's folder; cases that are finished there are kept.
        options: How.
        progress: Called with each case as it is finished.

    Raises:
        ValueError: If the organs cannot be found in the source, no case can be used, or the folder holds another
            dataset.
        OSError: If the folder cannot be written.
    """
    shared, remarks = case_options(source, options)
    check_writable(folder)
    if not options.overwrite:
        _check_same_dataset(folder, source, shared, options.name)
    _remove_scratch(folder)
    old = _cases_of(folder) if options.overwrite else set()
    every = _run_cases(source, folder, shared, options, progress)
    finished = {outcome.id for outcome in every if outcome.file is not None or outcome.lie is not None}
    record = _record(source, shared, options, every)
    write_record(record, folder / DATASET_FILE)
    _remove(folder, (finished | old) - {case.id for case in record.cases})
    remarks = (*source.remarks, *remarks, record.patients)
    return Prepared(PreparedDataset.open(folder), tuple(without_copies(every)), remarks)


def _run_cases(
    source: DatasetSource,
    folder: Path,
    shared: CaseOptions,
    options: PrepareOptions,
    progress: Callable[[CasePreparation], None],
) -> list[CasePreparation]:
    """How each case ended, in the source's order."""
    tasks = {n: CaseTask(case, shared, folder, options.overwrite) for n, case in enumerate(source.cases)}
    outcomes: list[CasePreparation] = [CasePreparation(case.id, reason="not done") for case in source.cases]

    def run(chosen: dict[int, CaseTask]) -> Iterator[CasePreparation]:
        numbers = list(chosen)
        for index, result in run_parallel(prepare_case, list(chosen.values()), options.workers):
            case = numbers[index]
            killed = CasePreparation(source.cases[case].id, reason="its process was killed (not enough memory?)")
            outcomes[case] = result or killed
            yield outcomes[case]

    for outcome in run(tasks):
        progress(outcome)
    lies = {n: outcome.lie for n, outcome in enumerate(outcomes) if outcome.lie}
    list(run({n: dataclasses.replace(tasks[n], agreed=turn) for n, turn in following(lies).items()}))
    for n, reason in outvoted(lies).items():
        outcomes[n] = dataclasses.replace(outcomes[n], file=None, reason=reason)
    return outcomes


def _check_same_dataset(folder: Path, source: DatasetSource, options: CaseOptions, name: str) -> None:
    """Refuse to mix datasets in one folder."""
    if not (folder / DATASET_FILE).exists():
        return
    old = read_record(DatasetRecord, folder / DATASET_FILE)
    advice = "choose another folder, or --overwrite to replace it"
    for what, before, now in (
        ("name", old.name, name),
        ("organs", old.organs, options.organs),
        ("spacing_mm", old.spacing_mm, options.spacing_mm),
        ("intensity", old.intensity, options.intensity),
    ):
        if before != now:
            raise ValueError(f"{folder} holds a dataset with {what} {before}, now {now} was asked for; {advice}")
    known = {case.id for case in source.cases} | {entry.id for entry in source.left_out}
    strangers = sorted({case.id for case in old.cases} - known)
    if strangers:
        raise ValueError(f"{folder} holds cases that this source does not have ({strangers[0]} ...); {advice}")


def _record(
    source: DatasetSource, shared: CaseOptions, options: PrepareOptions, outcomes: Sequence[CasePreparation]
) -> DatasetRecord:
    """What ``dataset.json`` will say."""
    kept = without_copies(outcomes)
    left_out = (*source.left_out, *(LeftOut(entry.id, entry.reason) for entry in kept if entry.file is None))
    files = [outcome.file for outcome in kept if outcome.file is not None]
    if not files:
        raise ValueError(f"none of the {len(left_out)} cases can be used: {_reasons(left_out)}")
    cases = with_shared_patients([file.record for file in files], outcomes)
    patients = told(cases, source.layout == csv_table.LAYOUT)
    if stands_for_nobody(outcomes):
        patients += "; the patient in the DICOM headers is the same in all images, and ignored as a placeholder"
    return DatasetRecord(
        FORMAT,
        options.name,
        shared.organs,
        shared.spacing_mm,
        shared.intensity,
        cases,
        left_out,
        patients,
        source.labelled_by,
    )


def _reasons(left_out: Sequence[LeftOut]) -> str:
    shown = [f"{entry.id}: {entry.reason}" for entry in left_out[:3]]
    return "; ".join(shown) + ("; ..." if len(left_out) > 3 else "")


def _remove_scratch(folder: Path) -> None:
    """Remove what an interrupted run left half-written."""
    for path in (folder / CASES_FOLDER).glob(f"{SCRATCH}*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path, ids: Iterable[str]) -> None:
    """Remove the folders of cases that are in the dataset no more."""
    for id in ids:
        shutil.rmtree(folder / CASES_FOLDER / id, ignore_errors=True)


def _cases_of(folder: Path) -> set[str]:
    """Cases that a dataset in this folder lists; none without a readable one."""
    with contextlib.suppress(ValueError):
        return {case.id for case in read_record(DatasetRecord, folder / DATASET_FILE).cases}
    return set()
