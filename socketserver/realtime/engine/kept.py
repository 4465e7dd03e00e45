"""What a session keeps of its handshake, in bytes: the one place with a budget for it.

An aiohttp request holds its whole head for as long as somebody holds the request. A session lives for hours, so it
keeps a copy with few headers: as much as a connect handler may want to see until one has let the client in, and then no
more than names the client. While a websocket is open aiohttp holds the original too, so its headers are taken out.
"""

import gc
from itertools import chain
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict, MultiDictProxy

CONNECTING_BYTES: Final = 40_960
"""Bytes kept until a connect handler has let the client in: room for 32 KiB of cookies."""
CONNECTED_BYTES: Final = 4_096
"""Bytes kept from then on."""
FIRST: Final = (
    "Host",
    "Origin",
    "User-Agent",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "Sec-Fetch-Site",
    "Authorization",
    "Cookie",
)
"""Headers that are kept first where not all fit."""
OVERHEAD_BYTES: Final = 64
"""What one header costs beside its text, so that the bound holds for many short ones too."""


def head_bytes(request: web.BaseRequest) -> int:
    """How large the head of a request is in memory, about."""
    headers = request.raw_headers
    return len(request.path_qs) + OVERHEAD_BYTES * len(headers) + sum(map(len, chain.from_iterable(headers)))


def trimmed(request: web.Request, most_bytes: int) -> web.Request:
    """The request itself if its head has at most so many bytes, else a copy with as many headers as fit."""
    if head_bytes(request) <= most_bytes:
        return request
    url = request.path_qs
    if len(url) > most_bytes // 2:
        query = {name: request.query.get(name, "")[:64] for name in ("EIO", "transport")}
        url = str(request.rel_url.with_path(request.path[:64]).with_query(query))
    left = most_bytes - len(url)
    headers: CIMultiDict[str] = CIMultiDict()
    first = [(name, value) for name in FIRST for value in request.headers.getall(name, ())]
    others = [(name, value) for name, value in request.headers.items() if name.title() not in FIRST]
    for name, value in first + others:
        size = len(name) + len(value.encode("utf-8", "surrogatepass")) + OVERHEAD_BYTES
        if size <= left:
            left -= size
            # Bytes that are no UTF-8 are lone surrogates here, which a copy cannot have.
            headers.add(name, value.encode("utf-8", "replace").decode())
    return request.clone(headers=headers, rel_url=url) if url != request.path_qs else request.clone(headers=headers)


def let_go(original: web.BaseRequest, kept: web.Request) -> None:
    """Empty the headers of a request that aiohttp goes on holding, but for those that are kept of it.

    aiohttp 3.14 has them behind a read-only view, and the view has no other way to what it shows.
    """
    if original is kept:
        return
    names = set(kept.headers)
    for shown in _shown_by(original.headers):
        for name in set(shown) - names:
            del shown[name]
        for name in names:
            if shown.get(name) != kept.headers.get(name):
                shown[name] = kept.headers[name]


def _shown_by(view: Any) -> list[CIMultiDict[str]]:
    if not isinstance(view, MultiDictProxy):
        return []
    return [each for each in gc.get_referents(view) if isinstance(each, CIMultiDict)]
