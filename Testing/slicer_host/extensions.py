"""The extensions manager: knows no extension and installs none."""

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

    installedExtensions = property(lambda self: [])
    managedExtensions = property(lambda self: [])

    def isExtensionInstalled(self, name: str) -> bool:
        return False

    def isExtensionEnabled(self, name: str) -> bool:
        return False

    def updateExtensionsMetadataFromServer(self, *_) -> bool:
        return False

    def downloadAndInstallExtensionByName(
        self, name: str, installDependencies: bool = True, waitForCompletion: bool = False
    ) -> bool:
        record_message("install", name)
        return False

    def installExtensionFromServer(self, name: str, restart: bool = True, update: bool = False) -> bool:
        """Restarts 3D Slicer by default, without asking where `interactive` is off."""
        if restart:
            record(f"installExtensionFromServer({name!r}, restart=True) quits 3D Slicer, whatever is unsaved")
        return self.downloadAndInstallExtensionByName(name)
