"""`slicer.parameterNodeWrapper`: typed access to a vtkMRMLScriptedModuleNode, and its binding to widgets.

Field types: bool, int, float, str, pathlib.Path, enum.Enum, FloatRange, MRML node classes, and unions of node classes
or of one of the others with None. What is not here raises when the class is decorated: lists, dictionaries, packs.
"""

from .annotations import Choice, Decimals, Default, Maximum, Minimum, RangeBounds, SingleStep, WithinRange
from .float_range import FloatRange
from .wrapper import parameterNodeWrapper

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "FloatRange",
    "Maximum",
    "Minimum",
    "RangeBounds",
    "SingleStep",
    "WithinRange",
    "parameterNodeWrapper",
]
