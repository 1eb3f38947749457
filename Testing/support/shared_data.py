"""Where the real CTs and label maps lie that some tests need; they are not part of the repository."""

import os
from pathlib import Path

DATA = Path(os.environ.get("ATTENTION_UNET_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
PAPER = DATA.parent / "paper" / "attention_unet.txt"  # the paper's text


def reason(path: Path) -> str:
    """Why a test that needs ``path`` is skipped."""
    return f"needs {path}; set ATTENTION_UNET_DATA to the folder with the real CTs and label maps"
