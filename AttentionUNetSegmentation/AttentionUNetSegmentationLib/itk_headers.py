"""What the text headers of NRRD and MetaImage files say, for what their readers in ITK pass over in silence.

That is: a missing voxel spacing, for which ITK takes 1 mm; missing axes, for which it takes those of DICOM; and
compressed MetaImage voxels that are damaged.
"""

from __future__ import annotations

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
SPACING = ("elementspacing", "elementsize", "space directions", "spacings")
AXES = ("transformmatrix", "rotation", "orientation", "space directions")
NO_AXES_NOTE = "the file does not say how the patient lies; axes are taken as left, posterior, superior"


@dataclass(frozen=True)
class Header:
    """Keys in lower case with their values, and where the header ends.

    Attributes:
        path: The file.
        fields: "dimsize": "20 20 20" ...; empty if the file is none of these formats.
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
        keys = ("elementdatafile",) if self.is_metaimage else ("data file", "datafile")
        name = next((self.fields[key] for key in keys if self.fields.get(key)), HERE)
        beside = self.path.parent / name
        return beside if name.upper() != HERE and beside.is_file() else self.path

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should be told about the geometry."""
        return () if any(self.fields.get(key) for key in AXES) else (NO_AXES_NOTE,)

    def check(self) -> None:
        """Make sure that there is a spacing, and that a MetaImage's voxels are complete and undamaged.

        Damaged NRRD voxels are noticed by ITK.

        Raises:
            ValueError: If not.
        """
        if self.fields and not any(_has_three_lengths(self.fields.get(key, "")) for key in SPACING):
            raise ValueError(f"{self.path} has no voxel spacing: its header does not say one")
        if self.is_metaimage:
            self._check_metaimage()

    def _check_metaimage(self) -> None:
        size = BYTES_PER_ELEMENT.get(self.fields.get("elementtype", "").upper())
        is_detached = self.data_file != self.path
        if size is None or (not is_detached and self.fields.get("elementdatafile", "").upper() != HERE):
            return  # left to ITK
        try:
            voxels = math.prod(int(length) for length in self.fields["dimsize"].split())
            expected = voxels * size * int(self.fields.get("elementnumberofchannels", "1"))
            data = self.data_file.read_bytes()[0 if is_detached else self.end :]
            is_compressed = self.fields.get("compresseddata", "").lower() == "true"
            available = len(zlib.decompress(data)) if is_compressed else len(data)
        except (zlib.error, KeyError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged or truncated: {' '.join(str(error).split())}") from error
        if available < expected:
            raise ValueError(f"{self.path} is damaged or truncated: {available} bytes of voxels instead of {expected}")


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
        line = content[position:end].decode("latin-1").strip()
        position = end + 1
        key, separator, value = line.partition("=" if is_metaimage else ":")
        if not line or (is_metaimage and not separator):
            break
        if separator and not value.startswith("="):  # "key:=value" of NRRD is a note of the writer's
            fields[key.strip().lower()] = value.strip()
        if is_metaimage and "elementdatafile" in fields:
            break
    return Header(path, fields, position)
