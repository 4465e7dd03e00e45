"""The demo page of the development login: its files, the chat's client and the browser's Socket.IO client; and all of
its modules as one, /demo/all.js, which is what the page asks for.

They are listed once, so that no path can lead elsewhere, and looked at when they are asked for, so that a change shows
at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from ..logs import get_logger
from ..wire.files import PageFiles
from .joining import CannotJoin, join, modules_of

log = get_logger(__name__)

ENTRY: Final = "/demo/app.js"
JOINED: Final = "/demo/all.js"
CDN: Final = "https://cdn.socket.io"
# The page's own files, its sockets (older Safari does not count ws: as 'self'), the client library's CDN, and users'
# pictures, which are https: and nothing else (values/texts.py).
_POLICY: Final = (
    f"default-src 'self'; script-src 'self' {CDN}%s; connect-src 'self' ws: wss: {CDN}; img-src 'self' https:; "
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
    shared_dir: Path | None,
    client_bundle: Path | None,
    not_found: Callable[[str], web.Response],
) -> None:
    """Add the page's routes, `/` and `/demo/…` behind the prefix.

    Args:
        demo_dir, client_dir, shared_dir, client_bundle: as in `setup_routes`.
        not_found: makes the answer for a file that is not there, with this sentence.
    """
    places = {"/demo/": demo_dir, "/demo/client/": client_dir, "/demo/shared/": shared_dir}
    page = _demo_page(_demo_files(places, client_bundle), prefix, not_found)
    app.router.add_get(f"{prefix}/", page)
    app.router.add_get(f"{prefix}/demo/{{path:.*}}", page)
    if prefix:
        app.router.add_get(prefix, _to(f"{prefix}/"))


def _demo_files(places: Mapping[str, Path | None], client_bundle: Path | None) -> Mapping[str, Path]:
    """URL path behind the prefix → file. Hidden files are left out, and links that lead elsewhere."""
    files: dict[str, Path] = {}
    for place, directory in places.items():
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
    page_files = PageFiles(_FILE_HEADERS)

    def whole(file: Path) -> bytes:
        # The only file that names others by their whole path.
        return file.read_text(encoding="utf-8").replace('"/demo/', f'"{prefix}/demo/').encode()

    async def handler(request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(prefix)
        file = files.get(path)
        if path == JOINED and ENTRY in files:
            sources = [file for file in files.values() if file.suffix == ".js"]
            return await page_files.made(request, JOINED, sources, lambda: _joined(files))
        if file is None:
            return not_found("There is no such file of the demo page, or the server runs without its examples.")
        if file.suffix == ".html":
            return await page_files.made(
                request, file.name, [file], lambda: whole(file), key=str(file), headers=_policy
            )
        return await page_files.file(request, file)

    return handler


def _joined(files: Mapping[str, Path]) -> bytes:
    """All modules of the page as one; or one that asks for the others, if they are such that they cannot be joined."""
    try:
        names = _mapped(files["/demo/index.html"].read_text(encoding="utf-8"))
        return join(modules_of(ENTRY, files, names), files, names).encode()
    except CannotJoin as error:
        log.warning("demo_not_joined", reason=str(error))
        return b'import "./app.js";\n'


def _mapped(page: str) -> Mapping[str, str]:
    """What the page's import map says."""
    found = _IMPORT_MAP.search(page)
    return json.loads(found[1])["imports"] if found else {}


def _policy(page: bytes) -> Mapping[str, str]:
    maps = "".join(f" '{_hash(text)}'" for text in _IMPORT_MAP.findall(page.decode()))
    return {"Content-Security-Policy": _POLICY % maps}


def _hash(text: str) -> str:
    """How a policy names an inline script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
