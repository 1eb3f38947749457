"""What a visitor sends arrives at the session as it was, but for what is between browser and front only."""

import asyncio
import logging

import pytest

pytest.importorskip("aiohttp", reason="the group view of pyproject.toml is not installed")

import aiohttp
from yarl import URL

from AttentionUNetSegmentationLib.browser import relay
from support.browser_front import children, enter, folders, running, until, visitor


def names(front, client) -> str:
    """The headers with which a visitor's browser names the front and the session."""
    (one,) = client.cookie_jar
    return f"Host: localhost:{front.port}\r\nCookie: {one.key}={one.value}"


async def test_a_request_arrives_as_it_was_sent_but_for_what_concerns_the_front():
    async with running() as front, visitor(front) as client:
        first = await enter(client)
        sent = {
            "X-Session-Secret": "guess",
            "Connection": "close, X-Mine",
            "X-Mine": "1",
            "TE": "trailers",
            "Authorization": "Basic eDp5",
            "X-Kept": "2",
        }
        target = "/a%2Fb/..%2f..%2fetc//passwd?q=%20&q=+"
        echo = await (await client.post(URL(front.url + target, encoded=True), headers=sent)).json()
        assert echo["target"] == target
        assert (echo["X-Session-Secret"], echo["X-Kept"]) == (first["secret"], "2")
        assert not {"Authorization", "Cookie", "X-Mine", "TE", "Origin"} & set(echo)
        assert echo["Host"].startswith("127.0.0.1:") and echo["Host"] != front.url.removeprefix("http://")


@pytest.mark.parametrize("target", ["//evil.example/x", "/@evil.example/", "/:80/", "/..", "/%2e%2e/%5c"])
async def test_no_path_leads_to_another_server(target):
    async with running() as front, visitor(front) as client:
        await enter(client)
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(f"GET {target} HTTP/1.1\r\n{names(front, client)}\r\n\r\n".encode())
        answer = (await reader.readuntil(b"}")).decode()
        writer.close()
        assert answer.startswith("HTTP/1.1 200") and f'"target": "{target}"' in answer


async def test_an_answer_comes_back_without_the_sessions_cookies_and_redirects_are_the_browsers():
    async with running() as front, visitor(front) as client:
        await enter(client)
        answer = await client.get("/")
        assert "Set-Cookie" not in answer.headers and answer.content_type == "application/json"
        moved = await client.get("/moved", allow_redirects=False)
        assert (moved.status, moved.headers["Location"]) == (302, "index.html")
        head = await client.head("/")
        assert (head.status, await head.read()) == (200, b"") and int(head.headers["Content-Length"]) > 100


async def test_uploads_arrive_whole_up_to_the_limit():
    async def chunks():
        for _ in range(16):
            yield b"x" * 65536

    async with running(upload_mb=1) as front, visitor(front) as client:
        await enter(client)
        for body in (b"x" * (1 << 20), chunks()):
            answer = await client.post("/upload", data=body)
            assert (answer.status, await answer.text()) == (200, str(1 << 20))


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent():
    async with running(upload_mb=1) as front, visitor(front) as client:
        await enter(client)
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        head = f"POST /upload HTTP/1.1\r\n{names(front, client)}\r\nContent-Length: 1048577\r\n\r\n"
        writer.write(head.encode())
        answer = (await reader.read()).decode()
        writer.close()
        assert answer.startswith("HTTP/1.1 413") and answer.endswith("\r\n\r\nAn upload may have 1 MB at most.")
        assert await (await client.get("/uploads")).json() == []


def test_a_body_that_turns_out_too_large_is_not_read_to_its_end():
    async def main():
        sent = 0

        async def chunks():
            nonlocal sent
            while sent < 1 << 30:
                yield b"x" * 65536
                sent += 65536

        async with running(upload_mb=1) as front, visitor(front) as client:
            await enter(client)
            answer = await client.post("/upload", data=chunks())
            assert (answer.status, await answer.text()) == (413, "An upload may have 1 MB at most.")
            answer.close()
            assert sent < 1 << 29
            assert await (await client.get("/uploads")).json() == ["begun"]

    asyncio.run(main())


