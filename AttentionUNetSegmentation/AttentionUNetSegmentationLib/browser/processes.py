"""A process for each visitor: how it starts, what it is told, and that nothing of it is left when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import sentence_on
from .turns import Turns

# -P: what lies in the folder where the command was typed is not imported
SESSION_COMMAND: Sequence[str] = (sys.executable, "-P", "-m", f"{__package__}.session")
# The pipe gets the number that a session writes its events to. However a session ends, and be the front killed before,
# its folder goes.
RUN_AND_DELETE = '"$@" 3>&1 1>&2; rm -rf -- "$0"'
FOLDER_PREFIX = "attention-unet-view-"
NOT_STARTED = "The viewer did not start; attention-unet --verbose view shows why."
logger = logging.getLogger("attention_unet")


class SessionError(RuntimeError):
    """A session that does not start, or cannot be started; says so in one sentence."""


@dataclass(frozen=True)
class Settings:
    """What sessions are started with.

    Attributes:
        ct: the CT that is shown first; None for the sample.
        serve: the folder whose CTs a visitor may choose from; None for none.
        upload_mb: what a visitor may upload at once, in MiB.
        max_sessions: how many sessions there may be at a time.
        start_seconds: within this time a session is ready, and then its page is opened.
        grace_seconds: how long a session waits for its page to come back.
        stop_seconds: how long a session that was told to stop may take.
        command: the program of a session.
    """

    ct: Path | None = None
    serve: Path | None = None
    upload_mb: int = 2048
    max_sessions: int = 4
    start_seconds: float = 60.0
    grace_seconds: float = 60.0
    stop_seconds: float = 5.0
    command: Sequence[str] = field(default_factory=lambda: SESSION_COMMAND)


class SessionProcess:
    """A running session. It begins when it is made, and ends by itself when its page is gone for too long."""

    def __init__(self, settings: Settings, turns: Turns) -> None:
        self.secret = secrets.token_urlsafe(32)
        self._settings = settings
        self._turns = turns
        self._over = asyncio.Event()
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._sockets = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stdin: asyncio.StreamWriter | None = None
        self.life = asyncio.create_task(self._live())

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._over.is_set()

    async def port(self) -> int:
        """Its port on 127.0.0.1, as soon as it is ready; raises SessionError if it does not start."""
        return await asyncio.shield(self._port)  # many wait for it, and each may give up

    @contextmanager
    def page_open(self) -> Iterator[None]:
        """While a page is connected, or a download of it goes on, the session lives."""
        self._sockets += 1
        self._end_after(None)
        try:
            yield
        finally:
            self._sockets -= 1
            if not self._sockets:
                self._end_after(self._settings.grace_seconds)

    def send(self, message: dict) -> None:
        """Write a message to its standard input."""
        if self._stdin and not self._stdin.is_closing():
            self._stdin.write(json.dumps(message).encode() + b"\n")

    def end(self) -> None:
        """Let it end; ``life`` is done when nothing is left of it."""
        self._over.set()

    def _end_after(self, seconds: float | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.end)

    async def _live(self) -> None:
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))  # for its user only: 0700
            await self._run(folder)
        except OSError:
            logger.debug("a session could not be started", exc_info=True)
        finally:
            self.end()
            self._end_after(None)
            self._turns.release(self)
            if not self._port.done():
                self._port.set_exception(SessionError(NOT_STARTED))
                self._port.exception()  # nobody may be waiting for it
            if folder:
                await asyncio.to_thread(_delete, folder)

    async def _run(self, folder: Path) -> None:
        settings = self._settings
        first = {"port": 0, "secret": self.secret, "folder": str(folder), "upload_mb": settings.upload_mb}
        first |= {"ct": settings.ct and str(settings.ct), "serve": settings.serve and str(settings.serve)}
        # In a process group of its own, a session does not get the Ctrl-C that is meant for the front.
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", RUN_AND_DELETE, str(folder), *settings.command),
            stdin=PIPE,
            stdout=PIPE,
            env=os.environ | {"TMPDIR": str(folder)},  # what its libraries make goes with it
            stderr=None if logger.isEnabledFor(logging.DEBUG) else DEVNULL,
            start_new_session=True,
        )
        assert process.stdin and process.stdout
        self._stdin = process.stdin
        self._end_after(settings.start_seconds)
        self.send(first)
        listening = asyncio.create_task(self._listen(process.stdout))
        try:
            await self._over.wait()
        finally:
            listening.cancel()
            self.send({"event": "stop"})
            self._stdin.close()
            await _wait_or_kill(process, settings.stop_seconds)

    async def _listen(self, events: asyncio.StreamReader) -> None:
        try:
            async for line in events:
                self._follow(json.loads(line))
        except ValueError:
            logger.debug("a session sent what it must not", exc_info=True)
        finally:
            self.end()

    def _follow(self, event: object) -> None:
        match event:
            case {"event": "ready", "port": int(port)} if not self._port.done():
                self._port.set_result(port)
                if not self._sockets:
                    self._end_after(self._settings.start_seconds)
            case {"event": "ask", "number": int(number)}:
                self._turns.ask(self, number)
            case {"event": "release"}:
                self._turns.release(self)
            case _:
                raise ValueError(f"expected ready, ask or release, got {event!r}")


class Sessions:
    """All sessions, each under the id that only its visitor knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turns = Turns()
        self._running: dict[str, SessionProcess] = {}
        self._closed = False

    def find(self, identity: str | None) -> SessionProcess | None:
        """The session of a visitor, unless there is none or it has ended."""
        session = self._running.get(identity or "")
        return None if session is None or session.is_over else session

    def open(self) -> str:
        """Start a session; returns its id. Raises SessionError if there are too many."""
        if self._closed or len(self._running) >= self._settings.max_sessions:
            limit = self._settings.max_sessions
            raise SessionError(f"All {limit} places are taken; try again when somebody has closed the page.")
        identity = secrets.token_urlsafe(32)
        session = self._running[identity] = SessionProcess(self._settings, self._turns)
        session.life.add_done_callback(lambda _: self._running.pop(identity))
        return identity

    async def close(self) -> None:
        """End all sessions, and wait until nothing is left of them."""
        self._closed = True
        for session in self._running.values():
            session.end()
        await asyncio.gather(*(session.life for session in self._running.values()), return_exceptions=True)


async def _wait_or_kill(process: Process, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    with suppress(OSError):  # nothing of its group is left; else what dies takes a moment
        for _ in range(20):
            os.killpg(process.pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
    # What it wrote may not be read to its end; asyncio would close the pipes when the loop is gone, and complain.
    process._transport.close()  # type: ignore[attr-defined]
    await process.wait()


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass  # as a rule it is deleted by now
    except OSError as error:
        print(f"error: {sentence_on(folder, error)}", file=sys.stderr)
