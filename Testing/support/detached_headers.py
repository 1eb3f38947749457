"""Headers of NRRD and MetaImage files, also such as lead their readers to other files."""

NRRD = (
    b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 2 2\nspace: left-posterior-superior\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\n"
)
METAIMAGE = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 1 1 1\nDimSize = 4 2 2\n"
    b"ElementType = MET_UCHAR\n"
)
VOXELS = bytes(range(16))


def leading_away(target: bytes) -> dict[str, tuple[str, bytes]]:
    """Headers that lead the reader in ITK to a file: what is done, and the ending and content of the header.

    Args:
        target: The path, as it stands in the header.
    """
    nrrd = {
        "plain": b"data file: " + target + b"\n\n",
        "upper": b"DATA FILE: " + target + b"\n\n",
        "joined": b"datafile: " + target + b"\n\n",
        "return": b"content: x\rdata file: " + target + b"\n\n",
        "nul": b"content: x\0\ndata file: " + target + b"\n\n",
        "cut name": b"data file: " + target + b"\0x\n\n",
        "list": b"data file: LIST\n" + target + b"\n",
    }
    metaimage = {
        "plain": b"ElementDataFile = " + target + b"\n",
        "colon": b"ElementDataFile: " + target + b"\n",
        "empty lines": b"\n\nElementDataFile = " + target + b"\n",
        "nul": b"ElementDataFile\0x = " + target + b"\n",
        "cut name": b"ElementDataFile = " + target + b"\0x\n",
        "comment": b"Comment = ElementDataFile = LOCAL\nElementDataFile = " + target + b"\n",
        "list": b"ElementDataFile = LIST\n" + target + b"\n",
    }
    found = {f"nrrd, {key}": (".nrrd", NRRD + value + VOXELS) for key, value in nrrd.items()}
    found |= {f"nrrd, {key}, returns": (".nrrd", (NRRD + v).replace(b"\n", b"\r") + VOXELS) for key, v in nrrd.items()}
    return found | {f"mha, {key}": (".mha", METAIMAGE + value + VOXELS) for key, value in metaimage.items()}
