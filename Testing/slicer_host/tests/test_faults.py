"""What 3D Slicer would only print fails the test."""

import re
import threading

import pytest

import slicer_host


def fail(*_):
    raise ZeroDivisionError("in the dark")


def in_slot(slicer, qt):
    button = qt.QPushButton()
    button.connect("clicked()", fail)
    button.click()


def in_direct_connection(slicer, qt):
    button = qt.QPushButton()
    button.clicked.connect(fail)
    button.click()


def in_timer(slicer, qt):
    qt.QTimer.singleShot(0, fail)
    slicer_host.process_events(0.02)


def in_timer_object(slicer, qt):
    timer = qt.QTimer()
    timer.singleShot = True
    timer.connect("timeout()", fail)
    timer.start(0)
    slicer_host.process_events(0.02)


def in_observer(slicer, qt):
    node = slicer.vtkMRMLTextNode()
    node.AddObserver("ModifiedEvent", fail)
    node.Modified()


def in_thread(slicer, qt):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


@pytest.mark.parametrize("where", [in_slot, in_direct_connection, in_timer, in_timer_object, in_observer, in_thread])
def test_an_exception_that_nobody_catches_fails_the_check(slicer, qt, where):
    where(slicer, qt)
    with pytest.raises(slicer_host.HostFault, match="in the dark"):
        slicer_host.check()
    slicer_host.check()


def test_touching_the_scene_from_a_thread_is_a_fault(slicer):
    def add():
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "stray")

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    with pytest.raises(slicer_host.HostFault, match=f"stray added in thread '{re.escape(thread.name)}': MRML"):
        slicer_host.check()


def test_a_qt_warning_about_wrong_use_is_a_fault(slicer, qt):
    qt.QObject().startTimer(-5)
    with pytest.raises(slicer_host.HostFault, match="negative intervals"):
        slicer_host.check()


def test_installing_an_extension_with_a_restart_is_a_fault(slicer, qt):
    manager = slicer.app.extensionsManagerModel()
    assert manager.installExtensionFromServer("PyTorch", False) is False
    slicer_host.check()
    manager.installExtensionFromServer("PyTorch")
    with pytest.raises(slicer_host.HostFault, match="quits 3D Slicer"):
        slicer_host.check()
