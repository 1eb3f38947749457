"""A zip archive that a visitor sends -> DICOM files, or one image file, in a folder: nothing that it says is trusted.

What is unpacked gets names of its own, so that no name from the archive touches the file system. Sizes are counted as
the content comes. Archives within it are not opened.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from ..errors import one_sentence
from ..formats.dicom.headers import is_dicom_file
from .names import SINGLE_ENDINGS, ending_of, last_part, shown

MAX_MEMBERS = 20_000
MAX_LIST_BYTES = 8 << 20  # of the archive's list of members, of which each takes 100 or so
CHUNK_BYTES = 1 << 20
PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)  # kinds of members, as Unix says them; 0 if the archive does not
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others cannot be unpacked piece by piece
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: a member, strongly, with its name
LEFT_OUT = ("__MACOSX", "DICOMDIR")  # what a system adds, and a list of DICOM files that is none itself
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError),
    *(NotImplementedError, RuntimeError, ValueError, IndexError),
)


class _Source(io.FileIO):
    """A file of which zipfile cannot take an endless list of members at once, as it would."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_LIST_BYTES:
            raise zipfile.BadZipFile(f"its list of files takes {size} bytes")
        return super().read(size)


@dataclass
class Unpacking:
    """How an archive is unpacked.

    Attributes:
        name: Of the archive, for messages.
        limit_bytes: The most that it may unpack to.
        check: Called for each piece; an exception that it raises ends the unpacking.
    """

    name: str
    limit_bytes: int
    check: Callable[[], None]

    def __post_init__(self) -> None:
        self._left_bytes = self.limit_bytes

    def unpack(self, source: Path, folder: Path, stem: str) -> Path:
        """Unpack the DICOM files of an archive, or its only image file.

        Args:
            source: The archive.
            folder: Where nothing is called ``stem``.
            stem: What the folder of DICOM files, or the image file, is to be called.

        Returns:
            That folder, or file.

        Raises:
            ValueError: If the archive is damaged, or holds what is not expected, or nothing to segment. What was
                unpacked is still there.
            OSError: If it cannot be written.
        """
        with _Source(source) as stream:
            with self._damage_named():
                archive = zipfile.ZipFile(stream)
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"{self.name} holds more than {MAX_MEMBERS} files")
            for member in members:
                self._check_member(member)
            files = [member for member in members if not member.is_dir() and _is_of_interest(member.filename)]
            images = [member for member in files if ending_of(member.filename, SINGLE_ENDINGS)]
            others = [member for member in files if not ending_of(member.filename, SINGLE_ENDINGS)]
            dicom = self._unpack_dicom(archive, others, folder / stem)
            if dicom is None and len(images) == 1:
                target = folder / f"{stem}{ending_of(images[0].filename, SINGLE_ENDINGS)}"
                self._write(archive, images[0], target)
                return target
        if dicom is None and images:
            raise ValueError(f"{self.name} holds {len(images)} image files; upload the one that is to be segmented")
        if dicom is None:
            raise ValueError(f"{self.name} holds neither DICOM files nor one of {', '.join(SINGLE_ENDINGS)}")
        if images:
            first = shown(last_part(images[0].filename))
            raise ValueError(f"{self.name} holds DICOM files and {first}; upload what is to be segmented")
        return dicom

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        path, where = PureWindowsPath(member.orig_filename), shown(member.orig_filename)
        if not member.filename:  # at which zipfile fails
            raise ValueError(f"{self.name} holds a file without a name")
        if path.anchor or ".." in path.parts:
            raise ValueError(f"{self.name} holds a file that would lie outside of it, {where}")
        if stat.S_IFMT(member.external_attr >> 16) not in PLAIN:
            raise ValueError(f"{self.name} holds a link or a device, {where}")
        if member.flag_bits & ENCRYPTED:
            raise ValueError(f"{self.name} is encrypted")
        if member.compress_type not in COMPRESSIONS:
            raise ValueError(f"{self.name} is compressed by another method than deflate")

    def _unpack_dicom(self, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> Path | None:
        """The folder of DICOM files; None, and no folder, if there is none among the members."""
        folder.mkdir()
        count = 0
        for number, member in enumerate(members, start=1):
            target = folder / f"{number:05d}.dcm"
            self._write(archive, member, target)
            if is_dicom_file(target):
                count += 1
            else:
                target.unlink()
        if count:
            return folder
        folder.rmdir()
        return None

    def _write(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
        with target.open("xb") as stream:
            for part in self._content(archive, member):
                self.check()
                self._left_bytes -= len(part)
                if self._left_bytes < 0:
                    raise ValueError(f"{self.name} unpacks to more than {self.limit_bytes >> 20} MB")
                stream.write(part)

    def _content(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
        with self._damage_named(), archive.open(member) as stream:
            while part := stream.read(CHUNK_BYTES):
                yield part

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise ValueError(f"{self.name} is no zip archive, damaged or truncated: {one_sentence(error)}") from error


def _is_of_interest(name: str) -> bool:
    return not any(part.startswith(".") or part in LEFT_OUT for part in PureWindowsPath(name).parts)
