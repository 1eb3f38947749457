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
ELEMENT_BYTES = {"64": 8, "double": 8, "long_long": 8, "long long": 8, "16": 2, "short": 2, "8": 1, "char": 1}
MAX_HEADER_BYTES = 4 << 20
HERE = "LOCAL"  # a MetaImage's name for voxels that follow the header
SPACING = ("ElementSpacing", "ElementSize", "spacedirections", "spacings")
AXES = ("TransformMatrix", "Rotation", "Orientation")
NRRD_SPACES = ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "lps", "ras", "las")
UNITS = ("spaceunits", "units", "DistanceUnits")
MM = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "?", "none")
AS_STORED = {"ElementToIntensityFunctionSlope": 1.0, "ElementToIntensityFunctionOffset": 0.0}
MAX_STRETCH = 0.01
CHUNK_BYTES = 1 << 20
READ_BEYOND_BYTES = 1 << 20  # of what follows the voxels in a compressed file, up to its checksum
GZIP_MAGIC = b"\x1f\x8b"
MAX_RATIO = 1100  # zlib makes nothing smaller than one part in 1032
SAME = {
    **{"Position": "Offset", "Origin": "Offset", "Rotation": "TransformMatrix", "Orientation": "TransformMatrix"},
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
PLACES = ("Offset", "Position", "Origin", *AXES, "spaceorigin")
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
NO_AXES_NOTE = "the file does not say how the patient lies; axes are taken as left, posterior, superior"
GOES_ON_NOTE = "the file goes on after the voxels that its header describes; the rest is ignored"


@dataclass(frozen=True)
class Header:
    """Keys with their values, and where the header ends.

    Attributes:
        path: The file.
        fields: "DimSize": "20 20 20" ...; keys of NRRD, which may be written in several ways, in lower case without
            spaces. Empty if the file is none of these formats.
        end: Bytes.
        conflict: Two statements on one thing that differ.
    """

    path: Path
    fields: dict[str, str]
    end: int
    conflict: str = ""

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
    def _notes_on_place(self) -> tuple[str, ...]:
        space = self.fields.get("space", "").lower().removesuffix("-time")
        says = space in NRRD_SPACES and bool(self.fields.get("spacedirections"))
        notes: tuple[str, ...] = () if says or any(self.fields.get(key) for key in AXES) else (NO_AXES_NOTE,)
        size, distance = (self.fields.get(key, "") for key in ("ElementSize", "ElementSpacing"))
        if size and distance and not _are_equal(size, distance):
            notes += (f"voxels are {size} mm large, but {distance} mm apart; the distance counts",)
        letters, said = self._axes_in_letters(), self.fields.get("AnatomicalOrientation", "").upper()
        if letters and len(set(said)) == 3 == len(said) and set(said) <= set("RLAPIS") and said != letters:
            notes += (f"AnatomicalOrientation is {said}, but the axes are {letters}; the axes count",)
        return notes

    def _axes_in_letters(self) -> str:
        """Where each axis of a MetaImage comes from, as ITK writes it: RAI for the axes of DICOM; empty if not said."""
        text = next((self.fields[key] for key in AXES if self.fields.get(key)), "")
        numbers = np.array([_number(part) for part in text.split()])
        if not self.is_metaimage or numbers.size != 9:
            return ""
        axes = numbers.reshape(3, 3)
        return "".join(("RL", "AP", "IS")[n][int(axis[n] < 0)] for axis in axes for n in [np.abs(axis).argmax()])

    def check(self) -> tuple[str, ...]:
        """Make sure that ITK heeds what the header says, and that the voxels are complete and undamaged.

        Returns:
            What a reader should be told.

        Raises:
            ValueError: If there is no spacing, a unit or scaling that ITK ignores, or voxels are damaged or missing.
        """
        if not self.fields:
            return ()
        if self.conflict:
            raise ValueError(f"{self.path} contradicts itself: its header gives {self.conflict}")
        if not any(_has_three_lengths(self.fields.get(key, "")) for key in SPACING):
            raise ValueError(f"{self.path} has no voxel spacing: its header does not say one")
        for key in PLACES:
            if not np.isfinite([_number(part) for part in re.findall(r"[^\s(),]+", self.fields.get(key, ""))]).all():
                raise ValueError(f"{self.path} has no valid position: {key} is {self.fields[key]}")
        for key in UNITS:
            for unit in re.findall(r"[^\s\"]+", self.fields.get(key, "")):
                if unit.lower() not in MM:
                    raise ValueError(f"{self.path} gives lengths in {unit}; convert it to mm")
        for key, value in AS_STORED.items():
            if _number(self.fields.get(key, str(value))) != value:
                raise ValueError(f"{self.path} has voxels that are not HU until its {key} is applied; apply it")
        name = self.fields.get("ElementDataFile" if self.is_metaimage else "datafile", HERE)
        if self.is_spread and (self.is_metaimage or not re.match(r"LIST\b|.*%", name)):
            raise ValueError(
                f"{self.path} has its voxels in several files or none ({name}); convert it to a single file"
            )
        try:
            needed = self._needed_bytes()
            available = self._available_bytes(needed + READ_BEYOND_BYTES)
        except (zlib.error, EOFError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged or truncated: {one_sentence(error)}") from error
        if available < needed:
            raise ValueError(f"{self.path} is damaged or truncated: {available} bytes of voxels instead of {needed}")
        goes_on = available > needed and not self._is_left_to_itk
        return (*self._notes_on_place, GOES_ON_NOTE) if goes_on else self._notes_on_place

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
        is_raw = self._is_gzip or self.fields.get("encoding", "raw").lower() == "raw"
        return self.is_spread or is_text or not is_raw or any(skip != "0" for skip in skips)

    def _available_bytes(self, most: int) -> int:
        """Bytes of voxels that are there, counted up to ``most``; or a bound that they lie below, where ITK counts."""
        if self._is_left_to_itk:
            files = self.path.parent.iterdir() if self.is_spread else [self.data_file]
            size = sum(path.stat().st_size for path in files if path.is_file())
            return size * (MAX_RATIO if self._is_gzip else 8)  # a digit may stand for 8 bytes
        start = 0 if self.data_file != self.path else self.end
        return self._inflated_size(start, most) if self._is_gzip else self.data_file.stat().st_size - start

    def _inflated_size(self, start: int, most: int) -> int:
        """Bytes that compressed voxels unpack to; of a MetaImage, as many as its reader in ITK takes."""
        length = self.data_file.stat().st_size - start
        if self.is_metaimage:
            said = int(self.fields.get("CompressedDataSize", "0"))
            if said == 0 and start:
                raise ValueError("its header does not say how long the compressed voxels are")
            if said > length:
                raise EOFError("the compressed voxels end too early")
            length = said or length
        return _inflated_size(self.data_file, start, length, most)

    @property
    def lengths(self) -> list[int]:
        """Voxels along each axis, the fastest first.

        Raises:
            KeyError: If the header does not say them.
            ValueError: If it says no numbers.
        """
        return [int(length) for length in self.fields["DimSize" if self.is_metaimage else "sizes"].split()]

    def _needed_bytes(self) -> int:
        lengths = self.lengths
        if min(lengths) < 1 or int(self.fields["NDims" if self.is_metaimage else "dimension"]) != len(lengths):
            raise ValueError(f"it has {' x '.join(map(str, lengths))} voxels: too few, or the wrong number of axes")
        kind = self.fields["ElementType" if self.is_metaimage else "type"].lower()
        size = next((size for mark, size in ELEMENT_BYTES.items() if mark in kind), 4)
        return math.prod(lengths) * size * int(self.fields.get("ElementNumberOfChannels", "1"))


def _inflated_size(path: Path, start: int, length: int, most: int) -> int:
    """Bytes that a part of a file, compressed by zlib or gzip, unpacks to; its checksum is checked.

    Counting ends beyond ``most``: a small file can unpack to terabytes.
    """
    size, unpacker = 0, zlib.decompressobj(ZLIB_OR_GZIP)
    with path.open("rb") as stream:
        stream.seek(start)
        while length > 0 and (part := stream.read(min(length, CHUNK_BYTES))):
            length -= len(part)
            while part:
                size += len(unpacker.decompress(part, CHUNK_BYTES))  # a part may unpack to a thousand times its size
                if size > most:
                    return size
                part = unpacker.unconsumed_tail
                if unpacker.eof and unpacker.unused_data.startswith(GZIP_MAGIC):  # gzip in several members
                    part, unpacker = unpacker.unused_data, zlib.decompressobj(ZLIB_OR_GZIP)
    if not unpacker.eof:
        raise EOFError("the compressed voxels end too early")
    return size


def _are_equal(text: str, other: str) -> bool:
    """Whether two values are the same, as numbers if they are."""
    numbers, others = ([_number(part) for part in each.split()] for each in (text, other))
    return text.lower() == other.lower() or (len(numbers) == len(others) and np.allclose(numbers, others))


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
    first: dict[str, str] = {}
    conflict, position = "", 0
    while (end := content.find(b"\n", position)) >= 0:
        line = content[position:end].decode("utf-8", "surrogateescape").strip()
        position = end + 1
        entry = re.match(r"([^=:]*)([=:]?=?)(.*)", line)
        if not line or entry is None or (is_metaimage and not entry[2]):
            break
        key, separator, value = entry.groups()
        if is_metaimage:
            key, value = key.strip(), value.strip()
            fields[key] = value
            before = first.setdefault(SAME.get(key, key), f"{key} = {value}")
            if not _are_equal(before.partition(" = ")[2], value):
                conflict = f"{before} and {key} = {value}"
        elif separator == ":":  # "key:=value" is a note of the writer's
            fields[key.lower().replace(" ", "")] = value.strip()
        if "ElementDataFile" in fields:
            break
    return Header(path, fields, position, conflict)


def stored_bytes(path: Path) -> int:
    """Bytes of the voxels of a NRRD or MetaImage file, unpacked, as its header says.

    Raises:
        ValueError: If the header does not say how many voxels there are.
    """
    try:
        return read_header(path)._needed_bytes()
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not say how many voxels of which type it has") from error


def read_itk(path: Path) -> Volume:
    """Read a scalar 3D NRRD or MetaImage file.

    Raises:
        ValueError: If the file is damaged, says what ITK does not heed, or is no scalar 3D image.
    """
    header = read_header(path)
    if not header.fields:
        raise ValueError(f"{path} is damaged or not an image: it has no header of the format that its name says")
    notes = header.check()
    reader = sitk.ImageFileReader()
    # any other reader would pass over what is checked here, and that of HDF5 opens other files
    reader.SetImageIO("MetaImageIO" if header.is_metaimage else "NrrdImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if min(reader.GetSpacing()) <= 0:
            raise ValueError(f"{path} has a voxel spacing that is not positive: {reader.GetSpacing()}")
        components = reader.GetNumberOfComponents()
        if components != 1:
            raise ValueError(f"{path} has {components} values per voxel (colour?); a CT in HU is needed")
        size = reader.GetSize()
        if len(size) < 3 or any(length != 1 for length in size[3:]):
            shown = " x ".join(map(str, size))
            raise ValueError(f"{path} is {len(size)}-dimensional ({shown}); one 3D volume is needed")
        if [n for n in size if n > 1] != [n for n in header.lengths if n > 1]:  # not what was checked
            raise ValueError(f"{path} has {' x '.join(map(str, size))} voxels for its reader; its header is damaged")
        axes = np.array(reader.GetDirection()).reshape(len(size), len(size))
        if np.abs(np.linalg.norm(axes, axis=0) - 1).max() > MAX_STRETCH:  # ITK would stretch the voxels by it
            raise ValueError(f"{path} has axes whose directions are not of length 1, beside a voxel spacing")
        reader.SetExtractSize((*size[:3], *(0 for _ in size[3:])))
        image = reader.Execute()
    except RuntimeError as error:
        reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
        raise ValueError(f"{path} is damaged or not an image: {reason}") from error
    return Volume(sitk.GetArrayFromImage(image), matrix_of(image), name=path.name, notes=notes)


def matrix_of(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """The (4, 4) matrix ``ijk_to_ras`` of a 3D image, in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = LPS_TO_RAS @ np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = LPS_TO_RAS @ image.GetOrigin()
    return matrix
