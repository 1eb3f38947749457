"""A front of ``attention-unet view`` with stand-ins for the sessions, and visitors to it."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from AttentionUNetSegmentationLib.browser.access import Access
from AttentionUNetSegmentationLib.browser.front import Front, listen, make_runner
from AttentionUNetSegmentationLib.browser.processes import FOLDER_PREFIX, Settings

of_other_tests: set[int] = set()  # processes that outlive a test, as multiprocessing's resource tracker does
TESTING = Path(__file__).resolve().parents[1]


def stub(how: str = "serves") -> list[str]:
    """The command of a stand-in that behaves like this from its start."""
    code = f"import sys; sys.path.insert(0, {str(TESTING)!r}); import runpy; sys.argv[0] = 'stub_session';"
    code += "runpy.run_module('support.stub_session', run_name='__main__')"
    return [sys.executable, "-c", code, "--how", how]


def settings(how: str = "serves", **changes) -> Settings:
    """Settings with a stand-in, and times that suit tests."""
    return Settings(
        **{"command": stub(how), "start_seconds": 20.0, "grace_seconds": 20.0, "stop_seconds": 5.0} | changes
    )


def folders() -> list[str]:
    """The folders of sessions that exist (tests give ``tempfile`` a folder of their own)."""
    return [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(FOLDER_PREFIX)]


def children(pid: int | str = "self") -> list[int]:
    """The processes that one has started, the dead ones that nobody has waited for among them, but not other tests'."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found += [int(pid) for pid in (thread / "children").read_text().split()]
    return [child for child in found if child not in of_other_tests]


def descriptors() -> int:
    """How many files, pipes and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that is about to be."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass
class Running:
    """A front that runs."""

    url: str
    front: Front

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def session_cookie(self) -> str:
        """The name of the cookie with a visitor's session, as long as no tunnel changes the port."""
        return f"attention-unet-session-{self.port}"

    @property
    def token_cookie(self) -> str:
        """The name of the cookie with the token."""
        return f"attention-unet-token-{self.port}"

    @property
    def sessions(self) -> dict:
        """Its sessions."""
        return self.front._sessions._running


@asynccontextmanager
async def running(how: str = "serves", access: Access | None = None, **changes) -> AsyncIterator[Running]:
    """A front on a free port of 127.0.0.1; ``access`` has its rules."""
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    front = Front(settings(how, **changes), access or Access.for_address("127.0.0.1", "127.0.0.1"))
    runner = make_runner(front)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    try:
        yield Running(f"http://127.0.0.1:{port}", front)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def visitor(front: Running) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser with nothing in it."""
    async with aiohttp.ClientSession(front.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        yield client


async def enter(client: aiohttp.ClientSession) -> dict:
    """Open the page, as a browser does that follows the starting page; returns what the stand-in was told."""
    async with client.get("/") as first:
        text = await first.text()
        if first.status == 200 and "Starting" not in text:
            return await first.json()
        assert first.status == 200 and "/?started" in text, text
    async with client.get("/?started") as page:
        assert page.status == 200, await page.text()
        return await page.json()
