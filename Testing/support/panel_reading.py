"""What the module's panel shows, read as a user reads it, and the version of the model that comes with it."""

import json

import slicer_host
from AttentionUNetSegmentationLib.models.description import SPEC_FILE
from AttentionUNetSegmentationLib.models.store import PACKAGED_MODELS


def model_version():
    """Version of the bundled model, as its file states it."""
    return json.loads((PACKAGED_MODELS / "abdomen-ct" / SPEC_FILE).read_text(encoding="utf-8"))["version"]


def gates(widget):
    return [widget.ui.gateSelector.itemText(n) for n in range(widget.ui.gateSelector.count)]


def cells(widget, column):
    table = widget.ui.organTable
    return [table.item(row, column).text() for row in range(table.rowCount)]


def errors():
    return [message.text for message in slicer_host.shown_messages("error")]
