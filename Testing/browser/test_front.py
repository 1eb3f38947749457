"""Each visitor gets a session of their own, keeps it over a reload, and leaves nothing when it ends."""

import asyncio
import json

import pytest

pytest.importorskip("aiohttp", reason="the group view of pyproject.toml is not installed")

import aiohttp
from yarl import URL

from AttentionUNetSegmentationLib.browser import front as front_module
from AttentionUNetSegmentationLib.browser import relay
from support.browser_front import children, descriptors, enter, folders, running, until, visitor


async def test_a_visitor_gets_a_session_that_knows_what_to_show(tmp_path):
    changes = {"ct": tmp_path / "ct.nii.gz", "serve": tmp_path, "upload_mb": 7}
    async with running(**changes) as front, visitor(front) as client:
        first = await enter(client)
        assert (first["ct"], first["serve"], first["upload_mb"]) == (str(tmp_path / "ct.nii.gz"), str(tmp_path), 7)
        assert first["temporary"] == first["folder"]
        (cookie,) = client.cookie_jar
        assert (cookie.key, cookie["httponly"], cookie["samesite"]) == (front.session_cookie, True, "Strict")
        assert (cookie["domain"], cookie["path"]) == ("127.0.0.1", "/")
        assert await enter(client) == first  # a reload


async def test_two_visitors_do_not_meet():
    async with running() as front, visitor(front) as one, visitor(front) as other:
        first, second = await asyncio.gather(enter(one), enter(other))
        assert first["pid"] != second["pid"] and first["folder"] != second["folder"]
        async with one.ws_connect("/ws") as ours, other.ws_connect("/ws") as theirs:
            await ours.send_str("hello")
            assert (await ours.receive_json())["headers"]["X-Session-Secret"] == first["secret"]
            await theirs.send_str("hello")
            assert (await theirs.receive_json())["headers"]["X-Session-Secret"] == second["secret"]


@pytest.mark.parametrize("guess", ["", "0", "a" * 43, '"', "../x"])
async def test_an_id_that_was_not_given_out_is_nobodys(guess):
    async with running("idle") as front, visitor(front) as one, visitor(front) as other:
        await one.get("/")
        cookie = {"Cookie": f"{front.session_cookie}={guess}"}
        assert (await other.get("/download/ct.zip", headers=cookie)).status == 502
        answer = await other.get("/", headers=cookie)
        assert front.session_cookie in answer.cookies  # a new session, with an id of the front's
        assert len(front.sessions) == 2 and guess not in front.sessions


async def test_an_impatient_visitor_starts_one_session():
    async with running("idle") as front, visitor(front) as client:
        await client.get("/")
        answers = [await client.get("/?started", allow_redirects=False) for _ in range(3)]
        assert [answer.status for answer in answers] == [303, 303, 303]
        assert len(front.sessions) == 1


async def test_a_browser_without_cookies_is_told_so_rather_than_sent_in_circles():
    async with running("idle") as front, visitor(front) as client:
        await client.get("/")
        client.cookie_jar.clear()
        answer = await client.get("/?started")
        assert answer.status == 502 and "needs a cookie" in await answer.text()
        assert len(front.sessions) == 1


async def test_a_session_that_does_not_start_is_told_on_the_page():
    async with running("silent", start_seconds=0.3) as front, visitor(front) as client:
        await client.get("/")
        answer = await client.get("/?started")
        text = await answer.text()
        assert answer.status == 502 and "The viewer did not start" in text and 'href="/"' in text


async def test_a_session_that_died_before_the_page_came_back_is_told_too():
    async with running("dies") as front, visitor(front) as client:
        await client.get("/")
        await until(lambda: not front.sessions)
        answer = await client.get("/?started")
        assert answer.status == 502 and "The viewer did not start" in await answer.text()


@pytest.mark.parametrize("enters", [False, True], ids=["no session", "session"])
@pytest.mark.parametrize(
    ("target", "led_to"),
    [
        ("/?sessionURL=ws://evil.example/ws", "./"),
        ("/?sessionManagerURL=http://evil.example/", "./"),
        ("/?token=1", "./"),
        ("/index.html?sessionURL=ws://evil.example/ws", "./index.html"),
        ("/.%2findex.html?started&sessionURL=ws://evil.example/ws", "./.%2Findex.html"),
        ("//evil.example/index.html?sessionURL=ws://evil.example/ws", "./index.html"),
    ],
)
async def test_a_link_cannot_tell_the_page_where_to_connect(target, led_to, enters):
    """The client that a session serves obeys the address bar's query."""
    async with running() as front, visitor(front) as client:
        if enters:
            await enter(client)
        answer = await client.get(URL(front.url + target, encoded=True), allow_redirects=False)
        assert (answer.status, answer.headers["Location"], answer.cookies) == (303, led_to, {})
        assert len(front.sessions) == enters


