"""A model on disk and in memory: ``model.json`` and ``weights.pt`` in a folder, or a zip of it.

Weights are a state dict, read by ``weights.py`` after their SHA-256 was compared with the JSON. They may be stored in
half precision and are always loaded as float32.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from ..atomic import move_into_place, scratch_folder, sha256_of
from ..inference.network import AttentionUNet, Predictor, UNet
from .description import SPEC_FILE, WEIGHTS_FILE, ArchitectureSpec, ModelError, ModelSpec, WeightsSpec
from .store import InstalledModel, find_model, list_models, read_spec, unpacked_model, user_model_folder
from .weights import read_state

AnyNetwork = TypeVar("AnyNetwork", bound=Predictor, covariant=True)


@dataclass(frozen=True)
class Model(Generic[AnyNetwork]):
    """A network with its weights, in evaluation mode on the CPU, and its description.

    Attributes:
        spec: The description.
        network: The network, or anything else with its ``forward`` contract.
        folder: Where it was loaded from; None if it was a zip, or was not loaded.
    """

    spec: ModelSpec
    network: AnyNetwork
    folder: Path | None = None


def build_network(architecture: ArchitectureSpec, num_classes: int) -> UNet:
    """The untrained network of a description."""
    if architecture.type == "UNet":
        return UNet(architecture.in_channels, num_classes, architecture.widths)
    return AttentionUNet(
        architecture.in_channels,
        num_classes,
        architecture.widths,
        architecture.num_subgates,
        architecture.gating_conv,
    )


def load_model(name_or_path: Path | str) -> Model[UNet]:
    """Load a model: an installed one by its name, or any folder or zip.

    Raises:
        ModelError: If there is none, or a file is missing, truncated, tampered with or does not fit its description.
    """
    folder = find_model(name_or_path)
    if folder.is_file():
        with unpacked_model(folder) as unpacked:
            return dataclasses.replace(load_model(unpacked), folder=None)
    spec = read_spec(folder)
    path = folder / spec.weights.file
    state = _checked_state(path, spec.weights.sha256)
    with torch.device("meta"):  # shapes only: a description may ask for any
        network = build_network(spec.architecture, spec.num_classes)
    expected = network.state_dict()
    different = {n: t.shape for n, t in state.items()}.items() ^ {n: t.shape for n, t in expected.items()}.items()
    if different:
        raise ModelError(f"{path} does not fit the architecture in {SPEC_FILE}: {min(different)[0]} differs")
    network.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()}, assign=True)
    unusable = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if unusable:
        raise ModelError(f"{path} has weights that are not finite numbers: {unusable[0]}")
    return Model(spec, network.eval(), folder)


def save_model(folder: Path | str, network: UNet, spec: ModelSpec, half_precision: bool = True) -> ModelSpec:
    """Write ``model.json`` and ``weights.pt``; the hash in ``spec`` is replaced by the true one.

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
    expected = build_network(spec.architecture, spec.num_classes).state_dict()
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if {n: t.shape for n, t in expected.items()} != {n: t.shape for n, t in state.items()}:
        raise ValueError(f"the network does not fit the architecture of the model {spec.name!r}")
    if half_precision:
        state = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    folder = Path(folder)
    with scratch_folder(folder) as scratch:
        torch.save(state, scratch / WEIGHTS_FILE)
        spec = dataclasses.replace(spec, weights=WeightsSpec(WEIGHTS_FILE, sha256_of(scratch / WEIGHTS_FILE)))
        (scratch / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
        move_into_place(scratch, folder, last=SPEC_FILE)
    return spec


def add_model(source: Path | str) -> InstalledModel:
    """Check a model folder or zip by loading it, then copy it into the user's model folder.

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
        for name in (SPEC_FILE, model.spec.weights.file):
            shutil.copyfile(source / name, scratch / target.name / name)
        move_into_place(scratch, base)
    return InstalledModel(model.spec.name, target, False, model.spec)


def _checked_state(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(f"{path} is missing: the model has no weights")
    if sha256_of(path) != sha256:
        raise ModelError(f"{path} is damaged or was changed: its SHA-256 is not the one in {SPEC_FILE}")
    return read_state(path)
