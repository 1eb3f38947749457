"""PySide6 reshaped to look to a scripted module as PythonQt looks in 3D Slicer.

The classes of PySide6 are changed in place, for the whole process: hence one host per process.
"""
