"""Uploads as a visitor's browser sends them, archives among them, and what becomes of them."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.browser.uploads import receive

LIMIT = 1 << 20
DICOM = bytes(128) + b"DICM" + bytes(100)


async def pieces(content: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def upload(session: Path, name: str, content: bytes, limit: int = LIMIT) -> Path:
    return asyncio.run(receive(name, pieces(content), session, limit))


def refusal(session: Path, name: str, content: bytes, limit: int = LIMIT) -> str:
    """The sentence, which is one line and does not say where the folder lies; nothing is left or written elsewhere."""
    before = sorted(session.parent.iterdir())
    with pytest.raises(ValueError, match=r"\A.+\Z") as error:
        upload(session, name, content, limit)
    assert list(session.iterdir()) == []
    assert sorted(session.parent.iterdir()) == before
    assert str(session.parent) not in str(error.value) and str(error.value).isprintable()
    assert len(str(error.value)) < 400
    return str(error.value)


def archive(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as written:
        for name, content in members:
            written.writestr(name, content)
    return stream.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (kind | 0o644) << 16
    return member
