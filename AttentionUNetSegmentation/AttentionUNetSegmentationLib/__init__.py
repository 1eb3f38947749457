"""The engine: a CT in, organs and attention maps out, with the 3D Attention U-Net of Oktay et al. 2018."""

__version__ = "0.1.0"
