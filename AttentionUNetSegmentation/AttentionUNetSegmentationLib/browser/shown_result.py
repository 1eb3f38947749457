"""A result on the page: the table of organs, the surfaces, the attention over the CT, and their figures."""

from __future__ import annotations

from typing import Any

import slicer

from ..scene.attention_view import NOTHING, choices, explanation, show
from ..scene.map_colors import attention_colors
from ..scene.map_volumes import map_measures
from ..scene.mrml import SURFACE, result_line, result_notes
from ..scene.organ_table import rows, world_centroid
from .run import Result
from .views import Views

OWN_COLORS = "Attention"  # the project's own table of colours, made when it is first asked for
OTHER_COLORS = ("Iron", "Rainbow", "Ocean", "Warm1", "Grey")


class ShownResult:
    """Keeps the page's state and the views in step with a result.

    Args:
        state: The page's state.
        views: Where it is seen.
    """

    def __init__(self, state: Any, views: Views) -> None:
        self._state, self._views = state, views
        self.result: Result | None = None

    def show(self, result: Result) -> None:
        """Show a new result in place of the one before."""
        self.result = result
        result.node.CreateClosedSurfaceRepresentation()
        result.node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(SURFACE)
        self._fill_table(result)
        gates = self.gates()
        self._state.update({"gates": gates, "gate": self._state.gate if self._state.gate in gates else NOTHING})
        self.show_attention()
        self._views.show_surfaces()
        self._state.update({"status": result_line(result.node), "notes": result_notes(result.node), "percent": 100})

    def gates(self) -> list[str]:
        """What can be laid over the CT, nothing first."""
        return choices(self.result.node if self.result is not None else None)

    def forget(self) -> None:
        """There is no result any more."""
        self.result = None
        self._state.update({"organs": [], "gates": [], "gate": NOTHING, "gate_text": "", "shares": []})

    def jump(self, segment_id: str) -> None:
        """Go to an organ's centre."""
        if self.result is None:
            return
        row = next((row for row in rows(self.result.node) if row.segment_id == segment_id), None)
        centre = world_centroid(self.result.node, row) if row is not None else None
        if centre is not None:
            self._views.jump(centre)

    def show_organ(self, segment_id: str, shown: bool) -> None:
        """Show or hide an organ in all views."""
        if self.result is not None:
            self.result.node.GetDisplayNode().SetSegmentVisibility(segment_id, shown)
            self._fill_table(self.result)
            self._views.render()

    def show_attention(self) -> None:
        """Lay the chosen map over the CT, as the page's controls say."""
        if self.result is None:
            return
        colors = attention_colors() if self._state.color == OWN_COLORS else _color_table(self._state.color)
        low, high = self._state.threshold
        node = show(self.result.node, self._state.gate, float(self._state.opacity), (low, high), colors, True)
        measures = map_measures(node) if node is not None else {}
        self._state.gate_text = explanation(self._state.gate, node)
        self._state.shares = [
            {
                "organ": organ,
                "attention": f"{100 * share:.1f}",
                "volume": f"{100 * measures['volume_share'][organ]:.1f}",
            }
            for organ, share in measures.get("share", {}).items()
        ]
        self._views.render()

    def _fill_table(self, result: Result) -> None:
        display = result.node.GetDisplayNode()
        self._state.organs = [
            {
                "id": row.segment_id,
                "name": row.name,
                "color": "#" + "".join(f"{round(255 * part):02x}" for part in row.color_rgb),
                "visible": bool(display.GetSegmentVisibility(row.segment_id)),
                "volume": row.texts()[1],
                "hu": row.texts()[2],
            }
            for row in rows(result.node)
        ]


def color_tables() -> list[str]:
    """Names of the tables of colours that a map can have."""
    there = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode")}
    return [OWN_COLORS, *(name for name in OTHER_COLORS if name in there)]


def _color_table(name: str) -> slicer.vtkMRMLColorTableNode:
    return next(node for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode") if node.GetName() == name)
