"""The tables of a cohort: what they hold, in Parquet and in CSV."""

import csv
import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from AttentionUNetSegmentationLib.cohort.record import Record
from AttentionUNetSegmentationLib.cohort.tables import write_tables
from AttentionUNetSegmentationLib.models.loading import save_model
from support import phantoms
from support.cohort_records import done, failed, series
from support.command_runs import GATES, ct, segment

NAMES = [f"{table}.{ending}" for table in ("cases", "organs", "series") for ending in ("csv", "parquet")]


def rows(folder, table):
    """A table's rows, of Parquet and of CSV."""
    with (folder / f"{table}.csv").open(encoding="utf-8-sig", newline="") as stream:
        return parquet.read_table(folder / f"{table}.parquet").to_pylist(), list(csv.DictReader(stream))


def test_there_is_a_row_for_each_organ_of_a_case(tmp_path):
    record = done("A/ct1", {"spleen": (298.765, 128.42), "pancreas": None}, ["pancreas: not found", "a note"])
    write_tables([record, failed("A/ct2", "no")], tmp_path)
    (spleen, pancreas), (csv_spleen, csv_pancreas) = rows(tmp_path, "organs")
    assert spleen == {
        "case": "A/ct1",
        "source": "A/ct1.nii.gz",
        "organ": "spleen",
        "value": 2,
        "found": True,
        "voxels": 243792,
        "volume_ml": 298.765,
        "mean_hu": 128.42,
        "centroid_r_mm": -24.67,
        "centroid_a_mm": 38.27,
        "centroid_s_mm": 20.56,
        "attention_share_s2-1": 0.12345,
        "attention_volume_share_s2-1": 0.00123,
        "warnings": "pancreas: not found | a note",
        "seconds_reading": 0.068,
        "seconds_network": 56.823,
        "seconds_total": 60.684,
        "seconds_writing": 2.862,
        "device": "cpu",
        "backend": "openvino",
        "engine_version": "0.1.0",
        "model": "test-model",
        "model_version": "1",
        "model_sha256": "0" * 64,
        "voxels_sha256": record["report"]["input"]["voxels_sha256"],
        "labels_sha256": "1" * 64,
    }
    absent = dict.fromkeys(("mean_hu", "centroid_r_mm", "centroid_a_mm", "centroid_s_mm"))
    assert (
        pancreas == spleen | {"organ": "pancreas", "value": 1, "found": False, "voxels": 0, "volume_ml": 0.0} | absent
    )
    assert [csv_spleen["found"], csv_pancreas["found"], csv_pancreas["mean_hu"]] == ["true", "false", ""]
    assert {name: csv_spleen[name] for name in ("volume_ml", "voxels")} == {"volume_ml": "298.765", "voxels": "243792"}


def test_there_is_a_row_for_each_case(tmp_path):
    write_tables([done("a", {"spleen": (200, 100)}, ["x", "y"]), failed("b", "damaged", attempts=3)], tmp_path)
    (first, second), csv_rows = rows(tmp_path, "cases")
    assert [first[name] for name in ("case", "status", "error", "attempts")] == ["a", "done", "", 1]
    assert [first[f"shape_{axis}"] for axis in "kji"] == [2, 3, 4]
    assert [first[f"spacing_{axis}_mm"] for axis in "ijk"] == [0.7, 0.7, 2.5]
    assert [first["warning_count"], first["warnings"], first["seconds_total"]] == [2, "x | y", 60.684]
    known = {"case": "b", "source": "b.nii.gz", "status": "failed", "error": "damaged", "attempts": 3}
    assert second == dict.fromkeys(first) | known
    assert csv_rows[1] == dict.fromkeys(first, "") | known | {"attempts": "3"}


def test_there_is_a_row_for_each_series_of_any_case(tmp_path):
    chosen, scout = series("1.2.3", True), series("1.2.4", False, "a scout", images=2)
    write_tables([done("a", {}, series=[chosen, scout]), failed("b", "x", series=[scout]), failed("c", "x")], tmp_path)
    table, csv_rows = rows(tmp_path, "series")
    a, b = ({"case": name, "source": f"{name}.nii.gz"} for name in "ab")
    assert table == [a | chosen, a | scout, b | scout]
    assert [row["used"] for row in csv_rows] == ["true", "false", "false"]


def test_gates_are_those_of_all_cases(tmp_path):
    records = [done("a", {"spleen": (200, 100)}, gates=["s3-1"]), done("b", {"spleen": (200, 100)}, gates=["s4-1"])]
    write_tables(records, tmp_path)
    (first, second), _ = rows(tmp_path, "organs")
    columns = [name for name in first if "_share_" in name]
    assert columns == [f"attention_{share}_{gate}" for gate in ("s3-1", "s4-1") for share in ("share", "volume_share")]
    assert [first[name] for name in columns] == [0.12345, 0.00123, None, None]
    assert [second[name] for name in columns] == [None, None, 0.12345, 0.00123]


