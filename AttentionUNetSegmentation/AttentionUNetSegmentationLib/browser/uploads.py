"""A file that a visitor sends -> a CT in the session's folder, to be read by ``formats.files.read_volume``.

One file with everything in it, or a zip archive. What is kept is as it came: it is not read here but for headers, which
must not lead to another file, and not promise more voxels than fit.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ..formats.files import stored_bytes
from .archives import Unpacking
from .detached import data_file
from .names import DETACHED_ENDINGS, SINGLE_ENDINGS, ending_of, last_part, safe_stem, shown

ARCHIVE = ".zip"
UPLOAD = "upload-"  # what the folder of an upload is called, at first
SILENCE_SECONDS = 60.0


async def receive(name: str, chunks: AsyncIterator[bytes], folder: Path, limit_bytes: int) -> Path:
    """Take an upload into a new folder of its own; if it fails, or is cancelled, nothing is left of it.

    Args:
        name: Of the file, as the visitor's browser says it: its ending decides what it is taken for.
        chunks: Its content.
        folder: The session's folder; the caller deletes what it no longer needs there.
        limit_bytes: The most that may come, the most that a zip archive may unpack to, and the most that the voxels may
            take unpacked.

    Returns:
        The file, or the folder of DICOM files, called like the upload but for characters that are no letters or digits.

    Raises:
        ValueError: If it is too large, not of a kind that is taken, damaged, or would lead to other files. One
            sentence, without paths of the server.
        OSError: If it cannot be written.
    """
    said = shown(last_part(name))
    ending = ending_of(name, (*SINGLE_ENDINGS, ARCHIVE))
    if ending_of(name, DETACHED_ENDINGS):
        raise ValueError(f"{said} is one of two files that belong together; convert them to a single file")
    if not ending:
        kinds = ", ".join(SINGLE_ENDINGS)
        raise ValueError(f"{said} cannot be uploaded; supported: {kinds}, or a {ARCHIVE} of DICOM files")
    place = Path(tempfile.mkdtemp(prefix=UPLOAD, dir=folder))
    try:
        source = place / f"{safe_stem(name)}{ending}"
        await _store(said, chunks, source, limit_bytes)
        return await _in_a_thread(lambda check: _accepted(said, source, limit_bytes, check))
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)  # the session may have ended, and deleted it
        raise


async def _store(said: str, chunks: AsyncIterator[bytes], target: Path, limit_bytes: int) -> None:
    total = 0
    with target.open("xb") as stream:
        while chunk := await _next(chunks, said):
            total += len(chunk)
            if total > limit_bytes:
                raise ValueError(f"{said} is larger than {limit_bytes >> 20} MB, the most that can be uploaded")
            stream.write(chunk)
    if not total:
        raise ValueError(f"{said} is empty")


async def _next(chunks: AsyncIterator[bytes], said: str) -> bytes:
    """The next chunk, or b"" at the end. A connection lost without a word would keep the session busy for ever."""
    try:
        return await asyncio.wait_for(anext(chunks, b""), SILENCE_SECONDS)
    except TimeoutError as error:
        raise ValueError(f"nothing more of {said} came for {SILENCE_SECONDS:g} seconds") from error


async def _in_a_thread(work: Callable[[Callable[[], None]], Path]) -> Path:
    """Run work in a thread; when this is cancelled, the work's own check ends it, and it has ended."""
    cancelled = threading.Event()

    def check() -> None:
        if cancelled.is_set():
            raise InterruptedError("the upload was cancelled")

    task = asyncio.ensure_future(asyncio.to_thread(work, check))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.gather(task, return_exceptions=True)
        raise


def _accepted(said: str, source: Path, limit_bytes: int, check: Callable[[], None]) -> Path:
    """The CT of a file that has come, unpacked if it is an archive."""
    path = source
    if source.name.endswith(ARCHIVE):
        path = Unpacking(said, limit_bytes, check).unpack(source, source.parent, safe_stem(source.name))
        source.unlink()
    try:
        if path.is_file() and data_file(path) is not None:
            raise ValueError(f"{said} takes its voxels from another file; convert it to a single file")
        if stored_bytes(path) > limit_bytes:
            raise ValueError(f"{said} has voxels of more than {limit_bytes >> 20} MB")
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), said)) from error
    return path
