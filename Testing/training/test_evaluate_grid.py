"""Measuring on the network's grid, and on its centre as the public code does."""

import numpy as np
import pytest

from attention_unet_training.cli import main
from attention_unet_training.evaluation import runner
from attention_unet_training.evaluation.cases import cases_of_dataset
from attention_unet_training.evaluation.network_grid import NETWORK_GRID, PUBLIC_CODE, centre, on_network_grid
from attention_unet_training.evaluation.systems import model_column
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.task.checkpoints import load_network
from AttentionUNetSegmentationLib.pipeline import Options
from support import prepared_cases
from support.training_checkpoints import tiny_network, write_checkpoint

SHAPE = (100, 24, 170)


@pytest.fixture
def folder(tmp_path):
    voxels = [prepared_cases.voxels(n, SHAPE) for n in range(2)]
    return prepared_cases.write_dataset(tmp_path / "dataset", 2, SHAPE, cases=voxels)


def test_the_centre_is_the_public_codes():
    """ceil((size - 160) / 2) on each axis; nothing is cut where the volume is smaller."""
    box = centre((97, 24, 171))
    assert [(part.start, min(part.stop, size)) for part, size in zip(box, (97, 24, 171), strict=True)] == [
        (1, 97),
        (0, 24),
        (6, 166),
    ]
    assert [np.empty((97, 24, 171))[box].shape[axis] for axis in range(3)] == [96, 24, 160]


def test_cases_are_in_hu_and_in_place(folder):
    prepared = PreparedDataset.open(folder).case("c0")
    cases, _ = cases_of_dataset(folder)
    whole, cut = (on_network_grid(cases, folder, where)[0] for where in (NETWORK_GRID, PUBLIC_CODE))
    rule = prepared_cases.INTENSITY
    np.testing.assert_allclose(
        whole.read_ct().voxels, prepared.image().astype(np.float32) * rule.std_hu + rule.mean_hu, atol=0.2
    )
    assert np.array_equal(whole.read_reference().voxels, prepared.labels())
    part = cut.read_ct()
    assert part.voxels.shape == (96, 24, 160) == cut.read_reference().voxels.shape
    assert part.ijk_to_ras[:3, 3].tolist() == [10, 0, 4]  # 5 voxels along i and 2 along k, of 2 mm
    np.testing.assert_array_equal(part.voxels, whole.read_ct().voxels[2:98, :, 5:165])
    scaled = cut.read_scaled().voxels
    assert whole.read_scaled().voxels.mean() == pytest.approx(0, abs=1e-4)
    assert whole.read_scaled().voxels.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(scaled, whole.read_scaled().voxels[2:98, :, 5:165])
    prints = [case.fingerprint() for case in (cases[0], whole, cut)]
    assert len({str(entry) for entry in prints}) == 3


def test_a_network_of_scaled_volumes_sees_scaled_volumes_and_becomes_no_model(folder, tmp_path):
    seen = []
    path = write_checkpoint(tmp_path / "a.ckpt", tiny_network(), per_volume=True)
    cases, _ = cases_of_dataset(folder)
    system = model_column(str(path), Options(device="cpu", backend="torch"), {0}).open(0)
    with pytest.raises(ValueError, match="trained with data.per_volume: measure it with --grid public-code"):
        runner.measure_case(system, cases[0])
    case = on_network_grid(cases, folder, PUBLIC_CODE)[0]
    run = system._run
    system._run = lambda ct: seen.append(ct.voxels) or run(ct)
    assert set(runner.measure_case(system, case).organs) == set(prepared_cases.ORGANS)
    np.testing.assert_array_equal(seen[0], case.read_scaled().voxels)
    assert (system.model.spec.intensity.mean_hu, system.model.spec.intensity.std_hu) == (0, 1)
    with pytest.raises(ValueError, match="data.per_volume, so no model can be made from it"):
        load_network(path)


@pytest.mark.parametrize(
    "options", [{"spacing_mm": 3.0}, {"intensity": {"clip_hu": (-1000, 300), "mean_hu": 0, "std_hu": 1}}]
)
def test_a_dataset_that_was_prepared_for_another_network_is_refused(folder, tmp_path, options):
    path = write_checkpoint(tmp_path / "a.ckpt", tiny_network(), **options)
    system = model_column(str(path), Options(device="cpu", backend="torch"), {0}).open(0)
    case = on_network_grid(cases_of_dataset(folder)[0], folder, NETWORK_GRID)[0]
    with pytest.raises(ValueError, match="tiny was prepared with .* network.*: measure it with --grid ct"):
        runner.measure_case(system, case)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", [NETWORK_GRID, PUBLIC_CODE])
def test_the_command_measures_there_and_says_where(folder, tmp_path, where, capsys):
    path = write_checkpoint(tmp_path / "a.ckpt", tiny_network(), per_volume=where == PUBLIC_CODE)
    arguments = [
        "evaluate",
        "--dataset",
        str(folder),
        "--model",
        str(path),
        "--grid",
        where,
        "--device",
        "cpu",
        "--raw",
    ]
    assert main([*arguments, "--time-runs", "0", "--report-dir", str(tmp_path / "report")]) == 0
    assert "network's grid" in capsys.readouterr().out
    assert main(["evaluate", "--ct", "x", "--labels", "y", "--grid", where, "--model", str(path)]) == 1
    assert f"error: --grid {where} needs --dataset" in capsys.readouterr().err
