"""Names of the anatomical structures, their groups and their numbers inside this package.

The names are the classes of TotalSegmentator v2 (Wasserthal et al., Radiology: Artificial Intelligence 2023,
doi:10.1148/ryai.230024). A structure's number is its place in `STRUCTURES` plus one; files are matched by name, so
their own numbering does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

_SIDES = ("left", "right")
_VERTEBRAE = (
    "S1",
    *(f"L{n}" for n in range(5, 0, -1)),
    *(f"T{n}" for n in range(12, 0, -1)),
    *(f"C{n}" for n in range(7, 0, -1)),
)


def _both_sides(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for name in names for side in _SIDES)


VERTEBRAE = ("sacrum", *(f"vertebrae_{level}" for level in _VERTEBRAE))
RIBS = (*(f"rib_{side}_{n}" for side in _SIDES for n in range(1, 13)), "sternum")
LIMB_BONES = _both_sides("humerus", "scapula", "clavicula")
BONES = (*VERTEBRAE, *RIBS, *LIMB_BONES, *_both_sides("femur", "hip"), "skull")
MUSCLES = _both_sides("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas")
LUNGS = (
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)
ARTERIES = (
    "aorta",
    "brachiocephalic_trunk",
    *_both_sides("subclavian_artery", "common_carotid_artery", "iliac_artery"),
)
VEINS = ("superior_vena_cava", "inferior_vena_cava", *_both_sides("brachiocephalic_vein", "iliac_vena"))
HEART = ("heart", "atrial_appendage_left", "pulmonary_vein")
KIDNEYS = _both_sides("kidney")
KIDNEY_CYSTS = _both_sides("kidney_cyst")
ADRENALS = _both_sides("adrenal_gland")
HOLLOW_ORGANS = ("stomach", "duodenum", "small_bowel", "colon")
OTHERS = (
    "spleen",
    "gallbladder",
    "liver",
    "pancreas",
    "esophagus",
    "trachea",
    "thyroid_gland",
    "urinary_bladder",
    "prostate",
    "portal_vein_and_splenic_vein",
    "spinal_cord",
    "brain",
    "costal_cartilages",
)

STRUCTURES = (
    *OTHERS,
    *KIDNEYS,
    *KIDNEY_CYSTS,
    *ADRENALS,
    *HOLLOW_ORGANS,
    *LUNGS,
    *HEART,
    *ARTERIES,
    *VEINS,
    *MUSCLES,
    *BONES,
)

# Parts that lie beside or above the trunk and would spoil its convex outline.
OUTSIDE_TRUNK = (*LIMB_BONES, "skull", "brain")

# Organs that are dilated, shrunk and shifted one by one.
MOVABLE_ORGANS = (
    "spleen",
    "pancreas",
    *KIDNEYS,
    "liver",
    "stomach",
    "gallbladder",
    "duodenum",
    "colon",
    "urinary_bladder",
)

# Classes of the network, 0 being background.
TARGET_OF_STRUCTURE = {"pancreas": 1, "spleen": 2, "kidney_left": 3, "kidney_right": 3}
TARGET_ORGANS = {"pancreas": ("pancreas",), "spleen": ("spleen",), "kidney": KIDNEYS}


def check_target_organs(organs: Iterable[str]) -> None:
    """Raise a ValueError if a network's classes 1, 2, ... are not those of the targets that the generator makes."""
    if tuple(organs) != tuple(TARGET_ORGANS):
        raise ValueError(
            f"synthetic CT has {', '.join(TARGET_ORGANS)}, in this order, but the network has {', '.join(organs)}"
        )


# Names of TotalSegmentator v1 and of its finer heart classes.
ALIASES = {
    "heart_myocardium": "heart",
    "heart_atrium_left": "heart",
    "heart_ventricle_left": "heart",
    "heart_atrium_right": "heart",
    "heart_ventricle_right": "heart",
    "pulmonary_artery": "heart",
}

_NUMBERS = {name: number for number, name in enumerate(STRUCTURES, start=1)}


def is_known(name: str) -> bool:
    """Tell whether a structure name (or an alias of one) is in the table."""
    return ALIASES.get(name, name) in _NUMBERS


def number_of(name: str) -> int:
    """Return the number of a structure inside this package.

    Raises:
        ValueError: If the name is not in the table.
    """
    name = ALIASES.get(name, name)
    if name not in _NUMBERS:
        raise ValueError(f"Structure names follow TotalSegmentator v2; got the unknown name {name!r}.")
    return _NUMBERS[name]


def membership(names: Iterable[str]) -> torch.Tensor:
    """Return a (256,) bool table that is True at the numbers of the named structures."""
    table = torch.zeros(256, dtype=torch.bool)
    for name in names:
        table[number_of(name)] = True
    return table


def target_table() -> torch.Tensor:
    """Return the (256,) uint8 table from structure number to target class."""
    table = torch.zeros(256, dtype=torch.uint8)
    for name, target in TARGET_OF_STRUCTURE.items():
        table[number_of(name)] = target
    return table
