"""The server that visitors talk to: it gives each a session of their own, and carries what they say to it."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from html import escape

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .access import HEALTH, PAGES, Access, session_cookie
from .processes import NOT_STARTED, SessionError, Sessions, Settings
from .relay import ENDED, Relay, make_client

STARTED = "started"
IDLE_SECONDS = 15.0
NO_COOKIE = "This page needs a cookie, which the browser did not keep."
HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # no image of a patient stays in a browser's cache
}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Attention U-Net</title>{head}
<style>:root {{ color-scheme: light dark; font: 1.1rem system-ui, sans-serif }} main {{ margin: 20vh auto; width: 80% }}
</style><main role="status">{body}</main></html>"""


class Front:
    """Answers all requests."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._access = access
        self._limit_bytes = settings.upload_mb << 20
        self._sessions = Sessions(settings)

    def application(self) -> web.Application:
        """The application; it begins and ends the sessions with itself."""
        app = web.Application(middlewares=[self._access.guard])
        app.router.add_get(HEALTH, self._tell_health)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.on_response_prepare.append(_add_headers)
        app.on_shutdown.append(self._end_sessions)
        app.cleanup_ctx.append(self._connect)
        return app

    async def _connect(self, app: web.Application) -> AsyncIterator[None]:
        async with make_client() as client:
            self._relay = Relay(client, self._limit_bytes)
            yield

    async def _end_sessions(self, app: web.Application) -> None:
        await self._sessions.close()

    async def _tell_health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        is_page = request.method == "GET" and request.path in PAGES
        comes_back = is_page and STARTED in request.query
        if request.method == "GET" and request.query_string and not comes_back:
            # In a link of another site's, trame's client would obey it, and show what a foreign server sends. Any path
            # may be another spelling of the page's. A relative address cannot lead to another host.
            raise web.HTTPSeeOther(f"./{request.rel_url.raw_name}")
        session = self._sessions.find(request.cookies.get(session_cookie(request)))
        if session is None:
            if is_page:
                return self._begin(request)
            raise web.HTTPBadGateway(text=ENDED)
        try:
            port = await session.port()
        except SessionError as error:
            if is_page:
                return _page(502, str(error), again=True)
            raise web.HTTPBadGateway(text=str(error)) from None
        if comes_back:
            raise web.HTTPSeeOther("/")
        return await self._relay.answer(request, session, port)

    def _begin(self, request: web.Request) -> web.Response:
        """Start a session, and let the browser come back with its cookie: to a session that starts, or has failed."""
        if STARTED in request.query:
            kept = session_cookie(request) in request.cookies
            return _page(502, NOT_STARTED if kept else NO_COOKIE, again=True)
        try:
            identity = self._sessions.open()
        except SessionError as error:
            return _page(503, str(error), again=True)
        response = _page(200, "Starting the viewer. Research use only.", refresh=True)
        self._access.set_cookie(request, response, session_cookie(request), identity)
        return response


def _page(status: int, sentence: str, again: bool = False, refresh: bool = False) -> web.Response:
    head = f'<meta http-equiv="refresh" content="0; url=/?{STARTED}">' if refresh else ""
    body = f"<p>{escape(sentence)}</p>" + '<p><a href="/">Try again</a></p>' * again
    return web.Response(status=status, text=PAGE.format(head=head, body=body), content_type="text/html")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    host = request.headers.get("Host", "")
    # older Safaris do not take WebSockets for 'self'
    sockets = f" ws://{host} wss://{host}" if re.fullmatch(r"[\w.:\[\]-]+", host) else ""
    response.headers.add("Content-Security-Policy", f"frame-ancestors 'none'; connect-src 'self'{sockets}")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there (port 0: a free one); raises ValueError with one sentence if that cannot be."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ValueError(f"--host must be a name or address of this computer, got {host!r}") from None
    listening = socket.socket(family, kind)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ValueError(_why_not(error, host, port)) from None
    return listening


def _why_not(error: OSError, host: str, port: int) -> str:
    reasons = {
        errno.EADDRINUSE: f"port {port} is in use; choose another with --port, or 0 for a free one",
        errno.EACCES: f"port {port} is not for every user; choose one above 1023 with --port",
        errno.EADDRNOTAVAIL: f"--host must be a name or address of this computer, got {host!r}",
    }
    return reasons.get(error.errno or 0, f"cannot listen on {host}, port {port}: {error.strerror}")


def make_runner(front: Front) -> web.AppRunner:
    """What runs the application: it logs no request, and reads one that is refused early for a second at most.

    A connection on which no whole head of a request comes is closed, or idle ones would take all descriptors.
    """
    http = logging.getLogger("attention_unet.http")
    http.addFilter(_shows_no_request)
    return web.AppRunner(
        front.application(),
        access_log=None,
        logger=http,
        shutdown_timeout=1.0,
        lingering_time=1.0,
        keepalive_timeout=IDLE_SECONDS,
    )


def _shows_no_request(record: logging.LogRecord) -> bool:
    """Whether this is no error on a malformed request, which quotes it, perhaps with the token."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def serve(settings: Settings, listening: socket.socket, host: str, announce: Callable[[str, bool], None]) -> int:
    """Serve until a signal says to stop; nothing is left then. Returns the signal's number.

    Args:
        settings: what sessions are started with.
        listening: made by ``listen``.
        host: the name that was given to ``listen``.
        announce: is called with the address to open, and whether it holds a token.
    """
    return asyncio.run(_serve(settings, listening, host, announce))


async def _serve(settings: Settings, listening: socket.socket, host: str, announce: Callable[[str, bool], None]) -> int:
    address, port = listening.getsockname()[:2]
    access = Access.for_address(host, address)
    runner = make_runner(Front(settings, access))
    signalled = _first_signal()
    try:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        announce(_address(host, address, port, access.token), access.token is not None)
        return await signalled
    finally:
        await runner.cleanup()


def _first_signal() -> asyncio.Future[int]:
    """The number of the first signal that asks to stop; those after it do not disturb the tidying up."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[int] = loop.create_future()

    def take(number: int) -> None:
        if not first.done():
            first.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, take, number)
    return first


def _address(host: str, address: str, port: int, token: str | None) -> str:
    name = socket.gethostname() if address in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")
