"""Whether voxels are in HU: judged by where air, fat and soft tissue lie, whatever pads the field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..volume import Volume

SAMPLE_VOXELS = 50_000
MIN_VOXELS = 500  # fewer tell nothing
PADDING_SHARE = 0.05  # of the voxels on the volume's outer edges, from which one single value counts as padding

# Between the edges: air, lung, between lung and fat, fat, soft tissue, tissue with contrast agent, bone.
TISSUE_EDGES_HU = (-1060, -930, -550, -150, -30, 120, 300, 1500)
BEYOND_HU = 70_000  # width of what is darker than air and brighter than bone
MIN_GAIN = 0.1  # nats per voxel by which another scale explains the values better than HU
MIN_TISSUE_SHARE = 0.05  # of air and of soft tissue on the other scale; one tissue alone may be on any scale

AIR_HU = (-1060.0, -930.0)
TYPICAL_AIR_HU = -995.0
NATIVE_SOFT_HU = (-30.0, 120.0)
OFFSETS_HU = (1024, 1000)

BONE_ABOVE_HU = 150.0
SOFT_TISSUE_HU = (-200.0, 250.0)
MIN_SOFT_TISSUE_SHARE = 0.01
DENSE_HU, MAX_DENSE_SHARE = 500.0, 0.35  # of what is denser than lung and fat
POSSIBLE_HU, MAX_IMPOSSIBLE_SHARE = (-1200.0, 4100.0), 0.05
DARK_HU = -200.0
HALF_DARK_HU, MAX_HALF_DARK_SHARE = (-700.0, -300.0), 0.1  # of an image without air; no such large part is this dark
MAX_LABEL, MIN_LABELLED, MIN_SAME_SHARE = 255, 50, 0.75  # of neighbours within and around labelled organs
MAX_NORMALISED = 10.0  # of z-scores, and of fractions of the range
MAX_UNIFORM_L = 4.0  # no organ without fat or air in or around it is as large
MIN_FIELD_L = 1.0  # in a smaller field bone or lung alone may fill the image


@dataclass(frozen=True)
class Scale:
    """What the values may be instead of HU: factor * HU + offset, written as unsigned 16 bit if ``wrapped``."""

    factor: float = 1.0
    offset: float = 0.0
    wrapped: bool = False
    text: str = ""

    def to_hu(self, values: np.ndarray) -> np.ndarray:
        """HU of values, if this is their scale."""
        if self.wrapped:
            return np.where(values > 32767, values - 65536, values)
        return (values - self.offset) / self.factor


IN_HU = Scale()
OTHER_SCALES = (
    Scale(offset=1024),
    Scale(factor=10, text="HU x 10; divide them by 10"),
    Scale(factor=-1, text="inverted HU; change their sign"),
    Scale(wrapped=True, text="HU stored as unsigned 16 bit; subtract 65536 from values above 32767"),
)


def hu_warnings(volume: Volume) -> list[str]:
    """One sentence if the voxels do not seem to be in HU, with what they look like where that is sure; else nothing.

    A field of view that is too small to tell, or that lies inside one tissue, raises no warning.
    """
    sample = _sample(volume.voxels)
    padding = _padding_of(volume.voxels)
    values = sample[~np.isin(sample, padding)]
    if sample.min() >= 0 and sample.max() <= MAX_LABEL and _is_label_map(volume.voxels, padding):
        return ["this looks like a label map, not a CT"]
    if len(values) < MIN_VOXELS:
        return []
    low, high = float(values.min()), float(values.max())
    found = f"intensities of {low:.4g} to {high:.4g}"
    name = _other_scale(values, padding)
    if name:
        return [f"{found} look like {name}"]
    kept_litres = len(values) / len(sample) * volume.voxels.size * volume.grid.voxel_volume_ml / 1000
    if _is_eight_bit(values, volume.voxels.dtype):
        return [f"{found} look like an 8-bit picture of a CT, not HU"]
    if kept_litres >= MIN_FIELD_L and (_is_normalised(values) or _is_no_body(values)):
        return [f"{found} do not look like a CT in HU"]
    if kept_litres >= MAX_UNIFORM_L and low > DARK_HU:
        return [f"nothing but padding is darker than {low:.0f} HU, as air and fat would be; this may not be a CT in HU"]
    return []


def _sample(voxels: np.ndarray) -> np.ndarray:
    step = max(1, round((voxels.size / SAMPLE_VOXELS) ** (1 / 3)))
    return voxels[::step, ::step, ::step].astype(np.float64).ravel()


def _padding_of(voxels: np.ndarray) -> np.ndarray:
    """Values that fill what was not scanned: each stands in many voxels of the volume's twelve edges."""
    ends = [0, -1]
    edges = [voxels[:, ends][:, :, ends], voxels[ends][:, :, ends], voxels[ends][:, ends]]
    values, counts = np.unique(np.concatenate([edge.ravel() for edge in edges]), return_counts=True)
    return values[counts >= PADDING_SHARE * counts.sum()]


