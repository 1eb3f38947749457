"""``attention-unet view`` as a process: what it prints, what it refuses, and how it ends."""

import asyncio
import os
import re
import signal
import socket
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="the group view of pyproject.toml is not installed")

import aiohttp

from AttentionUNetSegmentationLib.command import view
from AttentionUNetSegmentationLib.command.cli import main as attention_unet
from support.browser_front import TESTING, Running, children, enter, folders, until, visitor


@asynccontextmanager
async def started(*arguments):
    """The command's process and the address that it prints; a browser on its path notes that it is called."""
    paths = [str(TESTING), *filter(None, (os.environ.get("PYTHONPATH"),))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": tempfile.gettempdir()}
    opened = Path(tempfile.gettempdir()) / "opened"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.view_front", *arguments),
        env=environment | {"BROWSER": f"/bin/sh -c 'echo %s >{opened}'"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # as a terminal's job is
    )
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
            match = re.fullmatch(r"Open (http://\S+) \(Ctrl-C stops\)\n", line)
            assert match, line + (await process.stderr.read()).decode()
            yield process, match[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_ends_it_in_order(number, status):
    async with started("view", "--no-open") as (process, address):
        front = Running(address.rstrip("/"), None)
        async with visitor(front) as client:
            first = await enter(client)
            async with client.ws_connect("/ws") as page:
                closing = asyncio.create_task(page.receive())
                os.killpg(process.pid, number)  # as the terminal does for Ctrl-C
                os.killpg(process.pid, number)
                out, err = await process.communicate()
                assert (await closing).type == aiohttp.WSMsgType.CLOSE
        assert (process.returncode, out, err) == (status, b"", b"stopped; what the sessions made is deleted\n")
        assert (folders(), lives(first["pid"])) == ([], False)


@pytest.mark.parametrize("ready", [True, False], ids=["sessions that run", "sessions that start"])
async def test_when_it_is_killed_nothing_is_left(ready):
    async with started("view", "--no-open") as (process, address):
        async with visitor(Running(address.rstrip("/"), None)) as client:
            await (enter(client) if ready else client.get("/"))
        await until(lambda: children(process.pid))
        (shell,) = children(process.pid)
        process.kill()
        await process.wait()
        await until(lambda: not lives(shell))
        assert folders() == []


async def test_it_says_nothing_of_the_token_but_once_and_opens_no_browser_with_it():
    async with started("--verbose", "view", "--host", "0.0.0.0") as (process, address):
        token = address.split("?token=")[1]
        port = re.search(r":(\d+)/", address)[1]
        async with aiohttp.ClientSession() as client:
            for target in (f"/?token={token}", "/?token=wrong", f"/%zz?token={token}"):
                await (await client.get(f"http://127.0.0.1:{port}{target}", allow_redirects=False)).read()
        process.terminate()
        out, err = await process.communicate()
        assert token.encode() not in out + err
        assert not (Path(tempfile.gettempdir()) / "opened").exists()


async def test_it_opens_the_browser():
    async with started("view") as (_, address):
        opened = Path(tempfile.gettempdir()) / "opened"
        await until(lambda: opened.exists() and opened.read_text() == f"{address}\n")


def refused(capsys, *arguments) -> str:
    assert attention_unet(["view", "--no-open", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.fixture
def _installed(monkeypatch):
    monkeypatch.setattr(view, "NEEDED", ())
    monkeypatch.setattr(view, "check_system", lambda *_: None)


@pytest.mark.usefixtures("_installed")
def test_what_cannot_be_served_is_said_in_one_sentence(capsys, tmp_path):
    missing = tmp_path / "ct.nii.gz"
    assert refused(capsys, missing) == f"error: {missing}: no such file or folder\n"
    assert refused(capsys, "--folder", missing) == f"error: {missing}: --folder must be a folder\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"error: port {port} is in use; choose another with --port, or 0 for a free one\n"
        assert refused(capsys, "--port", port) == message
    for host in ("no.such.host.invalid", "192.0.2.7", "a" * 300, "-"):
        message = f"error: --host must be a name or address of this computer, got {host!r}\n"
        assert refused(capsys, "--host", host) == message


@pytest.mark.parametrize(
    ("option", "value"),
    [("--port", "65536"), ("--port", "-1"), ("--port", "x"), ("--max-sessions", "0"), ("--max-sessions", "\u0663")],
)
def test_numbers_are_checked(option, value, capsys):
    with pytest.raises(SystemExit, match="2"):
        attention_unet(["view", f"{option}={value}"])
    assert "must be from" in capsys.readouterr().err


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setattr(view, "check_system", lambda *_: None)
    monkeypatch.setattr(view, "find_spec", lambda name: None)
    assert refused(capsys) == (
        "error: attention-unet view needs more packages: pip install 'slicer-attention-unet[view]'\n"
    )


@pytest.mark.parametrize(
    ("system", "machine", "python"),
    [
        ("Windows", "AMD64", (3, 12)),
        ("Darwin", "x86_64", (3, 12)),
        ("Linux", "aarch64", (3, 12)),
        ("Linux", "x86_64", (3, 14)),
    ],
)
def test_systems_without_slicer_core_are_told_what_runs_there(system, machine, python):
    with pytest.raises(RuntimeError, match=f"this is {system} .{machine}. with Python 3.{python[1]}, where attention-"):
        view.check_system(system, machine, python)


@pytest.mark.parametrize(("system", "machine"), [("Linux", "x86_64"), ("Darwin", "arm64")])
def test_systems_with_slicer_core_pass(system, machine):
    for minor in (11, 12, 13):
        view.check_system(system, machine, (3, minor))
