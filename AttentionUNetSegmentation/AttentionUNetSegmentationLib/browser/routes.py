"""A session's own HTTP routes, beside the page: uploads and downloads; and who may ask for anything at all."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from ..errors import one_sentence

SECRET_HEADER = "X-Session-Secret"
CHUNK_BYTES = 1 << 20
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(
    application: web.Application,
    secret: str,
    upload: Callable[[str, AsyncIterator[bytes]], Awaitable[None]],
    download: Callable[[str], Awaitable[Path]],
) -> None:
    """Let the front in alone, and add what the page cannot do over its WebSocket.

    Args:
        application: Of the session's server, before it starts.
        secret: What the front sends with every request.
        upload: Takes the name and the content of an upload.
        download: Gives the file of a download by its name.
    """

    @web.middleware
    async def only_the_front(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            return web.Response(status=403, text="This address is not for browsers.")
        return await handler(request)

    async def take(request: web.Request) -> web.StreamResponse:
        name = request.query.get("name", "")
        try:
            await upload(name, request.content.iter_chunked(CHUNK_BYTES))
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            return web.json_response({"error": told(error)}, status=400)
        return web.json_response({})

    async def give(request: web.Request) -> web.StreamResponse:
        try:
            path = await download(request.match_info["name"])
        except KeyError:
            return web.Response(status=404, text="There is no such download.")
        except (ValueError, OSError, RuntimeError) as error:
            return web.Response(status=409, text=told(error))
        headers = {"Content-Disposition": f'attachment; filename="{path.name}"', "Cache-Control": "no-store"}
        return web.FileResponse(path, headers=headers)

    application.middlewares.append(only_the_front)
    application.router.add_post("/upload", take)
    application.router.add_get("/download/{name}", give)


def told(error: Exception) -> str:
    """One sentence; of an error of the file system its reason alone, as all else names the server's folders."""
    return (error.strerror if isinstance(error, OSError) else None) or one_sentence(error)