async def test_a_connection_without_a_whole_request_is_closed(monkeypatch):
    monkeypatch.setattr(front_module, "IDLE_SECONDS", 0.3)
    async with running() as front, visitor(front) as client:
        await enter(client)
        silent, slow = [await asyncio.open_connection("127.0.0.1", front.port) for _ in range(2)]
        slow[1].write(b"GET / HTTP/1.1\r\nHost: ")
        async with client.ws_connect("/ws") as socket:
            async with asyncio.timeout(5):
                assert await silent[0].read() == await slow[0].read() == b""
            await asyncio.sleep(0.5)  # a page may be silent for longer
            await socket.send_bytes(b"still there")
            assert await socket.receive_bytes() == b"still there"
        for _, writer in (silent, slow):
            writer.close()


async def test_only_the_page_starts_a_session():
    async with running("idle") as front, visitor(front) as client:
        answers = [await client.get("/favicon.ico"), await client.head("/"), await client.post("/")]
        assert [answer.status for answer in answers] == [502, 502, 502]
        assert front.sessions == {}


async def test_when_all_places_are_taken_a_visitor_is_told_and_gets_the_next_free_one():
    async with running("idle", max_sessions=1) as front, visitor(front) as one, visitor(front) as other:
        await one.get("/")
        answer = await other.get("/")
        assert answer.status == 503 and "All 1 places are taken" in await answer.text()
        next(iter(front.sessions.values())).end()
        await until(lambda: not front.sessions)
        assert (await other.get("/")).status == 200


async def test_the_session_ends_when_its_page_stays_closed():
    async with running(grace_seconds=0.2) as front, visitor(front) as client:
        first = await enter(client)
        async with client.ws_connect("/ws") as socket:
            await socket.send_str("write result.txt")
            await socket.send_bytes(b"done")
            await socket.receive_bytes()
        async with client.ws_connect("/ws"):
            await asyncio.sleep(0.3)
            assert (await enter(client))["pid"] == first["pid"]
        await until(lambda: not front.sessions)
        assert (children(), folders()) == ([], [])


async def test_a_download_is_not_cut_when_the_page_is_closed_meanwhile():
    async with running(grace_seconds=0.3) as front, visitor(front) as client:
        await enter(client)
        async with client.ws_connect("/ws"):
            answer = await client.get("/download/slow")
        assert await answer.read() == b"half of it, and the rest"
        await asyncio.sleep(0.1)
        assert front.sessions  # the page may still come back
        await until(lambda: not front.sessions)


async def test_a_download_that_nobody_reads_does_not_keep_its_session(monkeypatch):
    monkeypatch.setattr(relay, "STALL_SECONDS", 0.3)
    async with running(grace_seconds=0.1) as front, visitor(front) as client:
        await enter(client)
        async with client.ws_connect("/ws"):
            answer = await client.get("/download/large")
        await until(lambda: not front.sessions)  # the page is closed
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_visitors_in_a_row_leave_nothing_open():
    async with running(grace_seconds=0.0) as front:
        counts = []
        for _ in range(3):
            async with visitor(front) as client:
                await enter(client)
                async with client.ws_connect("/ws") as socket:
                    await client.post("/upload", data=b"x" * 100_000)
                    await socket.send_bytes(b"done")
                    await socket.receive_bytes()
            await until(lambda: not front.sessions)
            await asyncio.sleep(0.05)
            counts.append(descriptors())
        assert len(set(counts)) == 1


async def test_the_network_runs_for_one_session_at_a_time():
    async with (
        running(grace_seconds=0.1) as front,
        visitor(front) as one,
        visitor(front) as two,
        visitor(front) as three,
    ):
        await asyncio.gather(*map(enter, (one, two, three)))
        async with two.ws_connect("/ws") as second, three.ws_connect("/ws") as third:

            async def hears(socket, **message):
                assert json.loads(await socket.receive_str(timeout=5)) == message

            async with one.ws_connect("/ws") as first:
                for socket in (first, second, third):
                    await socket.send_str("ask")
                    await asyncio.sleep(0.05)
                await hears(first, event="turn", number=1)
                await hears(second, event="position", ahead=1)
                await hears(third, event="position", ahead=2)
            await hears(second, event="turn", number=1)  # the first one closed the page
            await hears(third, event="position", ahead=1)
            await second.send_str("die")
            await hears(third, event="turn", number=1)


async def test_stopping_ends_open_pages_and_sessions_that_start():
    async with running() as front, visitor(front) as client, visitor(front) as other:
        await enter(client)
        await other.get("/")
        socket = await client.ws_connect("/ws")
        waiting = asyncio.create_task(other.get("/?started"))
        await asyncio.sleep(0.05)
    assert (children(), folders()) == ([], [])
    await asyncio.gather(waiting, return_exceptions=True)
    assert socket.closed or (await socket.receive()).type.name in ("CLOSE", "CLOSED", "CLOSING", "ERROR")
