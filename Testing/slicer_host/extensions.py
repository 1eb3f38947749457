"""The extensions manager: knows no extension and installs none."""

from .messages import record_message
from .pythonqt.binding import QtCore
from .widgets.stand_in import stand_in, stored


@stand_in
@stored(interactive=True)
class qSlicerExtensionsManagerModel(QtCore.QObject):
    """Every request to install is recorded as a message of kind "install" and fails."""

    installedExtensions = property(lambda self: [])
    managedExtensions = property(lambda self: [])

    def isExtensionInstalled(self, name: str) -> bool:
        return False

    def isExtensionEnabled(self, name: str) -> bool:
        return False

    def updateExtensionsMetadataFromServer(self, *_) -> bool:
        return False

    def downloadAndInstallExtensionByName(self, name: str, *_) -> bool:
        record_message("install", name)
        return False

    installExtensionFromServer = downloadAndInstallExtensionByName
