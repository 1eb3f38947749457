"""What a page's state begins with, and what of it may be anything else: it is the visitor's, of any name and type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..models.description import ModelSpec
from ..scene.attention_view import NOTHING
from .shown_result import OWN_COLORS, color_tables
from .views import LAYOUTS, WINDOWS_HU

OPACITY = 0.5
THRESHOLD = [0.1, 1.0]  # what lies outside is transparent
LOST = (
    '<p style="padding: 2rem">The connection was lost. <a href="/">Open the page again</a> soon to find the result '
    "still there.</p>"
)


def start_values(specs: Mapping[str, ModelSpec], can_upload: bool) -> dict[str, Any]:
    """The state of a page without a CT.

    Args:
        specs: The models that can be chosen, by name.
        can_upload: Whether the page takes uploads.
    """
    texts = dict.fromkeys(("ct_name", "cursor", "error", "loading", "status", "gate_text", "served_note"), "")
    lists: dict[str, Any] = {name: [] for name in ("notes", "organs", "gates", "shares", "served")}
    return {
        **texts,
        **lists,
        "busy": False,
        "running": False,
        "is_dicom": False,
        "percent": 0,
        "upload_percent": -1,
        "can_upload": can_upload,
        "chosen": None,
        "gate": NOTHING,
        "opacity": OPACITY,
        "threshold": THRESHOLD,
        "models": [{"title": f"{name} {spec.version}", "value": name} for name, spec in specs.items()],
        "model": next(iter(specs), ""),
        "colors": color_tables(),
        "color": OWN_COLORS,
        "trame__title": "Attention U-Net",
        "trame__favicon": None,
        "trame__template_error": LOST,
    }


def put_right(state: Any, specs: Mapping[str, ModelSpec], gates: Sequence[str]) -> None:
    """Undo choices that the page does not offer, and say so.

    Args:
        state: The page's state.
        specs: The models that can be chosen, by name.
        gates: The maps that can be shown.
    """
    offered: dict[str, list[str]] = {
        "window": list(WINDOWS_HU),
        "layout": list(LAYOUTS),
        "model": [*specs, ""],
        "gate": list(gates),
        "color": color_tables(),
    }
    wrong: dict[str, Any] = {name: found[0] for name, found in offered.items() if state[name] not in found}
    if not _are_parts([state.opacity], 1):
        wrong["opacity"] = OPACITY
    if not _are_parts(state.threshold, 2):
        wrong["threshold"] = THRESHOLD
    if wrong:
        state.update({**wrong, "error": f"That {next(iter(wrong))} does not exist."})


def _are_parts(value: Any, count: int) -> bool:
    """Whether a value is that many increasing numbers in [0, 1]."""
    if not isinstance(value, list) or len(value) != count or any(type(part) not in (int, float) for part in value):
        return False
    return value == sorted(value) and 0 <= value[0] <= value[-1] <= 1
