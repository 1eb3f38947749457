"""segment(): the steps from a CT to organs and attention maps, in order, and nothing else."""

from __future__ import annotations

import datetime
import platform
import sys
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from . import __version__
from .imaging.components import smallest_kidney_vox
from .imaging.measures import measure_attention, measure_organs
from .imaging.pieces import drop_pieces
from .imaging.place import field_of_view_warnings, place_warnings
from .imaging.plausibility import input_warnings, result_warnings
from .imaging.postprocessing import (
    attention_volumes,
    cleared_beyond,
    drop_crumbs,
    labels_on_input_grid,
    organ_scores,
    probability_maps,
)
from .imaging.preprocessing import preprocess
from .inference.backends import Backend
from .inference.devices import choose_backend, choose_device, unused_gpu
from .inference.prediction import Prediction, predict
from .models.loading import Model
from .monitor import CancelCheck, Monitor, ProgressCallback
from .volume import Segmentation, Volume


@dataclass(frozen=True)
class Options:
    """What a run shall do.

    Attributes:
        device: "auto", "cpu", "cuda", "mps".
        backend: "auto", "torch", "openvino".
        attention: Return the attention maps.
        probabilities: Return a probability map per organ.
        clean_up: Keep only the largest components of each organ, without crumbs.
        split_sides: Split paired organs into right and left.
        tile: Longest edge of a tile in voxels; None for one pass where memory allows.
    """

    device: str = "auto"
    backend: str = "auto"
    attention: bool = True
    probabilities: bool = False
    clean_up: bool = True
    split_sides: bool = True
    tile: int | None = None

    def __post_init__(self) -> None:
        if self.tile is not None and (self.tile < 16 or self.tile % 16):
            raise ValueError(f"a tile's edge must be a multiple of 16 voxels, got {self.tile}")


def segment(
    volume: Volume,
    model: Model,
    options: Options | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelCheck | None = None,
) -> Segmentation:
    """Segment a CT.

    Args:
        volume: The CT in HU, any orientation.
        model: Network and description.
        options: What to do; defaults if not given.
        progress: Called with a rising fraction in [0, 1] and the current step.
        cancel: Asked often; True stops the run within two seconds.

    Returns:
        Labels on the input's grid, attention maps, warnings, provenance.

    Raises:
        Cancelled: When asked to stop.
        ValueError: If the volume or an option cannot be used.
        RuntimeError: If memory does not suffice.
    """
    options = options or Options()
    spec = model.spec
    device, backend = choose(model, options)
    monitor = Monitor(progress, cancel)

    monitor.begin("preparing the CT", 0.0, 0.08)
    network_input = preprocess(volume, spec.spacing_mm, spec.intensity, monitor.check)
    unused = unused_gpu(device) if options.device == "auto" and options.backend == "auto" else ""
    warnings = [*volume.notes, *input_warnings(volume), *([unused] if unused else [])]
    if not volume.cut_faces:
        warnings += field_of_view_warnings(volume, monitor.check)

    monitor.begin("running the network", 0.08, 0.85)
    prediction = predict(
        network_input.image,
        lambda name: create_backend(model, name, backend if name == "cpu" else "torch"),
        device,
        spec.architecture.widths,
        monitor,
        2 ** (len(spec.architecture.widths) - 1),
        options.tile,
        slabs=model.weights is not None,
        num_classes=spec.num_classes,
    )
    _check_classes(prediction, spec.num_classes)

    monitor.begin("cleaning up", 0.85, 0.92)
    logits = cleared_beyond(prediction.logits, network_input.grid, volume.valid_region or volume.grid, monitor)
    scores, organs, notes = organ_scores(
        logits, spec.labels, network_input, monitor, options.clean_up, options.split_sides
    )

    monitor.begin("writing labels to the CT's grid", 0.92, 1.0)
    values = [organ.value for organ in organs]
    labels = labels_on_input_grid(scores, values, network_input.grid, volume.grid, monitor)
    result = Segmentation(labels, volume.ijk_to_ras, organs)
    if options.attention:
        result.attention = attention_volumes(prediction.attention, prediction.strides, network_input.grid)
    if options.probabilities:
        result.probabilities = probability_maps(logits, spec.labels, network_input.grid, volume.grid, monitor)
    _clear_beyond_scan(result, volume)
    hidden: dict[str, str] = {}
    if options.clean_up:
        pairs = {label.value: smallest_kidney_vox(volume.grid) for label in spec.labels if label.sides is not None}
        drop_crumbs(result.labels, values, monitor, pairs)
        hidden = drop_pieces(result, spec.labels, volume, monitor)
        notes += hidden.values()
    monitor.check()
    result.organ_measures = measure_organs(result, volume)
    monitor.check()
    result.gate_measures = measure_attention(result)
    monitor.check()
    seen = [*result_warnings(result, spec, volume, hidden), *place_warnings(result, spec, volume, monitor.check)]
    result.warnings = [*warnings, *prediction.reports, *notes, *seen]
    monitor.finish()
    result.provenance = _provenance(model, prediction, options, monitor, network_input.grid.shape_kji)
    return result


def choose(model: Model, options: Options) -> tuple[str, str]:
    """Device and backend for a model; PyTorch runs everything that is called like a network.

    Raises:
        ValueError: If what is asked for is not here.
    """
    backend = options.backend if model.weights is not None else "torch"
    device = choose_device(options.device, backend)
    return device, choose_backend(backend, device)


def create_backend(model: Model, device: str, backend: str) -> Backend:
    """The way to run a model that ``choose`` has chosen."""
    if backend == "openvino":
        from .inference.openvino_backend import OpenVinoBackend

        assert model.weights is not None  # choose() makes sure
        return OpenVinoBackend(model.weights)
    from .inference.torch_backend import TorchBackend

    return TorchBackend(model.network, device)


def _clear_beyond_scan(result: Segmentation, volume: Volume) -> None:
    """Take organs away where a straightened scan only repeats its edge, which helps the network at the border."""
    if volume.valid_region is None:
        return
    beyond = ~volume.valid_region.contains(volume.grid)
    for voxels in (result.labels, *(organ.voxels for organ in result.probabilities.values())):
        voxels[beyond] = 0


def _check_classes(prediction: Prediction, num_classes: int) -> None:
    if len(prediction.logits) != num_classes:
        raise ValueError(f"the network gave {len(prediction.logits)} classes, the model describes {num_classes}")
    if not np.isfinite(prediction.logits).all():
        raise RuntimeError("the network gave scores that are not finite numbers")


def _provenance(
    model: Model, prediction: Prediction, options: Options, monitor: Monitor, grid_kji: tuple[int, int, int]
) -> dict:
    return {
        "engine_version": __version__,
        "model": model.spec.name,
        "model_version": model.spec.version,
        "model_sha256": model.spec.weights.sha256,
        "device": prediction.how.device,
        "backend": prediction.backend,
        "passes": prediction.how.way,
        "network_grid_kji": list(grid_kji),
        "options": {"clean_up": options.clean_up, "split_sides": options.split_sides},
        "seconds": {**monitor.seconds, "total": round(sum(monitor.seconds.values()), 3)},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            prediction.backend: str(sys.modules[prediction.backend].__version__),
            "numpy": np.__version__,
            "SimpleITK": sitk.Version.VersionString(),
        },
    }
