"""The networks of ``network.py`` as OpenVINO graphs, built from their weights with OpenVINO's own operators.

A forward pass is cut into the parts of ``slabs.py``. Every spatial size is dynamic, so each is compiled once for all
CTs. What is algebra in inference is done beforehand, in float64: batch norms are folded into convolutions, a gate's
output and combining convolutions become one, and each deep-supervision head is merged with its part of the mixing
convolution.

Tensors are (1, C, D, H, W), float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .openvino_package import Node, Output, openvino, opset13

Weights = Mapping[str, np.ndarray]
BATCH_NORM_EPSILON = 1e-5  # torch's default, which the networks keep
CHANNELS, DEPTH = 1, 2  # axes


class Graphs:
    """Builds the graphs of one network; its architecture is read off its weights.

    Args:
        weights: The network's ``state_dict`` as arrays.

    Raises:
        KeyError: If a weight is missing.
        ValueError: If a graph is asked for whose weights are no finite float32: its ReLUs would make 0 of NaN, so that
            nobody would notice.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.num_scales = _count(weights, "encoder.{}.conv1.weight")
        self.num_subgates = _count(weights, "gates.s2.subgates.{}.theta.weight")
        self.num_classes = len(weights["mix.bias"])

    def attention_names(self, scale: int) -> list[str]:
        """Names of a scale's coefficient maps, in order (``UNet.attention_names``)."""
        gated = 2 <= scale < self.num_scales
        return [f"s{scale}-{index + 1}" for index in range(self.num_subgates)] if gated else []

    def work_per_voxel(self, scale: int) -> int:
        """Multiply-accumulates of the 3x3x3 convolutions of a scale's encoder or decoder block, whichever has more."""
        blocks = (f"encoder.{scale - 1}", f"decoder.{scale - 1}")
        return max(sum(self._weights[f"{block}.conv{index}.weight"].size for index in (1, 2)) for block in blocks)

    def encoder(self, scale: int) -> openvino.Model:
        """A scale's encoder block on some slices.

        Inputs: the slices; the first and the end of those to return, counted from the first one given. Outputs: the
        skip connection, and the same pooled.
        """
        x = _input(self._weights[f"encoder.{scale - 1}.conv1.weight"].shape[1])
        first, end = _slice_index(), _slice_index()
        skip = _slices(self._block(x, f"encoder.{scale - 1}"), first, end)
        return openvino.Model([*_outputs(skip), _pool(skip)], [x, first, end])

    def coarser_scales(self, finest: int) -> openvino.Model:
        """Everything from scale ``finest`` on.

        Input: the pooled features. Outputs: the decoder's features of scale ``finest``, each scale's part of the logits
        at its own resolution, fine to coarse, and the coefficients of the scales from fine to coarse.
        """
        pooled = _input(self._width(finest - 1))
        skips = [self._block(pooled, f"encoder.{finest - 1}")]
        for index in range(finest, self.num_scales):
            skips.append(self._block(_pool(skips[-1]), f"encoder.{index}"))
        features = skips.pop()
        gating = features
        if "gating_signal.conv.weight" in self._weights:
            gating = _convolve(features, *self._folded("gating_signal.conv", "gating_signal.norm"), relu=True)
        logits: list[Node] = []
        coefficients: list[Output] = []
        while skips:
            scale = finest + len(skips) - 1
            skip, alphas = self._filter_skip(scale, skips.pop(), gating)
            features, part = self._decode(scale, skip, _upsample(features, 2))
            gating = features
            logits.insert(0, part)
            coefficients = [*alphas, *coefficients]
        return openvino.Model([*_outputs(features, *logits), *coefficients], [pooled])

    def decoder(self, scale: int) -> openvino.Model:
        """The gate and the decoder block of a scale but the first, on some slices.

        Inputs: the skip connection's slices, the coarser scale's features that reach them, and the first and the end of
        each of ``slabs.DecoderEnds``. Outputs: the decoder's features, the scale's part of the logits, the
        coefficients.
        """
        skip, features = _input(self._width(scale)), _input(self._width(scale + 1))
        ends = [_slice_index() for _ in range(8)]
        gating, block, upsampled, kept = zip(ends[::2], ends[1::2], strict=True)
        filtered, alphas = self._filter_skip(scale, skip, _slices(features, *gating))
        decoded, part = self._decode(scale, _slices(filtered, *block), _slices(_upsample(features, 2), *upsampled))
        alphas = [_slices(_slices(alpha, *block), *kept).output(0) for alpha in alphas]
        return openvino.Model(
            [*_outputs(_slices(decoded, *kept), _slices(part, *kept)), *alphas], [skip, features, *ends]
        )

    def output(self) -> openvino.Model:
        """The first decoder block and the mixed output on some slices.

        Inputs: the skip connection's slices; the features of scale 2 that reach them, and the first and the end of
        the upsampled slices that fit the skip connection; the first and the end of the slices to return; for each
        coarser scale its part of the logits and the first and the end of the upsampled slices to return.
        Output: the logits.
        """
        skip, features = _input(self._width(1)), _input(self._width(2))
        ends = [_slice_index() for _ in range(4)]
        inputs = [skip, features, *ends]
        _, logits = self._decode(1, skip, _slices(_upsample(features, 2), ends[0], ends[1]))
        logits = _slices(logits, ends[2], ends[3])
        for scale in range(2, self.num_scales):
            part, first, end = _input(self.num_classes), _slice_index(), _slice_index()
            inputs += [part, first, end]
            logits = opset13.add(logits, _slices(_upsample(part, 2 ** (scale - 1)), first, end))
        return openvino.Model(_outputs(logits), inputs)

    def _decode(self, scale: int, skip: Node, upsampled: Node) -> tuple[Node, Node]:
        """The decoder's features, and their part of the logits."""
        features = self._block(opset13.concat([skip, upsampled], CHANNELS), f"decoder.{scale - 1}")
        return features, _convolve(features, *self._head(scale))

    def _filter_skip(self, scale: int, skip: Node, gating: Node) -> tuple[Node, list[Output]]:
        """The skip connection through the scale's gate, where there is one, and the coefficients."""
        return self._gate(skip, gating, f"gates.s{scale}") if self.attention_names(scale) else (skip, [])

    def _width(self, scale: int) -> int:
        return len(self._weights[f"encoder.{scale - 1}.conv1.bias"])

    def _block(self, x: Node, name: str) -> Node:
        for index in (1, 2):
            x = _convolve(x, *self._folded(f"{name}.conv{index}", f"{name}.norm{index}"), padding=1, relu=True)
        return x

    def _gate(self, skip: Node, gating: Node, name: str) -> tuple[Node, list[Output]]:
        """The gated skip connection and the coefficients, one map per sub-gate (``network.AttentionGate``)."""
        subgates = [f"{name}.subgates.{index}" for index in range(self.num_subgates)]
        theta = np.concatenate([self._weights[f"{subgate}.theta.weight"] for subgate in subgates])
        phi = np.concatenate([self._weights[f"{subgate}.phi.weight"] for subgate in subgates])
        phi_bias = np.concatenate([self._weights[f"{subgate}.phi.bias"] for subgate in subgates])
        joined = opset13.relu(opset13.add(_convolve(skip, theta, stride=2), _convolve(gating, phi, phi_bias)))
        width = len(theta) // len(subgates)
        psi = np.zeros((len(subgates), len(theta), 1, 1, 1), np.float32)
        for index, subgate in enumerate(subgates):
            psi[index, index * width : (index + 1) * width] = self._weights[f"{subgate}.psi.weight"][0]
        psi_bias = np.concatenate([self._weights[f"{subgate}.psi.bias"] for subgate in subgates])
        alpha = _upsample(opset13.sigmoid(_convolve(joined, psi, psi_bias)), 2)
        alphas = opset13.split(alpha, opset13.constant(CHANNELS), len(subgates)).outputs()

        combine, bias = self._folded(f"{name}.combine", f"{name}.norm")
        merged = []
        for subgate, part in zip(subgates, np.split(combine[..., 0, 0, 0], len(subgates), axis=1), strict=True):
            output, output_bias = self._folded(f"{subgate}.output", f"{subgate}.norm")
            merged.append(part @ output[..., 0, 0, 0])
            bias = bias + part @ output_bias
        weight = np.concatenate(merged, axis=1)[..., None, None, None]
        gated = opset13.concat([opset13.multiply(skip, alpha) for alpha in alphas], CHANNELS)
        return _convolve(gated, weight, bias, relu=True), alphas

    def _head(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of the scale's deep-supervision head and its part of the mixing convolution as one.

        They may be applied before upsampling, as that is linear and keeps constants.
        """
        mix = np.split(self._weights["mix.weight"].astype(np.float64)[..., 0, 0, 0], self.num_scales - 1, axis=1)
        weight, bias = self._folded(f"heads.{scale - 1}")
        part = mix[scale - 1]
        merged_bias = part @ bias + (self._weights["mix.bias"] if scale == 1 else 0)
        return (part @ weight[..., 0, 0, 0])[..., None, None, None], merged_bias

    def _folded(self, convolution: str, norm: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of a convolution and of the batch norm that follows it, float64."""
        weight = self._weights[f"{convolution}.weight"].astype(np.float64)
        bias = self._weights[f"{convolution}.bias"].astype(np.float64)
        if not norm:
            return weight, bias
        values = {name: self._weights[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
        scale = values["weight"] / np.sqrt(values["running_var"].astype(np.float64) + BATCH_NORM_EPSILON)
        return weight * scale[:, None, None, None, None], (bias - values["running_mean"]) * scale + values["bias"]


def _count(weights: Weights, pattern: str) -> int:
    count = 0
    while pattern.format(count) in weights:
        count += 1
    return count


def _input(channels: int) -> Node:
    return opset13.parameter([1, channels, -1, -1, -1], np.float32)


def _slice_index() -> Node:
    return opset13.parameter([1], np.int64)


def _outputs(*nodes: Node) -> list[Output]:
    return [node.output(0) for node in nodes]


def _slices(x: Node, first: Node, end: Node) -> Node:
    step, axis = opset13.constant(np.array([1])), opset13.constant(np.array([DEPTH]))
    return opset13.slice(x, first, end, step, axis)


def _convolve(
    x: Node, weight: np.ndarray, bias: np.ndarray | None = None, padding: int = 0, stride: int = 1, relu: bool = False
) -> Node:
    pads = [padding] * 3
    x = opset13.convolution(x, _constant(weight), [stride] * 3, pads, pads, [1] * 3)
    if bias is not None:
        x = opset13.add(x, _constant(bias.reshape(1, -1, 1, 1, 1)))
    return opset13.relu(x) if relu else x


def _constant(weight: np.ndarray) -> Node:
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(weight, dtype=np.float32)
    if not np.isfinite(single).all():
        raise ValueError("the network has weights that are not finite numbers with its batch norms folded in")
    return opset13.constant(single)


def _pool(x: Node) -> Output:
    """2x2x2 max pooling."""
    return opset13.max_pool(x, [2] * 3, [1] * 3, [0] * 3, [0] * 3, [2] * 3).output(0)  # the other: indices


def _upsample(x: Node, factor: int) -> Node:
    """Trilinear, as torch's with ``align_corners=False``."""
    scales: Sequence[float] = [float(factor)] * 3
    return opset13.interpolate(
        x,
        opset13.constant(np.array(scales, np.float32)),
        "linear_onnx",
        "scales",
        coordinate_transformation_mode="half_pixel",
        axes=opset13.constant(np.array([2, 3, 4])),
    )
