"""The benchmark suite at tiny sizes: that every case runs, what is counted, and how the tables read."""

import dataclasses
import importlib
import json
import math
import sys

import numpy as np
import pytest

from AttentionUNetSegmentationLib.formats.files import read_volume
from benchmark import forward, machine, networks, pipeline, processes, tables, training
from benchmark.__main__ import main

FIELD = [16, 16, 32]
DOCUMENT = f"# Performance\n\n{tables.BEGIN}\nold\n{tables.END}\n\n## Memory\n"
MACHINE = {
    "cpu": "AMD EPYC",
    "instructions": ["avx2"],
    "cores": 2,
    "memory_gb": 24.2,
    "system": "Linux",
    "versions": {"python": "3.12.3", "torch": "2.9.0"},
}
WAYS = [case for case in forward.CASES if case.network == networks.PRODUCT]
OTHERS = [case for case in forward.CASES if case.network not in networks.PAPER and case.way == forward.PYTORCH]


def part(rows):
    rates = [{"numpy": 131.2, "torch": 120.0}, {"numpy": 119.0, "torch": 138.6}]
    return {"date": "2026-11-28", "machine": MACHINE, "options": "--runs 2", "rates": rates, "rows": rows}


def forward_row(network, way, seconds):
    runs = [{"first": first, "second": second, "peak_gb": gb} for first, second, gb in seconds]
    sizes = {"parameters": 6_407_018, "gflop": 347.0}
    return {"network": network, "way": way, **sizes, "runs": runs}


def pipeline_row(*seconds):
    """One CT of 100 slices; of each run the network's, the writing's and the whole command's seconds."""
    grid = {"network_grid_kji": [75, 205, 205], "passes": "one pass in slabs", "backend": "openvino"}
    return {
        "shape_kji": [100, 512, 512],
        "gflop": 200.0,
        "runs": [
            {
                "steps": {"reading": 1.0, tables.NETWORK_STEP: network, "writing": writing},
                "whole": whole,
                "peak_gb": 1.5,
                **grid,
            }
            for network, writing, whole in seconds
        ],
        "simpleitk": {"reading": 0.5, "writing": 1.5},
    }


def training_row(way, seconds):
    return {"way": way, "precision": "float32", "seconds": seconds, "peak_gb": 3.21}