def _other_scale(values: np.ndarray, padding: np.ndarray) -> str:
    """Name of the scale that puts air, fat and soft tissue where they belong, if HU do not."""
    gains = {scale: _fit(values, scale) - _fit(values, IN_HU) for scale in OTHER_SCALES}
    best = max(OTHER_SCALES, key=lambda scale: gains[scale])
    hu = best.to_hu(values)
    air, soft = values[_between(hu, AIR_HU)], _between(hu, NATIVE_SOFT_HU)
    if len(air) < MIN_TISSUE_SHARE * len(values):  # masked images pad with air
        padding = padding.astype(np.float64)
        air = padding[_between(best.to_hu(padding), AIR_HU)]
    if gains[best] < MIN_GAIN or not len(air) or soft.mean() < MIN_TISSUE_SHARE:
        return ""
    if best.text:
        return best.text
    measured = float(np.median(air)) - TYPICAL_AIR_HU
    offset = min(OFFSETS_HU, key=lambda known: abs(known - measured))
    return f"HU + {offset}; subtract {offset}"


def _fit(values: np.ndarray, scale: Scale) -> float:
    """Mean log likelihood of the values, in nats, if HU are spread evenly within each tissue's range.

    The tissues' shares are those of the image, so that a scan of one tissue fits as well as one of all.
    """
    hu = scale.to_hu(values)
    edges = np.array([TISSUE_EDGES_HU[0] - BEYOND_HU, *TISSUE_EDGES_HU, TISSUE_EDGES_HU[-1] + BEYOND_HU], dtype=float)
    counts = np.histogram(np.clip(hu, edges[0], edges[-1]), edges)[0]
    used = counts > 0
    shares = counts[used] / len(hu)
    return float(np.sum(shares * np.log(shares / np.diff(edges)[used])) - np.log(abs(scale.factor)))


def _is_label_map(voxels: np.ndarray, padding: np.ndarray) -> bool:
    """Whether nearly all voxels but padding have their neighbour's value, a whole number."""
    step = max(1, round((voxels.size / SAMPLE_VOXELS) ** 0.5))  # noise differs between neighbours only
    rows = voxels[::step, ::step].reshape(-1, voxels.shape[2]).astype(np.float64)
    inside = ~np.isin(rows[:, 1:], padding)
    if inside.sum() < MIN_LABELLED or (rows != np.round(rows)).any():
        return False
    return bool((rows[:, 1:] == rows[:, :-1])[inside].mean() > MIN_SAME_SHARE)


def _is_eight_bit(values: np.ndarray, dtype: np.dtype) -> bool:
    if dtype == np.uint8:
        return True
    at_end = int(np.count_nonzero(values == 255))
    return bool(values.min() >= 0 and values.max() == 255 and at_end > 10 + 5 * np.count_nonzero(values == 254))


def _is_normalised(values: np.ndarray) -> bool:
    return bool(np.abs(values).max() < MAX_NORMALISED and (values != np.round(values)).any())


def _is_no_body(values: np.ndarray) -> bool:
    soft = _between(values, SOFT_TISSUE_HU).mean()
    body = values[values > HALF_DARK_HU[1]]
    dense = float(np.mean(body > DENSE_HU)) if len(body) else 0.0
    half_dark = float(_between(values, HALF_DARK_HU).mean()) if values.min() > HALF_DARK_HU[0] else 0.0
    return (
        soft < MIN_SOFT_TISSUE_SHARE
        or dense > MAX_DENSE_SHARE
        or half_dark > MAX_HALF_DARK_SHARE
        or 1 - _between(values, POSSIBLE_HU).mean() > MAX_IMPOSSIBLE_SHARE
    )


def _between(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values > limits[0]) & (values < limits[1])
