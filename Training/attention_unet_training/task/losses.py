"""The training loss: Sorensen-Dice over all classes (the paper's), or Dice of the organs with cross-entropy.

Cases in which some organs are not labelled take part: there, such an organ's probability counts as background, since
its voxels are labelled so, and it has no Dice term of its own. Voxels that nobody judged (``IGNORED``) take no part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from monai.networks import one_hot
from torch import Tensor, nn

from ..preparation.records import IGNORED

KINDS = ("dice", "dice_ce")


class SegmentationLoss(nn.Module):
    """Loss of logits against class numbers.

    Args:
        kind: "dice": the mean over the samples and all classes, background included, of 1 - Dice (paper, section 3).
            "dice_ce": 1 - Dice of the organs only, counted over the whole batch, plus cross-entropy.
        class_weights: Weight of every class, background first: in the cross-entropy and of the Dice terms.
        smooth: Added to numerator and denominator of Dice, in voxels.
        cross_entropy: Weight of the cross-entropy in "dice_ce".

    Raises:
        ValueError: If ``kind`` is unknown.
    """

    class_weights: Tensor

    def __init__(self, kind: str, class_weights: Sequence[float], smooth: float, cross_entropy: float = 1.0) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"loss must be one of {', '.join(KINDS)}, got {kind!r}")
        self.whole_batch, self.cross_entropy = kind == "dice_ce", cross_entropy if kind == "dice_ce" else 0.0
        self.first_class = 1 if kind == "dice_ce" else 0
        self.dice = DiceLoss(batch=self.whole_batch, smooth_nr=smooth, smooth_dr=smooth, reduction="none")
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, labelled: Tensor | None = None) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: (N, C, D, H, W).
            target: (N, 1, D, H, W) class numbers; those of organs that are not labelled count as background, voxels of
                value ``IGNORED`` not at all. Where all are ignored the loss is 0.
            labelled: (N, C) bool, which classes each sample labels, background always; None for all.
        """
        log_probability = F.log_softmax(logits.float(), dim=1)
        judged = target != IGNORED
        target = target.masked_fill(~judged, 0)
        if labelled is None:
            labelled = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        else:
            log_probability = merge_unlabelled(log_probability, labelled)
            # a label that the case does not vouch for must not be asked for: its log-probability is minus infinity now
            hidden = ~labelled.gather(1, target.flatten(1)).view_as(target)
            target = target.masked_fill(hidden, 0)
        loss = self._dice_term(log_probability.exp() * judged, target, judged, labelled)
        if self.cross_entropy:
            loss = loss + self.cross_entropy * self._cross_entropy_term(log_probability, target, judged)
        return loss

    def _cross_entropy_term(self, log_probability: Tensor, target: Tensor, judged: Tensor) -> Tensor:
        weight = (self.class_weights[target] * judged).sum()  # 0 if nothing is judged: the mean would be NaN
        wanted = target.masked_fill(~judged, IGNORED)[:, 0]
        total = F.nll_loss(log_probability, wanted, self.class_weights, ignore_index=IGNORED, reduction="sum")
        return total / weight.clamp(min=torch.finfo(weight.dtype).tiny)

    def _dice_term(self, probability: Tensor, target: Tensor, judged: Tensor, labelled: Tensor) -> Tensor:
        reference = one_hot(target, probability.shape[1], dtype=probability.dtype) * judged
        classes = slice(self.first_class, None)
        counted = labelled[:, classes]
        terms = self.dice(probability[:, classes], reference[:, classes])
        terms = terms.view(-1, counted.shape[1])  # (N, classes), or (1, classes) of the whole batch
        if self.whole_batch:
            counted = counted.any(dim=0, keepdim=True)
        # the mean is over what is labelled: terms that nobody could judge would only make the others weigh less
        return (terms * self.class_weights[classes] * counted).sum() / counted.sum().clamp(min=1)


def merge_unlabelled(log_probability: Tensor, labelled: Tensor) -> Tensor:
    """Add the probability of the classes that a sample does not label to its background.

    Args:
        log_probability: (N, C, D, H, W).
        labelled: (N, C) bool.

    Returns:
        (N, C, D, H, W): log-probabilities, minus infinity for the classes that are not labelled.
    """
    shown = labelled[:, :, None, None, None]
    as_background = ~shown
    as_background[:, 0] = True
    nothing = float("-inf")
    background = torch.logsumexp(log_probability.masked_fill(~as_background, nothing), dim=1, keepdim=True)
    return torch.cat([background, log_probability[:, 1:].masked_fill(~shown[:, 1:], nothing)], dim=1)
