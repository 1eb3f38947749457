"""The learning task: what it starts from, what moves, what stays."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from attention_unet_training.preparation.records import IGNORED
from attention_unet_training.task import segmentation_task
from attention_unet_training.task.dice_by_person import PREDICTED, TRUE
from attention_unet_training.task.networks import MONAI_NETWORKS, build, pad_for_training, pad_to_divisor
from attention_unet_training.task.options import NetworkOptions
from attention_unet_training.task.segmentation_task import MAX_STEPS_LOST, SegmentationTask
from attention_unet_training.task.starting_weights import StartingWeights, read_starting_weights, start_from
from AttentionUNetSegmentationLib.inference.network import AttentionUNet, UNet
from AttentionUNetSegmentationLib.inference.prediction import Attempt, pad_to_multiple
from AttentionUNetSegmentationLib.models.loading import build_network, save_model
from support import phantoms

WIDTHS = [2, 4, 4]
ORGANS = ["pancreas", "spleen", "kidney"]
FAST = {"learning_rate": 0.1, "warm_up_steps": 0}
MONAI_OPTIONS = {
    "AttentionUnet": {"channels": [4, 8], "strides": [2]},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "DynUNet": {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 8]},
    "VNet": {},
    "UNet": {"channels": [4, 8], "strides": [2]},
}


def task(**changes) -> SegmentationTask:
    """A task of a small network; groups of options as a checkpoint holds them."""
    torch.manual_seed(0)
    network = {"widths": WIDTHS} | changes.pop("network", {})
    return SegmentationTask(**({"organs": ORGANS, "network": network} | changes))


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 4, (2, 1, 8, 8, 8), generator=generator)
    return target + torch.randn(2, 1, 8, 8, 8, generator=generator), target


def step(module: SegmentationTask, data, epoch: int = 0, starts_epoch: bool = True) -> torch.Tensor:
    """One training step as the trainer does it, with the module's own hooks."""
    module.log = lambda *_, **__: None
    module._trainer = SimpleNamespace(
        current_epoch=epoch, global_step=7, global_rank=0, world_size=1, estimated_stepping_batches=10
    )
    module._fabric = None
    optimizer = module.configure_optimizers()["optimizer"]
    module.train()
    if starts_epoch:
        module.on_train_epoch_start()
    loss = module.training_step(data, 0)
    loss.backward()
    module.on_before_optimizer_step(optimizer)
    optimizer.step()
    return loss.detach()


def moved(before: dict, after: dict) -> set[str]:
    """First part of the names of the tensors that differ."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def state(module: SegmentationTask) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.network.state_dict().items()}


def test_organs_left_out_of_the_softmax_get_no_probability_no_gradient_and_no_loss():
    """The paper's AFT: the loss is that of a softmax over background and pancreas."""
    module = task(active_organs=["pancreas"], loss={"kind": "dice", "dice_smooth": 1.0})
    image, target = batch()
    logits = module(image)[0]
    probability = logits.softmax(dim=1)
    assert probability[:, 2:].abs().max() == 0
    torch.testing.assert_close(probability[:, :2], logits[:, :2].softmax(dim=1))
    module.log = lambda *_, **__: None
    loss = module.training_step((image, target), 0)
    loss.backward()
    for parameter in (module.network.mix.weight, module.network.mix.bias):
        assert parameter.grad[2:].abs().max() == 0
        assert parameter.grad[:2].abs().min() > 0
    only = logits[:, :2].detach().softmax(dim=1)
    wanted = torch.cat([target != 1, target == 1], dim=1).float()
    sums = [(x * y).sum(dim=(2, 3, 4)) for x, y in ((only, wanted), (only, only**0), (wanted, wanted))]
    expected = 1 - ((2 * sums[0] + 1) / (sums[1] + sums[2] + 1)).mean()
    torch.testing.assert_close(loss.detach(), expected)


