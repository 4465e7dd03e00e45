"""The demo page of the development login: its files, the chat's client and the browser's Socket.IO client.

They are listed once and read when they are asked for, so that a change shows at once, and no path can lead elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

CDN: Final = "https://cdn.socket.io"
# The page's own files, its sockets (older Safari does not count ws: as 'self'), and the client library's CDN.
_POLICY: Final = (
    f"default-src 'self'; script-src 'self' {CDN}%s; connect-src 'self' ws: wss: {CDN}; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Browsers take an import map only where it stands in the page.
_IMPORT_MAP: Final = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
_FILE_HEADERS: Final = {
    "Content-Security-Policy": _POLICY % "",
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
    client_dir: Path | None,
    client_bundle: Path | None,
    not_found: Callable[[str], web.Response],
) -> None:
    """Add the page's routes, `/` and `/demo/…` behind the prefix.

    Args:
        demo_dir, client_dir, client_bundle: as in `setup_routes`.
        not_found: makes the answer for a file that is not there, with this sentence.
    """
    page = _demo_page(_demo_files(demo_dir, client_dir, client_bundle), prefix, not_found)
    app.router.add_get(f"{prefix}/", page)
    app.router.add_get(f"{prefix}/demo/{{path:.*}}", page)
    if prefix:
        app.router.add_get(prefix, _to(f"{prefix}/"))


def _demo_files(demo_dir: Path | None, client_dir: Path | None, client_bundle: Path | None) -> Mapping[str, Path]:
    """URL path behind the prefix → file. Hidden files are left out, and links that lead elsewhere."""
    files: dict[str, Path] = {}
    for place, directory in (("/demo/", demo_dir), ("/demo/client/", client_dir)):
        if directory is None:
            continue
        root = directory.resolve()
        for path in root.rglob("*"):
            name = path.relative_to(root)
            hidden = any(part.startswith(".") for part in name.parts)
            if not hidden and path.is_file() and path.resolve().is_relative_to(root):
                files[place + name.as_posix()] = path
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
        if file.suffix != ".html":
            return web.FileResponse(file, headers=_FILE_HEADERS)
        page = await asyncio.to_thread(file.read_text, encoding="utf-8")
        page = page.replace('"/demo/', f'"{prefix}/demo/')  # the only file that names others by their whole path
        maps = "".join(f" '{_hash(text)}'" for text in _IMPORT_MAP.findall(page))
        headers = {**_FILE_HEADERS, "Content-Security-Policy": _POLICY % maps}
        return web.Response(text=page, content_type="text/html", headers=headers)

    return handler


def _hash(text: str) -> str:
    """How a policy names an inline script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
