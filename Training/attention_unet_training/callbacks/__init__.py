"""What happens beside training: figures of a fixed validation case, checkpoints of chosen epochs."""

from .attention_figures import AttentionFigures
from .kept_epochs import KeptEpochs

__all__ = ["AttentionFigures", "KeptEpochs"]
