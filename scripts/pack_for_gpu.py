"""Packs what scripts/train_on_gpu.sh needs on a machine without internet: label maps and Python packages.

    python scripts/pack_for_gpu.py MAPS [FOLDER [CACHE]]

FOLDER (default runs/gpu, at most 30 MB) gets maps.tar, the label maps at the spacing at which they are prepared anyway,
and wheels/ with the pure Python packages that a machine with PyTorch, Lightning, SciPy and Matplotlib often lacks.
CACHE (default runs/atlas_cache) is that of `fit`, which prepares them.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from attention_unet_training.data.people import RECORD
from attention_unet_training.synthetic_ct.atlas import load_atlas
from attention_unet_training.synthetic_ct.label_files import LABEL_TABLE, PACKED
from attention_unet_training.synthetic_ct.preparation import PREPARED_SPACING_MM
from attention_unet_training.synthetic_ct.structures import STRUCTURES

PACKAGES = ("monai", "jsonargparse", "docstring-parser", "typeshed-client", "pytorch-optimizer")
MOST_MB = 30.0


def pack_maps(maps: Path, archive: Path, cache: Path) -> None:
    """Write the label maps of a folder, their table and their record of people to a tar file."""
    ijk_to_ras = np.diag([PREPARED_SPACING_MM] * 3 + [1.0])
    names = {str(number): name for number, name in enumerate(STRUCTURES, start=1)}
    with tarfile.open(archive, "w") as tar, tempfile.TemporaryDirectory() as scratch:
        for anatomy in load_atlas(maps, cache, memory_gb=0):
            path = Path(scratch) / f"{anatomy.name}{PACKED}"
            with path.open("wb") as stream:
                np.savez_compressed(stream, labels=anatomy.labels, ijk_to_ras=ijk_to_ras)
            tar.add(path, path.name)
        texts = {LABEL_TABLE: json.dumps({"0": "background"} | names)}
        if (maps / RECORD).is_file():
            texts[RECORD] = (maps / RECORD).read_text(encoding="utf-8")
        for name, text in texts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))


def main(maps: str, folder: str = "runs/gpu", cache: str = "runs/atlas_cache") -> None:
    """Pack both and say how much it is."""
    output = Path(folder)
    output.mkdir(parents=True, exist_ok=True)
    pack_maps(Path(maps), output / "maps.tar", Path(cache))
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*download, "--dest", str(output / "wheels"), *PACKAGES], check=True)
    size_mb = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 1e6
    print(f"{output}: {size_mb:.1f} MB")
    if size_mb > MOST_MB:
        sys.exit(f"that is more than the {MOST_MB:.0f} MB meant to travel")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
