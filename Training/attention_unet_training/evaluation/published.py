"""Metrics that the paper printed (Oktay et al. 2018, arXiv:1804.03999), to stand beside measured ones.

They were measured on other data (CT-150 is private) by others: compare with care.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PAPER = "Oktay et al. 2018, arXiv:1804.03999"


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation as printed, and whether they are printed in bold (significant)."""

    mean: float
    std: float
    bold: bool = False


@dataclass(frozen=True)
class PublishedSystem:
    """One system of a published table.

    Attributes:
        title: Its name there.
        data: Data set.
        cases: Training / test cases, or folds, as printed.
        metrics: (organ, key of the metric) -> metric; distances in mm, the rest as fractions of 1.
        source: Where it stands, and for others' systems whose it is.
        parameters: As printed.
        forward_seconds: Forward pass of 160 x 160 x 96 on the authors' GPU.
    """

    title: str
    data: str
    cases: str
    metrics: Mapping[tuple[str, str], MeanStd]
    source: str
    parameters: str = ""
    forward_seconds: float | None = None


def _metrics(text: str, organs: Sequence[str] = ("pancreas",)) -> dict[tuple[str, str], MeanStd]:
    """A printed row: Dice, precision, recall and surface distance of the pancreas, Dice of other organs; bold has *."""
    keys = [(organs[0], key) for key in ("dice", "precision", "recall", "surface_distance_mm")]
    keys += [(organ, "dice") for organ in organs[1:]]
    return {key: _mean_std(value) for key, value in zip(keys, text.split(), strict=True)}


def _mean_std(text: str) -> MeanStd:
    mean, _, std = text.removesuffix("*").partition("±")
    return MeanStd(float(mean), float(std), text.endswith("*"))


def _table1(title: str, cases: str, parameters: str, seconds: float, metrics: str) -> PublishedSystem:
    organs = ("pancreas", "spleen", "kidney")
    return PublishedSystem(title, "CT-150", cases, _metrics(metrics, organs), f"{PAPER}, table 1", parameters, seconds)


def _table2(parameters: str, seconds: float, metrics: str) -> PublishedSystem:
    return PublishedSystem(
        "U-Net, wider", "CT-150", "120/30", _metrics(metrics), f"{PAPER}, table 2", parameters, seconds
    )


def _table3(title: str, metrics: str) -> PublishedSystem:
    return PublishedSystem(title, "CT-82", "61/21", _metrics(metrics), f"{PAPER}, table 3")


TABLE_1 = (
    _table1(
        "U-Net", "120/30", "5.88 M", 0.167, "0.814±0.116 0.848±0.110 0.806±0.126 2.358±1.464 0.962±0.013 0.963±0.013"
    ),
    _table1(
        "Att U-Net",
        "120/30",
        "6.40 M",
        0.179,
        "0.840±0.087* 0.849±0.098 0.841±0.092* 1.920±1.284* 0.965±0.013 0.964±0.016",
    ),
    _table1(
        "U-Net", "30/120", "5.88 M", 0.167, "0.741±0.137 0.789±0.176 0.743±0.179 3.765±3.452 0.935±0.095 0.951±0.019"
    ),
    _table1(
        "Att U-Net",
        "30/120",
        "6.40 M",
        0.179,
        "0.767±0.132* 0.794±0.150* 0.762±0.145* 3.507±3.814 0.943±0.092* 0.954±0.021",
    ),
)
TABLE_2 = (
    _table2("6.44 M", 0.191, "0.821±0.119 0.849±0.111 0.814±0.125 2.383±1.918"),
    _table2("10.40 M", 0.222, "0.825±0.104 0.861±0.082 0.807±0.121 2.202±1.144"),
)
TABLE_3 = (  # before fine-tuning, after fine-tuning, from scratch
    _table3("BFT U-Net", "0.690±0.132 0.680±0.109 0.733±0.190 6.389±3.900"),
    _table3("BFT Att U-Net", "0.712±0.110* 0.693±0.115 0.751±0.149* 5.251±2.551*"),
    _table3("AFT U-Net", "0.820±0.043 0.824±0.070 0.828±0.064 2.464±0.529"),
    _table3("AFT Att U-Net", "0.831±0.038* 0.825±0.073 0.840±0.053* 2.305±0.568*"),
    _table3("SCR U-Net", "0.815±0.068 0.815±0.105 0.826±0.062 2.576±1.180"),
    _table3("SCR Att U-Net", "0.821±0.057 0.815±0.093 0.835±0.057* 2.333±0.856*"),
)


def _table4(title: str, data: str, cases: str, mean: float, std: float, whose: str) -> PublishedSystem:
    """Table 4 prints per cent."""
    metrics = {("pancreas", "dice"): MeanStd(round(mean / 100, 4), round(std / 100, 4))}
    return PublishedSystem(title, data, cases, metrics, f"{whose}, as cited in table 4 of {PAPER}")


_ROTH_2017 = "Roth et al. 2017, arXiv:1704.06382"
_GIBSON = "Gibson et al. 2017, MICCAI, pp. 728-736"
_HEINRICH = "Heinrich et al. 2018, arXiv:1801.09449"
_ROTH_2018 = "Roth et al. 2018, Medical Image Analysis 45, pp. 94-107"
_CAI = "Cai et al. 2017, MICCAI"
_ZHOU = "Zhou et al. 2017, MICCAI, pp. 693-701"
TABLE_4 = (
    _table4("Hierarchical 3D FCN", "CT-150", "Ext/150", 82.2, 10.2, _ROTH_2017),
    _table4("Dense-Dilated FCN", "CT-82 & Synapse", "63/9, 5-CV", 66.0, 10.0, _GIBSON),
    _table4("2D U-Net", "CT-82", "66/16, 5-CV", 75.7, 9.0, _HEINRICH),  # data set: from the table's caption
    _table4("Holistically Nested 2D FCN Stage-1", "CT-82", "62/20, 4-CV", 76.8, 11.1, _ROTH_2018),
    _table4("Holistically Nested 2D FCN Stage-2", "CT-82", "62/20, 4-CV", 81.2, 7.3, _ROTH_2018),
    _table4("2D FCN", "CT-82", "62/20, 4-CV", 80.3, 9.0, _CAI),
    _table4("2D FCN + Recurrent Network", "CT-82", "62/20, 4-CV", 82.3, 6.7, _CAI),
    _table4("Single Model 2D FCN", "CT-82", "62/20, 4-CV", 75.7, 10.5, _ZHOU),
    _table4("Multi-Model 2D FCN", "CT-82", "62/20, 4-CV", 82.2, 5.7, _ZHOU),
    PublishedSystem(
        "Att U-Net",
        "CT-82",
        "5-CV",
        {("pancreas", "dice"): MeanStd(0.8148, 0.0623)},
        f"{PAPER}, text of section 3",
    ),
)

TABLES: Mapping[str, tuple[PublishedSystem, ...]] = {
    "table1": TABLE_1,
    "table2": TABLE_2,
    "table3": TABLE_3,
    "table4": TABLE_4,
}
