"""`slicer.parameterNodeWrapper`: typed access to a vtkMRMLScriptedModuleNode, and its binding to widgets.

Field types: bool, int, float, str, the classes of pathlib, enumerations, MRML node classes, FloatRange, classes made by
`@parameterPack`, lists, tuples, dictionaries and unions of these, and types for which an extension has a serializer.
What is not here raises when the class is decorated: typing.Any, qt.QColor. Widgets are not made from types (createGui).
"""

from .annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    RangeBounds,
    SingleStep,
    Validator,
    WithinRange,
)
from .containers import DictSerializer, ListSerializer, TupleSerializer
from .float_range import FloatRange
from .gui_binding import SlicerPackParameterNamePropertyName
from .pack import isParameterPack, nestedParameterNames, parameterPack
from .serializers import Serializer, ValidatedSerializer, parameterNodeSerializer
from .values import (
    BoolSerializer,
    NodeSerializer,
    NumberSerializer,
    PathSerializer,
    StringSerializer,
    UnionSerializer,
)
from .wrapper import SlicerParameterNamePropertyName, isParameterNodeWrapper, parameterNodeWrapper

__all__ = [
    "BoolSerializer",
    "Choice",
    "Decimals",
    "Default",
    "DictSerializer",
    "Exclude",
    "FloatRange",
    "IsInstance",
    "ListSerializer",
    "Maximum",
    "Minimum",
    "NodeSerializer",
    "NotNone",
    "NumberSerializer",
    "PathSerializer",
    "RangeBounds",
    "Serializer",
    "SingleStep",
    "SlicerPackParameterNamePropertyName",
    "SlicerParameterNamePropertyName",
    "StringSerializer",
    "TupleSerializer",
    "UnionSerializer",
    "ValidatedSerializer",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "isParameterPack",
    "nestedParameterNames",
    "parameterNodeSerializer",
    "parameterNodeWrapper",
    "parameterPack",
]
