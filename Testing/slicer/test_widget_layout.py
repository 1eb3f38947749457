"""How much room the panel takes; measured with Qt's own sizes, which are about those in the application."""

import pytest

import slicer_host
from support.panel_reading import gates

WIDTH = 700


def place(widget, width):
    """Give the panel a width, and the height that it needs, as the application's scroll area does."""
    widget.parent.resize(width, widget.parent.heightForWidth(width))
    widget.parent.show()
    slicer_host.process_events(0.05)


def attention_ends_at(widget, qt):
    section = widget.ui.attentionCollapsibleButton
    return section.mapTo(widget.parent, qt.QPoint(0, section.height)).y()


@pytest.mark.slow
def test_attention_is_visible_without_scrolling_after_a_run(qt, widget, done):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s2-1"))
    place(widget, WIDTH)
    assert widget.parent.width == WIDTH
    assert widget.ui.organTable.rowCount == 4 and widget.ui.warningsLabel.text.count("\u26a0") >= 3
    assert not widget.ui.organTable.verticalScrollBar().isVisible()
    for label in (widget.ui.gateInfoLabel, widget.ui.attentionShareLabel, widget.ui.attentionNoteLabel):
        assert label.height >= label.heightForWidth(label.width)
    assert attention_ends_at(widget, qt) < 760 - 100  # fonts and margins of the application may be larger


def test_the_table_is_as_high_as_its_rows(widget):
    table = widget.ui.organTable
    for count in (4, 7, 3):  # Qt makes no table lower
        table.setRowCount(count)
        place(widget, WIDTH)
        rows = sum(table.rowHeight(row) for row in range(count))
        assert table.viewport().height == pytest.approx(rows, abs=2) and not table.verticalScrollBar().isVisible()
    table.setRowCount(60)
    place(widget, WIDTH)
    assert table.height <= 230  # then it scrolls


def test_no_text_is_cut_at_any_width(widget):
    widget.ui.warningsLabel.setText(
        "\u26a0 spleen: reaches the edge of the field of view, its volume is incomplete " * 2
    )
    widget.ui.warningsLabel.setVisible(True)
    widget.progressPanel.say("there is not enough memory for this volume; choose a region of interest " * 2)
    labels = (widget.ui.modelInfoLabel, widget.ui.statusLabel, widget.ui.warningsLabel, widget.ui.attentionNoteLabel)
    for width in (WIDTH, 480, 900, 460, WIDTH, 480):
        place(widget, width)
        assert widget.parent.width == width
        for label in labels:
            assert label.height >= label.heightForWidth(label.width), (label.objectName, width)


def test_the_models_text_takes_a_line_until_details_are_asked_for(widget):
    info = widget.ui.modelInfoLabel
    assert info.text == "Research on adult abdominal CT. Not for diagnosis or any clinical use."
    place(widget, WIDTH)
    assert info.heightForWidth(info.width) == info.fontMetrics().height()
    widget.ui.modelDetailsButton.click()
    assert "Trained on synthetic CT" in info.text and "Dice" in info.text and "Licence: Apache-2.0" in info.text
    widget.ui.modelDetailsButton.click()
    assert "Dice" not in info.text
