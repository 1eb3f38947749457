"""The module's self-tests, which ship with it and run in 3D Slicer; PyTorch has to be installed, else they fail."""
