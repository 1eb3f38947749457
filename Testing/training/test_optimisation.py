"""Learning rates by step, and the optimiser of the public code."""

import copy

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


def test_muon_makes_updates_of_convolutions_orthogonal_and_gives_the_rest_adamw():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(8, 16, 3), torch.nn.Conv3d(16, 4, 1))
    twin = copy.deepcopy(network)
    optimizer = make_optimizer("muon", network.parameters(), 0.1, (0.9, 0.5), 0.01)
    adamw = make_optimizer("adamw", twin.parameters(), 0.1, (0.9, 0.5), 0.01)
    for _ in range(3):
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            ours.grad = torch.randn_like(ours)
            theirs.grad = ours.grad.clone()
        before = network[0].weight.detach().clone()
        optimizer.step()
        adamw.step()
    update = (before * (1 - 0.1 * 0.01) - network[0].weight.detach()).flatten(1)
    singular = torch.linalg.svdvals(update) / (0.1 * 0.2 * 216**0.5)  # 8 x 27 columns
    assert (len(singular), singular.min() > 0.6, singular.max() < 1.3) == (16, True, True)
    for ours, theirs in zip(list(network.parameters())[1:], list(twin.parameters())[1:], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_muon_falls_with_the_schedule_and_goes_on_from_its_saved_state():
    def network_and_optimizer():
        torch.manual_seed(0)
        network = torch.nn.Conv3d(8, 8, 1)
        optimizer = make_optimizer("muon", network.parameters(), 0.1, (0.9, 0.98), 0.0)
        return network, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    def step(network, optimizer, schedule, seed):
        for n, weights in enumerate(network.parameters()):
            weights.grad = torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed + n))
        optimizer.step()
        schedule.step()

    whole, resumed = network_and_optimizer(), network_and_optimizer()
    step(*whole, 1)
    assert {group["lr"] for group in whole[1].param_groups} == {0.05}
    for here, there in zip(resumed, whole, strict=True):
        here.load_state_dict(copy.deepcopy(there.state_dict()))
    step(*whole, 10)
    step(*resumed, 10)
    for ours, theirs in zip(resumed[0].parameters(), whole[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)
