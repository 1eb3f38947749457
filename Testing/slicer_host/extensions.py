"""The extensions manager and pip, which install nothing here."""

from .faults import record
from .messages import record_message
from .pythonqt.binding import QtCore
from .widgets.stand_in import stand_in, stored


@stand_in
@stored(interactive=True)
class qSlicerExtensionsManagerModel(QtCore.QObject):
    """Every request to install is recorded as a message of kind "install" and fails.

    A request that would make 3D Slicer quit at once is a fault: the user's unsaved scene would be gone.
    """

    def installExtensionFromServer(self, name: str, restart: bool = True, update: bool = False) -> bool:
        """Restarts 3D Slicer by default, without asking where `interactive` is off."""
        if restart:
            record(f"installExtensionFromServer({name!r}, restart=True) quits 3D Slicer, whatever is unsaved")
        record_message("install", name)
        return False


def refuse_packages(requirements) -> None:
    """Stands in for slicer.util.pip_install and pip_uninstall; raises RuntimeError."""
    raise RuntimeError(f"the host installs nothing; asked for: {requirements}")
