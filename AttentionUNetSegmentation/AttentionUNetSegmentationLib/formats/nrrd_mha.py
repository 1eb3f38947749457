"""What the text headers of NRRD and MetaImage files say, for what their readers in ITK pass over in silence.

That is: a missing voxel spacing, for which ITK takes 1 mm; missing axes, for which it takes those of DICOM; lengths
that are not in mm; values that are to be scaled; and compressed voxels that are damaged.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import one_sentence
from ..volume import Volume
from .dicom.series import LPS_TO_RAS

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
MAX_HEADER_BYTES = 4 << 20
HERE = "LOCAL"  # a MetaImage's name for voxels that follow the header
SPACING = ("ElementSpacing", "ElementSize", "spacedirections", "spacings")
AXES = ("TransformMatrix", "Rotation", "Orientation")
NRRD_SPACES = ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "lps", "ras", "las")
UNITS = ("spaceunits", "units", "DistanceUnits")
MM = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "?", "none")
AS_STORED = {"ElementToIntensityFunctionSlope": 1.0, "ElementToIntensityFunctionOffset": 0.0}
CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
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
        space = self.fields.get("space", "").lower().removesuffix("-time")
        says = space in NRRD_SPACES and bool(self.fields.get("spacedirections"))
        return () if says or any(self.fields.get(key) for key in AXES) else (NO_AXES_NOTE,)

    def check(self) -> None:
        """Make sure that ITK heeds what the header says, and that the voxels are complete and undamaged.

        Raises:
            ValueError: If there is no spacing, a unit or scaling that ITK ignores, or voxels are damaged or missing.
        """
        if self.fields and not any(_has_three_lengths(self.fields.get(key, "")) for key in SPACING):
            raise ValueError(f"{self.path} has no voxel spacing: its header does not say one")
        for key in UNITS:
            for unit in re.findall(r"[^\s\"]+", self.fields.get(key, "")):
                if unit.lower() not in MM:
                    raise ValueError(f"{self.path} gives lengths in {unit}; convert it to mm")
        for key, value in AS_STORED.items():
            if _number(self.fields.get(key, str(value))) != value:
                raise ValueError(f"{self.path} has voxels that its {key} has yet to turn into HU; convert them")
        if self.is_metaimage and self.is_spread:
            raise ValueError(f"{self.path} has its voxels in several files or none; convert it to a single file")
        if self._is_left_to_itk:
            return
        try:
            start = 0 if self.data_file != self.path else self.end
            size = self._inflated_size(start) if self._is_gzip else self.data_file.stat().st_size - start
            expected = self._expected_bytes() if self.is_metaimage else 0  # ITK counts those of NRRD
        except (zlib.error, EOFError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged or truncated: {one_sentence(error)}") from error
        if size < expected:
            raise ValueError(f"{self.path} is damaged or truncated: {size} bytes of voxels instead of {expected}")

    @property
    def _is_gzip(self) -> bool:
        if self.is_metaimage:
            return self.fields.get("CompressedData", "")[:1] in ("T", "t", "1")
        return self.fields.get("encoding", "").lower() in ("gzip", "gz")

    @property
    def is_spread(self) -> bool:
        """Whether the voxels are neither in the file itself nor in one other."""
        name = self.fields.get("ElementDataFile" if self.is_metaimage else "datafile", HERE)
        return name.upper() != HERE and self.data_file == self.path

    @property
    def _is_left_to_itk(self) -> bool:
        """Whether the voxels lie in several files, are text, or do not begin where the header or their file does."""
        skips = (self.fields.get(key, "0") for key in ("HeaderSize", "lineskip", "byteskip"))
        is_text = self.fields.get("BinaryData", "True")[:1] not in ("T", "t", "1")
        return self.is_spread or is_text or any(skip != "0" for skip in skips)

    def _inflated_size(self, start: int) -> int:
        """Bytes that compressed voxels unpack to; of a MetaImage, as many as its reader in ITK takes."""
        length = self.data_file.stat().st_size - start
        if self.is_metaimage:
            said = int(self.fields.get("CompressedDataSize", "0"))
            if said == 0 and start:
                raise ValueError("its header does not say how long the compressed voxels are")
            length = min(said or length, length)
        return _inflated_size(self.data_file, start, length)

    def _expected_bytes(self) -> int:
        voxels = math.prod(int(length) for length in self.fields["DimSize"].split())
        size = BYTES_PER_ELEMENT.get(self.fields.get("ElementType", "").upper(), 0)
        return voxels * size * int(self.fields.get("ElementNumberOfChannels", "1"))


def _inflated_size(path: Path, start: int, length: int) -> int:
    """Bytes that a part of a file, compressed by zlib or gzip, unpacks to; its checksum is checked."""
    size, unpacker = 0, zlib.decompressobj(ZLIB_OR_GZIP)
    with path.open("rb") as stream:
        stream.seek(start)
        while length > 0 and (part := stream.read(min(length, CHUNK_BYTES))):
            length -= len(part)
            size += len(unpacker.decompress(part))
            while unpacker.eof and unpacker.unused_data.startswith(GZIP_MAGIC):  # gzip in several members
                rest, unpacker = unpacker.unused_data, zlib.decompressobj(ZLIB_OR_GZIP)
                size += len(unpacker.decompress(rest))
    if not unpacker.eof:
        raise EOFError("the compressed voxels end too early")
    return size


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


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
        entry = re.match(r"([^=:]*)([=:]?=?)(.*)", line)
        if not line or entry is None or (is_metaimage and not entry[2]):
            break
        key, separator, value = entry.groups()
        if is_metaimage:
            fields[key.strip()] = value.strip()
        elif separator == ":":  # "key:=value" is a note of the writer's
            fields[key.lower().replace(" ", "")] = value.strip()
        if "ElementDataFile" in fields:
            break
    return Header(path, fields, position)


def read_itk(path: Path) -> Volume:
    """Read a scalar 3D NRRD or MetaImage file.

    Raises:
        ValueError: If the file is damaged, says what ITK does not heed, or is no scalar 3D image.
    """
    header = read_header(path)
    header.check()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        components = reader.GetNumberOfComponents()
        if components != 1:
            raise ValueError(f"{path} has {components} values per voxel (colour?); a CT in HU is needed")
        size = reader.GetSize()
        if len(size) < 3 or any(length != 1 for length in size[3:]):
            shown = " x ".join(map(str, size))
            raise ValueError(f"{path} is {len(size)}-dimensional ({shown}); one 3D volume is needed")
        reader.SetExtractSize((*size[:3], *(0 for _ in size[3:])))
        image = reader.Execute()
    except RuntimeError as error:
        reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
        raise ValueError(f"{path} is damaged or not an image: {reason}") from error
    return Volume(sitk.GetArrayFromImage(image), matrix_of(image), name=path.name, notes=header.notes)


def matrix_of(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """The (4, 4) matrix ``ijk_to_ras`` of a 3D image, in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = LPS_TO_RAS @ np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = LPS_TO_RAS @ image.GetOrigin()
    return matrix