def test_organs_left_out_stay_out_after_steps_and_in_the_validation_metrics():
    optimisation = {"optimizer": "adam", "weight_decay": 1e-2, **FAST}
    module = task(active_organs=["pancreas"], optimisation=optimisation)
    for n in range(3):
        step(module, batch(n))
    assert module(batch(9)[0])[0].argmax(dim=1).max() <= 1
    logged = {}
    module.log_dict = lambda values, **_: logged.update(values)
    module.log = lambda name, value, **_: logged.update({name: value})
    module.all_gather = lambda x: x
    module.on_validation_epoch_start()
    module.validation_step(batch(9), 0)
    module.on_validation_epoch_end()
    assert "dice_pancreas" in logged
    assert "dice_spleen" not in logged
    assert logged["dice"] == logged["dice_pancreas"]


def test_cases_that_label_some_organs_train_and_are_counted_for_those():
    module = task()
    image, target = batch()
    target = target.masked_fill(target > 1, 0)
    labelled = torch.tensor([[True, False, False], [True, True, True]])
    assert torch.isfinite(step(module, (image, target, labelled)))
    module.on_validation_epoch_start()
    predicted = module.validation_step((image, target, labelled), 0)["prediction"]
    assert module._dice.counts[0, TRUE, 0] == (target == 1).sum()
    assert module._dice.counts[0, PREDICTED, 2] == (predicted[1] == 3).sum()


def test_ignored_voxels_do_not_count_in_validation():
    module, (image, target) = task(), batch()
    module.log = lambda *_, **__: None
    ignored = target.clone()
    ignored[:, :, 4:] = IGNORED
    module.on_validation_epoch_start()
    predicted = module.validation_step((image, ignored), 0)["prediction"]
    for n in range(3):
        expected = [(x[:, :, :4] == n + 1).sum().item() for x in (predicted, target)]
        assert module._dice.counts[0, [PREDICTED, TRUE], n].tolist() == expected


def test_organs_that_no_validation_case_labels_do_not_count():
    module = task()
    logged = {}
    module.log_dict = lambda values, **_: logged.update(values)
    module.log = lambda name, value, **_: logged.update({name: value})
    module.all_gather = lambda x: x
    image, target = batch()
    module.on_validation_epoch_start()
    module.validation_step((image, target.clamp(max=1), torch.tensor([[True, False, False]] * 2)), 0)
    module.on_validation_epoch_end()
    assert {"dice", "dice_pancreas", "val_loss"} == set(logged)
    assert logged["dice"] == logged["dice_pancreas"]


def test_unets_weights_start_an_attention_unet_and_its_gates_stay_fresh(tmp_path):
    torch.manual_seed(1)
    source = UNet(1, 4, WIDTHS)
    for tensor in source.state_dict().values():
        tensor.add_(1)
    fresh = AttentionUNet(1, 4, WIDTHS, gating_conv=True)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    report = start_from(fresh, ORGANS, StartingWeights(source.state_dict(), tuple(ORGANS)))
    for name, tensor in fresh.state_dict().items():
        wanted = before[name] if name.startswith(("gates", "gating")) else source.state_dict()[name]
        assert torch.equal(tensor, wanted), name
    gates = sum(name.startswith(("gates", "gating")) for name in before)
    assert report == f"{len(before) - gates} of {len(before)} tensors copied; attention gates fresh ({gates} tensors)"


def test_what_does_not_fit_is_refused():
    attention, plain = AttentionUNet(1, 4, WIDTHS), UNet(1, 4, WIDTHS)
    with pytest.raises(ValueError, match=r"another architecture: gates\.\S+ is \(.*\) there, missing here"):
        start_from(plain, ORGANS, StartingWeights(attention.state_dict(), tuple(ORGANS)))
    with pytest.raises(
        ValueError, match=r"encoder\.0\.conv1\.weight is \(2, 1, 3, 3, 3\) there, \(3, 1, 3, 3, 3\) here"
    ):
        start_from(UNet(1, 4, [3, 4, 4]), ORGANS, StartingWeights(plain.state_dict(), tuple(ORGANS)))
    with pytest.raises(ValueError, match=r"nowhere\.ckpt does not exist"):
        read_starting_weights("nowhere.ckpt")


