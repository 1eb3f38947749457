"""MRML: the scene's nodes to volumes and results to nodes. Needs slicer and vtk, never Qt."""
