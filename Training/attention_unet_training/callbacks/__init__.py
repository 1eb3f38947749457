"""What happens beside training: figures of a fixed validation case after every epoch."""

from .attention_figures import AttentionFigures

__all__ = ["AttentionFigures"]
