"""Picture of a label map, to look at before anything is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import structures

_GROUPS = {
    "gold": ("pancreas",),
    "deepskyblue": ("spleen",),
    "red": structures.KIDNEYS,
    "sienna": ("liver",),
    "hotpink": ("stomach",),
    "limegreen": ("gallbladder",),
    "khaki": ("duodenum",),
    "palegreen": ("small_bowel",),
    "darkseagreen": ("colon",),
    "tomato": structures.ARTERIES,
    "blue": (*structures.VEINS, "portal_vein_and_splenic_vein"),
    "darkslategrey": structures.LUNGS,
    "ivory": (*structures.BONES, "costal_cartilages"),
    "rosybrown": structures.MUSCLES,
}


def label_picture(labels: np.ndarray, path: Path | str) -> None:
    """Write a PNG of axial, coronal and sagittal slices through pancreas, kidneys and spleen.

    The patient's right is on the left, as radiologists look at it.

    Args:
        labels: (K, J, I) uint8 on RAS+ axes, numbers of `structures.STRUCTURES`, isotropic voxels.
        path: Of the picture.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    colours = np.full((256, 3), 0.5)
    colours[0] = 0
    for colour, names in _GROUPS.items():
        colours[[structures.number_of(name) for name in names]] = to_rgb(colour)
    centres = [_centre(labels, names) for names in (("pancreas",), structures.KIDNEYS, ("spleen",))]
    slices = [labels[k][:, ::-1] for k, _, _ in centres]
    slices += [labels[:, j][:, ::-1] for _, j, _ in centres] + [labels[:, :, i] for _, _, i in centres]
    figure = Figure(figsize=(10.5, 10.5), facecolor="black")
    for axis, image in zip(figure.subplots(3, 3).flat, slices, strict=True):
        axis.imshow(colours[image], origin="lower", interpolation="nearest")
        axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    figure.savefig(path, dpi=72, facecolor="black")


def _centre(labels: np.ndarray, names: tuple[str, ...]) -> tuple[int, ...]:
    """Index (k, j, i) of the middle of some structures, of the map if there are none."""
    voxels = np.argwhere(np.isin(labels, [structures.number_of(name) for name in names]))
    return tuple(voxels.mean(0).astype(int)) if len(voxels) else tuple(n // 2 for n in labels.shape)
