"""The training pipeline: data, the paper's experiments, and models that 3D Slicer loads."""
