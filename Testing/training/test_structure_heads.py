"""The auxiliary task of telling structures apart: its loss, what it reaches, what it leaves no trace in."""

from types import SimpleNamespace

import pytest
import torch

from attention_unet_training.synthetic_ct.structures import (
    AUXILIARY_GROUPS,
    STRUCTURES,
    TARGET_OF_STRUCTURE,
    auxiliary_table,
    number_of,
)
from attention_unet_training.task.losses import SegmentationLoss
from attention_unet_training.task.segmentation_task import SegmentationTask
from attention_unet_training.task.structure_heads import StructureHeads, at_scale
from AttentionUNetSegmentationLib.inference.network import UNet

WIDTHS = [2, 4, 4, 4]  # scales of the same width
CLASSES = len(AUXILIARY_GROUPS) + 1


@pytest.fixture
def task() -> SegmentationTask:
    torch.manual_seed(0)
    module = SegmentationTask(organs=["a"], widths=WIDTHS, structure_weight=0.3)
    module.log = lambda *_, **__: None
    return module


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    organ = torch.randint(0, 2, (1, 1, 16, 16, 24), generator=generator)
    structures = torch.randint(0, CLASSES, organ.shape, generator=generator)
    return torch.randn(organ.shape, generator=generator), torch.cat([organ, structures], dim=1)


def test_a_scale_takes_the_middle_of_each_whole_cell():
    labels = torch.arange(11)[None, None, :, None, None].expand(1, 1, 11, 8, 8)
    assert at_scale(labels, 1)[0, 0, :, 0, 0].tolist() == list(range(11))
    assert at_scale(labels, 2)[0, 0, :, 0, 0].tolist() == [1, 3, 5, 7, 9]
    assert at_scale(labels, 3)[0, 0, :, 0, 0].tolist() == [2, 6]
    assert at_scale(labels, 4).shape == (1, 1, 1, 1, 1)


def test_the_encoders_features_are_watched_from_the_third_scale(task):
    network, heads = task.network.eval(), task.structure_heads
    seen = {}
    for scale in (1, 2, 3, 4):
        network.encoder[scale - 1].register_forward_hook(lambda _b, _i, y, scale=scale: seen.update({scale: y}))
    with heads.watch(network) as features:
        network(torch.randn(1, 1, 16, 16, 24))
    assert list(heads.scales) == sorted(features) == [3, 4]
    assert all(features[scale] is seen[scale] for scale in heads.scales)


def test_nothing_is_watched_afterwards_even_if_the_pass_fails(task):
    with pytest.raises(ValueError, match="spatial sizes"), task.structure_heads.watch(task.network):
        task.network(torch.randn(1, 1, 3, 3, 3))
    assert not any(module._forward_hooks for module in task.network.modules())


def test_the_loss_is_the_mean_over_scales_and_padding_does_not_count():
    torch.manual_seed(0)
    heads = StructureHeads(UNet(widths=WIDTHS), 3, smooth=2.0)
    structures = torch.randint(0, 3, (1, 1, 10, 16, 16))  # of a network's input of 16 x 16 x 16
    features = {3: torch.randn(1, 4, 4, 4, 4), 4: torch.randn(1, 4, 2, 2, 2)}
    criterion = SegmentationLoss("dice_ce", [1.0] * 3, smooth=2.0)
    fine, coarse = (head(features[scale]) for head, scale in zip(heads.heads, (3, 4), strict=True))
    expected = criterion(fine[:, :, :2], structures[:, :, 2:8:4, 2::4, 2::4])
    expected = (expected + criterion(coarse[:, :, :1], structures[:, :, 4:8:8, 4::8, 4::8])) / 2
    torch.testing.assert_close(heads(features, structures), expected)


@pytest.mark.parametrize(("height", "scales"), [(7, [3]), (3, [])])
def test_scales_that_a_thin_patch_has_no_whole_cell_of_do_not_count(height, scales):
    torch.manual_seed(0)
    heads = StructureHeads(UNet(widths=WIDTHS), 3, smooth=2.0)
    structures = torch.randint(0, 3, (1, 1, height, 16, 16))
    features = {3: torch.randn(1, 4, 2, 4, 4), 4: torch.randn(1, 4, 1, 2, 2)}
    expected = 0.0
    if scales:
        score = heads.heads[0](features[3])[:, :, :1]
        expected = heads.criterion(score, structures[:, :, 2:3, 2::4, 2::4]).item()
    assert heads(features, structures).item() == pytest.approx(expected)


def test_a_step_adds_the_weighted_loss_of_the_structures(task, batch):
    image, target = batch
    task.eval()
    with task.structure_heads.watch(task.network) as features:
        logits, _ = task(image)
    expected = task.loss(logits, target[:, :1]) + 0.3 * task.structure_heads(features, target[:, 1:])
    torch.testing.assert_close(task.training_step(batch, 0), expected)


def test_structures_teach_the_encoder_where_the_organs_alone_say_nothing(task, batch):
    task.loss.forward = lambda logits, *_: 0 * logits.sum()
    task.training_step(batch, 0).backward()
    assert task.network.encoder[0].conv1.weight.grad.abs().sum() > 0
    assert not task.network.decoder[0].conv1.weight.grad.any()  # only the encoder learns from structures
    task._trainer = SimpleNamespace(estimated_stepping_batches=10)
    groups = task.configure_optimizers()["optimizer"].param_groups
    optimised = {id(parameter) for group in groups for parameter in group["params"]}
    assert {id(parameter) for parameter in task.structure_heads.parameters()} <= optimised


def test_the_network_is_that_of_a_run_without_structures(task, batch):
    plain = SegmentationTask(organs=["a"], widths=WIDTHS)
    assert task.network.state_dict().keys() == plain.network.state_dict().keys()
    plain.log = lambda *_, **__: None
    plain.network.load_state_dict(task.network.state_dict())
    image, target = batch
    for module in (task.eval(), plain.eval()):
        module._counts = torch.zeros(4, 1)
    found, expected = (module.validation_step((image, target[:, :1]), 0) for module in (task, plain))
    assert torch.equal(found["prediction"], expected["prediction"])


def test_data_without_structures_are_refused(task, batch):
    image, target = batch
    with pytest.raises(ValueError, match="needs synthetic CT whose data.structures is true"):
        task.training_step((image, target[:, :1]), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "monai.VNet"}, "structure_weight needs AttentionUNet or UNet"),
        ({"widths": [2, 4]}, "at least three scales"),
        ({"structure_weight": -1.0}, "structure_weight must not be negative, got -1.0"),
        ({"structure_weight": float("nan")}, "structure_weight must not be negative, got nan"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SegmentationTask(**{"organs": ["a"], "structure_weight": 0.3} | options)


def test_groups_are_disjoint_and_keep_the_organs_apart():
    names = [name for group in AUXILIARY_GROUPS for name in group]
    assert len(names) == len(set(names))
    assert set(names) <= set(STRUCTURES)
    assert set(TARGET_OF_STRUCTURE) <= {group[0] for group in AUXILIARY_GROUPS if len(group) == 1}
    table = auxiliary_table()
    assert table[0] == table[255] == 0
    assert table[number_of("duodenum")] == AUXILIARY_GROUPS.index(("duodenum",)) + 1
    assert table[number_of("rib_left_3")] == table[number_of("vertebrae_L1")] == len(AUXILIARY_GROUPS)
