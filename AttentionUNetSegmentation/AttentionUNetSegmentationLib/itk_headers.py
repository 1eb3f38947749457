"""What the text headers of NRRD and MetaImage files say, for what their readers in ITK pass over in silence.

That is: a missing voxel spacing, for which ITK takes 1 mm; missing axes, for which it takes those of DICOM; and
compressed voxels that are damaged.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

METAIMAGE_ENDINGS = (".mha", ".mhd")
NRRD_ENDINGS = (".nrrd", ".nhdr")
BYTES_PER_ELEMENT = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
}
MAX_HEADER_BYTES = 64 << 10
HERE = "LOCAL"  # a MetaImage's name for voxels that follow the header
SPACING = ("ElementSpacing", "ElementSize", "spacedirections", "spacings")
AXES = ("TransformMatrix", "Rotation", "Orientation", "spacedirections")
CHUNK_BYTES = 1 << 20
NO_AXES_NOTE = "the file does not say how the patient lies; axes are taken as left, posterior, superior"


@dataclass(frozen=True)
class Header:
    """Keys with their values, and where the header ends.

    Attributes:
        path: The file.
        fields: "DimSize": "20 20 20" ...; keys of NRRD, which may be written in several ways, in lower case without
            spaces. Empty if the file is none of these formats.
        end: Bytes.
    """

    path: Path
    fields: dict[str, str]
    end: int

    @property
    def is_metaimage(self) -> bool:
        """Whether the file is a MetaImage, by its name."""
        return self.path.name.lower().endswith(METAIMAGE_ENDINGS)

    @property
    def data_file(self) -> Path:
        """The file that holds the voxels; the file itself too if they are spread over several."""
        name = self.fields.get("ElementDataFile" if self.is_metaimage else "datafile") or HERE
        beside = self.path.parent / name
        return beside if name.upper() != HERE and beside.is_file() else self.path

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should be told about the geometry."""
        return () if any(self.fields.get(key) for key in AXES) else (NO_AXES_NOTE,)

    def check(self) -> None:
        """Make sure that there is a spacing, and that the voxels are complete and, if compressed, undamaged.

        Raises:
            ValueError: If not.
        """
        if self.fields and not any(_has_three_lengths(self.fields.get(key, "")) for key in SPACING):
            raise ValueError(f"{self.path} has no voxel spacing: its header does not say one")
        if self._is_left_to_itk:
            return
        try:
            start = 0 if self.data_file != self.path else self.end
            size = _inflated_size(self.data_file, start) if self._is_gzip else self.data_file.stat().st_size - start
            expected = self._expected_bytes() if self.is_metaimage else 0  # ITK counts those of NRRD
        except (zlib.error, gzip.BadGzipFile, EOFError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged or truncated: {' '.join(str(error).split())}") from error
        if size < expected:
            raise ValueError(f"{self.path} is damaged or truncated: {size} bytes of voxels instead of {expected}")

    @property
    def _is_gzip(self) -> bool:
        if self.is_metaimage:
            return self.fields.get("CompressedData", "")[:1] in ("T", "t", "1")
        return self.fields.get("encoding", "").lower() in ("gzip", "gz")

    @property
    def _is_left_to_itk(self) -> bool:
        """Whether the voxels lie in several files, or do not begin where the header or their file does."""
        name = self.fields.get("ElementDataFile" if self.is_metaimage else "datafile", HERE)
        skips = (self.fields.get(key, "0") for key in ("HeaderSize", "lineskip", "byteskip"))
        return (name.upper() != HERE and self.data_file == self.path) or any(skip != "0" for skip in skips)

    def _expected_bytes(self) -> int:
        voxels = math.prod(int(length) for length in self.fields["DimSize"].split())
        size = BYTES_PER_ELEMENT.get(self.fields.get("ElementType", "").upper(), 0)
        return voxels * size * int(self.fields.get("ElementNumberOfChannels", "1"))


def _inflated_size(path: Path, start: int) -> int:
    """Bytes that compressed data (of zlib or gzip) unpack to, its checksum checked."""
    with path.open("rb") as stream:
        stream.seek(start)
        is_gzip = stream.read(2) == b"\x1f\x8b"
        stream.seek(start)
        if is_gzip:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return sum(len(part) for part in iter(lambda: unpacked.read(CHUNK_BYTES), b""))
        size, unpacker = 0, zlib.decompressobj()
        while part := stream.read(CHUNK_BYTES):
            size += len(unpacker.decompress(part))
        if not unpacker.eof:
            raise EOFError("the compressed voxels end too early")
        return size


def _has_three_lengths(text: str) -> bool:
    """Whether a spacing, or directions that carry it, is given for all axes, or for three of more: not nan or none."""
    entries = re.findall(r"\([^)]*\)|\S+", text)
    given = [entry for entry in entries if not re.search("nan|none", entry, re.IGNORECASE)]
    return bool(given) and len(given) >= min(3, len(entries))


def read_header(path: Path) -> Header:
    """Read the text header of a NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd) file; other files have no fields.

    Raises:
        OSError: If the file cannot be read.
    """
    if not path.name.lower().endswith(METAIMAGE_ENDINGS + NRRD_ENDINGS):
        return Header(path, {}, 0)
    is_metaimage = path.name.lower().endswith(METAIMAGE_ENDINGS)
    with path.open("rb") as stream:
        content = stream.read(MAX_HEADER_BYTES)
    fields: dict[str, str] = {}
    position = 0
    while (end := content.find(b"\n", position)) >= 0:
        line = content[position:end].decode("utf-8", "surrogateescape").strip()
        position = end + 1
        key, separator, value = re.match(r"([^=:]*)([=:]?=?)(.*)", line).groups()
        if not line or (is_metaimage and not separator):
            break
        if is_metaimage:
            fields[key.strip()] = value.strip()
        elif separator == ":":  # "key:=value" is a note of the writer's
            fields[key.lower().replace(" ", "")] = value.strip()
        if "ElementDataFile" in fields:
            break
    return Header(path, fields, position)
