"""The training loss against hand-computed values and MONAI's."""

import pytest
import torch
from monai.losses import DiceCELoss

from attention_unet_training.preparation.records import IGNORED
from attention_unet_training.task.losses import SegmentationLoss, merge_unlabelled


@pytest.fixture
def example():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, 7, requires_grad=True)
    target = torch.randint(0, 4, (2, 1, 5, 6, 7))
    return logits, target


def one_voxel(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log().view(1, -1, 1, 1, 1)


def test_dice_by_hand_counts_background_and_averages_samples_and_classes():
    """Two voxels: p = (.75, .25) where class 0 is true, (.5, .5) where class 1 is."""
    logits = torch.tensor([[0.75, 0.5], [0.25, 0.5]]).log().view(1, 2, 1, 1, 2)
    target = torch.tensor([0, 1]).view(1, 1, 1, 1, 2)
    background, organ = 2 * 0.75 / (1.25 + 1), 2 * 0.5 / (0.75 + 1)
    loss = SegmentationLoss("dice", [1, 1], smooth=1e-9)
    assert loss(logits, target).item() == pytest.approx(1 - (background + organ) / 2)
    both = loss(torch.cat([logits, logits.flip(-1)]), torch.cat([target, target]))
    flipped = 1 - (2 * 0.5 / (1.25 + 1) + 2 * 0.25 / (0.75 + 1)) / 2
    assert both.item() == pytest.approx((1 - (background + organ) / 2 + flipped) / 2)


def test_dice_ce_is_monais_over_the_batch(example):
    weights = [0.5, 2.0, 1.0, 1.0]
    options = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True, "lambda_ce": 0.7}
    reference = DiceCELoss(weight=torch.tensor(weights), smooth_nr=50, smooth_dr=50, **options)
    loss = SegmentationLoss("dice_ce", weights, smooth=50, cross_entropy=0.7)
    torch.testing.assert_close(loss(*example), reference(*example))
    everything = torch.ones(2, 4, dtype=torch.bool)
    torch.testing.assert_close(loss(*example, everything), reference(*example))


def test_an_unlabelled_organs_probability_counts_as_background():
    """Sample labels class 1 only; class 2's 0.5 joins background's 0.2."""
    merged = merge_unlabelled(one_voxel(0.2, 0.3, 0.5), torch.tensor([[True, True, False]])).exp()
    assert merged.flatten().tolist() == pytest.approx([0.7, 0.3, 0.0])


@pytest.mark.parametrize("kind", ["dice", "dice_ce"])
def test_predicting_an_unlabelled_organ_instead_of_background_costs_nothing(kind):
    loss = SegmentationLoss(kind, [1, 1, 1], smooth=1e-6)
    labelled = torch.tensor([[True, True, False]])
    target = torch.tensor([0, 1]).view(1, 1, 1, 1, 2)
    spleen_there = torch.tensor([[-9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]).view(1, 3, 1, 1, 2)
    assert loss(spleen_there, target, labelled).item() == pytest.approx(0, abs=1e-4)
    assert loss(spleen_there, target).item() > 0.3


@pytest.mark.parametrize("kind", ["dice", "dice_ce"])
def test_samples_that_do_not_label_an_organ_do_not_change_its_term(kind, example):
    """A batch of a full and a partial sample: the partial one's other organs are as if they were not there."""
    logits, target = example
    labelled = torch.tensor([[True] * 4, [True, True, False, False]])
    loss = SegmentationLoss(kind, [1] * 4, smooth=1.0)
    loss(logits, target, labelled).backward()
    assert torch.isfinite(logits.grad).all()
    moved = logits.detach().clone()
    moved[1, 2], moved[1, 3] = logits[1, 3], logits[1, 2]  # which unlabelled organ it is does not matter
    torch.testing.assert_close(loss(moved, target, labelled), loss(logits, target, labelled).detach())


def test_labels_of_organs_that_are_not_labelled_are_background(example):
    logits, target = example
    labelled = torch.tensor([[True, True, False, True]]).expand(2, -1)
    loss = SegmentationLoss("dice", [1] * 4, smooth=1.0)
    without = target.masked_fill(target == 2, 0)
    torch.testing.assert_close(loss(logits, target, labelled), loss(logits, without, labelled))


def test_the_loss_of_a_sample_does_not_depend_on_its_batch(example):
    logits, target = example
    loss = SegmentationLoss("dice", [1] * 4, smooth=0.01)
    single = [loss(logits[n : n + 1], target[n : n + 1]) for n in range(2)]
    torch.testing.assert_close(loss(logits, target), sum(single) / 2)


def test_unknown_losses_are_refused():
    with pytest.raises(ValueError, match="loss must be one of dice, dice_ce, got 'focal'"):
        SegmentationLoss("focal", [1, 1], 1.0)


@pytest.mark.parametrize("kind", ["dice", "dice_ce"])
def test_ignored_voxels_weigh_nothing(kind, example):
    """The loss of a volume whose second half nobody judged is that of its first half."""
    logits, target = example
    loss = SegmentationLoss(kind, [0.5, 2, 1, 1], smooth=1.0)
    half = target.clone()
    half[:, :, 3:] = IGNORED
    torch.testing.assert_close(loss(logits, half), loss(logits[:, :, :3], target[:, :, :3]))
    (gradient,) = torch.autograd.grad(loss(logits, half), logits)
    assert not gradient[:, :, 3:].any()
    assert gradient[:, :, :3].any()
    some = torch.tensor([[True, True, False, True]] * 2)
    torch.testing.assert_close(loss(logits, half, some), loss(logits[:, :, :3], target[:, :, :3], some))


@pytest.mark.parametrize("kind", ["dice", "dice_ce"])
def test_a_patch_that_nobody_judged_has_no_loss(kind, example):
    logits, target = example
    loss = SegmentationLoss(kind, [1, 1, 1, 1], smooth=1.0)(logits, torch.full_like(target, IGNORED))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(0)
    assert not gradient.any()
