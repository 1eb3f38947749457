"""A model on disk and in memory: ``model.json`` and ``weights.safetensors`` in a folder, or a zip of it.

Weights are arrays by the names of the network's ``state_dict``, read by ``weights.py`` after their SHA-256 was compared
with the JSON. They may be stored in half precision and are always loaded as float32. PyTorch is imported only when the
PyTorch network is asked for.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import numpy as np

from ..atomic import move_into_place, scratch_folder, sha256_of
from ..errors import one_sentence
from .description import SPEC_FILE, WEIGHTS_FILE, ArchitectureSpec, ModelError, ModelSpec, WeightsSpec
from .shapes import weight_shapes
from .store import InstalledModel, find_model, list_models, read_spec, unpacked_model, user_model_folder
from .weights import Weights, read_weights, write_weights

if TYPE_CHECKING:
    from ..inference.network import UNet

AnyNetwork = TypeVar("AnyNetwork", covariant=True)


class Model(Generic[AnyNetwork]):
    """A network with its weights, and its description.

    Args:
        spec: The description.
        network: The PyTorch network in evaluation mode on the CPU, or anything else with its ``forward`` contract; None
            to make it from ``weights`` when it is asked for.
        folder: Where it was loaded from; None if it was a zip, or was not loaded.
        weights: Arrays by the names of the network's ``state_dict``, float32.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: AnyNetwork | None = None,
        folder: Path | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.spec, self.folder = spec, folder
        self._network, self._weights = network, weights

    @cached_property
    def network(self) -> AnyNetwork:
        """See ``network`` above."""
        if self._network is not None:
            return self._network
        import torch

        with torch.device("meta"):  # no memory for numbers that are replaced
            network = build_network(self.spec.architecture, self.spec.num_classes)
        state = {name: torch.from_numpy(array) for name, array in (self._weights or {}).items()}
        network.load_state_dict(state, assign=True)
        return cast(AnyNetwork, network.eval())

    @cached_property
    def weights(self) -> Weights | None:
        """See above; None if the network is none of ``network.py``."""
        if self._weights is None and self._network is not None:
            from ..inference.network import UNet

            return state_arrays(self._network) if isinstance(self._network, UNet) else None
        return self._weights


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


def state_arrays(network: UNet) -> Weights:
    """A network's ``state_dict`` as arrays: numbers as float32, counts as they are."""
    state = network.state_dict().items()
    return {name: (x.float() if x.is_floating_point() else x).detach().cpu().numpy().copy() for name, x in state}


def load_model(name_or_path: Path | str) -> Model[UNet]:
    """Load a model: an installed one by its name, or any folder or zip.

    Raises:
        ModelError: If there is none, or a file is missing, truncated, tampered with or does not fit its description.
    """
    folder = find_model(name_or_path)
    if folder.is_file():
        with unpacked_model(folder) as unpacked:
            model = load_model(unpacked)
            return Model(model.spec, weights=model.weights)
    spec = read_spec(folder)
    path = folder / spec.weights.file
    weights = _checked_weights(path, spec.weights.sha256)
    scores = weights.get("mix.bias")
    if scores is not None and scores.ndim == 1 and len(scores) != spec.num_classes:
        raise ModelError(f"{path} is of {len(scores)} classes with background, {SPEC_FILE} of {spec.num_classes}")
    expected = weight_shapes(spec.architecture, spec.num_classes)
    different = {n: x.shape for n, x in weights.items()}.items() ^ expected.items()
    if different:
        raise ModelError(f"{path} does not fit the architecture in {SPEC_FILE}: {min(different)[0]} differs")
    weights = {n: x.astype(np.float32) if x.dtype.kind == "f" else x.copy() for n, x in weights.items()}
    unusable = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if unusable:
        raise ModelError(f"{path} has weights that are not finite numbers: {unusable[0]}")
    negative = [name for name, array in weights.items() if name.endswith("running_var") and (array < 0).any()]
    if negative:
        raise ModelError(f"{path} has variances below 0: {negative[0]}")
    return Model(spec, folder=folder, weights=weights)


def save_model(folder: Path | str, network: UNet, spec: ModelSpec, half_precision: bool = True) -> ModelSpec:
    """Write ``model.json`` and ``weights.safetensors``; the hash in ``spec`` is replaced by the true one.

    Args:
        folder: Created if missing; existing files are replaced only when both new ones are complete.
        network: The network; its floating-point tensors are stored as float16 if ``half_precision``.
        spec: The description, whose architecture must match the network.
        half_precision: Halves the file; loading gives float32 again.

    Returns:
        The description as written.

    Raises:
        ValueError: If the network does not fit the description.
    """
    weights = state_arrays(network)
    if {n: x.shape for n, x in weights.items()} != weight_shapes(spec.architecture, spec.num_classes):
        raise ValueError(f"the network does not fit the architecture of the model {spec.name!r}")
    if half_precision:
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
    if not os.path.exists(source):  # Path.exists fails for names that are too long
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
    if os.path.lexists(target):
        raise ModelError(f"{target} is there already and is no model; move it away, or give the model another name")
    base.mkdir(parents=True, exist_ok=True)
    with scratch_folder(base) as scratch:
        (scratch / target.name).mkdir()
        spec = _write(scratch / target.name, read_weights(source / model.spec.weights.file), model.spec)
        try:
            os.rename(scratch / target.name, target)  # which, unlike replacing, fails where another one was added since
        except OSError as error:
            if not os.path.lexists(target):
                raise
            raise ModelError(f"a model named {spec.name!r} is there already; remove it first") from error
    return InstalledModel(spec.name, target, False, spec)


def _checked_weights(path: Path, sha256: str) -> Weights:
    try:
        if not path.is_file():
            raise ModelError(f"{path} is missing: the model has no weights")
        if sha256_of(path) != sha256:
            raise ModelError(f"{path} is damaged or was changed: its SHA-256 is not the one in {SPEC_FILE}")
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {one_sentence(error)}") from error
    return read_weights(path)
