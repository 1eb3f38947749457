"""Who may talk to the front: this computer, or whoever has the token; never another web site by way of a browser."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
HEALTH = "/healthz"
PAGES = ("/", "/index.html")
NO_TOKEN = "Open the address with the token that attention-unet view printed."
RETURN_HERE = '<!doctype html><title>Attention U-Net</title><meta http-equiv="refresh" content="0; url=/">'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Access:
    """The rules of one front.

    Attributes:
        names: what the Host header may name, so that no foreign name leads here (DNS rebinding); None for anything,
            which only a front with a token may allow.
        token: what a visitor needs; None for a front that only this computer reaches.
    """

    names: frozenset[str] | None
    token: str | None = None

    @classmethod
    def for_address(cls, host: str, address: str) -> Access:
        """The rules for a front that was to listen on ``host`` and does so on the IP ``address``."""
        ip = ipaddress.ip_address(address.split("%")[0])
        named = {host.lower(), address, f"[{address}]"}
        if ip.is_loopback:
            return cls(LOOPBACK_NAMES | named)
        return cls(None if ip.is_unspecified else frozenset(named), secrets.token_urlsafe(32))

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request pass, or answer it with one sentence on why not."""
        self._check_host(request)
        if request.path == HEALTH:
            return await handler(request)
        if request.method not in ("GET", "HEAD", "POST"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD", "POST"), text="Only GET, HEAD and POST.")
        if self.token and "token" in request.query:
            return self._let_in(request)
        if returning := _check_origin(request):
            return returning
        if self.token and not self._is_token(request.cookies.get(token_cookie(request), "")):
            raise web.HTTPUnauthorized(text=NO_TOKEN)
        return await handler(request)

    def set_cookie(self, request: web.Request, response: web.StreamResponse, name: str, value: str) -> None:
        """Set a cookie that no script reads and no other site's request carries."""
        secure = request.headers.get("X-Forwarded-Proto") == "https"  # a proxy that speaks TLS
        response.set_cookie(name, value, httponly=True, samesite="Strict", secure=secure)

    def _let_in(self, request: web.Request) -> web.StreamResponse:
        token = request.query["token"]
        if not self._is_token(token):
            raise web.HTTPUnauthorized(text=NO_TOKEN)
        # no redirection: after a link on another site's page, the cookie would not come with it
        response = web.Response(text=RETURN_HERE, content_type="text/html")
        self.set_cookie(request, response, token_cookie(request), token)
        return response

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "surrogatepass"), str(self.token).encode())

    def _check_host(self, request: web.Request) -> None:
        hosts = request.headers.getall("Host", [])
        match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:\d+)?", hosts[0].lower()) if len(hosts) == 1 else None
        if match is None or not request.raw_path.startswith("/"):
            raise web.HTTPBadRequest(text="This is no request for this server.")
        if self.names is not None and match[1] not in self.names:
            raise web.HTTPForbidden(text="This server does not have that name; open the address that it printed.")


def session_cookie(request: web.Request) -> str:
    """The name of the cookie with a visitor's session."""
    return f"attention-unet-session-{_visible_port(request)}"


def token_cookie(request: web.Request) -> str:
    """The name of the cookie with the token."""
    return f"attention-unet-token-{_visible_port(request)}"


def _visible_port(request: web.Request) -> str:
    """The port in the browser's address bar, which a tunnel may have changed.

    It tells the cookies of several fronts apart, as browsers do not.
    """
    found = re.search(r":(\d+)$", request.headers["Host"])
    return found[1] if found else "default"


def _check_origin(request: web.Request) -> web.Response | None:
    """Refuse what another site's page asks for; a link there to the page's address is followed once more from here.

    Thus the cookies, which are not sent with a foreign page's link, come with it, and only a visitor's own request
    starts a session.
    """
    refusal = web.HTTPForbidden(text="Another web site must not use this server.")
    changes = request.method == "POST" or request.headers.get("Upgrade", "").lower() == "websocket"
    origin = request.headers.get("Origin")
    if changes and origin is not None and not _same_host(origin, request.headers["Host"]):
        raise refusal
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return None
    fetched = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    if changes or request.path not in PAGES or fetched != ("navigate", "document"):
        raise refusal
    return web.Response(text=RETURN_HERE, content_type="text/html")


def _same_host(origin: str, host: str) -> bool:
    default = {"http": 80, "https": 443}
    try:
        ours, theirs = urlsplit(f"//{host}"), urlsplit(origin)
        port = default[theirs.scheme]
        return (theirs.hostname, theirs.port or port) == (ours.hostname, ours.port or port)
    except (ValueError, KeyError):
        return False
