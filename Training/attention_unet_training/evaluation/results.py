"""What was measured on one case with one system, and how it is kept so that an interrupted evaluation goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from AttentionUNetSegmentationLib.atomic import write_text

from .metrics import OrganMetrics

DEFINITION = 4  # counted up when a metric changes, so that older results are measured again


@dataclass(frozen=True)
class CaseResult:
    """The metrics of one case.

    Attributes:
        case: The case's id.
        patient: Its patient.
        organs: Organ -> metrics, for organs that both the system and the reference have.
        seconds: Time of the segmentation, NaN if unknown.
        warnings: What the engine warned of.
    """

    case: str
    patient: str
    organs: dict[str, OrganMetrics]
    seconds: float
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON types; undefined metrics are null."""
        return without_nan(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> CaseResult:
        """The inverse of ``to_json``.

        Raises:
            KeyError: If a key is missing.
            TypeError: If a key is unknown or a value is no number.
        """
        organs = {
            name: OrganMetrics(**{key: _number(value) for key, value in metrics.items()})
            for name, metrics in content["organs"].items()
        }
        return cls(
            str(content["case"]),
            str(content["patient"]),
            organs,
            _number(content["seconds"]),
            tuple(content["warnings"]),
        )


class ResultStore:
    """A folder with one file per measured case and system, named by case and fingerprint.

    Args:
        folder: Created when the first result is kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def find(self, case: str, fingerprint: dict[str, Any]) -> CaseResult | None:
        """The result that was kept for exactly this, or None."""
        if self.folder is None:
            return None
        try:
            content = json.loads(_path(self.folder, case, fingerprint).read_text(encoding="utf-8"))
            return CaseResult.from_json(content["result"]) if content["fingerprint"] == fingerprint else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep(self, result: CaseResult, fingerprint: dict[str, Any]) -> None:
        """Write a result; the file is there as a whole or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        if self.folder is not None:
            content = {"fingerprint": fingerprint, "result": result.to_json()}
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            write_text(_path(self.folder, result.case, fingerprint), text)


def _path(folder: Path, case: str, fingerprint: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps([case, fingerprint], sort_keys=True).encode()).hexdigest()
    return folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', case)[:80]}.{digest[:16]}.json"


def without_nan(value: Any) -> Any:
    """The same content with None for every NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: float | None) -> float:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError(f"a figure must be a number or null, got {value!r}")
    return math.nan if value is None else float(value)
