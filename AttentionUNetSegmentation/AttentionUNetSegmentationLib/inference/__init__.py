"""The network, and the ways to run it: one pass, slabs or tiles, with PyTorch or OpenVINO."""
