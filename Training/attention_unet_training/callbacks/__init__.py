"""What happens beside training: the learning curve, checkpoints, figures of a fixed validation case."""

from .attention_figures import AttentionFigures
from .half_weights import HalfWeights
from .kept_epochs import KeptEpochs
from .late_average import LateAverage
from .learning_curve import CheckpointBeforeValidation, LearningCurve

__all__ = [
    "AttentionFigures",
    "CheckpointBeforeValidation",
    "HalfWeights",
    "KeptEpochs",
    "LateAverage",
    "LearningCurve",
]
