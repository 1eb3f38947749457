"""A model on disk and in memory: ``model.json`` and ``weights.safetensors`` in a folder, or a zip of it.

Weights are arrays by the names of the network's ``state_dict``, read by ``weights.py`` after their SHA-256 was compared
with the JSON. They may be stored in half precision and are always loaded as float32. PyTorch is imported only when the
PyTorch network is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..atomic import move_into_place, scratch_folder, sha256_of
from .description import SPEC_FILE, WEIGHTS_FILE, ArchitectureSpec, ModelError, ModelSpec, WeightsSpec
from .shapes import weight_shapes
from .store import InstalledModel, find_model, list_models, read_spec, unpacked_model, user_model_folder
from .weights import Weights, read_weights, write_weights

if TYPE_CHECKING:
    from ..inference.network import Predictor, UNet


class Model:
    """A network with its weights and its description; it has weights, or something that takes the network's place.

    Args:
        spec: The description.
        weights: Arrays by the names of the network's ``state_dict``, float32.
        folder: Where it was loaded from; None if it was a zip, or was not loaded.
        predictor: Anything else with the network's ``forward`` contract.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights | None = None,
        folder: Path | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self.spec, self.weights, self.folder, self.predictor = spec, weights, folder, predictor

    @cached_property
    def network(self) -> UNet:
        """The PyTorch network, in evaluation mode on the CPU; made when it is first asked for.

        Raises:
            ValueError: If a predictor takes its place.
        """
        if self.weights is None:
            raise ValueError(f"the model {self.spec.name!r} has no weights")
        import torch

        with torch.device("meta"):  # no memory for weights that are replaced
            network = build_network(self.spec.architecture, self.spec.num_classes)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in self.weights.items()}, assign=True)
        return network.eval()


def build_network(architecture: ArchitectureSpec, num_classes: int) -> UNet:
    """The untrained network of a description."""
    from ..inference.network import AttentionUNet, UNet

    if architecture.type == "UNet":
        return UNet(architecture.in_channels, num_classes, architecture.widths)
    return AttentionUNet(
        architecture.in_channels,
        num_classes,
        architecture.widths,
        architecture.num_subgates,
        architecture.gating_conv,
    )


def model_of(network: UNet, spec: ModelSpec) -> Model:
    """A trained network as a model."""
    return Model(spec, state_arrays(network))


def state_arrays(network: UNet) -> Weights:
    """A network's ``state_dict`` as arrays: numbers as float32, counts as they are."""
    state = network.state_dict().items()
    return {name: (x.float() if x.is_floating_point() else x).detach().cpu().numpy().copy() for name, x in state}


def load_model(name_or_path: Path | str) -> Model:
    """Load a model: an installed one by its name, or any folder or zip.

    Raises:
        ModelError: If there is none, or a file is missing, truncated, tampered with or does not fit its description.
    """
    folder = find_model(name_or_path)
    if folder.is_file():
        with unpacked_model(folder) as unpacked:
            model = load_model(unpacked)
            return Model(model.spec, model.weights)
    spec = read_spec(folder)
    path = folder / spec.weights.file
    weights = _checked_weights(path, spec.weights.sha256)
    expected = weight_shapes(spec.architecture, spec.num_classes)
    different = {n: x.shape for n, x in weights.items()}.items() ^ expected.items()
    if different:
        raise ModelError(f"{path} does not fit the architecture in {SPEC_FILE}: {min(different)[0]} differs")
    weights = {n: x.astype(np.float32) if x.dtype.kind == "f" else x.copy() for n, x in weights.items()}
    unusable = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if unusable:
        raise ModelError(f"{path} has weights that are not finite numbers: {unusable[0]}")
    return Model(spec, weights, folder)


def save_model(folder: Path | str, weights: Mapping[str, np.ndarray], spec: ModelSpec, half: bool = True) -> ModelSpec:
    """Write ``model.json`` and ``weights.safetensors``; the hash in ``spec`` is replaced by the true one.

    Args:
        folder: Created if missing; existing files are replaced only when both new ones are complete.
        weights: As ``Model.weights``.
        spec: The description, whose architecture must match the weights.
        half: Store floating-point arrays as float16, which halves the file; loading gives float32 again.

    Returns:
        The description as written.

    Raises:
        ValueError: If the weights do not fit the description.
    """
    if {n: x.shape for n, x in weights.items()} != weight_shapes(spec.architecture, spec.num_classes):
        raise ValueError(f"the network does not fit the architecture of the model {spec.name!r}")
    if half:
        weights = {n: x.astype(np.float16) if x.dtype.kind == "f" else x for n, x in weights.items()}
    folder = Path(folder)
    with scratch_folder(folder) as scratch:
        spec = _write(scratch, weights, spec)
        move_into_place(scratch, folder, last=SPEC_FILE)
    return spec


def _write(folder: Path, weights: Mapping[str, np.ndarray], spec: ModelSpec) -> ModelSpec:
    write_weights(folder / WEIGHTS_FILE, weights)
    spec = dataclasses.replace(spec, weights=WeightsSpec(WEIGHTS_FILE, sha256_of(folder / WEIGHTS_FILE)))
    (folder / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    return spec


def add_model(source: Path | str) -> InstalledModel:
    """Check a model folder or zip by loading it, then write it into the user's model folder, as safetensors.

    Raises:
        ModelError: If it cannot be used, or a model of that name is there already.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise ModelError(f"{source} does not exist")
    if source.is_file():
        with unpacked_model(source) as unpacked:
            return add_model(unpacked)
    model = load_model(source)
    same = [entry for entry in list_models() if entry.name == model.spec.name]
    if same:
        what = "it belongs to the package, so give yours another name" if same[0].packaged else "remove it first"
        raise ModelError(f"a model named {model.spec.name!r} is there already; {what}")
    base = user_model_folder()
    target = base / model.spec.name
    base.mkdir(parents=True, exist_ok=True)
    with scratch_folder(base) as scratch:
        (scratch / target.name).mkdir()
        spec = _write(scratch / target.name, read_weights(source / model.spec.weights.file), model.spec)
        move_into_place(scratch, base)
    return InstalledModel(spec.name, target, False, spec)


def _checked_weights(path: Path, sha256: str) -> Weights:
    if not path.is_file():
        raise ModelError(f"{path} is missing: the model has no weights")
    if sha256_of(path) != sha256:
        raise ModelError(f"{path} is damaged or was changed: its SHA-256 is not the one in {SPEC_FILE}")
    return read_weights(path)
