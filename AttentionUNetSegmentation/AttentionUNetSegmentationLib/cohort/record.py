"""What tables and report are made of."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Record(TypedDict):
    """One case of a cohort, in JSON types."""

    case: str
    source: str
    status: Literal["done", "failed"]
    error: str
    attempts: int
    report: dict[str, Any] | None
    series: list[dict[str, Any]]
