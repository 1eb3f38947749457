"""The module's self-tests, which ship with it and run in 3D Slicer; PyTorch takes the network's place in some."""
