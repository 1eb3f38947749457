"""A stand-in for a session of ``attention-unet view``: it speaks the front's protocol, and misbehaves when told to.

It imports no more than it needs, as tests start many. ``--how`` says what it does at its start, and what a page sends
by WebSocket, a word and perhaps an argument, what it does then.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

EVENTS_FD = 3


def tell(**event: object) -> None:
    """Tell the front an event."""
    os.write(EVENTS_FD, json.dumps(event).encode() + b"\n")


async def front_lines() -> asyncio.StreamReader:
    """What the front says on standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    return reader


async def main(how: str) -> None:
    """Live as a session does."""
    if how == "dies":
        sys.exit(3)
    reader = await front_lines()
    first = json.loads(await reader.readline())
    folder = Path(first["folder"])
    (folder / "scratch").mkdir()
    (folder / "scratch" / "ct.nii").write_bytes(b"0" * 1000)
    if how == "babbles":
        os.write(EVENTS_FD, b"no JSON\n")
    elif how == "rambles":
        os.write(EVENTS_FD, b"{" * 200_000)
    elif how in ("idle", "stubborn"):
        tell(event="ready", port=1)
    elif how == "serves":
        from support.stub_session_page import Page

        page = Page(first)
        tell(event="ready", port=await page.start())
    while line := await reader.readline():
        if json.loads(line)["event"] == "stop" and how != "stubborn":
            break
        if how == "serves":
            await page.show(line.decode().strip())
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--how", default="serves")
    asyncio.run(main(parser.parse_args().how))
