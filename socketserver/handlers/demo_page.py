"""The demo page of the development login: examples/demo and the browser's Socket.IO client, as files.

They are listed once and read when they are asked for, so that a change shows at once, and no path can lead elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

CDN: Final = "https://cdn.socket.io"
_PAGE_HEADERS: Final = {
    # The page's own files, its sockets (older Safari does not count ws: as 'self'), and the client library's CDN.
    "Content-Security-Policy": (
        f"default-src 'self'; script-src 'self' {CDN}; connect-src 'self' ws: wss: {CDN}; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that, browsers send `Origin: null` with the page's own form posts.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def setup_demo_page(
    app: web.Application,
    prefix: str,
    *,
    demo_dir: Path | None,
    client_bundle: Path | None,
    not_found: Callable[[str], web.Response],
) -> None:
    """Add the page's routes, `/` and `/demo/…` behind the prefix.

    Args:
        demo_dir, client_bundle: as in `setup_routes`.
        not_found: makes the answer for a file that is not there, with this sentence.
    """
    page = _demo_page(_demo_files(demo_dir, client_bundle), prefix, not_found)
    app.router.add_get(f"{prefix}/", page)
    app.router.add_get(f"{prefix}/demo/{{path:.*}}", page)
    if prefix:
        app.router.add_get(prefix, _to(f"{prefix}/"))


def _demo_files(demo_dir: Path | None, client_bundle: Path | None) -> Mapping[str, Path]:
    """URL path behind the prefix → file. Hidden files are left out, and links that lead elsewhere."""
    files: dict[str, Path] = {}
    if demo_dir is not None:
        root = demo_dir.resolve()
        for path in root.rglob("*"):
            name = path.relative_to(root)
            hidden = any(part.startswith(".") for part in name.parts)
            if not hidden and path.is_file() and path.resolve().is_relative_to(root):
                files[f"/demo/{name.as_posix()}"] = path
    if client_bundle is not None and client_bundle.is_file():
        files["/demo/socket.io.min.js"] = client_bundle
    if index := files.get("/demo/index.html"):
        files["/"] = files["/demo/"] = index
    return files


def _to(path: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(path + (f"?{request.query_string}" if request.query_string else ""))

    return handler


def _demo_page(files: Mapping[str, Path], prefix: str, not_found: Callable[[str], web.Response]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        file = files.get(request.path.removeprefix(prefix))
        if file is None:
            return not_found("There is no such file of the demo page, or the server runs without its examples.")
        if prefix and file.suffix == ".html":  # the only file that names others by their whole path
            page = await asyncio.to_thread(file.read_text, encoding="utf-8")
            page = page.replace('"/demo/', f'"{prefix}/demo/')
            return web.Response(text=page, content_type="text/html", headers=_PAGE_HEADERS)
        return web.FileResponse(file, headers=_PAGE_HEADERS)

    return handler
