"""What is measured: a network run by the engine's own pipeline, or label maps that something else wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from AttentionUNetSegmentationLib import __version__
from AttentionUNetSegmentationLib.formats.files import READABLE_ENDINGS
from AttentionUNetSegmentationLib.models.loading import Model
from AttentionUNetSegmentationLib.models.store import find_model
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.volume import Volume

from ..preparation.label_reading import read_label_map
from ..task.starting_weights import CHECKPOINT_ENDING
from .cases import EvaluationCase, file_state
from .network_grid import NetworkGridCase

FOLD, TOGETHER = "{fold}", "+"
NEEDS_SCALED = "the network was trained with data.per_volume: measure it with --grid public-code"


@dataclass(frozen=True)
class Labelled:
    """A system's answer for one case.

    Attributes:
        labels: Label map on the system's own grid.
        values: Organ -> its values in the label map.
        seconds: Time it took, without reading; NaN if unknown.
        warnings: What the engine warned of.
    """

    labels: Volume
    values: Mapping[str, tuple[int, ...]]
    seconds: float
    warnings: tuple[str, ...] = ()


class System(Protocol):
    """One thing to measure.

    Attributes:
        organs: What it finds.
        identity: Which it is, in one line.
    """

    organs: tuple[str, ...]
    identity: str

    def segment(self, case: EvaluationCase) -> Labelled:
        """The system's label map of a case."""
        ...

    def fingerprint(self, case: EvaluationCase) -> dict[str, Any]:
        """What determines the answer, beside the case; JSON types only."""
        ...


class NetworkSystem:
    """A network, run as users run it.

    Args:
        model: The model.
        options: How to run it; attention maps are never asked for.
        organs: The organs that it was trained to find; none given: all of the model's.
        per_volume: Whether it was trained on volumes that were scaled one by one, as the public code does.
    """

    def __init__(self, model: Model, options: Options, organs: Sequence[str] = (), per_volume: bool = False) -> None:
        self._per_volume = per_volume
        self.model, self.options = model, dataclasses.replace(options, attention=False)
        self.organs = tuple(organs) or tuple(label.name for label in model.spec.labels)
        spec = model.spec
        self.identity = f"{spec.title}, version {spec.version}, weights {spec.weights.sha256[:12]}"

    def segment(self, case: EvaluationCase) -> Labelled:
        """See ``System``.

        Raises:
            ValueError: If the network takes volumes that are scaled one by one, and the case is not on its grid; or
                the case was prepared with another spacing, or fewer HU, than the network takes.
        """
        if not self._per_volume:
            if isinstance(case, NetworkGridCase):
                self._check_prepared_alike(case)
            return self._run(case.read_ct())
        if not isinstance(case, NetworkGridCase) or case.read_scaled is None:
            raise ValueError(NEEDS_SCALED)
        return self._run(case.read_scaled())

    def _check_prepared_alike(self, case: NetworkGridCase) -> None:
        spec, prepared = self.model.spec, case.intensity
        if spec.spacing_mm != case.spacing_mm:
            found = f"a spacing of {case.spacing_mm} mm, not the network's {spec.spacing_mm}"
        elif prepared is not None and not _is_within(spec.intensity.clip_hu, prepared.clip_hu):
            found = f"HU of {prepared.clip_hu}, and the network takes {spec.intensity.clip_hu}"
        else:
            return
        raise ValueError(f"{case.dataset} was prepared with {found}: measure it with --grid ct")

    def run(self, ct: Volume) -> Labelled:
        """Segment a CT in HU; both sides of a paired organ belong to the organ.

        Raises:
            ValueError: If the network takes volumes that are scaled one by one.
        """
        if self._per_volume:
            raise ValueError(NEEDS_SCALED)
        return self._run(ct)

    def _run(self, ct: Volume) -> Labelled:
        result = segment(ct, self.model, self.options)
        values = {
            label.name: tuple(organ.value for split in (False, True) for organ in label.organs(split))
            for label in self.model.spec.labels
            if label.name in self.organs
        }
        labels = Volume(result.labels, result.ijk_to_ras, name=ct.name)
        return Labelled(labels, values, result.provenance["seconds"]["total"], tuple(result.warnings))

    def fingerprint(self, case: EvaluationCase) -> dict[str, Any]:
        """See ``System``."""
        spec = json.loads(self.model.spec.to_json())
        keys = ("architecture", "spacing_mm", "intensity", "labels", "weights")
        described = json.dumps([spec[key] for key in keys], sort_keys=True)
        return {
            "kind": "network",
            "engine_version": __version__,
            "model": hashlib.sha256(described.encode()).hexdigest(),
            "organs": list(self.organs),
            "clean_up": self.options.clean_up,
            "backend": self.options.backend,
        }

    def has_seen(self, case: EvaluationCase) -> bool:
        """Whether the network, or what it started from, was trained on a case's patient, or chosen by it.

        As far as it tells: models and datasets that name no cases or patients do not.
        """
        made = self.model.spec.provenance
        if made is None or not case.dataset:
            return False
        seen = {*made.training_cases, *made.validation_cases} if made.dataset == case.dataset else set()
        for base in made.bases:
            if case.dataset in (base.dataset, base.training_data):
                seen.update((*base.training_cases, *base.validation_cases))
        return not seen.isdisjoint((case.id, *case.same_patient))

    @property
    def parameters(self) -> int | None:
        """Trainable parameters, or None for a predictor that is no module."""
        network = self.model.network
        return sum(p.numel() for p in network.parameters()) if isinstance(network, nn.Module) else None


