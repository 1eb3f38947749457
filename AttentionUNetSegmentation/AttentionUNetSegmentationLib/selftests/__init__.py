"""The module's self-tests, which ship with it and run in 3D Slicer; they need PyTorch for what takes the network's place."""
