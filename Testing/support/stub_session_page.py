"""What the stand-in of a session answers by HTTP and WebSocket."""

import asyncio
import json
import os
import signal
import tempfile
import time
from pathlib import Path

from aiohttp import web

from .stub_session import tell


class Page:
    """Routes like a session's, and some that answer what came in."""

    def __init__(self, first: dict) -> None:
        self._first = first
        self._sockets: list[web.WebSocketResponse] = []
        self._uploads: list[str] = []

    async def start(self) -> int:
        """Listen on a free port; returns it."""
        app = web.Application(middlewares=[self._check], client_max_size=1 << 30)
        app.router.add_get("/", self._root)
        app.router.add_get("/index.html", self._root)
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/half", self._half)
        app.router.add_get("/download/slow", self._slow)
        app.router.add_get("/download/large", self._large)
        app.router.add_get("/uploads", self._list_uploads)
        app.router.add_post("/upload", self._upload)
        app.router.add_get("/moved", self._moved)
        app.router.add_route("*", "/{path:.*}", self._echo)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner.addresses[0][1]

    async def show(self, text: str) -> None:
        """Send a text to all pages."""
        for socket in self._sockets:
            await socket.send_str(text)

    @web.middleware
    async def _check(self, request, handler):
        if request.headers.getall("X-Session-Secret", []) != [self._first["secret"]]:
            raise web.HTTPForbidden(text="wrong secret")
        return await handler(request)

    async def _root(self, request):
        return web.json_response(
            {"pid": os.getpid(), "temporary": tempfile.gettempdir()} | self._first, headers={"Set-Cookie": "theirs=1"}
        )

    async def _echo(self, request):
        return web.json_response({"method": request.method, "target": request.raw_path, **dict(request.headers)})

    async def _moved(self, request):
        raise web.HTTPFound("index.html")

    async def _list_uploads(self, request):
        return web.json_response(self._uploads)

    async def _upload(self, request):
        size = 0
        self._uploads.append("begun")
        async for chunk in request.content.iter_any():
            size += len(chunk)
        self._uploads.append(f"received {size}")
        return web.Response(text=str(size))

    async def _half(self, request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"half of it")
        os.kill(os.getpid(), signal.SIGKILL)

    async def _large(self, request):
        return web.Response(body=bytes(64 << 20))

    async def _slow(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half of it, ")
        await asyncio.sleep(0.6)
        await response.write(b"and the rest")
        return response

    async def _socket(self, request):
        socket = web.WebSocketResponse(max_msg_size=1 << 26)
        await socket.prepare(request)
        self._sockets.append(socket)
        try:
            async for message in socket:
                if message.type == web.WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
                else:
                    await self._obey(socket, *message.data.split())
        finally:
            self._sockets.remove(socket)
        return socket

    async def _obey(self, socket, word, argument=""):
        if word == "ask":
            tell(event=word, number=1)
        elif word == "release":
            tell(event=word)
        elif word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "hang":
            time.sleep(60)
        elif word == "write":
            (Path(self._first["folder"]) / argument).write_text("a result")
        elif word == "send":
            await socket.send_bytes(b"x" * int(argument))
        else:
            await socket.send_str(json.dumps({"word": word, "headers": dict(socket._req.headers)}))