def _is_within(inner: tuple[float, float], outer: tuple[float, float]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


class LabelMapSystem:
    """Label maps on disk, one per case: FOLDER/<case>.<ending>, or FOLDER/<case>/labels.<ending>.

    Args:
        folder: Where they are.
        values: Organ -> its values in them.

    Raises:
        ValueError: If the folder does not exist, or no organ is named.
    """

    def __init__(self, folder: Path, values: Mapping[str, tuple[int, ...]]) -> None:
        if not folder.is_dir():
            raise ValueError(f"there is no folder of label maps {folder}")
        if not values:
            raise ValueError("label maps need to know which organ has which value: --prediction-organ NAME=VALUE")
        self.folder, self.values, self.organs = folder, dict(values), tuple(values)
        self.identity = f"label maps in {folder}"

    def segment(self, case: EvaluationCase) -> Labelled:
        """See ``System``."""
        return Labelled(read_label_map(self._find(case)), self.values, float("nan"))

    def fingerprint(self, case: EvaluationCase) -> dict[str, Any]:
        """See ``System``."""
        values = {organ: list(entry) for organ, entry in sorted(self.values.items())}
        return {"kind": "label map", "file": file_state(self._find(case)), "values": values}

    def _find(self, case: EvaluationCase) -> Path:
        candidates = [self.folder / f"{case.id}{ending}" for ending in READABLE_ENDINGS]
        candidates += [self.folder / case.id / f"labels{ending}" for ending in READABLE_ENDINGS]
        found = [path for path in candidates if path.is_file()]
        if len(found) != 1:
            what = "no label map" if not found else f"{len(found)} label maps"
            raise ValueError(f"{self.folder} has {what} of the case {case.id}")
        return found[0]


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        title: Its heading.
        open: Makes the system for a fold of the split; only a path with ``{fold}`` gives another for each fold.
        per_fold: Whether it does.
    """

    title: str
    open: Callable[[int], System]
    per_fold: bool = False


def model_column(text: str, options: Options, folds: set[int]) -> Column:
    """The column of a ``--model`` argument: [TITLE=]NAME, folder, zip or checkpoint, in which {fold} may stand.

    Several with "+" between them are one system: the mean of their probabilities.

    Raises:
        ModelError: If there is no such model, for one of the folds.
    """
    from .ensemble import load_ensemble, takes_scaled_volumes  # needs MONAI, which exported models do not

    title, path = _titled(text)
    parts = [path] if Path(path).exists() else path.split(TOGETHER)
    for fold in folds:
        for part in parts:
            find_model(part.replace(FOLD, str(fold)))

    def open_model(fold: int) -> NetworkSystem:
        sources = [part.replace(FOLD, str(fold)) for part in parts]
        model, organs = load_ensemble(sources)
        return NetworkSystem(model, options, organs, takes_scaled_volumes(sources[0]))

    return Column(title, open_model, FOLD in path)


def label_map_column(text: str, values: Mapping[str, tuple[int, ...]]) -> Column:
    """The column of a ``--predictions`` argument: [TITLE=]FOLDER.

    Raises:
        ValueError: If the folder does not exist.
    """
    title, path = _titled(text)
    system = LabelMapSystem(Path(path), values)
    return Column(title, lambda fold: system)


def _titled(text: str) -> tuple[str, str]:
    """(title, path); a path that exists as it stands may hold "=" itself."""
    title, separator, path = text.partition("=")
    if separator and title and path and not Path(text).exists():
        return title, path
    stem = Path(text)
    return (
        f"{stem.parent.name}/{stem.stem}" if stem.suffix == CHECKPOINT_ENDING and stem.parent.name else stem.name
    ), text
