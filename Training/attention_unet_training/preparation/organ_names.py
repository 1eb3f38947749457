"""Which of a source's labels mean which organ: by name, sides and plurals aside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
ADJECTIVES = {"pancreatic": "pancreas", "splenic": "spleen", "renal": "kidney", "hepatic": "liver"}  # of a tumour
TUMOUR_WORDS = {"metastasis", "metastases"} | {
    f"{word}{plural}" for word in ("tumor", "tumour", "cancer", "lesion", "carcinoma") for plural in ("", "s")
}
TUMOUR_RULES = ("organ", "background")
BACKGROUND = "background"
IGNORE = "ignore"  # nnU-Net's name for voxels of which nothing is known


def map_names(names: Iterable[str], organs: Sequence[str], tumour: str = "organ") -> dict[str, str]:
    """Map label names to organs.

    "kidney_left", "Right Kidney", "Kidney (L)" and "kidneys" all are "kidney"; an organ whose own name has a side takes
    that side only. A tumour belongs to the organ it names ("pancreas tumour"); one that names none ("cancer") belongs
    to the organ that is labelled, if there is exactly one. Where tumours are wanted as organs of their own, they are
    those, and the rest of the organ is not. Cysts are nobody's, as in TotalSegmentator.

    Args:
        names: The source's label names.
        organs: The organs wanted.
        tumour: "organ": tumours count as their organ; "background": they do not.

    Returns:
        Label name -> organ, "background" for tumours that do not count, or "ignore"; without names that mean none.

    Raises:
        ValueError: If the tumour rule is unknown.
    """
    if tumour not in TUMOUR_RULES:
        raise ValueError(f"the tumour rule must be one of {', '.join(TUMOUR_RULES)}, got {tumour!r}")
    wanted = [organ for organ in organs if is_tumour(organ)]
    if wanted and tumour == BACKGROUND:
        raise ValueError(f"{wanted[0]!r} is wanted as an organ, and tumours as background")
    names = [name for name in dict.fromkeys(names) if name.strip().lower() != BACKGROUND]
    mapping = {name: organ for name in names if not is_tumour(name) and (organ := _organ_of(name, organs))}
    if tumour == BACKGROUND:
        mapping |= {name: BACKGROUND for name in names if is_tumour(name)}
    if tumour == "organ":
        found = wanted or sorted(set(mapping.values()))
        for name in filter(is_tumour, names):
            words, _ = _words(name)
            organ = _organ_of(name, organs) if words else (found[0] if len(found) == 1 else "")
            if organ:
                mapping[name] = organ
    return mapping | {name: IGNORE for name in names if name.strip().lower() == IGNORE}


def meaning(value: int, names: Sequence[str], mapping: Mapping[str, str]) -> str:
    """What a label value means by all its names, its own and those of regions: an organ, "ignore", "" for background.

    Raises:
        ValueError: If its names mean different things.
    """
    meant = {mapping[name] for name in names if name in mapping}
    if BACKGROUND in meant:  # a tumour that is not to count, in whatever region it lies
        return ""
    if len(meant) > 1:
        raise ValueError(f"the label value {value} belongs to {' and to '.join(sorted(meant))}: {', '.join(names)}")
    return meant.pop() if meant else ""


def one_sided(names: Sequence[str]) -> str:
    """The first of some classes that is one side of the patient only: "left kidney", "KidneyL", "rkid" beside "lkid".

    Two names that differ in nothing but one l and r are sides, however they are abbreviated. "" if there is none.
    """
    for name in names:
        words = _tokens(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
        if set(words) & set(SIDES) or re.search("left|right", name.lower()):
            return name
        if any(_mirrored(name.lower(), other.lower()) for other in names):
            return name
    return ""


def _mirrored(name: str, other: str) -> bool:
    different = [{a, b} for a, b in zip(name, other, strict=False) if a != b]
    return len(name) == len(other) and different == [{"l", "r"}]


def is_tumour(name: str) -> bool:
    """Whether a label's name says that it is a tumour."""
    return bool(set(_tokens(name)) & TUMOUR_WORDS)


def labelled_organs(names: Iterable[str], organs: Sequence[str], required: bool) -> tuple[str, ...]:
    """Which organs a source labels at all.

    Args:
        names: The source's label names.
        organs: The organs wanted.
        required: Whether all of them must be there.

    Raises:
        ValueError: If none can be mapped, or not all although required; the message lists the labels found.
    """
    names = list(dict.fromkeys(names))
    found = set(map_names(names, organs).values()) & set(organs)
    missing = [organ for organ in organs if organ not in found]
    if missing and (required or not found):
        raise ValueError(f"no label means {' or '.join(missing)}; the labels are: {listed(names) or 'none'}")
    return tuple(organ for organ in organs if organ in found)


def listed(names: Iterable[str]) -> str:
    """Label names in one line, the first forty of them."""
    names = sorted(names)
    return ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")


def _organ_of(name: str, organs: Sequence[str]) -> str:
    words, side = _words(name)
    alike = [organ for organ in organs if is_tumour(organ) == is_tumour(name)]
    for organ in [*alike, *(organs if is_tumour(name) else ())]:
        wanted, wanted_side = _words(organ)
        if words == wanted and wanted_side in ("", side):
            return organ
    return ""


def _words(name: str) -> tuple[tuple[str, ...], str]:
    """What a name says but for tumour and side, in singular and alphabetical order; and its side."""
    tokens = _tokens(name)
    side = next((SIDES[token] for token in tokens if token in SIDES), "")
    if set(tokens) & TUMOUR_WORDS:
        tokens = [ADJECTIVES.get(token, token) for token in tokens]
    rest = [token.removesuffix("s") for token in tokens if token not in SIDES and token not in TUMOUR_WORDS]
    return tuple(sorted(rest)), side


def _tokens(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())