def cells(table, first):
    """The cells of the line that begins with a text, without that text."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.removeprefix(f"| {first} |").strip("|").split("|")]


def test_forward_table_takes_the_fastest_runs_against_the_floor_and_the_products_way():
    rows = [
        forward_row("Attention U-Net", "OpenVINO", [(3.75, 3.0, 1.0), (4.0, 2.5, 1.26)]),
        forward_row("MONAI AttentionUnet", "PyTorch", [(6.0, 5.0, 2.0)]),
    ]
    table = tables.forward_table(rows, rate=138.8)
    assert cells(table, "Attention U-Net") == ["OpenVINO", "6.41", "347", "3.75", "2.50", "1.50", "1.00", "1.00", "1.3"]
    assert cells(table, "MONAI AttentionUnet")[5:8] == ["2.40", "2.00", "2.00"]
    assert cells(tables.forward_table(rows[1:], rate=138.8), "MONAI AttentionUnet")[7] == ""


def test_pipeline_table_gives_the_first_run_and_the_fastest_later_one():
    table = tables.pipeline_table([pipeline_row((3.0, 2.0, 8.0), (2.5, 4.0, 9.0), (2.4, 3.0, 7.5))], rate=100.0)
    assert table.splitlines()[0].endswith("| 512 x 512 x 100 |")
    assert cells(table, "writing") == ["2.0 / 3.0"]
    assert cells(table, "**whole command**") == ["8.0 / 7.5"]
    assert cells(table, "network / floor") == ["1.50 / 1.20"]
    assert cells(table, "steps but the network / SimpleITK") == ["1.50 / 2.00"]
    assert cells(table, "SimpleITK: read the CT, write the files, s") == ["0.5 + 1.5"]
    assert cells(tables.pipeline_table([pipeline_row((3.0, 2.0, 8.0))], rate=100.0), "**whole command**") == ["8.0"]


def test_training_table_compares_with_the_plain_loop_of_the_same_precision():
    rows = [training_row(training.PLAIN, [2.0, 2.5]), training_row(training.OURS, [2.3, 2.1])]
    table = tables.training_table(rows, rate=100.0)
    assert [line.split("|")[3:6] for line in table.splitlines()[2:]] == [
        [" 2.00 ", " 1.00 ", " 3.2 "],
        [" 2.10 ", " 1.05 ", " 3.2 "],
    ]


def test_a_part_tells_machine_versions_drift_of_the_rate_and_command():
    text = tables.render({"training": part([training_row(training.PLAIN, [2.0])])})
    assert text.startswith("### Training step\n\n2026-11-28, AMD EPYC, 2 cores (avx2), 24 GB, Linux; python 3.12.3")
    assert "Matrix product: 131 to 139 GFLOP/s." in text
    assert 'make bench BENCH="--runs 2"' in text


def test_tables_replace_what_stood_between_the_markers(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text(DOCUMENT)
    assert tables.with_tables(document, r"new \1") == DOCUMENT.replace("old", r"new \1")
    document.write_text("# Performance\n")
    with pytest.raises(ValueError, match="performance.md needs the markers"):
        tables.with_tables(document, "new")


@pytest.mark.slow
def test_the_networks_are_those_of_the_paper_and_need_what_the_floor_counts():
    sizes = networks.measure([32, 32, 32])
    assert {name: size["parameters"] for name, size in sizes.items() if name in networks.PAPER} == {
        "Attention U-Net": 6_407_018,
        "U-Net": 5_888_004,
        "U-Net of 6.44 M (table 2)": 6_448_826,
        "U-Net of 10.4 M (table 2)": 10_388_242,
    }
    per_voxel = {name: 1e9 * size["gflop"] / 32**3 for name, size in sizes.items()}
    assert per_voxel[networks.PRODUCT] == pytest.approx(networks.FLOP_PER_VOXEL, rel=1e-3)
    assert per_voxel[networks.MONAI_ATTENTION] == pytest.approx(2 / 3 * networks.FLOP_PER_VOXEL, rel=0.01)


@pytest.mark.parametrize("case", WAYS + OTHERS, ids=lambda case: f"{case.network}, {case.way}")
def test_each_way_runs_the_network_and_pytorch_the_others(case, one_thread, monkeypatch):
    for name, network in networks.PAPER.items():  # an eighth as wide: weights take long to draw, graphs to compile
        narrow = dataclasses.replace(network, widths=tuple(width // 8 for width in network.widths))
        monkeypatch.setitem(networks.PAPER, name, narrow)
    seconds = forward.measure(case.network, case.way, FIELD)
    assert 0 < min(seconds["first"], seconds["second"]) < math.inf


def test_the_ways_to_run_the_network_compute_the_same(one_thread):
    image = np.random.default_rng(1).normal(size=FIELD).astype(np.float32)
    (plain, _), *others = [
        forward.prepare(forward.Case(networks.PRODUCT, way))()(image)
        for way in (forward.PYTORCH, forward.OPENVINO, forward.OUR_PYTORCH)
    ]
    for logits, maps in others:
        assert len(maps) == 6
        assert logits == pytest.approx(plain[0].numpy(), abs=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize(("way", "precision"), [(training.PLAIN, training.FLOAT32), (training.OURS, training.BFLOAT16)])
def test_a_training_step_runs_both_ways(way, precision, one_thread):
    seconds = training.measure(way, precision, FIELD, 2)["seconds"]
    assert len(seconds) == 2 and min(seconds) > 0


@pytest.mark.slow
def test_the_rate_of_a_matrix_product_is_measured_by_both_libraries_in_a_process_of_its_own():
    rates, peak_gb = processes.measured("machine", size=512, repeats=4)
    assert set(rates) == {"numpy", "torch"} and min(rates.values()) > 0
    assert peak_gb > 0.05


def test_the_machine_is_described():
    described = machine.describe()
    assert described["cores"] >= 1 and described["memory_gb"] > 0
    assert {"python", "torch", "openvino", "monai"} <= set(described["versions"])


def test_a_synthetic_ct_does_not_depend_on_how_many_slices_are_made_at_a_time(tmp_path, monkeypatch):
    pipeline.make_ct(tmp_path / "whole.nrrd", [9, 32, 32])
    monkeypatch.setattr(pipeline, "SLICES_AT_A_TIME", 4)
    pipeline.make_ct(tmp_path / "parts.nrrd", [9, 32, 32])
    whole, parts = read_volume(tmp_path / "whole.nrrd"), read_volume(tmp_path / "parts.nrrd")
    assert whole.grid.spacing_mm == pytest.approx(pipeline.SPACING_MM)
    assert np.abs(whole.voxels.astype(int) - parts.voxels).max() <= 1
    assert np.ptp(whole.voxels) > 50


def test_a_command_that_fails_ends_the_benchmark(tmp_path, monkeypatch, capsys):
    with pytest.raises(RuntimeError, match="ended with status 3"):
        processes.run(["sh", "-c", "exit 3"])
    with pytest.raises(SystemExit):
        main(["--parts", "forward,nothing"])
    assert "must be some of forward,pipeline,training, got 'nothing'" in capsys.readouterr().err


def test_what_cannot_be_written_is_told_before_anything_is_measured(tmp_path, capsys):
    output, document = tmp_path / "bench.json", tmp_path / "performance.md"
    document.write_text("# Performance\n")
    assert main(["--output", str(output), "--docs", str(document)]) == 1
    assert f"error: {document} needs the markers" in capsys.readouterr().err
    for content in ("not JSON", '{"other": 1}', "[]"):
        output.write_text(content)
        assert main(["--output", str(output), "--docs", str(document)]) == 1
        assert f"error: {output} was not written by the benchmark" in capsys.readouterr().err


def test_the_process_that_starts_the_others_imports_nothing_that_computes():
    heavy = "{'torch', 'openvino', 'SimpleITK', 'monai'}"
    code = f"import sys, benchmark.__main__; print(sorted({heavy} & set(sys.modules)))"
    assert processes.run([sys.executable, "-c", code]).output.strip() == "[]"


def measured_here(module, **arguments):
    """In place of ``processes.measured``, without a process."""
    return importlib.import_module(f"benchmark.{module}").measure(**arguments), 0.5


@pytest.mark.slow
def test_parts_that_are_measured_later_stand_beside_earlier_ones(tmp_path, monkeypatch, capsys):
    for module in (forward, machine):
        monkeypatch.setattr(module, "measured", measured_here)
    monkeypatch.setattr(forward, "CASES", (forward.Case("U-Net", forward.OPENVINO),))
    output, document = tmp_path / "new/bench.json", tmp_path / "performance.md"
    document.write_text(DOCUMENT)
    output.parent.mkdir()
    output.write_text(json.dumps({"training": part([training_row(training.PLAIN, [2.0])])}))
    arguments = ["--parts", "forward", "--runs", "1", "--field", *map(str, FIELD), "--matrix", "64"]
    assert main([*arguments, "--output", str(output), "--docs", str(document)]) == 0
    report, text = json.loads(output.read_text()), document.read_text()
    (row,) = report["forward"]["rows"]
    assert row["runs"][0]["peak_gb"] == 0.5
    assert len(report["forward"]["rates"]) == 2
    assert text.index("### Forward pass") < text.index("### Training step") < text.index("## Memory")
    assert f"--parts forward --runs 1 --field {' '.join(map(str, FIELD))}" in text


@pytest.mark.slow
def test_the_pipeline_is_run_as_a_user_runs_it(tmp_path):
    class Rates:
        def again(self):
            pass

    (row,) = pipeline.rows([20], 48, 1, Rates())
    (run,) = row["runs"]
    assert {"reading", "preparing the CT", tables.NETWORK_STEP, "writing"} <= set(run["steps"])
    assert sum(run["steps"].values()) < run["whole"]
    assert row["gflop"] == pytest.approx(141_000 * 16 * 32 * 32 / 1e9)
    assert min(row["simpleitk"].values()) > 0