def test_outputs_follow_their_organs_names():
    """kidney, liver from pancreas, spleen, kidney: the kidney's scores are the same, the liver's are new."""
    torch.manual_seed(2)
    source, network = UNet(1, 4, WIDTHS).eval(), UNet(1, 3, WIDTHS).eval()
    with torch.no_grad():  # the kidney's mixed score must not depend on organs that are gone
        for scale in range(2):
            source.mix.weight[:, [4 * scale + 1, 4 * scale + 2]] = 0
            network.mix.weight[:, 3 * scale + 2] = 0
    report = start_from(network, ["kidney", "liver"], StartingWeights(source.state_dict(), tuple(ORGANS)))
    assert report.endswith("outputs fresh for liver")
    x = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(network(x)[0][:, [0, 1]], source(x)[0][:, [0, 3]])


def test_a_model_folder_can_be_the_start(tmp_path):
    spec = phantoms.spec()
    torch.manual_seed(3)
    network = build_network(spec.architecture, spec.num_classes)
    save_model(tmp_path / "model", network, spec)
    module = task(network={"widths": phantoms.TINY_WIDTHS}, init_from=str(tmp_path / "model"))
    wanted = network.state_dict()["encoder.0.conv1.weight"].half().float()
    assert torch.equal(module.network.state_dict()["encoder.0.conv1.weight"], wanted)


@pytest.mark.parametrize(
    ("frozen", "moving"),
    [("none", {"encoder", "decoder", "heads", "mix", "gates"}), ("trunk", {"gates"})]
    + [("gates", {"encoder", "decoder", "heads", "mix"})],
)
def test_frozen_parts_keep_weights_and_statistics_for_the_first_epochs(frozen, moving):
    module = task(freezing={"part": frozen, "epochs": 2}, optimisation=FAST)
    before = state(module)
    step(module, batch(), epoch=1)
    assert moved(before, state(module)) == moving
    later = state(module)
    step(module, batch(), epoch=2)
    assert moved(later, state(module)) == {"encoder", "decoder", "heads", "mix", "gates"}


def test_frozen_batch_norm_keeps_its_statistics():
    for mode, changes in (("train", True), ("frozen", False)):
        module = task(batch_norm={"mode": mode})
        before = state(module)
        step(module, batch())
        changed = [name for name in before if "running" in name and not torch.equal(before[name], state(module)[name])]
        assert bool(changed) == changes


@pytest.mark.parametrize("mode", ["frozen", "train"])
def test_a_step_whose_gradient_is_not_finite_changes_nothing_and_the_next_one_does(mode):
    module = task(batch_norm={"mode": mode}, optimisation=FAST)
    image, target = batch()
    broken = image.clone()
    broken[0, 0, 3, 3, 3] = float("nan")
    before = state(module)
    with pytest.warns(UserWarning, match="step 7 was left out"):
        assert step(module, (broken, target)).isnan()
    assert moved(before, state(module)) == set()
    step(module, (image, target))
    after = state(module)
    assert moved(before, after) == {"encoder", "decoder", "heads", "mix", "gates"}
    with pytest.warns(UserWarning, match="step 7 was left out"):
        step(module, (broken, target), starts_epoch=False)
    assert moved(after, state(module)) == set()


@pytest.mark.filterwarnings("ignore:step 7 was left out")
def test_a_run_that_does_not_recover_from_gradients_that_are_not_finite_ends():
    module = task(batch_norm={"mode": "frozen"})
    image, target = batch()
    good, broken = (image, target), (torch.full_like(image, float("nan")), target)
    for data in [broken] * (MAX_STEPS_LOST - 1) + [good] + [broken] * (MAX_STEPS_LOST - 1):  # counted anew after `good`
        step(module, data)
    with pytest.raises(RuntimeError, match=f"{MAX_STEPS_LOST} steps in a row, up to step 7"):
        step(module, broken)