def test_numbers_survive_to_the_last_digit(tmp_path):
    record = done("a", {"spleen": (200, 100)})
    (organ,) = record["report"]["organs"]
    organ |= {"volume_ml": 0.1 + 0.2, "mean_hu": 1e-7}
    write_tables([record], tmp_path)
    ((table,), (csv_row,)) = rows(tmp_path, "organs")
    assert table["volume_ml"] == float(csv_row["volume_ml"]) == 0.1 + 0.2
    assert table["mean_hu"] == float(csv_row["mean_hu"]) == 1e-7


@pytest.mark.parametrize("records", [[], [failed("a", "no")]], ids=["no case", "no case is done"])
def test_tables_without_rows_have_the_same_columns(records, tmp_path):
    write_tables(records, tmp_path / "empty")
    write_tables([done("a", {"spleen": (1, 1)}, gates=[])], tmp_path / "one")
    for table in ("organs", "cases", "series"):
        empty, full = (parquet.read_schema(tmp_path / name / f"{table}.parquet") for name in ("empty", "one"))
        assert empty == full
    assert parquet.read_schema(tmp_path / "empty" / "organs.parquet").field("volume_ml").type == pyarrow.float64()
    assert rows(tmp_path / "empty", "organs") == ([], [])
    assert len(rows(tmp_path / "empty", "cases")[0]) == len(records)


def test_csv_holds_foreign_text_as_rfc_4180_says(tmp_path):
    text = 'Größe "ж", 2\r\nlines\udcff\u202e'
    write_tables([failed("ä,b", text)], tmp_path)
    shown = 'Größe "ж", 2\\r\\nlines\\udcff\\u202e'
    ((table,), (csv_row,)) = rows(tmp_path, "cases")
    assert [table["case"], table["error"]] == [csv_row["case"], csv_row["error"]] == ["ä,b", shown]
    raw = (tmp_path / "cases.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfcase,source,") and raw.count(b"\r\n") == raw.count(b"\n") == 2
    assert '"ä,b",'.encode() in raw


@pytest.mark.parametrize("start", "=+-@")
def test_no_spreadsheet_computes_a_name(start, tmp_path):
    name = f'{start}HYPERLINK("http://x")'
    write_tables([failed(name, "x")], tmp_path)
    ((table,), (csv_row,)) = rows(tmp_path, "cases")
    assert (table["case"], csv_row["case"]) == (name, f"'{name}")


def test_a_negative_number_is_no_formula(tmp_path):
    write_tables([done("a", {"spleen": (200, -12.5)})], tmp_path)
    assert rows(tmp_path, "organs")[1][0]["mean_hu"] == "-12.5"


def test_tables_replace_earlier_ones_all_or_none(tmp_path):
    write_tables([failed("a", "x")], tmp_path)
    write_tables([failed("b", "x")], tmp_path)
    assert [row["case"] for row in rows(tmp_path, "cases")[0]] == ["b"]
    (tmp_path / "series.parquet").unlink()
    (tmp_path / "series.parquet").mkdir()
    with pytest.raises(OSError, match="series.parquet"):
        write_tables([failed("c", "x")], tmp_path)
    assert [row["case"] for row in rows(tmp_path, "cases")[0]] == ["b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES


@pytest.mark.slow
def test_a_real_report_is_read(tmp_path):
    untrained = phantoms.model()
    save_model(tmp_path / "model", untrained.network, untrained.spec)
    segment(tmp_path / "model", ct(tmp_path / "ct.nii.gz"), "--output-dir", tmp_path / "out", "--quiet")
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    record = Record(case="ct", source="ct.nii.gz", status="done", error="", attempts=1, report=report, series=[])
    write_tables([record], tmp_path / "tables")
    organs, _ = rows(tmp_path / "tables", "organs")
    assert [row["volume_ml"] for row in organs] == [organ["volume_ml"] for organ in report["organs"]]
    shares = [f"attention_share_{gate}" for gate in GATES]
    assert [organs[0][name] for name in shares] == [
        report["attention"][gate]["share"][organs[0]["organ"]] for gate in GATES
    ]
    ((case,), _) = rows(tmp_path / "tables", "cases")
    assert case["labels_sha256"] == report["sha256"]["labels.nii.gz"]
    assert case["seconds_network"] == report["provenance"]["seconds"]["running the network"]
    assert case["seconds_reading"] == report["seconds_files"]["reading"]
    assert [case[f"spacing_{axis}_mm"] for axis in "ijk"] == [3.0, 3.0, 4.0]
    assert not any(value is None or (isinstance(value, float) and np.isnan(value)) for value in case.values())
