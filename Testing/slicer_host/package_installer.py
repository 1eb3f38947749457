"""`slicer.packaging`: checks for Python packages, and never installs one."""

import importlib.metadata
import logging
from pathlib import Path

import slicer
from packaging.requirements import Requirement

from .messages import record_message


def _as_requirements(requirements) -> list[Requirement]:
    if isinstance(requirements, Requirement):
        return [requirements]
    items = requirements.split() if isinstance(requirements, str) else requirements
    return [item if isinstance(item, Requirement) else Requirement(item) for item in items]


def load_requirements(path: str | Path) -> list[Requirement]:
    """Reads a requirements.txt: one requirement a line, comments after #."""
    lines = [line.partition("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line]


def pip_check(req, _seen=None) -> bool:
    """Tells whether all requirements are installed in the versions asked for."""
    for requirement in _as_requirements(req):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(version, prereleases=True):
            return False
    return True


def pip_ensure(
    requirements,
    constraints=None,
    skip_packages=None,
    prompt_install=True,
    prompt_restart=True,
    requester=None,
    skip_in_testing=True,
    show_progress=True,
) -> None:
    """Installs nothing: in testing mode it goes on silently, as 3D Slicer does; else it asks, then raises.

    Raises:
        RuntimeError: something is missing, outside testing mode; also when the user declines.
    """
    missing = [str(item) for item in _as_requirements(requirements) if not pip_check(item)]
    if not missing:
        return
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info("Testing mode: not installing %s", missing)
        return
    if prompt_install and not slicer.util.confirmOkCancelDisplay(f"Install {', '.join(missing)}?", requester):
        raise RuntimeError("User declined package installation")
    pip_install(missing)


def pip_install(requirements, *args, **kwargs) -> None:
    """Records a message of kind "install" and raises RuntimeError: the host installs nothing."""
    text = requirements if isinstance(requirements, str) else " ".join(map(str, requirements))
    record_message("install", text)
    raise RuntimeError(f"the host installs nothing; asked for: {text}")


pip_uninstall = pip_install
