"""The report of a cohort: what its pages say, and that they are safe and complete whatever cases are called."""

import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from AttentionUNetSegmentationLib.cohort.findings import attention_shares, organ_findings, outliers_by_case
from AttentionUNetSegmentationLib.cohort.kinds import kinds_of
from AttentionUNetSegmentationLib.cohort.report_page import TEMPLATES, write_report
from AttentionUNetSegmentationLib.cohort.spread import robust_z, spread_of
from AttentionUNetSegmentationLib.cohort.tables import write_tables
from support.cohort_records import done, failed, series

ROOT = Path(__file__).resolve().parents[2]
NASTY = """50% #1 ?&"'><script>alert(1)</script>{{ 7 * 7 }} ä"""
ALONE = {"br", "hr", "img", "link", "meta", "rect"}  # elements without an end


class Page(HTMLParser):
    """A page's text, addresses and tags; every element that begins has to end."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.texts, self.addresses, self.tags, self.open = path, [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.texts)).replace(" ,", ",")

    def targets(self) -> set[Path]:
        """The files and folders that it refers to."""
        return {(self.path.parent / unquote(address)).resolve() for address in self.addresses if address[0] != "#"}


def spleens(volumes, hu=100.0):
    """A case per volume in ml."""
    return [done(f"case{n:02d}", {"spleen": (volume, hu + n % 5)}) for n, volume in enumerate(volumes)]


def test_z_is_that_of_iglewicz_and_hoaglin():
    values = [2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3]  # median 2.45, deviations' median 0.15
    assert robust_z(values) == pytest.approx(0.6745 * (np.array(values) - 2.45) / 0.15)
    assert robust_z([5.0, 5.0, 5.0, 9.0]).tolist() == [0, 0, 0, 0]
    assert robust_z([7.0]).tolist() == [0]


def test_a_spread_has_quartiles_and_a_histogram_without_what_lies_far_out():
    spread = spread_of([1.0, 2, 3, 4, 5, 100], np.array([0, 0, 0, 0, 0, 9]))
    assert (spread.low, spread.lower, spread.median, spread.upper, spread.high) == (1, 2.25, 3.5, 4.75, 100)
    assert (spread.ends, spread.bars[0], spread.bars[-1], sum(spread.bars), spread.beyond) == ((1, 5), 1, 1, 5, 1)


def test_outliers_are_those_of_log_volume_and_of_mean_hu():
    records = [*spleens([180, 190, 200, 210, 220, 1000, 40]), done("dark", {"spleen": (200, -50)})]
    (spleen,) = organ_findings(records)
    assert (spleen.cases, spleen.missing, spleen.volume_ml.median) == (8, [], 200)
    found = outliers_by_case([spleen])
    logs = np.log([180, 190, 200, 210, 220, 1000, 40, 200])
    z = 0.6745 * (logs - np.median(logs)) / np.median(np.abs(logs - np.median(logs)))
    by_case = {case: [(one.measure, one.value, one.median) for one in values] for case, values in found}
    assert by_case == {
        "dark": [("mean HU", -50, 101)],
        "case05": [("volume", 1000, 200)],
        "case06": [("volume", 40, 200)],
    }
    assert [values[0].z for _, values in found] == pytest.approx([0.6745 * -151, z[5], z[6]])
    assert abs(z[5]) > abs(z[6]) > 3.5


def test_an_organ_of_zero_ml_is_an_outlier_and_no_error():
    records = spleens([180, 190, 200, 210, 220, 1])
    records[-1]["report"]["organs"][0]["volume_ml"] = 0.0  # a voxel or two of a micro-CT, rounded
    (spleen,) = organ_findings(records)
    assert [one.case for one in spleen.outliers] == ["case05"]


def test_attention_shares_are_medians_of_the_cases_with_the_organ():
    records = [done(name, {"spleen": (200, 100)}) for name in "abc"] + [done("d", {"spleen": None}, gates=["s4-1"])]
    for record, share in zip(records, (0.1, 0.5, 0.3, 0.9), strict=True):
        (gate,) = record["report"]["attention"].values()
        gate["share"]["spleen"] = share
    assert attention_shares(records) == {"spleen": {"s2-1": (0.3, 0.00123)}}


def kinds(*sentences):
    """(text, count) of each kind among (case, sentence)."""
    return [(kind.text, kind.count) for kind in kinds_of((failed(case, text), text) for case, text in sentences)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("{} lacks 12 bytes of 400", "{} lacks 3 bytes of 5"), "… lacks # bytes of #"),
        (("{} has a spacing of 1e-5 x 2.5", "{} has a spacing of -3 x 1"), "… has a spacing of # x #"),
        (("{}: no model /models/m1", "{}: no model C:\\m2"), "…: no model …"),
        (("{}/IM1: 3D int16", "{}/IM2: 3D int16"), "…: 3D int16"),
        (("hash 0123456789abcdef at 0x1f", "hash fedcba9876543210 at 0x2e"), "hash # at #"),
    ],
)
@pytest.mark.parametrize("root", ["/data", "/my data/50 cts", "C:\\data", "relative"])
def test_errors_that_differ_in_paths_and_numbers_are_of_one_kind(root, texts, expected):
    cases = ("site 1/ct1", "2")
    named = [
        (case, text.format(f"{root}/{case}.nii.gz".replace("/", "\\" if "\\" in root else "/")))
        for case, text in zip(cases, texts, strict=True)
    ]
    assert kinds(*named) == [(expected, 2)]


def test_kinds_are_sorted_by_count_and_keep_the_sentence_if_there_is_one():
    sentences = [("a", "2 of 3"), ("b", "only 7"), ("c", "only 7"), ("2", "x 2 x")]
    assert kinds(*sentences) == [("only 7", 2), ("2 of 3", 1), ("x 2 x", 1)]


def test_a_kind_names_five_cases():
    errors = [(f"case{n}", f"/in/case{n}.nii.gz is damaged") for n in range(7)]
    (kind,) = kinds_of((failed(case, error), error) for case, error in errors)
    assert (kind.text, kind.count, len(kind.examples)) == ("… is damaged", 7, 5)
    assert kind.examples[4] == ("case4", "/in/case4.nii.gz is damaged")


def test_the_page_says_what_ran_what_was_measured_and_what_to_look_at(tmp_path):
    records = [
        *spleens([180, 190, 200, 210, 220, 1234.56]),
        done("none", {"spleen": None}, ["spleen: not found", "the scan covers only 40 mm"]),
        done("low", {"spleen": (205, 101)}, ["the scan covers only 50 mm"], series=[series("1.2", True)]),
        failed("bad1", "/in/bad1.nii.gz is damaged", series=[series("1.3", False, "a scout")]),
        failed("bad2", "/in/bad2.nii.gz is damaged"),
    ]
    write_report(iter(records), tmp_path, "Abdomen 2026")
    text = Page(tmp_path / "report.html").text
    for said in (
        "8 cases done 2 failed 1 with outliers 1 with organs not found 2 with warnings",
        "8 cases with model test-model 1, engine 0.1.0, on CPU, OpenVINO.",
        "Measured for this model: no figures were measured.",
        "Research use only, not for diagnosis.",
        "Segmented 2026-01-02.",
        "spleen 7 of 8 205.0 195.0 to 215.0 180.0 to 1\u202f234.6 180.0 1 beyond 220.0",
        "spleen 7 of 8 101 100 to 102 100 to 104 100 104",
        "spleen 12.35 % volume 0.12 %",
        "1 case. case05 spleen, median 205.0 ml 1\u202f234.6 ml z +17.1",
        "1 case. none not found: spleen",
        "2 the scan covers only # mm 1 spleen: not found",
        "2 … is damaged bad1: /in/bad1.nii.gz is damaged bad2: /in/bad2.nii.gz is damaged",
        "2 series, of which 1 were segmented. count why a series was not used 1 a scout",
    ):
        assert said in text


def test_nothing_a_case_is_called_or_says_becomes_html_or_leads_astray(tmp_path):
    folder = tmp_path / "cases" / NASTY
    folder.mkdir(parents=True)
    (folder / "overview.png").write_bytes(b"")
    gone = series("1", False, f"of modality {NASTY}\udcff\u202e")
    records = [done(NASTY, {"spleen": None}, [NASTY]), failed(f"{NASTY}2", f"{NASTY} broke", series=[gone])]
    write_tables(records, tmp_path / "tables")
    write_report(records, tmp_path, NASTY)
    for path in (tmp_path / "report.html", tmp_path / "contact_sheets" / "001.html"):
        page = Page(path)
        assert "script" not in page.tags
        assert {folder, folder / "overview.png"} <= page.targets()
        assert all(target.exists() for target in page.targets())
        assert not any(address.startswith(("/", "http")) for address in page.addresses)
        assert NASTY in " ".join(page.texts)
    assert "\\udcff\\u202e" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_contact_sheets_show_every_case_and_lead_to_each_other(tmp_path):
    write_report([failed("no", "x"), *spleens(range(100, 150))], tmp_path, "t")
    pages = [Page(tmp_path / "contact_sheets" / f"00{number}.html") for number in (1, 2, 3)]
    assert [page.tags.count("img") for page in pages] == [24, 24, 2]
    assert "case24 spleen 124.0 ml 104 HU" in pages[1].text and "Sheet 2 of 3" in pages[1].text
    steps = [{name for name in page.addresses if not name.startswith("../cases")} for page in pages]
    assert steps[0] == {"../report.html", "002.html"}
    assert steps[1] == {"../report.html", "001.html", "003.html"}
    assert steps[2] == {"../report.html", "002.html"}
    report = Page(tmp_path / "report.html")
    assert {page.path for page in pages} <= report.targets()


def test_a_report_replaces_the_earlier_one_with_all_its_sheets(tmp_path):
    write_report(spleens(range(100, 150)), tmp_path, "first")
    (tmp_path / "own.txt").write_text("mine")
    write_report(spleens([100]), tmp_path, "second")
    assert [path.name for path in (tmp_path / "contact_sheets").iterdir()] == ["001.html"]
    write_report([], tmp_path, "third")
    assert list((tmp_path / "contact_sheets").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contact_sheets", "own.txt", "report.html"]
    assert "third" in Page(tmp_path / "report.html").text


@pytest.mark.parametrize("records", [[], [failed("a", "no")]], ids=["no case", "no case is done"])
def test_a_cohort_without_results_has_a_report(records, tmp_path):
    write_report(records, tmp_path, "t")
    text = Page(tmp_path / "report.html").text
    assert f"0 cases done {len(records)} failed" in text and "No case is done." in text


def test_a_large_cohort_has_a_small_page(tmp_path):
    rng = np.random.default_rng(0)
    far = rng.random(2000) < 0.1
    records = [
        done(
            f"patient{n}/ct",
            {"spleen": (200 * (20 if far[n] else 1 + n % 9 / 100), 100 + n % 7), "pancreas": None},
            [f"{'x' * (n % 26)}y says {n}", "z"],
        )
        for n in range(2000)
    ]
    write_report(records, tmp_path, "t")
    page = Page(tmp_path / "report.html")
    assert page.path.stat().st_size < 400_000
    assert page.tags.count("img") == 60 + 60 + 12
    assert f"The 60 cases farthest out, of {far.sum()}." in page.text
    assert "The 60 cases that lack the most organs, of 2\u202f000." in page.text
    assert "The 12 cases with most warnings, of 2\u202f000." in page.text


def test_the_templates_are_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    (pattern,) = settings["package-data"]["AttentionUNetSegmentationLib.cohort"]
    assert set(TEMPLATES.parent.glob(pattern)) == set(TEMPLATES.iterdir())
