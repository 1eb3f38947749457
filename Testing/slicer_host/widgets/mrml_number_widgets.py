"""qMRML number widgets: CTK's, which know a scene for its units; units are not there."""

from ..pythonqt.binding import QtWidgets
from .range_widget import ctkRangeWidget
from .slider_widget import ctkSliderWidget
from .stand_in import stand_in, stored


class _UnitAware:
    """A scene that is kept; the properties of units are kept too and have no effect."""

    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._scene = scene


@stand_in
@stored(quantity="", unitAwareProperties=0)
class qMRMLSliderWidget(_UnitAware, ctkSliderWidget):
    """ctkSliderWidget."""


@stand_in
@stored(quantity="", unitAwareProperties=0)
class qMRMLRangeWidget(_UnitAware, ctkRangeWidget):
    """ctkRangeWidget."""


@stand_in
@stored(quantity="", unitAwareProperties=0)
class qMRMLSpinBox(_UnitAware, QtWidgets.QDoubleSpinBox):
    """QDoubleSpinBox."""
