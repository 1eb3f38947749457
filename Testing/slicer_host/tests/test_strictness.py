"""What 3D Slicer refuses, the host refuses: unknown widgets, properties, signals, attributes."""

from pathlib import Path

import pytest


def test_names_of_slicer_util_are_not_in_slicer(slicer):
    assert not hasattr(slicer, "getNode")
    assert not hasattr(slicer, "arrayFromVolume")
    assert callable(slicer.util.getNode)


def test_an_unknown_widget_class_in_a_ui_file_raises(slicer, tmp_path):
    path = write_ui(tmp_path, '<widget class="ctkNoSuchWidget" name="odd"/>')
    with pytest.raises(RuntimeError, match="'odd' is of class ctkNoSuchWidget"):
        slicer.util.loadUI(path)


@pytest.mark.parametrize("class_name", ["QPushButton", "ctkSliderWidget"])
def test_an_unknown_property_in_a_ui_file_raises(slicer, tmp_path, class_name):
    odd = f'<widget class="{class_name}" name="w"><property name="colour"><string>red</string></property></widget>'
    with pytest.raises(RuntimeError, match="colour"):
        slicer.util.loadUI(write_ui(tmp_path, odd))


def test_an_unknown_signal_in_a_ui_file_raises(slicer, tmp_path):
    link = "<sender>w</sender><signal>pressd()</signal><receiver>w</receiver><slot>click()</slot>"
    body = f"</layout></widget><connections><connection>{link}</connection></connections><widget><layout>"
    text = write_ui(tmp_path, '<item><widget class="QPushButton" name="w"/></item>' + body)
    Path(text).write_text(Path(text).read_text().replace("<widget><layout></layout></widget>", ""))
    with pytest.raises(ValueError, match="no signal 'pressd\\(\\)'"):
        slicer.util.loadUI(text)


def write_ui(folder: Path, content: str) -> str:
    if content.startswith("<widget"):
        content = f"<item>{content}</item>"
    path = folder / "test.ui"
    path.write_text(
        '<ui version="4.0"><widget class="QWidget" name="top"><layout class="QVBoxLayout">'
        f"{content}</layout></widget></ui>"
    )
    return str(path)


@pytest.mark.parametrize("signature", ["clickd(bool)", "clicked(QString)", "valueChanged(int)"])
def test_connecting_an_unknown_signal_raises(qt, signature):
    with pytest.raises(ValueError, match="has no signal"):
        qt.QPushButton().connect(signature, print)


def test_an_unknown_signal_of_a_stand_in_raises(slicer):
    with pytest.raises(ValueError, match="has no signal"):
        slicer.qMRMLNodeComboBox().connect("currentNodeChanged(vtkMRMLScene*)", print)


def test_unknown_attributes_of_plain_objects_raise(slicer, qt):
    import ctk

    of_qt = (qt.QPushButton(), qt.QTimer(), qt.QTableWidgetItem(), qt.QColor(), qt.QVBoxLayout())
    for thing in (*of_qt, ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox(), slicer.app):
        with pytest.raises(AttributeError):
            thing.tooltip = "x"
        with pytest.raises(AttributeError):
            _ = thing.tooltip
        with pytest.raises(AttributeError):
            thing._mine = 1
    with pytest.raises(AttributeError):
        slicer.qMRMLNodeComboBox().currentNode = None


def test_a_class_derived_in_python_may_hold_attributes(qt):
    class Panel(qt.QWidget):
        pass

    panel = Panel()
    panel.anything = 3
    assert panel.anything == 3


def test_properties_are_attributes_and_setters_work_too(qt):
    button = qt.QPushButton("Go")
    assert button.text == "Go"
    button.text = "Stop"
    assert button.text == "Stop"
    button.setText("On")
    assert button.text == "On"
    button.enabled = False
    assert (button.enabled, button.isEnabled()) == (False, False)
    button.objectName = "b"
    assert (button.name, button.className()) == ("b", "QPushButton")
    with pytest.raises(AttributeError, match="not writable"):
        button.width = 3
    assert isinstance(button.sizeHint.width(), int)
    timer = qt.QTimer()
    timer.singleShot = True
    assert timer.singleShot is True


def test_enums_are_ints(qt):
    assert qt.QMessageBox.Yes == 16384
    assert qt.Qt.Checked == 2
    assert qt.QMessageBox.Ok | qt.QMessageBox.Cancel == 0x400 | 0x400000


def test_slots_get_as_many_arguments_as_they_take(qt):
    button, heard = qt.QPushButton(), []
    button.checkable = True
    button.connect("clicked(bool)", heard.append)
    button.connect("clicked(bool)", lambda: heard.append("none"))
    button.connect("clicked()", lambda checked="default": heard.append(checked))
    button.click()
    assert heard == [True, "none", "default"]


def test_disconnecting_tells_whether_there_was_a_connection(qt):
    button, heard = qt.QPushButton(), []
    button.connect("clicked()", heard.clear)
    assert button.disconnect("clicked()", heard.clear) is True
    assert button.disconnect("clicked()", heard.clear) is False
