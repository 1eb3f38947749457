"""ModelSpec: everything a model file says about itself, typed and validated once, on load.

The order of ``labels`` is the order of the network's output channels: channel 0 is background, channel 1 the first
label, and so on. A label's ``value`` is what stands in label maps on disk.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
import typing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import printable
from ..volume import OrganMask
from .provenance import Provenance

FORMAT_VERSION = 1
SPEC_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
MAX_WIDTH = 4096
MAX_NAME = 60  # of an organ, which is part of file names
ARCHITECTURES = ("AttentionUNet", "UNet")
PLACES = ("", "left", "right", "crosses midline")


class ModelError(ValueError):
    """A model that cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class ArchitectureSpec:
    """Which network, with which arguments (``network.py``). The number of classes follows from the labels."""

    type: str
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    in_channels: int = 1
    num_subgates: int = 2
    gating_conv: bool = False

    def __post_init__(self) -> None:
        if self.type not in ARCHITECTURES:
            raise ValueError(f"architecture.type must be one of {', '.join(ARCHITECTURES)}, got {self.type!r}")
        if not 2 <= len(self.widths) <= 8 or min(self.widths) < 1 or max(self.widths) > MAX_WIDTH:
            raise ValueError(f"architecture.widths needs two to eight numbers in 1..{MAX_WIDTH}, got {self.widths[:9]}")
        if self.in_channels != 1:
            raise ValueError(f"architecture.in_channels must be 1 (a CT), got {self.in_channels}")
        if not 1 <= self.num_subgates <= 9:
            raise ValueError(f"architecture.num_subgates must lie in 1..9, got {self.num_subgates}")


@dataclass(frozen=True)
class IntensitySpec:
    """The intensity rule: HU are clipped to ``clip_hu``, then become (HU - mean_hu) / std_hu."""

    clip_hu: tuple[float, float]
    mean_hu: float
    std_hu: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.clip_hu, self.mean_hu, self.std_hu))):
            raise ValueError(f"intensity values must be finite, got {self}")
        if self.clip_hu[0] >= self.clip_hu[1]:
            raise ValueError(f"intensity.clip_hu must rise, got {list(self.clip_hu)}")
        if self.std_hu <= 0:
            raise ValueError(f"intensity.std_hu must be positive, got {self.std_hu}")


def _check_name(name: str) -> None:
    if not name.strip(" .") or set(name) & set('/\\:*?"<>|') or not name.isprintable():
        raise ValueError(f"a label's name must be usable as a file name, got {name!r}")
    if len(name) > MAX_NAME:
        raise ValueError(f"a label's name may have {MAX_NAME} letters, got {len(name)}")


@dataclass(frozen=True)
class SideSpec:
    """One side of a paired organ after the split into right and left."""

    name: str
    value: int
    modifier_code: str
    modifier_meaning: str

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True)
class SidesSpec:
    """Both sides of a paired organ."""

    right: SideSpec
    left: SideSpec


@dataclass(frozen=True)
class LabelSpec:
    """One organ class of the network.

    Attributes:
        name: Name shown to the user.
        value: Value in label maps, 1..255.
        code: SNOMED CT code.
        meaning: SNOMED CT meaning.
        color_rgb: 0-255 each.
        components: How many connected components the clean-up keeps; without sides, none far from the largest.
        sides: Present for an organ that is split into right and left.
        plausible_ml: Range of volumes outside which a warning is given; absent for none.
        plausible_source: Where that range comes from, shown in the warning.
        trained_hu: Range of the organ's mean HU in training, outside which a warning is given; absent for none.
        place: Where the organ lies in the patient, one of ``PLACES``; a result elsewhere raises a warning; "" for none.
        place_source: How that is known, shown in the warning.
        solid: Whether it is compact tissue: fluid inside, or for one component a thin bridge, raises a warning.
        caution: A known weakness that no check of a result can see, shown whenever the organ is found.
    """

    name: str
    value: int
    code: str
    meaning: str
    color_rgb: tuple[int, int, int]
    components: int = 1
    sides: SidesSpec | None = None
    plausible_ml: tuple[float, float] | None = None
    plausible_source: str = ""
    trained_hu: tuple[float, float] | None = None
    place: str = ""
    place_source: str = ""
    solid: bool = False
    caution: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if min(self.color_rgb) < 0 or max(self.color_rgb) > 255:
            raise ValueError(f"label {self.name!r}: color_rgb must lie in 0..255, got {list(self.color_rgb)}")
        for name in ("plausible_ml", "trained_hu"):
            limits = getattr(self, name)
            if limits is not None and not limits[0] < limits[1]:
                raise ValueError(f"label {self.name!r}: {name} must rise, got {list(limits)}")
        if self.place not in PLACES:
            raise ValueError(f"label {self.name!r}: place must be one of {PLACES}, got {self.place!r}")
        if self.components < 1:
            raise ValueError(f"label {self.name!r}: components must be at least 1, got {self.components}")

    def organs(self, split: bool) -> list[OrganMask]:
        """The masks this class becomes: itself, or its right and left side."""
        if not split or self.sides is None:
            return [OrganMask(self.name, self.value, self.code, self.meaning, self.color_rgb)]
        return [
            OrganMask(
                side.name,
                side.value,
                self.code,
                self.meaning,
                self.color_rgb,
                side.modifier_code,
                side.modifier_meaning,
            )
            for side in (self.sides.right, self.sides.left)
        ]


