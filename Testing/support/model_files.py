"""Model folders that tests change, and zips of them."""

import json
import zipfile
from pathlib import Path

import torch

from AttentionUNetSegmentationLib.atomic import sha256_of
from AttentionUNetSegmentationLib.models.description import WEIGHTS_FILE


def edit(folder: Path, **changes) -> None:
    content = json.loads((folder / "model.json").read_text())
    content.update(changes)
    (folder / "model.json").write_text(json.dumps(content))


def rehash(folder: Path, file: str = WEIGHTS_FILE) -> None:
    edit(folder, weights={"file": file, "sha256": sha256_of(folder / file)})


def replace_by_torch(folder: Path, content: object) -> None:
    """Weights as models had them before: whatever ``torch.save`` writes."""
    (folder / WEIGHTS_FILE).unlink()
    torch.save(content, folder / "weights.pt")
    rehash(folder, "weights.pt")


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, prefix + path.name)
    return target
