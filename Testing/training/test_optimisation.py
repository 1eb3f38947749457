"""Learning rates by step, and the optimiser of the public code."""

import pytest
import torch

from attention_unet_training.task.optimisation import learning_rate_factor, make_optimizer


def test_learning_rates():
    cosine = learning_rate_factor("cosine", 110, 10, 0.1)
    assert [cosine(n) for n in (0, 9, 10, 60, 110, 200)] == pytest.approx([0.1, 1, 1, 0.55, 0.1, 0.1])
    steps = learning_rate_factor("steps", 100, 0, 0)
    assert [steps(n) for n in (0, 24, 25, 50, 99, 100)] == [1, 1, 0.5, 0.25, 0.125, 0.125]
    assert learning_rate_factor("constant", float("inf"), 0, 0)(10**6) == 1
    with pytest.raises(ValueError, match="needs trainer.max_epochs"):
        learning_rate_factor("cosine", float("inf"), 0, 0)


def test_sgd_has_nesterov_momentum_as_the_public_code():
    optimizer = make_optimizer("sgd", [torch.nn.Parameter(torch.zeros(1))], 1e-4, (0.9, 0.999), 1e-6)
    (group,) = optimizer.param_groups
    assert {key: group[key] for key in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 1e-4,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-6,
    }