def test_auxiliary_losses_reach_every_scale_by_the_mean_over_scales():
    module = task(loss={"kind": "dice", "dice_smooth": 1.0, "auxiliary_weight": 0.5})
    image, target = batch()
    module.eval()
    module.log = lambda *_, **__: None
    scores, _ = module.network.scores_per_scale(image)
    main = module.loss(module.network.mix(torch.cat(scores, dim=1)), target)
    expected = main + 0.5 * sum(module.loss(score, target) for score in scores) / 2
    torch.testing.assert_close(module.training_step((image, target), 0), expected)


def test_validation_of_any_size_pads_like_the_engine():
    x = torch.randn(1, 1, 5, 9, 16)
    np.testing.assert_array_equal(pad_to_divisor(x, 16)[0, 0].numpy(), pad_to_multiple(x[0, 0].numpy(), 16))
    module = task().eval()
    module.log = lambda *_, **__: None
    image, target = torch.randn(1, 1, 5, 6, 7), torch.zeros(1, 1, 5, 6, 7, dtype=torch.long)
    found = module.validation_step((image, target), 0)["prediction"]
    padded = torch.from_numpy(pad_to_multiple(image[0, 0].numpy(), 16))[None, None]
    assert torch.equal(found, module(padded)[0].argmax(dim=1, keepdim=True)[..., :5, :6, :7])


def test_where_memory_is_short_validation_runs_in_tiles_and_counts_alike(monkeypatch):
    module, (image, target) = task().eval(), batch()
    module.log = lambda *_, **__: None
    image, target = (x.repeat_interleave(4, dim=4) for x in (image, target))  # 8 x 8 x 32
    counted, seen = [], []
    monkeypatch.setattr(module._dice, "add", lambda *arguments: counted.append(arguments))
    whole = module.validation_step((image, target), 0)
    forward = module.forward
    monkeypatch.setattr(module, "forward", lambda x: seen.append(tuple(x.shape[2:])) or forward(x))
    monkeypatch.setattr(
        segmentation_task, "plan", lambda shape, device, widths, num_classes: ([Attempt("cpu", 16)], [])
    )
    tiled = module.validation_step((image, target), 0)
    assert set(seen) == {(16, 16, 16)}
    assert tiled["prediction"].shape == target.shape
    assert tiled["attention"] == {} and len(counted) == 2
    assert (tiled["prediction"] == whole["prediction"]).float().mean() > 0.9


def test_a_short_run_warms_up_for_a_tenth_of_its_steps():
    module = task(optimisation={"learning_rate": 1.0, "warm_up_steps": 40})
    for steps, expected in ((100, 1 / 10), (4000, 1 / 40), (float("inf"), 1 / 40), (5, 1)):
        module._trainer = SimpleNamespace(estimated_stepping_batches=steps)
        module._fabric = None
        module._optimisation = dataclasses.replace(module._optimisation, schedule="constant")
        schedule = module.configure_optimizers()["lr_scheduler"]["scheduler"]
        assert schedule.get_last_lr() == [pytest.approx(expected)]


def test_thin_patches_are_padded_further_where_thin_scales_spoil_gradients():
    network, x = build(NetworkOptions(widths=(2, 2, 2, 2, 2)), 2), torch.randn(1, 1, 12, 20, 100)
    assert pad_for_training(x, network).shape[2:] == (16, 32, 112)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        padded = pad_for_training(x, network)
    assert padded.shape[2:] == (48, 48, 112)
    assert torch.equal(padded[..., :12, :20, :100], x)
    assert torch.equal(padded[..., 12:, :20, :100], x[..., -1:, :, :].expand(-1, -1, 36, -1, -1))


