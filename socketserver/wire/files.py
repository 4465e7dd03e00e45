"""The files of a page over HTTP, as small as they go: compressed once, and not sent again to whoever has them.

Only for files that are the same for everybody who may see them. What is compressed together with a secret tells of it
by its length, so answers about users never go through here.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

# Given here, because a machine's own table may say otherwise, and browsers run no script that is text/plain.
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_OTHER: Final = "application/octet-stream"
# When each source was changed last, in ns, and its size in bytes.
_State = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Packed:
    state: _State
    body: bytes
    gzipped: bytes
    etag: str


class PageFiles:
    """Makes answers of a page's files, and keeps each one packed until it changes: as many as the page has, no more."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        """`headers` are those of every answer."""
        self._headers: Final = headers
        self._packed: Final[dict[str, _Packed]] = {}

    async def file(self, request: web.Request, file: Path) -> web.Response:
        """That file, or a 304.

        Raises: OSError, when it is gone.
        """
        return await self.made(request, file.name, [file], file.read_bytes, key=str(file))

    async def made(
        self,
        request: web.Request,
        name: str,
        sources: Sequence[Path],
        make: Callable[[], bytes],
        *,
        key: str | None = None,
        headers: Callable[[bytes], Mapping[str, str]] = lambda body: {},
    ) -> web.Response:
        """What `make` makes of those files, or a 304. It is called in a thread, and again only after one has changed.

        Args:
            name: its ending decides the Content-Type.
            key: what it is kept under, one of a bounded number; the name without it.
            headers: further ones, which depend on the content.
        Raises: OSError, when a source is gone.
        """
        packed = await asyncio.to_thread(self._pack, key or name, sources, make)
        answer = {
            **self._headers,
            hdrs.CONTENT_TYPE: _TYPES.get(Path(name).suffix, _OTHER),
            hdrs.ETAG: packed.etag,
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            **headers(packed.body),
        }
        if packed.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=answer)
        if not _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            return web.Response(body=packed.body, headers=answer)
        return web.Response(body=packed.gzipped, headers={**answer, hdrs.CONTENT_ENCODING: "gzip"})

    def _pack(self, key: str, sources: Sequence[Path], make: Callable[[], bytes]) -> _Packed:
        stats = [source.stat() for source in sources]
        state = tuple((each.st_mtime_ns, each.st_size) for each in stats)
        known = self._packed.get(key)
        if known is not None and known.state == state:
            return known
        body = make()
        # Weak: the same content in another encoding has other bytes.
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        self._packed[key] = packed = _Packed(state, body, gzip.compress(body, mtime=0), etag)
        return packed


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() == "gzip" and quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            return True
    return False
