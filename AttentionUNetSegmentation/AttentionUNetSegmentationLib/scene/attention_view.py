"""The chosen attention map over the CT in the slice views. Called from Slicer's main thread only."""

from __future__ import annotations

import numpy as np
import slicer

from ..volume import Volume
from .map_colors import are_missing
from .map_volumes import PROBABILITY, add_map, ensure_display, map_image, map_measures, maps_of
from .mrml import INPUT_ROLE, PREFIX, grid_of_node
from .ownership import TRANSFORM_ROLE

NOTHING = "none"
MEAN = "mean s"  # begins the name of the mean of a scale's gates
RED_VIEW = "Red"
OPACITY_ATTRIBUTE = PREFIX + "Opacity"  # of the foreground that a slice view had before a map; there since then
FOREGROUND_ROLE = PREFIX + "Foreground"  # slice view -> that foreground
BACKGROUND_ROLE = PREFIX + "Background"  # slice view -> its background before a map, where that was not the CT
CT_ROLE = PREFIX + "CT"  # slice view -> the CT that was put there instead
SHOWN_MAP_ROLE = PREFIX + "ShownMap"  # slice view -> the map it shows; gone when the map is
FLAT_STD = 0.02
NEARLY_ALL = 0.9


def choices(segmentation_node: slicer.vtkMRMLSegmentationNode | None) -> list[str]:
    """What can be shown: nothing, every gate, the mean of every scale, every probability map."""
    names = list(maps_of(segmentation_node))
    gates = sorted(name for name in names if _is_gate(name))
    means = [f"{MEAN}{scale}" for scale in sorted({_scale(name) for name in gates})]
    return [NOTHING, *gates, *means, *sorted(name for name in names if name.startswith(PROBABILITY))]


def explanation(name: str, node: slicer.vtkMRMLScalarVolumeNode | None = None) -> str:
    """What a map is, and whether it varies at all."""
    if name == NOTHING:
        return "Choose a gate to see what it let pass."
    if name.startswith(PROBABILITY):
        return "Probability that a voxel belongs to the organ, as the network sees it."
    factor = 2 ** (_scale(name) - 1)
    which = "Mean of the gates" if name.startswith(MEAN) else f"Sub-gate {name.split('-')[1]}"
    return f"{which} on the skip connection at 1/{factor} of the resolution. {_flatness(node)}".strip()


