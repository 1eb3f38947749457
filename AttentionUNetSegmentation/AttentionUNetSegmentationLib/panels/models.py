"""The panel's choice of model: what there is, what it was trained on and scored, adding and removing."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from ..models.description import SPEC_FILE
from ..models.loading import add_model
from ..models.store import InstalledModel, list_models, remove_model, user_model_folder

LINE_LENGTH = 80  # characters that fit into a line of the panel


class ModelPanel:
    """Lists the installed models; the chosen one is kept in the parameter node.

    Args:
        ui: The widgets of the .ui file.
        parameters: Gives the parameter node, or None while there is none.
        guarded: Runs a function, and shows its error if it fails.
    """

    def __init__(self, ui: Any, parameters: Callable[[], Any], guarded: Callable[[Callable[[], None]], None]) -> None:
        self._ui, self._parameters = ui, parameters
        self._filling = False
        self._models: list[InstalledModel] = []
        ui.modelSelector.connect("currentIndexChanged(int)", self._on_index)
        ui.modelDetailsButton.connect("toggled(bool)", self._describe)
        ui.addModelButton.connect("clicked(bool)", lambda: guarded(self.add))
        ui.removeModelButton.connect("clicked(bool)", lambda: guarded(self.remove))

    @property
    def chosen(self) -> InstalledModel | None:
        """The model that is chosen; None if there is none."""
        index = self._ui.modelSelector.currentIndex
        return self._models[index] if 0 <= index < len(self._models) else None

    def refresh(self, name: str = "") -> None:
        """List the models again and choose one by name, else the parameters' one, else the first usable.

        A model that a scene names and that is not installed is listed as well, so that no other one takes its place.
        """
        parameters = self._parameters()
        remembered = parameters.model if parameters is not None else ""
        self._models = list_models()
        if remembered and remembered not in [entry.name for entry in self._models]:
            problem = f"The model {remembered!r} is not installed; add it, or choose another."
            self._models.append(InstalledModel(remembered, user_model_folder() / remembered, False, None, problem))
        names = [entry.name for entry in self._models]
        usable = [entry.name for entry in self._models if entry.spec is not None]
        wanted = next((each for each in (name, remembered, *usable, *names) if each in names), "")
        self._filling = True
        self._ui.modelSelector.clear()
        self._ui.modelSelector.addItems([self._label(entry) for entry in self._models])
        if wanted:
            self._ui.modelSelector.setCurrentIndex(names.index(wanted))
        self._filling = False
        self._on_index(self._ui.modelSelector.currentIndex)

    def add(self) -> None:
        """Ask for a zip, or for the model.json of a folder, and copy that model into the user's folder.

        Raises:
            ModelError: If it cannot be used; the message names the file.
        """
        if slicer.app.testingEnabled():
            self._ui.statusLabel.setText("Testing mode opens no file dialog; no model was added.")
            return
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), "Add model", "", f"Model (*.zip {SPEC_FILE});;All files (*)"
        )
        if not path:
            return
        source = Path(path).parent if Path(path).name == SPEC_FILE else Path(path)
        self.refresh(add_model(source).name)

    def remove(self) -> None:
        """Ask, then delete the chosen model from the user's folder; models of the package stay.

        Raises:
            ModelError: If it belongs to the package, or is gone.
        """
        entry = self.chosen
        if entry is None or entry.packaged:
            return
        if slicer.util.confirmOkCancelDisplay(f"Delete the model {entry.name!r} in {entry.folder}?"):
            remove_model(entry.name)
            self._parameters().model = ""
            self.refresh()

    @staticmethod
    def _label(entry: InstalledModel) -> str:
        return f"{entry.name} {entry.spec.version}: {entry.spec.title}" if entry.spec else f"{entry.name} (unusable)"

    def _on_index(self, index: int) -> None:
        if self._filling:
            return
        entry, parameters = self.chosen, self._parameters()
        self._ui.removeModelButton.setEnabled(entry is not None and not entry.packaged and entry.folder.is_dir())
        self._ui.modelDetailsButton.setVisible(entry is not None and entry.spec is not None)
        self._describe(self._ui.modelDetailsButton.checked)
        if entry is not None and parameters is not None and parameters.model != entry.name:
            parameters.model = entry.name

    def _describe(self, in_detail: bool) -> None:
        self._ui.modelInfoLabel.setText(_description(self.chosen, in_detail))


def _description(entry: InstalledModel | None, in_detail: bool) -> str:
    """What a model is for, in a line; in detail also what it was trained on, its licence, and what it scored."""
    if entry is None:
        return "There is no model; add one."
    if entry.spec is None:
        return entry.problem
    spec = entry.spec
    if not in_detail:
        return textwrap.shorten(spec.intended_use, LINE_LENGTH, placeholder=" ...")
    return f"Trained on {spec.origin()}. Measured: {spec.quality()}. Licence: {spec.licence}. {spec.intended_use}"
