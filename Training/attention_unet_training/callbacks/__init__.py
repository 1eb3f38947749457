"""What happens beside training: the learning curve, checkpoints, figures of a fixed validation case."""

from .attention_figures import AttentionFigures
from .learning_curve import CheckpointBeforeValidation, LearningCurve

__all__ = ["AttentionFigures", "CheckpointBeforeValidation", "LearningCurve"]
