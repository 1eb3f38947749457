"""`slicer.parameterNodeWrapper`: typed access to a vtkMRMLScriptedModuleNode, and its binding to widgets.

Types of parameters: bool, float, str, MRML node classes and FloatRange; any other raises when the class is decorated.
"""

from .annotations import Choice, Default, FloatRange, RangeBounds, WithinRange
from .wrapper import parameterNodeWrapper

__all__ = ["Choice", "Default", "FloatRange", "RangeBounds", "WithinRange", "parameterNodeWrapper"]
