"""What a run is asked to do: inputs copied out of the scene, work that touches no scene, results written back.

``read`` and ``write`` belong to Slicer's main thread; what ``work`` returns may run on any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer

from ..errors import is_out_of_memory
from ..inference.devices import needs_torch
from ..models.cache import ModelCache
from ..models.description import ModelError
from ..models.store import find_model, list_models, read_spec
from ..monitor import CancelCheck, Cancelled, ProgressCallback
from ..volume import Segmentation, Volume
from . import runtimes
from .map_volumes import map_images, write_maps
from .mrml import (
    LABELMAP,
    PREFIX,
    crop_volume,
    grid_of_node,
    ijk_to_ras_of,
    nodes_removed_on_error,
    put_under,
    roi_box,
    turn_and_deformation,
    volume_from_node,
)
from .ownership import (
    FRAME_ATTRIBUTE,
    Fingerprint,
    edited_segments,
    frame_of_result,
    has_kept_segments,
    holds_other_result,
    kept_grids,
)
from .segments import has_surfaces, restored_on_error, write_segments, written_volumes_ml
from .sequences import Frames, connect, frames_of, keep_frame, result_sequence, write_frame_table

if TYPE_CHECKING:
    from ..inference.network import Predictor

Work = Callable[[ProgressCallback, CancelCheck], list[Segmentation]]
"""What a run does on its worker thread: a result for each frame."""

MAX_DEFORMATION_MM = 1.0
MAX_TURN_DEG = 30.0  # from where the network, and left and right, may be wrong; judgement
FRAME_TABLE_ROLE = PREFIX + "FrameTable"


@dataclass(frozen=True)
class Request:
    """A run's nodes and options.

    Attributes:
        volume_node: The CT.
        segmentation_node: Where the organs go; None for a new one.
        model: Name or path of the model; "" for the first that can be used.
        roi: Limits the run; None for the whole volume.
        device: "auto", "cpu", "cuda", "mps".
        attention: Make the attention maps.
        probabilities: Make a probability map of each organ.
        all_frames: Segment every frame of the sequence that the volume shows a frame of.
        replace_edited: Replace segments of an earlier run although they were changed since then; else the results go
            to a new segmentation if there are such segments.
    """

    volume_node: slicer.vtkMRMLScalarVolumeNode
    segmentation_node: slicer.vtkMRMLSegmentationNode | None = None
    model: str = ""
    roi: slicer.vtkMRMLMarkupsROINode | None = None
    device: str = "auto"
    attention: bool = True
    probabilities: bool = False
    all_frames: bool = False
    replace_edited: bool = False


@dataclass(frozen=True)
class Inputs:
    """What was copied out of the scene.

    Attributes:
        volumes: The frames, cropped to the ROI.
        current: Index of the frame that the volume node shows.
        model: Name or path of the model.
        values: Index values of the frames; empty for a single volume.
        shown: Index value of the frame that the volume node shows; "" if it shows none.
        replaceable: What the edited segments are that may be replaced; edits during the run are not among them.
    """

    volumes: list[Volume]
    current: int
    model: str
    values: tuple[str, ...] = ()
    shown: str = ""
    replaceable: tuple[Fingerprint, ...] = ()


def read(request: Request) -> Inputs:
    """Copy everything a run needs out of the scene.

    Raises:
        ValueError: If a node cannot be used; the message names it.
    """
    node = request.volume_node
    if node is None:
        raise ValueError("no input volume was given; load a CT and choose it")
    if slicer.mrmlScene.GetNodeByID(node.GetID() or "") is not node:
        raise ValueError(f"the volume {node.GetName()!r} is not in the scene")
    volume = volume_from_node(node)
    replaceable = _replaceable(request)
    _check_output(request, replaceable)
    model = request.model or _first_model()
    find_model(model)
    frames = frames_of(node)
    shown = frames.values[frames.current] if frames is not None else ""
    if not request.all_frames:
        return Inputs([_cropped(volume, request)], 0, model, (), shown, replaceable)
    if frames is None:
        raise ValueError(f"the volume {node.GetName()!r} is not part of a sequence")
    volumes = [_cropped(volume_from_node(frame), request, volume) for frame in frames.nodes()]
    return Inputs(volumes, frames.current, model, tuple(frames.values), shown, replaceable)


def work(request: Request, inputs: Inputs, cache: ModelCache, predictor: Predictor | None = None) -> Work:
    """The work of a run, for a background run or the caller's own thread; asked for on the main thread.

    It loads what runs the network, PyTorch or OpenVINO, and raises ``DependencyError`` if that cannot be used.

    Args:
        request: What to do.
        inputs: Of ``read``.
        cache: Where the network is kept between runs.
        predictor: Takes the network's place.
    """
    runtimes.want_large_pages()
    device, attention, probabilities = request.device, request.attention, request.probabilities  # no nodes on threads

    def run(progress: ProgressCallback, cancel: CancelCheck) -> list[Segmentation]:
        if predictor is not None or needs_torch(device):
            if not runtimes.is_torch_loaded():
                progress(0.0, "loading PyTorch")
            runtimes.load_torch()
        else:
            runtimes.load_openvino()
        if cancel():
            raise Cancelled
        from ..models.loading import Model
        from ..pipeline import Options
        from .frames import segment_frames

        options = Options(device, attention=attention, probabilities=probabilities)
        progress(0.0, "loading the model")
        model = cache.get(inputs.model) if predictor is None else Model(read_spec(find_model(inputs.model)), predictor)
        try:
            return segment_frames(inputs.volumes, model, options, inputs.current, progress, cancel)
        except Exception as error:
            if is_out_of_memory(error):  # what is kept for the next run stands in its way
                cache.free()
            raise

    return run


def write(request: Request, inputs: Inputs, results: Sequence[Segmentation]) -> slicer.vtkMRMLSegmentationNode:
    """Write the results into the scene; if that fails, all is as it was before, but for frames and their table.

    Raises:
        RuntimeError: If the input volume has left the scene.
    """
    volume_node, node = request.volume_node, request.segmentation_node
    if slicer.mrmlScene.GetNodeByID(volume_node.GetID() or "") is not volume_node:
        raise RuntimeError("the input volume was removed during the run")
    if node is not None and slicer.mrmlScene.GetNodeByID(node.GetID() or "") is not node:
        node = None  # removed during the run
    result = results[inputs.current]
    result.warnings.extend(_changes(request, inputs, result))
    obstacle = _obstacle(node, request, inputs) if node is not None else ""
    if obstacle:
        result.warnings.append(f"{obstacle}; the result is in a new segmentation")
        node = None
    images = map_images(result)
    with nodes_removed_on_error():
        node = node or _new_segmentation(volume_node)
        with restored_on_error(node):
            _write_frames(inputs, results, volume_node, node)
            write_maps(images, result, volume_node, node, inputs.shown)
    return node


def _write_frames(
    inputs: Inputs,
    results: Sequence[Segmentation],
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    node: slicer.vtkMRMLSegmentationNode,
) -> None:
    """Write the organs: of the current frame into the node, of all frames into a sequence."""
    frames = frames_of(volume_node)
    if not inputs.values or frames is None:
        write_segments(results[inputs.current], volume_node, node, has_surfaces(node))
        node.SetAttribute(FRAME_ATTRIBUTE, inputs.shown)
        if frames is not None and frames.results(node):
            keep_frame(frames.browser.GetSequenceNode(node), node, inputs.shown)
            _write_table(frames, node)
        return
    node.SetAttribute(FRAME_ATTRIBUTE, "")
    sequence, with_surfaces = result_sequence(frames, node), has_surfaces(node)
    last = inputs.values.index(frames.values[frames.current]) if frames.values[frames.current] in inputs.values else 0
    for n in [*(n for n in range(len(results)) if n != last), last]:
        write_segments(results[n], volume_node, node, with_surfaces and n == last)
        keep_frame(sequence, node, inputs.values[n])
    connect(frames, sequence, node)
    _write_table(frames, node)


def _write_table(frames: Frames, node: slicer.vtkMRMLSegmentationNode) -> None:
    by_value = frames.results(node)
    volumes = [written_volumes_ml(by_value[value]) if value in by_value else {} for value in frames.values]
    write_frame_table(frames, node, volumes, FRAME_TABLE_ROLE)


def _new_segmentation(volume_node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    """A node beside the CT in the subject hierarchy: in the same study, if the CT came from DICOM."""
    name = slicer.mrmlScene.GenerateUniqueName(f"{volume_node.GetName()} segmentation")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if item := hierarchy.GetItemByDataNode(volume_node):
        put_under(hierarchy.GetItemParent(item), node)
    return node


def edited_names(request: Request) -> list[str]:
    """Names of the segments that a run would replace although they were changed since an earlier run wrote them."""
    return sorted({name for name, _ in _edited(request)})


def _edited(request: Request) -> list[tuple[str, Fingerprint]]:
    node = request.segmentation_node
    return edited_segments(node, _frames_to_replace(request)) if node is not None else []


def _frames_to_replace(request: Request) -> Frames | None:
    return frames_of(request.volume_node) if request.all_frames else None


def _replaceable(request: Request) -> tuple[Fingerprint, ...]:
    return tuple(fingerprint for _, fingerprint in _edited(request)) if request.replace_edited else ()


def _check_output(request: Request, replaceable: tuple[Fingerprint, ...]) -> None:
    """Refuse an output whose other segments would be moved.

    Raises:
        ValueError: If there are such segments, and the result does not go to a new segmentation anyway.
    """
    node = request.segmentation_node
    if node is None or holds_other_result(node, request.volume_node) or _edits(request, replaceable):
        return
    misfit = _misfit(node, request.volume_node)
    if misfit:
        raise ValueError(f"{misfit}; choose another segmentation")


def _obstacle(node: slicer.vtkMRMLSegmentationNode, request: Request, inputs: Inputs) -> str:
    """Why the output cannot take the result without loss of the user's work; "" if it can."""
    edits, name = _edits(request, inputs.replaceable), node.GetName()
    if holds_other_result(node, request.volume_node):
        return f"{name!r} holds the result of another volume, or a copy of a result"
    if edits:
        return f"segments of {name!r} were changed since a run wrote them ({', '.join(edits)})"
    frames = frames_of(request.volume_node)
    if request.all_frames and frames is not None and has_kept_segments(node, frames):
        return f"{name!r} has other segments, which would be copied from frame to frame"
    if not request.all_frames and (frame := frame_of_result(node)) not in ("", inputs.shown):
        return f"{name!r} holds the result of frame {frame}"
    if frames is not None and frames.results(node) and _shows_another_frame(frames, inputs):
        return f"{name!r} shows another frame now"
    return _misfit(node, request.volume_node)


