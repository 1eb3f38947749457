"""A network as an ONNX file: logits and every attention map as named outputs, spatial sizes left open.

The file is compared with PyTorch before it counts as written, on sizes that the export did not see.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from AttentionUNetSegmentationLib.inference.network import UNet
from AttentionUNetSegmentationLib.models.description import SPEC_FILE, ModelSpec

INPUT, LOGITS = "image", "logits"
OPSET = 20
MAX_DIFFERENCE = 1e-4  # of a channel's largest value
TRACED_SIZE = (2, 3, 4)  # in multiples of the network's divisor
COMPARED_SIZES = ((2, 3, 4), (3, 2, 2), (4, 5, 3))
MAX_SIZE = 256  # in multiples of the network's divisor


class _FlatOutputs(nn.Module):
    """Logits and coefficients as a plain tuple."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        logits, attention = self.network(x)
        return logits, *attention.values()


def write_onnx(network: UNet, spec: ModelSpec, path: Path) -> float:
    """Write the ONNX file, and compare it with the network.

    Input: ``image`` (1, 1, D, H, W) float32, scaled by the model's intensity rule, D, H, W multiples of the network's
    divisor, two of them at least. Outputs: ``logits`` (1, C, D, H, W) and the attention maps by name. The file's
    metadata hold ``model.json``.

    Args:
        network: The network, in evaluation mode.
        spec: Its description.
        path: File to write.

    Returns:
        The largest relative difference found.

    Raises:
        RuntimeError: If the file and the network differ by more; no file is left then.
    """
    import onnx

    with _quietly():
        program = torch.onnx.export(
            _FlatOutputs(network).eval(),
            (torch.zeros(1, 1, *input_size(network, TRACED_SIZE)),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[LOGITS, *network.attention_names()],
            dynamic_shapes={"x": _open_sizes(network.size_divisor)},
            verbose=False,
        )
    if program is None:  # only the older exporter gives none
        raise RuntimeError("PyTorch gave no ONNX program")
    model = program.model_proto
    model.doc_string = f"{spec.title}, version {spec.version}. {spec.intended_use}"
    onnx.helper.set_model_props(model, {SPEC_FILE: spec.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    difference = onnx_difference(network, path)
    if not difference <= MAX_DIFFERENCE:
        path.unlink()
        raise RuntimeError(
            f"the ONNX file would differ from the network by {difference:.1e} of the largest value, more than "
            f"{MAX_DIFFERENCE:g}: nothing was written"
        )
    return difference


def onnx_difference(network: UNet, path: Path, sizes: Sequence[tuple[int, int, int]] = COMPARED_SIZES) -> float:
    """Run an ONNX file and the network on noise of several sizes.

    Args:
        network: The network, in evaluation mode.
        path: The ONNX file.
        sizes: In multiples of the network's divisor.

    Returns:
        The largest ``relative_difference`` of any output.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for size in sizes:
        x = torch.randn(1, 1, *input_size(network, size), generator=generator)
        with torch.inference_mode():
            logits, attention = network(x)
        wanted = {LOGITS: logits, **attention}
        got = session.run(list(wanted), {INPUT: x.numpy()})
        for array, tensor in zip(got, wanted.values(), strict=True):
            if array.shape != tuple(tensor.shape):
                raise RuntimeError(f"the ONNX file gives shape {array.shape} instead of {tuple(tensor.shape)}")
            largest = max(largest, relative_difference(torch.from_numpy(array), tensor))
    return largest


def relative_difference(got: Tensor, wanted: Tensor) -> float:
    """The largest difference of (N, C, D, H, W) outputs, each channel's relative to its own largest absolute value.

    A class that the network never gives has a huge constant logit, which must not hide differences in the others.
    """
    difference, scale = (x.abs().flatten(2).amax(dim=(0, 2)) for x in (got - wanted, wanted))
    error = (difference / scale.clamp(min=torch.finfo(scale.dtype).tiny)).max()
    return float("inf") if torch.isnan(error) else float(error)


def input_size(network: UNet, multiples: tuple[int, int, int]) -> tuple[int, ...]:
    """(D, H, W) in multiples of what the network's input must be divisible by."""
    return tuple(multiple * network.size_divisor for multiple in multiples)


def _open_sizes(divisor: int) -> dict[int, torch.export.Dim]:
    names = {2: "depth", 3: "height", 4: "width"}
    return {axis: divisor * torch.export.Dim(name, min=2, max=MAX_SIZE) for axis, name in names.items()}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
