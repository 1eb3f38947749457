"""What is told of an error, and how text that comes from elsewhere is shown."""

from __future__ import annotations

import unicodedata
from pathlib import Path

OUT_OF_MEMORY = (  # as the system, PyTorch, OpenVINO, C++ and cuDNN say it
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "failed to allocate",
    "bad_alloc",
    "cudnn_status_alloc_failed",
)


def printable(text: object) -> str:
    r"""Foreign text (names of files, texts of models, of DICOM tags, of libraries) as one line that is safe to show.

    Whatever would steer a terminal, begin a line, or change the direction of writing is shown as ``\x1b`` and the like.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in shown
    )


def one_sentence(error: BaseException) -> str:
    """What an error says, in one printable line; the kind of error if it says nothing.

    Spaces within a line stay, as paths may have several in a row.
    """
    if isinstance(error, MemoryError) and not str(error):
        return "not enough memory"
    return printable(" ".join(line.strip() for line in str(error).splitlines() if line.strip())) or type(error).__name__


def sentence_on(path: Path, error: BaseException) -> str:
    """``one_sentence``, which names the file or folder that the error is about: by its path, as names may recur."""
    message, where = one_sentence(error), printable(path)
    return message if where in message else f"{where}: {message}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on the computer or its GPU."""
    return isinstance(error, MemoryError) or any(phrase in str(error).lower() for phrase in OUT_OF_MEMORY)