def _edits(request: Request, replaceable: tuple[Fingerprint, ...]) -> list[str]:
    """Names of the edited segments that nobody allowed to replace."""
    return [
        name
        for name, fingerprint in _edited(request)
        if not any(fingerprint.same_as(allowed) for allowed in replaceable)
    ]


def _misfit(node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Why results cannot lie beside the output's other segments; "" if they can."""
    if not has_kept_segments(node):
        return ""
    if node.GetParentTransformNode() is not volume_node.GetParentTransformNode():
        return f"{node.GetName()!r} has other segments and a different parent transform from {volume_node.GetName()!r}"
    if node.GetSegmentation().GetSourceRepresentationName() != LABELMAP:
        return f"{node.GetName()!r} has segments that are no labelmaps"
    if not all(grid.is_on_lattice_of(ijk_to_ras_of(volume_node)) for grid in kept_grids(node)):
        # Slicer keeps segments of one lattice together: it would resample some of them when they are saved
        return f"{node.GetName()!r} has other segments, whose voxels are not those of {volume_node.GetName()!r}"
    return ""


def _first_model() -> str:
    usable = [entry.name for entry in list_models() if entry.spec is not None]
    if not usable:
        raise ModelError("there is no model that can be used; add one")
    return usable[0]


def _cropped(volume: Volume, request: Request, like: Volume | None = None) -> Volume:
    """The part of a volume inside the ROI, whose box is that of the volume node."""
    if request.roi is None:
        return volume
    if like is not None and volume.voxels.shape != like.voxels.shape:
        raise ValueError(f"a ROI needs frames of one size, got {volume.voxels.shape} and {like.voxels.shape}")
    return crop_volume(volume, roi_box(request.roi, request.volume_node))


def _changes(request: Request, inputs: Inputs, result: Segmentation) -> list[str]:
    """What the user should know of the input's frames and changes during the run, one sentence each."""
    node, changes = request.volume_node, []
    frames = frames_of(node)
    if _shows_another_frame(frames, inputs):
        changes.append(f"the sequence shows another frame now; the result is of frame {inputs.shown}")
    turn_deg, deformed_mm = turn_and_deformation(node) if node.GetImageData() is not None else (0.0, 0.0)
    harden = "harden the transform, then segment again"
    if deformed_mm > MAX_DEFORMATION_MM:
        changes.append(
            f"the volume lies under a transform that changes its shape by up to {deformed_mm:.0f} mm, as Slicer's for "
            f"gantry tilt and missing slices do; organs and their volumes ignore the transform: {harden}"
        )
    elif turn_deg > MAX_TURN_DEG:
        changes.append(
            f"the volume lies under a transform that turns it by {turn_deg:.0f} degrees; organs, and which kidney is "
            f"the left one, are found without it: {harden}"
        )
    comparable = request.roi is None and not request.all_frames and node.GetImageData() is not None
    if comparable and not grid_of_node(node).same_as(result.grid):
        changes.append("the volume was changed during the run; the result fits what it was before")
    return changes


def _shows_another_frame(frames: Frames | None, inputs: Inputs) -> bool:
    """Whether a run of one frame was overtaken by the user, who went on to another."""
    is_single = bool(inputs.shown) and not inputs.values
    return frames is not None and is_single and frames.values[frames.current] != inputs.shown
