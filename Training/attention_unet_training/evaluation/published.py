"""Metrics that the paper printed (Oktay et al. 2018, arXiv:1804.03999), to stand beside measured ones.

They were measured on other data (CT-150 is private) by others: compare with care.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def _pancreas(dice: MeanStd, precision: MeanStd, recall: MeanStd, s2s: MeanStd) -> dict[tuple[str, str], MeanStd]:
    keys = ("dice", "precision", "recall", "surface_distance_mm")
    return {("pancreas", key): metric for key, metric in zip(keys, (dice, precision, recall, s2s), strict=True)}


def _table1(title: str, cases: str, network: tuple[str, float], metrics: tuple[MeanStd, ...]) -> PublishedSystem:
    others = {("spleen", "dice"): metrics[4], ("kidney", "dice"): metrics[5]}
    return PublishedSystem(
        title, "CT-150", cases, _pancreas(*metrics[:4]) | others, f"{PAPER}, table 1", network[0], network[1]
    )


_UNET, _ATTENTION_UNET = ("5.88 M", 0.167), ("6.40 M", 0.179)
TABLE_1 = (
    _table1(
        "U-Net",
        "120/30",
        _UNET,
        (
            MeanStd(0.814, 0.116),
            MeanStd(0.848, 0.110),
            MeanStd(0.806, 0.126),
            MeanStd(2.358, 1.464),
            MeanStd(0.962, 0.013),
            MeanStd(0.963, 0.013),
        ),
    ),
    _table1(
        "Att U-Net",
        "120/30",
        _ATTENTION_UNET,
        (
            MeanStd(0.840, 0.087, True),
            MeanStd(0.849, 0.098),
            MeanStd(0.841, 0.092, True),
            MeanStd(1.920, 1.284, True),
            MeanStd(0.965, 0.013),
            MeanStd(0.964, 0.016),
        ),
    ),
    _table1(
        "U-Net",
        "30/120",
        _UNET,
        (
            MeanStd(0.741, 0.137),
            MeanStd(0.789, 0.176),
            MeanStd(0.743, 0.179),
            MeanStd(3.765, 3.452),
            MeanStd(0.935, 0.095),
            MeanStd(0.951, 0.019),
        ),
    ),
    _table1(
        "Att U-Net",
        "30/120",
        _ATTENTION_UNET,
        (
            MeanStd(0.767, 0.132, True),
            MeanStd(0.794, 0.150, True),
            MeanStd(0.762, 0.145, True),
            MeanStd(3.507, 3.814),
            MeanStd(0.943, 0.092, True),
            MeanStd(0.954, 0.021),
        ),
    ),
)

TABLE_2 = (
    PublishedSystem(
        "U-Net, wider",
        "CT-150",
        "120/30",
        _pancreas(MeanStd(0.821, 0.119), MeanStd(0.849, 0.111), MeanStd(0.814, 0.125), MeanStd(2.383, 1.918)),
        f"{PAPER}, table 2",
        "6.44 M",
        0.191,
    ),
    PublishedSystem(
        "U-Net, wider",
        "CT-150",
        "120/30",
        _pancreas(MeanStd(0.825, 0.104), MeanStd(0.861, 0.082), MeanStd(0.807, 0.121), MeanStd(2.202, 1.144)),
        f"{PAPER}, table 2",
        "10.40 M",
        0.222,
    ),
)


def _table3(title: str, metrics: tuple[MeanStd, ...]) -> PublishedSystem:
    return PublishedSystem(title, "CT-82", "61/21", _pancreas(*metrics), f"{PAPER}, table 3")


TABLE_3 = (  # before fine-tuning, after fine-tuning, from scratch
    _table3("BFT U-Net", (MeanStd(0.690, 0.132), MeanStd(0.680, 0.109), MeanStd(0.733, 0.190), MeanStd(6.389, 3.900))),
    _table3(
        "BFT Att U-Net",
        (MeanStd(0.712, 0.110, True), MeanStd(0.693, 0.115), MeanStd(0.751, 0.149, True), MeanStd(5.251, 2.551, True)),
    ),
    _table3("AFT U-Net", (MeanStd(0.820, 0.043), MeanStd(0.824, 0.070), MeanStd(0.828, 0.064), MeanStd(2.464, 0.529))),
    _table3(
        "AFT Att U-Net",
        (MeanStd(0.831, 0.038, True), MeanStd(0.825, 0.073), MeanStd(0.840, 0.053, True), MeanStd(2.305, 0.568, True)),
    ),
    _table3("SCR U-Net", (MeanStd(0.815, 0.068), MeanStd(0.815, 0.105), MeanStd(0.826, 0.062), MeanStd(2.576, 1.180))),
    _table3(
        "SCR Att U-Net",
        (MeanStd(0.821, 0.057), MeanStd(0.815, 0.093), MeanStd(0.835, 0.057, True), MeanStd(2.333, 0.856, True)),
    ),
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
