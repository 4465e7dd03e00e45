"""Which origins are served, and what the headers say."""

from collections.abc import Callable
from socketserver.realtime import AsyncServer
from socketserver.realtime.engine.cors import Cors
from typing import Any

import pytest
from support.engine import client_of, serving

OWN = "http://chat.example"
OTHER = "https://evil.example"


def allows(cors: Cors, origin: str | None) -> bool:
    return cors.allows(origin, lambda: [OWN], lambda: {"environ": True})


@pytest.mark.parametrize(
    ("allowed", "own", "other"),
    [
        (None, True, False),
        ("*", True, True),
        (["*"], True, True),
        (OTHER, False, True),
        ([OTHER], False, True),
        ([], False, False),
        (lambda origin, environ: environ["environ"] and origin == OTHER, False, True),
        (lambda origin: origin == OTHER, False, True),
        (lambda *args: len(args) == 2, True, True),
    ],
)
def test_origins(allowed: Any, own: bool, other: bool) -> None:
    """An empty list allows nobody (with python-engineio it switches the check off)."""
    cors = Cors(allowed)
    assert (allows(cors, OWN), allows(cors, OTHER), allows(cors, None)) == (own, other, True)


def test_a_callable_s_own_type_error_is_not_swallowed() -> None:
    def broken(origin: str, environ: dict[str, Any]) -> bool:
        raise TypeError("bug")

    with pytest.raises(TypeError, match="bug"):
        allows(Cors(broken), OTHER)


def test_any_origin_never_comes_with_credentials() -> None:
    """`*` with credentials would let any page act as its visitor."""
    assert Cors("*", credentials=True).headers(OTHER, {}, "GET") == {"Access-Control-Allow-Origin": "*"}


@pytest.mark.parametrize("credentials", [True, False])
def test_headers(credentials: bool) -> None:
    headers = Cors([OTHER], credentials).headers(OTHER, {"Access-Control-Request-Headers": "x-a"}, "OPTIONS")
    assert headers["Access-Control-Allow-Origin"] == OTHER
    assert headers["Vary"] == "Origin"
    assert headers.get("Access-Control-Allow-Credentials") == ("true" if credentials else None)
    assert headers["Access-Control-Allow-Headers"] == "x-a"
    assert "GET" in headers["Access-Control-Allow-Methods"]
    assert Cors([OTHER]).headers(None, {}, "GET") == {}


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        (None, lambda url: url, 200),
        (None, lambda url: OTHER, 400),
        ([OTHER], lambda url: OTHER, 200),
        ([], lambda url: url, 400),
    ],
)
async def test_over_http(allowed: Any, origin: Callable[[str], str], status: int) -> None:
    """A refused origin gets 400 and code 4, over both transports; an allowed one its headers, on errors too."""
    async with serving(AsyncServer(cors_allowed_origins=allowed)) as url, client_of(url) as http:
        headers = {"Origin": origin(url)}
        for query in ("EIO=4&transport=polling", "EIO=4&transport=nonsense"):
            async with http.session.get(f"{http.url}?{query}", headers=headers) as response:
                assert response.status == (400 if "nonsense" in query else status)
                expected = headers["Origin"] if status == 200 else None
                assert response.headers.get("Access-Control-Allow-Origin") == expected
                if status == 400:
                    assert (await response.json())["code"] == 4
        async with http.session.options(f"{http.url}?EIO=4", headers=headers) as response:
            assert response.status == (204 if status == 200 else 400)
        async with http.session.get(
            f"{http.url}?EIO=4&transport=websocket",
            headers={
                **headers,
                "Upgrade": "websocket",
                "Connection": "upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        ) as response:
            assert response.status == (101 if status == 200 else 400)


@pytest.mark.parametrize("origin", [OWN, OTHER, None])
async def test_who_knows_requests_may_decide_of_one_that_has_an_origin(origin: str | None) -> None:
    """`allow_origin` is asked in place of the list; without an Origin nobody is asked."""
    sio = AsyncServer(allow_origin=lambda request: request.headers["Origin"] == OTHER, cors_allowed_origins=[OWN])
    async with serving(sio) as url, client_of(url) as http:
        headers = {} if origin is None else {"Origin": origin}
        async with http.session.get(f"{http.url}?EIO=4&transport=polling", headers=headers) as response:
            assert response.status == (400 if origin == OWN else 200)
            assert response.headers.get("Access-Control-Allow-Origin") == (origin if origin != OWN else None)
