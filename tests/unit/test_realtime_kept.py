"""socketserver.realtime.engine.kept: what a session keeps of its handshake."""

from __future__ import annotations

from socketserver.realtime.engine import kept

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict


def request(url: str = "/socket.io/?EIO=4&transport=polling", **headers: str) -> web.Request:
    return make_mocked_request("GET", url, headers=CIMultiDict({"Host": "chat.example", **headers}))


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_head_at_the_bound(over: int) -> None:
    """500 handshakes with 0.96 MB of headers took 1 024 MiB while they lived: over the bound a copy with what fits is
    kept."""
    most = 4_096
    whole = request(Filler="")
    whole = request(Filler="x" * (most - kept.head_bytes(whole) + over))
    copy = kept.trimmed(whole, most)
    assert (copy is whole) == (over <= 0)
    assert kept.head_bytes(copy) <= most
    assert copy.headers["Host"] == "chat.example"


def test_what_names_the_client_comes_first() -> None:
    """However many other headers stand before, and how long the address is."""
    many = {f"X-{number}": "x" * 500 for number in range(100)}
    whole = request(
        "/socket.io/?EIO=4&transport=websocket&x=" + "y" * 6_000,
        **many,
        **{"user-agent": "browser", "origin": "https://chat.example", "cookie": "a=b"},
    )
    copy = kept.trimmed(whole, kept.CONNECTED_BYTES)
    assert kept.head_bytes(copy) <= kept.CONNECTED_BYTES
    assert {name: copy.headers[name] for name in ("Origin", "User-Agent", "Cookie")} == {
        "Origin": "https://chat.example",
        "User-Agent": "browser",
        "Cookie": "a=b",
    }
    assert dict(copy.query) == {"EIO": "4", "transport": "websocket"}
    assert copy.path == "/socket.io/"


def test_letting_go_of_what_aiohttp_holds() -> None:
    """Its headers are a view of a dictionary that can be found: what is not kept is taken out of it."""
    whole = request(Cookie="c" * 9_000, Origin="https://chat.example")
    copy = kept.trimmed(whole, kept.CONNECTED_BYTES)
    kept.let_go(whole, copy)
    assert dict(whole.headers) == dict(copy.headers) == {"Host": "chat.example", "Origin": "https://chat.example"}
    kept.let_go(copy, copy)
    assert len(copy.headers) == 2