@dataclass(frozen=True)
class Measurement:
    """One measured value of a metric, with what it was measured on: nothing else is shown as a model's quality.

    ``weights`` is the hash of the file that was measured, which may be the checkpoint; "" if it is not known.
    """

    data: str
    organ: str
    metric: str
    value: float
    cases: int = 1
    weights: str = ""


@dataclass(frozen=True)
class WeightsSpec:
    """The weights file beside the JSON."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file or self.file in ("", ".", ".."):
            raise ValueError(f"weights.file must be a plain file name, got {self.file!r}")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(f"weights.sha256 must be 64 hexadecimal digits, got {self.sha256!r}")


@dataclass(frozen=True)
class ModelSpec:
    """A model's description (``model.json``).

    Raises:
        ValueError: If a value breaks a rule; the message names the rule and the value.
    """

    name: str
    title: str
    version: str
    architecture: ArchitectureSpec
    spacing_mm: tuple[float, float, float]
    intensity: IntensitySpec
    labels: tuple[LabelSpec, ...]
    weights: WeightsSpec
    training_data: str
    licence: str
    intended_use: str
    citation: str = ""
    measured: tuple[Measurement, ...] = ()
    format_version: int = FORMAT_VERSION
    training: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format_version must be {FORMAT_VERSION}, got {self.format_version}")
        if not self.name or set(self.name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_.") or self.name[0] == ".":
            raise ValueError(f"name must consist of a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        if not all(math.isfinite(s) and 0.1 <= s <= 20 for s in self.spacing_mm):
            raise ValueError(f"spacing_mm must lie in 0.1..20, got {list(self.spacing_mm)}")
        if not self.labels:
            raise ValueError("labels must not be empty")
        names = [organ.name for label in self.labels for organ in self._all_organs(label)]
        values = [organ.value for label in self.labels for organ in self._all_organs(label)]
        files = [name.replace(" ", "_").casefold() for name in names]  # as results are called
        for what, entries, found in (("name", files, names), ("value", values, values)):
            if len(set(entries)) != len(entries):
                raise ValueError(f"every label needs a {what} of its own, got {found}")
        if min(values) < 1 or max(values) > 255:
            raise ValueError(f"label values must lie in 1..255, got {values}")
        for key in ("title", "version", "training_data", "licence", "intended_use"):
            if not getattr(self, key).strip():
                raise ValueError(f"{key} must not be empty")

    @staticmethod
    def _all_organs(label: LabelSpec) -> list[OrganMask]:
        return label.organs(split=False) + (label.organs(split=True) if label.sides else [])

    @property
    def num_classes(self) -> int:
        """Output channels of the network: background and every label."""
        return len(self.labels) + 1

    def origin(self) -> str:
        """What the model was trained on: in its author's words, and as the training recorded it."""
        return self.training_data + (f" ({self.provenance.told()})" if self.provenance else "")

    def quality(self) -> str:
        """One line of the metric that stands first (Dice), grouped by the data it was measured on."""
        groups: dict[tuple[str, int, str], list[str]] = {}
        for metric_value in (entry for entry in self.measured if entry.metric == self.measured[0].metric):
            key = (metric_value.metric, metric_value.cases, metric_value.data)
            groups.setdefault(key, []).append(f"{metric_value.organ} {metric_value.value:.2f}")
        lines = [
            f"{metric}: {', '.join(values)} ({data}, {cases} case{'s' if cases > 1 else ''})"
            for (metric, cases, data), values in groups.items()
        ]
        return "; ".join(lines) or "no figures were measured"

    def to_json(self) -> str:
        """The text of ``model.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Parse and validate.

        Raises:
            ValueError: If the text is not JSON, a key is unknown or missing, or a value has the wrong type.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON ({error})") from error
        return build_typed(cls, content, "model")


def build_typed(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into the typed ``kind``; unknown keys and wrong types are errors that name the place."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # always "X | None" here
        return None if value is None else build_typed(arguments[0], value, where)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is tuple:
        return _build_tuple(arguments, value, where)
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object, got {value!r}")
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:
            raise ValueError(f"{where} must be a finite number, got {str(value)[:40]}")
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} must be of type {kind.__name__}, got {value!r}")
    return printable(value) if kind is str else value  # foreign texts, shown in many places


def _build_tuple(arguments: tuple, value: Any, where: str) -> tuple:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list, got {value!r}")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise ValueError(f"{where} needs {len(arguments)} entries, got {len(value)}")
    return tuple(
        build_typed(kind, entry, f"{where}[{n}]") for n, (kind, entry) in enumerate(zip(arguments, value, strict=True))
    )


_type_hints = cache(typing.get_type_hints)  # what takes longest of reading a description


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, got {value!r}")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    hints = _type_hints(kind)
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise ValueError(f"{where} has unknown keys: {', '.join(unknown)}")
    missing = [
        name
        for name, entry in fields.items()
        if name not in value and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where} lacks keys: {', '.join(missing)}")
    return kind(**{name: build_typed(hints[name], entry, f"{where}.{name}") for name, entry in value.items()})
