"""Sessions start in time or not at all, and leave no process, folder or descriptor behind."""

import asyncio
import gc
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.browser.processes import SessionError, Sessions
from support.browser_front import children, descriptors, folders, settings, until


def kill_session() -> None:
    (shell,) = children()
    (session,) = children(shell)
    os.kill(session, signal.SIGKILL)


@pytest.mark.parametrize("how", ["dies", "babbles", "rambles"])
async def test_a_session_that_cannot_start_says_so_and_is_gone(how):
    sessions = Sessions(settings(how))
    session = sessions.find(sessions.open())
    with pytest.raises(SessionError, match="did not start"):
        await session.port()
    await session.life
    assert (folders(), sessions._running) == ([], {})


async def test_a_program_that_does_not_exist_is_a_session_that_cannot_start():
    sessions = Sessions(settings(command=["/no/such/program"]))
    with pytest.raises(SessionError, match="did not start"):
        await sessions.find(sessions.open()).port()
    await sessions.close()


async def test_no_folder_can_be_made(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/no/such/folder")
        sessions = Sessions(settings())
        with pytest.raises(SessionError, match="did not start"):
            await sessions.find(sessions.open()).port()
        await sessions.close()


async def test_a_session_that_is_not_ready_in_time_is_ended():
    sessions = Sessions(settings("silent", start_seconds=0.5))
    begun = time.monotonic()
    session = sessions.find(sessions.open())
    with pytest.raises(SessionError, match="did not start"):
        await session.port()
    await session.life
    assert 0.5 <= time.monotonic() - begun < 2


async def test_a_session_whose_page_is_never_opened_ends():
    sessions = Sessions(settings("idle", start_seconds=0.6))
    identity = sessions.open()
    assert await sessions.find(identity).port() == 1
    await until(lambda: not sessions._running)
    assert sessions.find(identity) is None


async def test_a_reload_within_the_grace_time_keeps_the_session():
    sessions = Sessions(settings("idle", grace_seconds=0.3))
    session = sessions.find(sessions.open())
    await session.port()
    with session.page_open():
        with session.page_open():
            pass
        await asyncio.sleep(0.4)  # one of two pages is still there
    await asyncio.sleep(0.15)
    with session.page_open():
        await asyncio.sleep(0.4)
    assert not session.is_over
    await session.life


async def test_the_folder_is_the_users_alone():
    sessions = Sessions(settings("idle"))
    await sessions.find(sessions.open()).port()
    (name,) = folders()
    assert stat.S_IMODE((Path(tempfile.gettempdir()) / name).stat().st_mode) == 0o700
    await sessions.close()


async def test_a_session_that_does_not_stop_is_killed():
    sessions = Sessions(settings("stubborn", stop_seconds=0.2))
    await sessions.find(sessions.open()).port()
    begun = time.monotonic()
    await sessions.close()
    assert 0.2 <= time.monotonic() - begun < 2
    assert (children(), folders()) == ([], [])


def test_a_session_that_is_killed_before_its_words_are_read_leaves_no_open_pipe(monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", lambda complaint: complaints.append(complaint.exc_value))

    async def main():
        sessions = Sessions(settings(command=["/bin/sh", "-c", "head -c 1000000 /dev/zero >&3"], stop_seconds=0.2))
        sessions.open()
        await asyncio.sleep(0.3)
        await sessions.close()

    asyncio.run(main())
    gc.collect()
    assert complaints == []


async def test_a_session_that_is_killed_is_noticed_and_cleaned_up():
    sessions = Sessions(settings("idle"))
    identity = sessions.open()
    await sessions.find(identity).port()
    kill_session()
    await until(lambda: sessions.find(identity) is None)
    await until(lambda: not sessions._running)
    assert (children(), folders()) == ([], [])


async def test_a_session_that_dies_gives_its_turn_back():
    class Other:
        heard = None

        def send(self, message):
            self.heard = message

    sessions, other = Sessions(settings("idle")), Other()
    session = sessions.find(sessions.open())
    await session.port()
    session._follow({"event": "ask", "number": 1})
    sessions._turns.ask(other, 1)
    assert other.heard == {"event": "position", "ahead": 1}
    kill_session()
    await until(lambda: other.heard == {"event": "turn", "number": 1})
    await sessions.close()


async def test_ten_sessions_in_a_row_leave_nothing():
    sessions = Sessions(settings("idle"))
    counts = []
    for _ in range(10):
        session = sessions.find(sessions.open())
        await session.port()
        session.end()
        await session.life
        counts.append(descriptors())
    assert len(set(counts)) == 1
    assert (children(), folders(), sessions._running) == ([], [], {})


async def test_there_are_no_more_than_the_limit_and_each_has_an_id_and_a_secret_of_its_own():
    sessions = Sessions(settings("idle", max_sessions=2))
    identities = [sessions.open(), sessions.open()]
    with pytest.raises(SessionError, match="All 2 places are taken"):
        sessions.open()
    found = [sessions.find(identity) for identity in identities]
    assert len({*identities, *(session.secret for session in found)}) == 4
    assert all(len(identity) >= 43 for identity in identities)
    assert [sessions.find(wrong) for wrong in (None, "", identities[0][:-1])] == [None] * 3
    await asyncio.gather(*(session.port() for session in found))
    found[0].end()
    await found[0].life
    sessions.open()
    await sessions.close()
    with pytest.raises(SessionError):
        sessions.open()


async def test_closing_while_a_session_starts():
    sessions = Sessions(settings("silent"))
    session = sessions.find(sessions.open())
    await asyncio.sleep(0.05)
    await sessions.close()
    with pytest.raises(SessionError):
        await session.port()


async def test_a_folder_that_cannot_be_deleted_is_named(monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    sessions = Sessions(settings("stubborn", stop_seconds=0.1))
    await sessions.find(sessions.open()).port()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        await sessions.close()
    (name,) = folders()
    assert name in capsys.readouterr().err
    shutil.rmtree(Path(tempfile.gettempdir()) / name)
