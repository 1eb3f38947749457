"""Where models are found: in the package, and in the user's model folder, to which they are added.

Nothing here needs PyTorch, so that models can be listed before it is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..atomic import SCRATCH
from ..errors import one_sentence
from .description import SPEC_FILE, ModelError, ModelSpec

PACKAGED_MODELS = Path(__file__).parent
MODEL_FOLDER_VARIABLE = "ATTENTION_UNET_MODELS"
MAX_SPEC_BYTES = 16 << 20  # names of tens of thousands of cases of training
MAX_RATIO = 20  # weights hardly become smaller in a zip; one that unpacks to more is refused
# What zipfile raises for damaged, encrypted and unsupported zips.
_ZIP_ERRORS: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    UnicodeDecodeError,
    NotImplementedError,
    RuntimeError,
    OSError,
)
with suppress(ImportError):  # a Python may have been built without LZMA
    import lzma

    _ZIP_ERRORS += (lzma.LZMAError,)


@dataclass(frozen=True)
class InstalledModel:
    """A model folder that was found: readable, or with the reason why not."""

    name: str
    folder: Path
    packaged: bool
    spec: ModelSpec | None
    problem: str = ""


def user_model_folder() -> Path:
    """The user's folder for added models: $ATTENTION_UNET_MODELS, or the platform's place for application data."""
    if os.environ.get(MODEL_FOLDER_VARIABLE):
        return Path(os.environ[MODEL_FOLDER_VARIABLE]).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "attention-unet" / "models"


def read_spec(folder: Path) -> ModelSpec:
    """Read and validate ``model.json``.

    Raises:
        ModelError: If it is missing or invalid.
    """
    path = Path(folder) / SPEC_FILE
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise ValueError(f"it has more than {MAX_SPEC_BYTES} bytes")
        return ModelSpec.from_json(path.read_text(encoding="utf-8-sig"))  # Windows editors write a mark at its start
    except FileNotFoundError:
        raise ModelError(f"{folder} is not a model: it has no {SPEC_FILE}") from None
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} cannot be used: {one_sentence(error)[:300]}") from error


def list_models() -> list[InstalledModel]:
    """All models in the package and the user's folder; the user's come first where names collide."""
    found: dict[str, InstalledModel] = {}
    for base, packaged in ((user_model_folder(), False), (PACKAGED_MODELS, True)):
        for path in sorted(base.glob(f"*/{SPEC_FILE}")):
            if path.parent.name.startswith("."):
                continue
            try:
                entry = InstalledModel(path.parent.name, path.parent, packaged, read_spec(path.parent))
            except ModelError as error:
                entry = InstalledModel(path.parent.name, path.parent, packaged, None, one_sentence(error))
            found.setdefault(entry.name, entry)
    return sorted(found.values(), key=lambda entry: (not entry.packaged, entry.name))


def find_model(name_or_path: str | Path) -> Path:
    """The folder (or zip) of a model given by name or by path.

    Raises:
        ModelError: If there is none; the message lists what there is.
    """
    for entry in list_models():
        if entry.name == str(name_or_path):
            return entry.folder
    path = Path(name_or_path).expanduser()
    if os.path.exists(path):  # Path.exists fails for names that are too long
        return path
    if len(path.parts) > 1:
        raise ModelError(f"there is no model at {path}")
    names = ", ".join(entry.name for entry in list_models()) or "none"
    raise ModelError(f"there is no model {str(name_or_path)!r}; available: {names}")


def remove_model(name: str) -> Path:
    """Delete a model from the user's folder; packaged models cannot be removed.

    Raises:
        ModelError: If there is no such model, it belongs to the package, or the system refuses.
    """
    for entry in list_models():
        if entry.name == name:
            if entry.packaged:
                raise ModelError(f"the model {name!r} belongs to the package and cannot be removed")
            try:
                _delete(entry.folder)
            except OSError as error:
                raise ModelError(f"{entry.folder} cannot be removed: {one_sentence(error)}") from error
            return entry.folder
    raise ModelError(f"there is no model {name!r} in {user_model_folder()}")


def _delete(folder: Path) -> None:
    if folder.is_symlink():  # the model itself lies elsewhere, and stays
        folder.unlink()
        return
    # The name is free at once: what is left of a folder that cannot be deleted, or not yet, is hidden, and no model.
    hidden = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
    try:
        os.replace(folder, hidden / folder.name)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    if hidden.exists():
        raise ModelError(f"the model is removed, but {hidden} is left of it: delete it")


@contextmanager
def unpacked_model(archive: Path) -> Iterator[Path]:
    """The model folder inside a zip, unpacked for a while; only the two expected files are taken out.

    Raises:
        ModelError: If the zip is damaged or holds no model; the message names the zip.
    """
    with tempfile.TemporaryDirectory(prefix="attention-unet-") as scratch:
        try:
            _unpack(archive, Path(scratch))
        except _ZIP_ERRORS as error:
            raise ModelError(f"{archive} is not a readable zip: {one_sentence(error)}") from error
        try:
            yield Path(scratch)
        except ModelError as error:
            raise ModelError(str(error).replace(scratch, str(archive))) from error


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        # older tools of Windows write its separators
        entries = [(entry.filename.replace("\\", "/"), entry) for entry in opened.infolist()]
        specs = [(name, entry) for name, entry in entries if PurePosixPath(name).name == SPEC_FILE]
        if len(specs) != 1:
            raise ModelError(f"{archive} needs exactly one {SPEC_FILE} inside, found {len(specs)}")
        inner = specs[0][0].removesuffix(SPEC_FILE)
        _extract(opened, specs[0][1], folder / SPEC_FILE)
        try:
            weights = read_spec(folder).weights.file
        except ModelError as error:
            raise ModelError(str(error).replace(str(folder), str(archive))) from error
        if found := dict(entries).get(inner + weights):
            _extract(opened, found, folder / weights)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    if entry.file_size > MAX_SPEC_BYTES + MAX_RATIO * entry.compress_size:
        raise ModelError(f"{archive.filename} holds {entry.filename}, which would unpack to {entry.file_size} bytes")
    with archive.open(entry) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
