"""What a visitor sends goes to the visitor's session, and what the session answers comes back: HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from .processes import SessionProcess

MAX_MESSAGE_BYTES = 8 << 20  # wslink cuts what is larger than 4 MiB into several messages
HEARTBEAT_SECONDS = 30.0
STALL_SECONDS = 60.0  # in which a visitor takes nothing of an answer
SECRET_HEADER = "X-Session-Secret"
ENDED = "This session has ended; reload the page to start a new one."
HOP_BY_HOP = (
    *("Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection"),
    *("TE", "Trailer", "Transfer-Encoding", "Upgrade"),
)
# what is between the visitor and the front only; the front has checked the origin
NOT_FOR_SESSIONS = (*HOP_BY_HOP, "Host", "Authorization", "Cookie", "Origin", "Expect", SECRET_HEADER)
NOT_FOR_VISITORS = (*HOP_BY_HOP, "Set-Cookie", "Server", "Date", SECRET_HEADER)
logger = logging.getLogger("attention_unet")


class Relay:
    """Carries requests to sessions.

    Args:
        client: made by ``make_client``.
        limit_bytes: the largest body of a request.
    """

    def __init__(self, client: aiohttp.ClientSession, limit_bytes: int) -> None:
        self._client = client
        self._limit_bytes = limit_bytes

    async def answer(self, request: web.Request, session: SessionProcess, port: int) -> web.StreamResponse:
        """The session's answer; 413 for a body that is too large, 502 if the session dies."""
        target = request.rel_url
        url = URL.build(
            scheme="http",
            host="127.0.0.1",
            port=port,
            path=target.raw_path,
            query_string=target.raw_query_string,
            encoded=True,
        )
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._carry_socket(request, session, url)
            if request.path.startswith("/download/"):  # which may take longer than the page stays open
                with session.page_open():
                    return await self._carry(request, session, url)
            return await self._carry(request, session, url)
        except aiohttp.ClientError as error:
            logger.debug("a session did not answer: %s", type(error).__name__)  # its text may name a patient's file
            raise web.HTTPBadGateway(text=ENDED) from None

    async def _carry(self, request: web.Request, session: SessionProcess, url: URL) -> web.StreamResponse:
        body = _Body(request, self._limit_bytes)
        posted = request.method == "POST"
        headers = _without(request.headers, NOT_FOR_SESSIONS if posted else (*NOT_FOR_SESSIONS, "Content-Length"))
        try:
            answer = await self._client.request(
                request.method,
                url,
                headers=[*headers, (SECRET_HEADER, session.secret)],
                data=body.chunks() if posted else None,
                allow_redirects=False,
            )
        except aiohttp.ClientError:
            body.check()
            raise
        async with answer:
            response = web.StreamResponse(status=answer.status, headers=_without(answer.headers, NOT_FOR_VISITORS))
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    async with asyncio.timeout(STALL_SECONDS):
                        await response.write(chunk)
            except TimeoutError as error:  # the session is to end some time after its page was closed
                raise ConnectionResetError("the visitor reads no more") from error
            except aiohttp.ClientError as error:  # the visitor must not take a part for the whole
                raise ConnectionResetError("the session died while it answered") from error
            await response.write_eof()
        return response

    async def _carry_socket(self, request: web.Request, session: SessionProcess, url: URL) -> web.StreamResponse:
        to_session = self._client.ws_connect(
            url, headers={SECRET_HEADER: session.secret}, max_msg_size=MAX_MESSAGE_BYTES
        )
        async with to_session as inner:
            outer = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_MESSAGE_BYTES, compress=False)
            await outer.prepare(request)
            with session.page_open():
                pumps = [asyncio.create_task(_pump(outer, inner)), asyncio.create_task(_pump(inner, outer))]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.wait(pumps)
            await outer.close()
        return outer


def make_client() -> aiohttp.ClientSession:
    """A client for all sessions that keeps nothing between requests: neither cookies nor connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


class _Body:
    """The body of a request, as it comes in."""

    def __init__(self, request: web.Request, limit_bytes: int) -> None:
        self._request = request
        self._limit_bytes = limit_bytes
        self._size = request.content_length or 0
        self.check()

    def check(self) -> None:
        """Refuse a body that says that it is too large, or was found to be."""
        if self._size > self._limit_bytes:
            raise web.HTTPRequestEntityTooLarge(
                self._limit_bytes, self._size, text=f"An upload may have {self._limit_bytes >> 20} MB at most."
            )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its parts; an error within them ends the request to the session as an incomplete one."""
        received = 0
        async for chunk in self._request.content.iter_any():
            received += len(chunk)
            self._size = max(self._size, received)
            self.check()
            yield chunk


def _without(headers: Mapping[str, str], names: tuple[str, ...]) -> list[tuple[str, str]]:
    """All headers but those of these names, and those that Connection lists."""
    listed = [part for name, value in headers.items() if name.lower() == "connection" for part in value.split(",")]
    dropped = {name.strip().lower() for name in (*names, *listed)}
    return [(name, value) for name, value in headers.items() if name.lower() not in dropped]


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    """Carry messages until one side closes; each waits until the last one has gone out, so nothing piles up."""
    try:
        async for message in source:
            if message.type == aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type == aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            else:
                return
    except (ConnectionError, aiohttp.ClientError) as error:
        logger.debug("a page was closed: %s", type(error).__name__)
