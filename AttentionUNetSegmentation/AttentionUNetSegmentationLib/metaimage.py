"""A check of MetaImage files (.mha), whose reader in ITK accepts damaged data without an error."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

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


def check_metaimage(path: Path) -> None:
    """Make sure that the voxels in the file are complete, and that the checksum of compressed ones is right.

    Files that keep their voxels elsewhere, or whose header is unknown, are left to ITK.

    Raises:
        ValueError: If the data are truncated or damaged.
    """
    content = path.read_bytes()
    header, start = _header(content[:MAX_HEADER_BYTES])
    size = BYTES_PER_ELEMENT.get(header.get("ElementType", ""))
    if header.get("ElementDataFile", "").upper() != "LOCAL" or size is None:
        return
    try:
        voxels = math.prod(int(length) for length in header["DimSize"].split())
        expected = voxels * size * int(header.get("ElementNumberOfChannels", "1"))
        data = content[start:]
        available = len(zlib.decompress(data)) if header.get("CompressedData", "").lower() == "true" else len(data)
    except (zlib.error, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or truncated: {' '.join(str(error).split())}") from error
    if available < expected:
        raise ValueError(f"{path} is damaged or truncated: {available} bytes of voxels instead of {expected}")


def _header(content: bytes) -> tuple[dict[str, str], int]:
    """Keys and values up to ElementDataFile, and where the data begin."""
    header: dict[str, str] = {}
    position = 0
    while (end := content.find(b"\n", position)) >= 0:
        key, separator, value = content[position:end].partition(b"=")
        if not separator:
            break
        header[key.decode("latin-1").strip()] = value.decode("latin-1").strip()
        position = end + 1
        if "ElementDataFile" in header:
            break
    return header, position
