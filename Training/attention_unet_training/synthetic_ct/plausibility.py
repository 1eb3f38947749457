"""What a label map of the abdomen must look like before anything is learnt from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from .structures import number_of

# Of adults, ill ones included; judgement.
VOLUME_ML = {
    "pancreas": (15, 250),
    "spleen": (20, 3500),
    "kidney_left": (25, 600),
    "kidney_right": (25, 600),
    "liver": (500, 5000),
    "stomach": (30, 2500),
}
SMALLEST_BOWEL_ML = 100.0
SMALLEST_MAIN_PART = 0.95  # of an organ's volume


def check_organs(labels: np.ndarray, spacing_mm: float) -> None:
    """Check the organs that a label map (K, J, I) on RAS+ axes shows.

    Raises:
        ValueError: If the pancreas is missing, an organ has a volume no adult's has or falls into parts, the liver is
            not to the right of the spleen, or a kidney's centre is not below the spleen's.
    """
    masks = {name: labels == number_of(name) for name in VOLUME_ML}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    if "pancreas" not in masks:
        raise ValueError("it shows no pancreas")
    for name, mask in masks.items():
        volume_ml = np.count_nonzero(mask) * spacing_mm**3 / 1000
        low, high = VOLUME_ML[name]
        if not low <= volume_ml <= high:
            raise ValueError(f"its {_words(name)} has {volume_ml:.0f} ml, expected are {low} to {high} ml")
        sizes = np.bincount(ndimage.label(mask)[0].ravel())[1:]
        if sizes.max() < SMALLEST_MAIN_PART * sizes.sum():
            raise ValueError(
                f"its {_words(name)} falls into parts, the largest of which holds {sizes.max() / sizes.sum():.0%}"
            )
    _check_places({name: np.argwhere(mask).mean(0) for name, mask in masks.items()})


def _check_places(centres: Mapping[str, np.ndarray]) -> None:
    """Centres in voxels, order z, y, x; x grows to the right of the patient."""
    spleen = centres.get("spleen")
    if spleen is None:
        return
    if "liver" in centres and centres["liver"][2] <= spleen[2]:
        raise ValueError("its liver does not lie to the right of its spleen: is it flipped?")
    for name in ("kidney_left", "kidney_right"):
        if name in centres and centres[name][0] >= spleen[0]:
            raise ValueError(f"its {_words(name)} does not lie below its spleen")


def check_bowel(labels: np.ndarray, spacing_mm: float) -> None:
    """Check that a label map of a whole body shows bowel.

    Raises:
        ValueError: If there is less than `SMALLEST_BOWEL_ML`.
    """
    numbers = [number_of("small_bowel"), number_of("colon")]
    volume_ml = np.count_nonzero(np.isin(labels, numbers)) * spacing_mm**3 / 1000
    if volume_ml < SMALLEST_BOWEL_ML:
        raise ValueError(f"it shows {volume_ml:.0f} ml of bowel, expected are {SMALLEST_BOWEL_ML:.0f} ml")


def _words(name: str) -> str:
    return " ".join(reversed(name.split("_")))
