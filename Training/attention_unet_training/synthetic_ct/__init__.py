"""Synthetic CT from label maps: random anatomy, random tissues, random scanner, and the exact target.

anatomies = load_atlas("atlas", cache_folder="cache")
sample = generate(anatomies[0], SyntheticCTConfig(), seed=1, shape_kji=(80, 96, 96))
"""

from .atlas import load_atlas
from .config import SyntheticCTConfig
from .generator import SyntheticSample, generate, generate_full
from .preparation import PreparedAnatomy, prepare_anatomy

__all__ = [
    "PreparedAnatomy",
    "SyntheticCTConfig",
    "SyntheticSample",
    "generate",
    "generate_full",
    "load_atlas",
    "prepare_anatomy",
]
