"""ctkRangeWidget: two float values, the lower never above the upper."""

from ..pythonqt.binding import QtCore, QtGui, QtWidgets
from .stand_in import stand_in, stored


@stand_in
@stored(singleStep=1.0, decimals=2, minimum=0.0, maximum=99.0)
class ctkRangeWidget(QtWidgets.QWidget):
    """Two number fields and a bar between them, which show the range; only code changes it."""

    valuesChanged = QtCore.Signal(float, float)
    _boxes = ()
    _bar = None
    _values = (0.0, 99.0)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._boxes = (QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self))
        self._bar = _RangeBar(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part, stretch in ((self._boxes[0], 0), (self._bar, 1), (self._boxes[1], 0)):
            layout.addWidget(part, stretch)
        self._property_changed("decimals")

    minimumValue = property(lambda self: self._values[0], lambda self, value: self.setMinimumValue(value))
    maximumValue = property(lambda self: self._values[1], lambda self, value: self.setMaximumValue(value))

    def setMinimumValue(self, value: float) -> None:
        self.setValues(value, max(value, self._values[1]))

    def setMaximumValue(self, value: float) -> None:
        self.setValues(min(value, self._values[0]), value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = min(minimum, maximum), max(minimum, maximum)
        self._property_changed("minimum")

    def setValues(self, lower: float, upper: float) -> None:
        """Sets both values, in either order; clipped to the range and rounded to `decimals`."""
        new = tuple(
            round(min(max(float(value), self._minimum), self._maximum), self._decimals)
            for value in sorted((lower, upper))
        )
        old, self._values = self._values, new
        self._show()
        if new != old:
            self.valuesChanged.emit(*new)

    def _show(self) -> None:
        for box, value in zip(self._boxes, self._values, strict=True):
            box.setValue(value)
        self._bar.update()

    def _property_changed(self, name: str) -> None:
        for box in self._boxes:
            box.setDecimals(self._decimals)
            box.setSingleStep(self._singleStep)
            box.setRange(self._minimum, self._maximum)
        self.setValues(*self._values)


class _RangeBar(QtWidgets.QWidget):
    """The chosen part of the range, drawn as a bar."""

    def paintEvent(self, event) -> None:
        owner = self.parent()
        painter = QtGui.QPainter(self)
        groove = QtCore.QRectF(4, self.height / 2 - 2, self.width - 8, 4)
        painter.fillRect(groove, self.palette.color(QtGui.QPalette.ColorRole.Mid))
        extent = (owner.maximum - owner.minimum) or 1.0
        left, right = ((value - owner.minimum) / extent for value in (owner.minimumValue, owner.maximumValue))
        chosen = QtCore.QRectF(groove.x() + left * groove.width(), groove.y() - 3, (right - left) * groove.width(), 10)
        painter.fillRect(chosen, self.palette.color(QtGui.QPalette.ColorRole.Highlight))
        painter.end()