def test_an_upload_that_breaks_off_is_not_taken_for_a_whole_one_and_not_logged(caplog):
    caplog.set_level(logging.DEBUG)

    async def main():
        async with running() as front, visitor(front) as client:
            await enter(client)
            for framing, body in (("Content-Length: 100", "x" * 50), ("Transfer-Encoding: chunked", "5\r\nxxxxx\r\n")):
                _, writer = await asyncio.open_connection("127.0.0.1", front.port)
                head = f"POST /upload?name=Doe HTTP/1.1\r\n{names(front, client)}\r\n{framing}\r\n\r\n"
                writer.write((head + body).encode())
                await writer.drain()
                await asyncio.sleep(0.1)
                writer.close()
            await asyncio.sleep(0.1)
            assert await (await client.get("/uploads")).json() == ["begun", "begun"]

    asyncio.run(main())
    assert "Doe" not in caplog.text


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one():
    async with running() as front, visitor(front) as client:
        await enter(client)
        answer = await client.get("/half")
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
        await until(lambda: not front.sessions)


async def test_websocket_messages_go_both_ways_in_order():
    async with running() as front, visitor(front) as client:
        first = await enter(client)
        async with client.ws_connect("/ws", headers={"X-Session-Secret": "guess", "Origin": front.url}) as socket:
            for number in range(50):
                await socket.send_bytes(bytes([number]) * 10_000)
            assert [await socket.receive_bytes() for _ in range(50)] == [bytes([n]) * 10_000 for n in range(50)]
            await socket.send_str("hello")
            hello = await socket.receive_json()
            assert hello["word"] == "hello"
            assert hello["headers"]["X-Session-Secret"] == first["secret"]
            assert not {"Cookie", "Origin"} & set(hello["headers"])


async def test_messages_that_are_too_large_end_the_connection_but_not_the_session(monkeypatch):
    monkeypatch.setattr(relay, "MAX_MESSAGE_BYTES", 10_000)

    async with running() as front, visitor(front) as client:
        await enter(client)
        for send in (lambda socket: socket.send_bytes(b"x" * 10_001), lambda socket: socket.send_str("send 10001")):
            async with client.ws_connect("/ws") as socket:
                await send(socket)
                assert (await socket.receive(timeout=5)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        async with client.ws_connect("/ws") as socket:
            await socket.send_bytes(b"x" * 9_000)
            assert len(await socket.receive_bytes()) == 9_000


async def test_a_page_that_does_not_read_holds_up_no_other_and_misses_nothing():
    async with running() as front, visitor(front) as client:
        await enter(client)
        async with client.ws_connect("/ws", max_msg_size=0) as slow, client.ws_connect("/ws") as other:
            for _ in range(16):
                await slow.send_str("send 4000000")
            await other.send_bytes(b"quick")
            assert await other.receive_bytes(timeout=5) == b"quick"
            assert [len(await slow.receive_bytes(timeout=5)) for _ in range(16)] == [4_000_000] * 16


async def test_when_the_session_dies_the_page_hears_of_it():
    async with running() as front, visitor(front) as client:
        first = await enter(client)
        async with client.ws_connect("/ws") as socket:
            await socket.send_str("write result.txt")
            await socket.send_str("die")
            assert (await socket.receive(timeout=5)).type == aiohttp.WSMsgType.CLOSE
        await until(lambda: not front.sessions)
        assert (children(), folders()) == ([], [])
        answer = await client.get("/upload")
        assert answer.status == 502 and "reload the page to start a new one" in await answer.text()
        assert (await enter(client))["pid"] != first["pid"]


async def test_a_session_that_hangs_is_ended_with_its_page():
    async with running(grace_seconds=0.1, stop_seconds=0.2) as front, visitor(front) as client:
        await enter(client)
        async with client.ws_connect("/ws", timeout=aiohttp.ClientWSTimeout(ws_close=0.1)) as socket:
            await socket.send_str("hang")
        await until(lambda: not front.sessions)
