"""CTK classes that add little to the Qt class they derive from."""

from ..pythonqt.binding import QtWidgets
from .stand_in import stand_in, stored


@stand_in
@stored(defaultText="")
class ctkComboBox(QtWidgets.QComboBox):
    """QComboBox with a text for the state without selection."""

    def _property_changed(self, name: str) -> None:
        self.setPlaceholderText(self._defaultText)


@stand_in
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """QDoubleSpinBox; its options for the number of decimals are not there."""


@stand_in
class ctkCheckBox(QtWidgets.QCheckBox):
    """QCheckBox; its indicator icon is not there."""


@stand_in
@stored(dontShowAgainSettingsKey="", dontShowAgainVisible=False)
class ctkMessageBox(QtWidgets.QMessageBox):
    """QMessageBox; "don't show again" is accepted and has no effect."""


@stand_in
@stored(collapsed=False, collapsible=False, showDetailsText="", hideDetailsText="")
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """QTextBrowser; it is not fitted to its text, and nothing of the text is hidden when it is collapsed."""
