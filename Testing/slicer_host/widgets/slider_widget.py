"""ctkSliderWidget: a slider and a spin box that show one float."""

from ..pythonqt.binding import QtCore, QtWidgets
from .stand_in import forwarded, stand_in, stored

_STEPS = 1000


@stand_in
@stored(pageStep=10.0)
@forwarded("_box", "value", "minimum", "maximum", "singleStep", "decimals")
class ctkSliderWidget(QtWidgets.QWidget):
    """Number field, and a slider that shows its value; rounded to `decimals`, between `minimum` and `maximum`."""

    valueChanged = QtCore.Signal(float)
    _box = None
    _slider = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, _STEPS)
        self._box = QtWidgets.QDoubleSpinBox(self)
        self._box.setRange(0.0, 99.0)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(lambda value: self._on_value(value))

    def setRange(self, minimum: float, maximum: float) -> None:
        self._box.setRange(minimum, maximum)
        self._show_value()

    def _on_value(self, value: float) -> None:
        self._show_value()
        self.valueChanged.emit(value)

    def _show_value(self) -> None:
        extent = self.maximum - self.minimum
        self._slider.setValue(round(_STEPS * (self.value - self.minimum) / extent) if extent > 0 else 0)
