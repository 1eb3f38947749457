"""The session's end of the channel to the front: JSON lines on standard input and on a descriptor of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TO_FRONT = 3  # the file descriptor that the front reads


@dataclass(frozen=True)
class Settings:
    """What the front tells a session first.

    Attributes:
        secret: What every request has to carry.
        folder: Where the session may write; it is deleted after its end.
        ct: A CT to show at start; None for the sample.
        serve: Folder whose CTs can be chosen; None for none.
        upload_mb: How large an upload may be; 0 for no uploads.
        port: 0 for any that is free.
    """

    secret: str
    folder: Path
    ct: Path | None
    serve: Path | None
    upload_mb: int
    port: int

    @classmethod
    def read(cls) -> Settings:
        """The first line of standard input.

        Raises:
            ValueError: If it is no such line.
        """
        given = json.loads(sys.stdin.buffer.readline())
        paths = {name: Path(given[name]) if given[name] else None for name in ("ct", "serve")}
        return cls(given["secret"], Path(given["folder"]), **paths, upload_mb=given["upload_mb"], port=given["port"])


class Control:
    """Asks for a turn of the network, and hears when the session is to stop; all on the event loop.

    Args:
        on_position: Called with how many runs of others come first.
        on_turn: Called when the network may run, until ``release``.
        on_stop: Called when the front wants the session to end, or is gone.
    """

    def __init__(
        self, on_position: Callable[[int], None], on_turn: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        self._on_position, self._on_turn, self._on_stop = on_position, on_turn, on_stop
        self._asked = 0  # times; a turn that was given before a release, and is heard after it, is none

    async def listen(self) -> None:
        """Hear the front until it says stop or goes."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
        )
        while line := await reader.readline():
            message = json.loads(line)
            if message["event"] == "position":
                self._on_position(message["ahead"])
            elif message == {"event": "turn", "number": self._asked}:
                self._on_turn()
            elif message["event"] == "stop":
                break
        self._on_stop()

    def ready(self, port: int) -> None:
        """The session answers on a port."""
        self._tell({"event": "ready", "port": port})

    def ask(self) -> None:
        """Ask to run the network."""
        self._asked += 1
        self._tell({"event": "ask", "number": self._asked})

    def release(self) -> None:
        """The run has ended, or is not wanted any more."""
        self._tell({"event": "release"})

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            os.write(TO_FRONT, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:  # the front is gone
            self._on_stop()