def show(
    segmentation_node: slicer.vtkMRMLSegmentationNode | None,
    name: str,
    opacity: float,
    threshold: tuple[float, float],
    colors: slicer.vtkMRMLColorNode | None,
    all_views: bool,
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Show a map as the foreground of the slice views, or take an earlier one away.

    Args:
        segmentation_node: The result that the map belongs to.
        name: One of ``choices``.
        opacity: Of the foreground, 0 to 1.
        threshold: Coefficients outside are transparent.
        colors: Colour table; None leaves the map's own.
        all_views: Show in all slice views, else in the red one only. Whether the views are linked stays as it is.

    Returns:
        The map's volume node, or None.
    """
    node = map_node(segmentation_node, name)
    if node is not None:
        display = ensure_display(node)
        display.SetThreshold(*threshold)
        display.ApplyThresholdOn()
        if colors is not None and not are_missing(colors):
            display.SetAndObserveColorNodeID(colors.GetID())
    for composite in slice_composites():
        if _shows_another_volume(composite):
            _forget(composite)
        wanted = node is not None and (all_views or composite.GetLayoutName() == RED_VIEW)
        if wanted:
            _put_over_ct(composite, segmentation_node)
            _put_in_front(composite, node, opacity)
        elif _shows_its_map(composite) or _lost_its_map(composite):
            _put_back(composite)
    return node


def map_node(
    segmentation_node: slicer.vtkMRMLSegmentationNode | None, name: str
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume of a map; the mean of a scale's gates is made when it is first asked for. None if there is none."""
    maps = maps_of(segmentation_node)
    if name in maps or not name.startswith(MEAN):
        return maps.get(name)
    parts = [node for gate, node in maps.items() if _is_gate(gate) and _scale(gate) == _scale(name)]
    input_node = segmentation_node.GetNodeReference(INPUT_ROLE) if segmentation_node is not None else None
    grids = [grid_of_node(part) for part in parts if part.GetImageData() is not None]
    if input_node is None or not parts or len(grids) < len(parts) or not all(grid.same_as(grids[0]) for grid in grids):
        return None  # without voxels, or cropped by the user
    voxels = np.stack([slicer.util.arrayFromVolume(part) for part in parts]).mean(axis=0, dtype=np.float32)
    measures = _mean_measures(parts, voxels)
    entry = map_image(name, Volume(voxels, grid_of_node(parts[0]).ijk_to_ras, name), measures)
    node = add_map(entry, input_node, segmentation_node)
    under = parts[0].GetTransformNodeID()  # the CT may have been moved since
    node.SetAndObserveTransformNodeID(under)
    node.SetNodeReferenceID(TRANSFORM_ROLE, under)
    return node


def share_text(node: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """Share of a map's attention inside each organ, against the share of the volume that the organ takes."""
    measures = map_measures(node) if node is not None else {}
    if not measures:
        return ""
    parts = [
        f"{organ} {100 * measures['share'][organ]:.1f} % (takes {100 * of_volume:.1f} % of the volume)"
        for organ, of_volume in measures["volume_share"].items()
        if of_volume > 0
    ]
    return "Share of the attention inside: " + ", ".join(parts) if parts else "No organ was found inside the map."


def _flatness(node: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    measures = map_measures(node) if node is not None else {}
    if node is None or not measures:
        return ""
    reach = f"({measures['low']:.2f} to {measures['high']:.2f})"
    if measures["high"] < node.GetDisplayNode().GetLowerThreshold():
        return f"Nothing of it is shown: all coefficients {reach} lie below the threshold."
    if measures["std"] >= FLAT_STD:
        return f"Coefficients {reach}."
    passed = "nearly everything" if measures["mean"] >= NEARLY_ALL else "about the same everywhere"
    return f"This gate hardly varies: it passes {passed} {reach}."


def _mean_measures(nodes: list[slicer.vtkMRMLScalarVolumeNode], voxels: np.ndarray) -> dict:
    """Figures of the mean map: shares are those of its gates, weighted by their attention mass."""
    of_parts = [map_measures(node) for node in nodes]
    total = sum(measures["mean"] for measures in of_parts) or 1.0
    first = of_parts[0]
    return {
        "mean": float(voxels.mean(dtype=np.float64)),
        "std": float(voxels.std(dtype=np.float64)),
        "low": float(voxels.min()),
        "high": float(voxels.max()),
        "share": {
            organ: sum(measures["mean"] * measures["share"][organ] for measures in of_parts) / total
            for organ in first["share"]
        },
        "volume_share": first["volume_share"],
    }


def slice_composites() -> list[slicer.vtkMRMLSliceCompositeNode]:
    """What each slice view shows, in all layouts that were opened."""
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def show_ct(volume_node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a CT in the slice views if none of them does, as the Segment Editor shows its source volume."""
    layers = [(view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) for view in slice_composites()]
    if layers and not any(volume_node.GetID() in shown for shown in layers):
        slicer.util.setSliceViewerLayers(background=volume_node, fit=True)


def was_taken_away(node: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    """Whether all views that were given a map show something else now, as when another volume was loaded."""
    if node is None:
        return False
    given = [view for view in slice_composites() if view.GetNodeReference(SHOWN_MAP_ROLE) is node]
    return bool(given) and all(view.GetForegroundVolumeID() != node.GetID() for view in given)


def _put_over_ct(
    composite: slicer.vtkMRMLSliceCompositeNode, segmentation_node: slicer.vtkMRMLSegmentationNode | None
) -> None:
    """Show the CT below its first map; what the user puts there afterwards stays."""
    ids = [node.GetID() for node in maps_of(segmentation_node).values()]
    input_node = segmentation_node.GetNodeReference(INPUT_ROLE) if segmentation_node is not None else None
    before = composite.GetBackgroundVolumeID() or ""
    if input_node is None or composite.GetForegroundVolumeID() in ids or before == input_node.GetID():
        return
    composite.SetNodeReferenceID(BACKGROUND_ROLE, before or None)
    composite.SetNodeReferenceID(CT_ROLE, input_node.GetID())
    composite.SetBackgroundVolumeID(input_node.GetID())


def _put_in_front(
    composite: slicer.vtkMRMLSliceCompositeNode, node: slicer.vtkMRMLScalarVolumeNode, opacity: float
) -> None:
    if not _shows_its_map(composite) and not _lost_its_map(composite):
        composite.SetNodeReferenceID(FOREGROUND_ROLE, composite.GetForegroundVolumeID())
        composite.SetAttribute(OPACITY_ATTRIBUTE, str(composite.GetForegroundOpacity()))
    composite.SetNodeReferenceID(SHOWN_MAP_ROLE, node.GetID())
    composite.SetForegroundVolumeID(node.GetID())
    composite.SetForegroundOpacity(opacity)


def _put_back(composite: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Show again what the view showed before the map."""
    composite.SetForegroundVolumeID(composite.GetNodeReferenceID(FOREGROUND_ROLE))
    _restore_opacity(composite)
    ct = composite.GetNodeReferenceID(CT_ROLE)
    if ct and composite.GetBackgroundVolumeID() == ct:
        composite.SetBackgroundVolumeID(composite.GetNodeReferenceID(BACKGROUND_ROLE))
    _forget(composite)


def _forget(composite: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Forget what the view showed before a map: the map is gone, or gave way to what the user or Slicer put there."""
    if not composite.GetForegroundVolumeID():
        _restore_opacity(composite)
    for role in (FOREGROUND_ROLE, BACKGROUND_ROLE, CT_ROLE, SHOWN_MAP_ROLE):
        composite.SetNodeReferenceID(role, None)
    composite.RemoveAttribute(OPACITY_ATTRIBUTE)


def _restore_opacity(composite: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Give the foreground its opacity before the map; a scene view that was restored has brought its own."""
    if opacity := composite.GetAttribute(OPACITY_ATTRIBUTE):
        composite.SetForegroundOpacity(float(opacity))


def _shows_another_volume(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether the view was given a map that is still there, and shows something else, or nothing, in its place."""
    given = composite.GetNodeReference(SHOWN_MAP_ROLE)
    return given is not None and composite.GetForegroundVolumeID() != given.GetID()


def _shows_its_map(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether the view shows the map that was put there here, not by a script or the user."""
    shown = composite.GetNodeReferenceID(SHOWN_MAP_ROLE)
    return bool(shown) and composite.GetForegroundVolumeID() == shown


def _lost_its_map(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether the view shows no foreground because the map it showed was deleted."""
    had_one = bool(composite.GetAttribute(OPACITY_ATTRIBUTE))
    return had_one and not composite.GetForegroundVolumeID() and composite.GetNodeReference(SHOWN_MAP_ROLE) is None


def _is_gate(name: str) -> bool:
    return name[:1] == "s" and name[1:2].isdigit() and "-" in name


def _scale(name: str) -> int:
    return int(name.removeprefix(MEAN).removeprefix("s").split("-")[0])
