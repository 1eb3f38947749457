"""Two processes with half the batch each do what one process does with the whole."""

import pytest
import torch

from attention_unet_training.cli import main
from support import prepared_cases
from support.training_runs import run_in_a_process, tiny_config, weights

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TOLERANCE = 2e-5  # absolute, weights: sums over the batch are rounded in another order


def test_two_cpu_processes_reach_the_weights_of_one(tmp_path):
    """Three steps with batch norm frozen and the Dice loss, which is an average over samples."""
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 5)
    model = {
        "batch_norm": {"mode": "frozen"},
        "optimisation": {"warm_up_steps": 0, "schedule": "constant", "learning_rate": 1e-3},
    }
    figures = {"class_path": "attention_unet_training.callbacks.AttentionFigures"}
    shared = {"samples_per_epoch": 12, "validation_cases": 2}
    one = tiny_config(tmp_path / "one", dataset, 1, model=model, data=shared | {"batch_size": 4})
    assert main(["fit", "--config", str(one)]) == 0
    trainer = {"devices": 2, "strategy": "ddp"}
    two = tiny_config(
        tmp_path / "two", dataset, 1, [figures], model=model, data=shared | {"batch_size": 2}, trainer=trainer
    )
    run = run_in_a_process(["fit", "--config", str(two)])
    assert run.returncode == 0, run.stderr
    still = model | {"optimisation": model["optimisation"] | {"learning_rate": 1e-12}}
    start = tiny_config(tmp_path / "start", dataset, 1, model=still, data=shared)
    assert main(["fit", "--config", str(start)]) == 0

    contents = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("one", "two")]
    assert [content["global_step"] for content in contents] == [3, 3]
    alone, together, before = (weights(tmp_path / name / "last.ckpt") for name in ("one", "two", "start"))
    for name, tensor in alone.items():
        torch.testing.assert_close(
            together[name], tensor, rtol=0, atol=TOLERANCE, msg=lambda text, n=name: f"{n}: {text}"
        )
    change = max((alone[name] - before[name]).abs().max().item() for name in alone if "num_batches" not in name)
    assert change > 100 * TOLERANCE  # the steps moved the weights much further than the tolerance
    scores = [content["callbacks"] for content in contents]
    best = [next(v["best_model_score"] for k, v in score.items() if "'monitor': 'dice'" in k) for score in scores]
    torch.testing.assert_close(*best, rtol=0, atol=1e-3)  # Dice over the cases of both processes
    assert list((tmp_path / "two" / "figures").glob("*.png"))
