"""FloatRange: a pair of floats, the lower first."""

from .pack import parameterPack


@parameterPack
class FloatRange:
    """Two floats; raises ValueError if the minimum is above the maximum."""

    _minimum: float
    _maximum: float

    def __init__(self, minimum: float = 0.0, maximum: float = 0.0):
        self.setRange(minimum, maximum)

    @property
    def minimum(self) -> float:
        return self._minimum

    @minimum.setter
    def minimum(self, value: float) -> None:
        self.setRange(value, self._maximum)

    @property
    def maximum(self) -> float:
        return self._maximum

    @maximum.setter
    def maximum(self, value: float) -> None:
        self.setRange(self._minimum, value)

    def setRange(self, minimum: float, maximum: float) -> None:
        if minimum > maximum:
            raise ValueError(f"minimum must not be above maximum, got {minimum} and {maximum}")
        self._minimum = minimum
        self._maximum = maximum

    def __repr__(self) -> str:
        return f"FloatRange(minimum={self._minimum}, maximum={self._maximum})"

    __str__ = __repr__
