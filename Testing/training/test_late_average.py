"""The average of a run's latest weights."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from attention_unet_training.callbacks.late_average import _average


def averages(steps: int) -> list[float]:
    """The average after every step of a weight that grows by 1 in each."""
    weight = torch.nn.Linear(1, 1, bias=False)
    averaged = AveragedModel(weight, avg_fn=_average, use_buffers=True)
    found = []
    for step in range(steps):
        with torch.no_grad():
            weight.weight.fill_(step)
        averaged.update_parameters(weight)
        found.append(averaged.module.weight.item())
    return found


def test_the_average_lags_behind_by_a_tenth_of_the_run_and_at_most_by_a_thousand_steps():
    lag = [step - average for step, average in enumerate(averages(20_001))]
    assert lag[0] == 0
    assert lag[1000] == pytest.approx(100, rel=0.05)
    assert lag[5000] == pytest.approx(500, rel=0.05)
    assert lag[20_000] == pytest.approx(1000, rel=0.05)


def test_whole_numbers_are_averaged_too():
    assert _average(torch.tensor(4), torch.tensor(8), torch.tensor(8)) == 6
