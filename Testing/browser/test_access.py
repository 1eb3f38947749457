"""Nobody gets in without the token where one is needed, and no other web site gets in through a visitor's browser."""

import asyncio
import logging

import pytest

pytest.importorskip("aiohttp", reason="the group view of pyproject.toml is not installed")

from AttentionUNetSegmentationLib.browser.access import LOOPBACK_NAMES, Access
from support.browser_front import running, visitor

TOKEN = "t0ken-of-this-test"
WITH_TOKEN = Access(None, TOKEN)
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def raw(front, text: bytes) -> tuple[int, str]:
    """Send bytes as they are; returns the status and the last line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(text)
    answer = (await reader.read(4000)).decode()
    writer.close()
    return int(answer.split()[1]), answer.splitlines()[-1]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1"])
def test_this_computer_needs_no_token(address):
    access = Access.for_address("localhost", address)
    assert (access.token, access.names) == (None, LOOPBACK_NAMES | {address, f"[{address}]"})


def test_an_address_that_others_reach_needs_a_token_of_256_random_bits():
    access, other = (Access.for_address("ct.example.org", "192.0.2.7") for _ in range(2))
    assert access.names == {"ct.example.org", "192.0.2.7", "[192.0.2.7]"}
    assert len(access.token) == 43 and access.token != other.token


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_all_addresses_at_once_have_any_name_but_a_token(address):
    access = Access.for_address(address, address)
    assert access.names is None and access.token


async def test_cookies_are_called_after_the_port_that_the_browser_sees():
    """Tunnels to the same port of two computers have two ports here, and a browser tells no cookies by their ports."""
    async with running("idle", access=WITH_TOKEN) as front, visitor(front) as client:
        for host, port in (("127.0.0.1:8080", "8080"), ("[::1]:8081", "8081"), ("ct.example.org", "default")):
            token = f"attention-unet-token-{port}"
            let_in = await client.get(f"/?token={TOKEN}", headers={"Host": host})
            assert let_in.cookies[token].value == TOKEN
            assert list(let_in.cookies) == [token]
            client.cookie_jar.clear()
            begun = await client.get("/", headers={"Host": host, "Cookie": f"{token}={TOKEN}"})
            assert (begun.status, list(begun.cookies)) == (200, [f"attention-unet-session-{port}"])
            client.cookie_jar.clear()
            both = f"{token}={TOKEN}; {begun.cookies.output(header='', attrs=[], sep=';').strip()}"
            back = await client.get("/?started", headers={"Host": host, "Cookie": both}, allow_redirects=False)
            assert (back.status, back.headers["Location"]) == (303, "/")
        assert len(front.sessions) == 3


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil", "10.0.0.1"]
)
async def test_a_foreign_name_for_this_computer_is_refused(host):
    async with running() as front, visitor(front) as client:
        answer = await client.get("/healthz", headers={"Host": host.format(port=front.port)})
        assert answer.status == 403 and "does not have that name" in await answer.text()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "localhost:9"]
)
async def test_own_names_are_answered_also_at_the_other_port_of_a_tunnel(host):
    async with running() as front, visitor(front) as client:
        answer = await client.get("/healthz", headers={"Host": host.format(port=front.port)})
        assert (answer.status, await answer.text()) == (200, "ok")


@pytest.mark.parametrize(
    "head",
    [
        "GET /healthz HTTP/1.1\r\n",
        "GET /healthz HTTP/1.0\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        "GET /healthz HTTP/1.1\r\nHost: user@localhost\r\n",
        "GET /healthz HTTP/1.1\r\nHost: \r\n",
        "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n",
        "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n",
    ],
)
async def test_requests_that_no_browser_sends_are_refused(head):
    async with running() as front:
        status, _ = await raw(front, head.encode() + b"\r\n")
        assert status in (400, 405)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(method):
    async with running() as front, visitor(front) as client:
        answer = await client.request(method, "/upload")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD,POST")


ORIGINS = ["http://evil.example", "http://127.0.0.1:1", "null", "", "http://127.0.0.1:{port}.evil.example", "file://"]


@pytest.mark.parametrize(
    "origin", [*ORIGINS, "https://127.0.0.1", "http://localhost:{port}", "http://[::1", "http://a:b"]
)
async def test_other_web_sites_can_neither_post_nor_open_websockets(origin):
    async with running() as front, visitor(front) as client:
        headers = {"Origin": origin.format(port=front.port)}
        answers = [
            await client.post("/upload", headers=headers),
            await client.get("/ws", headers=WEBSOCKET | headers),
        ]
        for answer in answers:
            assert answer.status == 403 and "Another web site" in await answer.text()


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", None])
async def test_its_own_pages_and_what_is_no_browser_pass(origin):
    async with running() as front, visitor(front) as client:
        headers = {"Origin": origin.format(port=front.port)} if origin else {}
        for answer in (
            await client.post("/", headers=headers),
            await client.get("/ws", headers=WEBSOCKET | headers),
        ):
            assert answer.status == 502  # there is no session


@pytest.mark.parametrize("host", ["ct.example.org", "ct.example.org:443"])
async def test_behind_a_proxy_that_speaks_tls_origin_and_cookie_fit(host):
    async with running(access=WITH_TOKEN) as front, visitor(front) as client:
        headers = {"Host": host, "Origin": "https://ct.example.org", "X-Forwarded-Proto": "https"}
        answer = await client.get(f"/?token={TOKEN}", headers=headers, allow_redirects=False)
        assert "; Secure" in answer.headers["Set-Cookie"]
        cookie = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
        assert (await client.post("/upload", headers=headers | cookie)).status == 502


@pytest.mark.parametrize("access", [None, WITH_TOKEN], ids=["this computer", "token"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_starts_no_session_and_its_links_lead_here_with_the_cookies(site, access):
    async with running("idle", access) as front, visitor(front) as client:
        fetched = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        framed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        linked = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        for headers in (fetched, framed):
            assert (await client.get("/", headers=headers)).status == 403
        assert (await client.get("/download/ct.zip", headers=linked)).status == 403
        for page in ("/", "/index.html"):
            answer = await client.get(page, headers=linked)
            assert (answer.status, answer.cookies) == (200, {})
            assert 'content="0; url=/"' in await answer.text()
        assert front.sessions == {}


def test_the_token_lets_in_once_and_leaves_the_address(caplog):
    caplog.set_level(logging.DEBUG)

    async def main():
        async with running("idle", access=WITH_TOKEN) as front, visitor(front) as client:
            for target in (
                "/",
                "/upload",
                "/?token=",
                "/?token=wrong",
                f"/?token={TOKEN}x",
                "/?token=%ED%A0%80%C3%BC%00",
            ):
                answer = await client.get(target)
                assert answer.status == 401 and "token that attention-unet view printed" in await answer.text()
            assert (await client.get("/ws", headers=WEBSOCKET)).status == 401
            assert (await client.post("/upload")).status == 401
            assert (await client.get("/healthz")).status == 200
            assert front.sessions == {}
            answer = await client.get(f"/?token={TOKEN}", allow_redirects=False)
            assert answer.status == 200 and 'content="0; url=/"' in await answer.text()
            cookie = answer.headers["Set-Cookie"]
            assert cookie.startswith(front.token_cookie) and "; HttpOnly" in cookie and "SameSite=Strict" in cookie
            assert (await client.get("/upload")).status == 502
            assert (await client.get("/?token=wrong")).status == 401  # also for one who is in already
            for head in ("G@T {} HTTP/1.1", "GET {} HTTP/9.9", "GET {}", "GET {} HTTP/1.1\r\nno header"):
                status, _ = await raw(front, f"{head.format(f'/?token={TOKEN}')}\r\n\r\n".encode())
                assert status == 400

    asyncio.run(main())
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("value", ["wrong", "", "\u00fc", TOKEN.upper(), TOKEN[:-1]])
async def test_a_wrong_cookie_is_no_token(value):
    async with running(access=WITH_TOKEN) as front, visitor(front) as client:
        answer = await client.get("/", headers={"Cookie": f"{front.token_cookie}={value}"})
        assert answer.status == 401


async def test_every_answer_keeps_out_of_frames_caches_and_other_sites():
    async with running("idle") as front, visitor(front) as client:
        answers = [await client.get(target) for target in ("/", "/healthz", "/nothing")]
        answers += [await client.post("/"), await client.get("/", headers={"Host": "elsewhere.example"})]
    async with running("idle", access=WITH_TOKEN) as front, visitor(front) as client:
        answers.append(await client.get("/"))
        assert [answer.status for answer in answers] == [200, 200, 502, 502, 403, 401]
        for answer in answers:
            headers = answer.headers
            host = answer.request_info.headers["Host"]
            policy = f"frame-ancestors 'none'; connect-src 'self' ws://{host} wss://{host}"
            assert headers["Content-Security-Policy"] == policy
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Cache-Control"] == "no-store"