def test_a_training_step_with_autocast_pads_thin_patches_further():
    module, seen = task(), []
    module.network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    module.log = lambda *_, **__: None
    image, target = batch()
    module.training_step((image[:, :, :5], target[:, :, :5]), 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module.training_step((image[:, :, :5], target[:, :, :5]), 0)
    assert seen == [(8, 8, 8), (12, 12, 12)]  # this network halves twice: multiples of 4


def monai(name: str, options: dict | None = None) -> dict:
    return {"architecture": f"monai.{name}", "monai_options": options}


@pytest.mark.parametrize("name", MONAI_NETWORKS)
def test_monai_networks_take_part(name):
    module = task(network=monai(name, MONAI_OPTIONS[name]), loss={"kind": "dice"})
    image = torch.randn(1, 1, 32, 16, 16)
    target = torch.randint(0, 4, image.shape)
    before = state(module)
    assert torch.isfinite(step(module, (image, target)))
    assert moved(before, state(module))
    logits, attention = module.eval()(image)
    assert logits.shape == (1, 4, 32, 16, 16)
    assert attention == {}
    odd = torch.randn(1, 1, 17, 16, 9)
    assert module.validation_step((odd, torch.zeros_like(odd).long()), 0)["prediction"].shape == odd.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"organs": ["a", "b"], "loss": {"class_weights": [1, 1, 1, 1]}}, "loss.class_weights needs 3 entries, got 4"),
        ({"active_organs": ["liver"]}, "active_organs must be some of"),
        ({"active_organs": []}, "active_organs must be some of"),
        (
            {"network": {"architecture": "ResNet"}},
            "network.architecture must be one of AttentionUNet, UNet, monai.AttentionUnet",
        ),
        ({"network": monai("Nonsense")}, "monai.NAME knows AttentionUnet, .*, got 'Nonsense'"),
        ({"network": monai("UNet", {"chanels": [4]})}, "monai.UNet has no option 'chanels'"),
        ({"network": monai("UNet")}, "monai.UNet: .*missing 2 required"),
        ({"network": {"monai_options": {"a": 1}}}, "monai_options are for monai networks"),
        (
            {"network": {"architecture": "UNet"}, "freezing": {"part": "gates"}},
            "freezing.part gates needs an AttentionUNet, got UNet",
        ),
        ({"freezing": {"part": "half"}}, "freezing.part must be one of none, gates, trunk, got 'half'"),
        (
            {"optimisation": {"optimizer": "lion"}},
            "optimisation.optimizer must be one of adam, adamw, muon, sgd, got 'lion'",
        ),
        ({"optimisation": {"schedule": "never"}}, "optimisation.schedule must be one of"),
        ({"batch_norm": {"mode": "off"}}, "batch_norm.mode must be one of train, frozen, got 'off'"),
        (
            {"network": monai("VNet"), "loss": {"auxiliary_weight": 1.0}},
            "loss.auxiliary_weight needs AttentionUNet or UNet, got monai.VNet",
        ),
        (
            {"network": monai("VNet"), "active_organs": ["spleen"]},
            "active_organs needs the architecture AttentionUNet or UNet",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        task(**changes)


def test_kaiming_weights_have_the_public_codes_spread_and_leave_the_gates_as_they_fall():
    network = build(NetworkOptions(initialisation="kaiming"), 4)
    weight = network.get_parameter("encoder.3.conv2.weight")  # 128 channels in
    assert float(weight.std()) == pytest.approx((2 / (128 * 27)) ** 0.5, rel=0.02)
    assert float(network.get_parameter("encoder.3.norm2.weight").std()) == pytest.approx(0.02, rel=0.3)
    assert abs(float(network.get_parameter("gates.s2.subgates.0.psi.bias"))) <= 1 / 32**0.5
    assert float(build(NetworkOptions(), 4).get_parameter("gates.s2.subgates.0.psi.bias")) == 3
