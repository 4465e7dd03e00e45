"""Handshakes and logins: forged origins, floods of sessions, made-up tokens, cookies, keys and session ids."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from . import wire
from .connection import Connection, Tally, Target, polling, session_path, websocket
from .hostile import ask, flood, hold, together
from .scene import ORIGIN, Attack, Stage

FAMILY: Final = "doors"
POLL: Final = wire.PATH + "polling"
TEN: Final = tuple(f"127.0.0.{number}" for number in range(10, 20))


def _handshakes(headers: Callable[[int], dict[str, str]], *, connections: int = 20, sources: tuple[str, ...] = TEN,
                path: str = POLL) -> Callable[[Target], Tally]:  # fmt: skip
    def make(connection: Connection, number: int) -> bytes:
        return wire.request("GET", path.format(number=number), headers(number))

    return lambda target: ask(target, make, connections=connections, sources=sources)


def _forged(target: Target) -> Tally:
    """5 000 websockets from ten addresses, with the application's own Origin, kept open."""
    return hold(target, lambda number: wire.upgrade(headers=[("Origin", ORIGIN)]), connections=5000, sources=TEN)


def _forged_polling(target: Target) -> Tally:
    return _handshakes(lambda number: {"Origin": ORIGIN})(target)


def _origins(target: Target) -> Tally:
    """200 made-up origins, then a loop that the operator must hear of."""
    seconds = target.seconds / 2
    first = Target(target.port, target.tls, seconds, 1.0)
    made_up = ask(
        first,
        lambda connection, number: wire.request("GET", POLL, {"Origin": f"https://x{number}.example"}),
        connections=4,
        per_s=250 / seconds,
        sources=TEN,
    )
    loop = ask(first, lambda *_: wire.request("GET", POLL), connections=10, sources=("127.0.0.20",))
    return together(iter([made_up, loop]))


def _loop_is_logged(lines: list[str]) -> list[str]:
    return [] if any("connects_refused" in line for line in lines) else ["the loop was not logged"]


def _tokens(make_token: Callable[[int], str], *, connections: int = 10) -> Callable[[Target], Tally]:
    def make(connection: Connection, number: int) -> bytes:
        return wire.request("POST", "/session", {"Authorization": f"Bearer {make_token(number)}"}, b"")

    return lambda target: ask(target, make, connections=connections, sources=TEN)


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _invented_key(number: int) -> str:
    head = {"alg": "RS256", "typ": "JWT", "kid": f"invented-{number}"}
    return f"{_part(head)}.{_part({'sub': 'eve', 'exp': int(time.time()) + 600})}.{'A' * 342}"


def _bad_signature(number: int) -> str:
    return f"{_part({'alg': 'HS256'})}.{_part({'sub': f'eve{number}', 'x': 'x' * 3000})}.{'A' * 43}"


class KeyServer:
    """A key server, which hangs once it is told to."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._asked = 0
        self.hangs = False
        self.runner = web.AppRunner(web.Application(), handle_signals=False, shutdown_timeout=0.1)
        self.runner.app.router.add_get("/jwks.json", self._serve)

    def token(self, user: str) -> str:
        claims = {"sub": user, "exp": int(time.time()) + 3600}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "one"})

    async def _serve(self, request: web.Request) -> web.Response:
        import asyncio

        self._asked += 1
        if self.hangs:
            await asyncio.sleep(60)
        key: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return web.json_response({"keys": [key | {"kid": "one", "alg": "RS256"}]})


@contextlib.asynccontextmanager
async def key_server(folder: Path) -> AsyncIterator[Stage]:
    """Keys of a server."""
    async with _key_server(hang=False) as stage:
        yield stage


@contextlib.asynccontextmanager
async def hanging_key_server(folder: Path) -> AsyncIterator[Stage]:
    """Keys of a server that answers nothing any more when the attack begins."""
    async with _key_server(hang=True) as stage:
        yield stage


@contextlib.asynccontextmanager
async def _key_server(*, hang: bool) -> AsyncIterator[Stage]:
    server = KeyServer()
    await server.runner.setup()
    await web.TCPSite(server.runner, "127.0.0.1", 0).start()
    port = server.runner.addresses[0][1]

    def begin() -> None:
        server.hangs = hang

    try:
        yield Stage({"jwt_jwks_url": f"http://127.0.0.1:{port}/jwks.json"}, server.token, begin)
    finally:
        await server.runner.cleanup()


def _waiting_inbox(target: Target) -> Tally:
    """CONNECT with an unknown key id, then what the session may not take before it is answered: packed and plain."""
    first = b'40{"token":"%b"}' % _invented_key(1).encode()
    bodies = [wire.gzipped(wire.packets(b'42["x",1]')), wire.packets(b'42["x",1]')]

    def opener(connection: Connection) -> bool:
        if not polling(connection):
            return False
        connection.talk(wire.request("POST", session_path(connection), {}, first), b"ok")
        return True

    def make(connection: Connection, number: int) -> bytes:
        packed = {"Content-Encoding": "gzip"} if number % 2 == 0 else {}
        return wire.request("POST", session_path(connection), packed, bodies[number % 2])

    return ask(target, make, opener=opener, connections=50, sources=TEN)


def _waiting_socket(target: Target) -> Tally:
    """The same over websockets: events behind a CONNECT that waits for the key server."""
    opener = websocket(token=None)

    def connecting(connection: Connection) -> bool:
        return (
            opener(connection)
            and connection.push(wire.frame(wire.TEXT, b'40{"token":"%b"}' % _invented_key(2).encode())) > 0
        )

    return flood(target, connecting, wire.many(wire.frame(wire.TEXT, b'42["x",1]')), connections=20)


def _probes(target: Target) -> Tally:
    """Upgrades that are begun and left, one after the other, in one polling session each."""

    def make(connection: Connection, number: int) -> bytes:
        return wire.request("GET", session_path(connection).replace("polling", "websocket"))

    return ask(target, make, opener=polling, connections=20)


ATTACKS: Final = [
    Attack("forged-origin", FAMILY, "10 addresses × 500 websockets with the application's Origin, kept open", _forged,
           hostile=5000, proxied=True),
    Attack("forged-origin-polling", FAMILY, "polling handshakes with the application's Origin, from 10 addresses",
           _forged_polling, hostile=20),
    Attack("made-up-origins", FAMILY, "250 made-up Origins, then a loop that must be logged", _origins, hostile=10,
           note=_loop_is_logged),
    Attack("handshakes", FAMILY, "handshakes from one address", _handshakes(lambda _: {}, sources=("127.0.0.3",)),
           hostile=20, proxied=True),
    Attack("sids", FAMILY, "polls of sessions that there are none of",
           _handshakes(lambda _: {}, path=POLL + "&sid=AAAAAAAAAAAAAAAA{number:04d}"), hostile=20),
    Attack("versions", FAMILY, "handshakes of Engine.IO 3", _handshakes(lambda _: {}, path="/socket.io/?EIO=3"),
           hostile=20),
    Attack("tokens-bad", FAMILY, "logins with bad signatures", _tokens(_bad_signature), hostile=10),
    Attack("tokens-long", FAMILY, "logins with tokens of 8 KB", _tokens(lambda number: "A." * 3900), hostile=10),
    Attack("invented-kids", FAMILY, "logins with key ids that there are none of", _tokens(_invented_key), hostile=10,
           stage=key_server),
    Attack("kids-hanging", FAMILY, "the same while the key server hangs", _tokens(_invented_key), hostile=10,
           stage=hanging_key_server),
    Attack("inbox-hanging", FAMILY, "full POSTs behind a login, while the key server hangs", _waiting_inbox, hostile=50,
           stage=hanging_key_server),
    Attack("inbox-hanging-ws", FAMILY, "events behind a login, while the key server hangs", _waiting_socket, hostile=20,
           stage=hanging_key_server),
    Attack("cookies-bad", FAMILY, "cookies that were never given out", _handshakes(
        lambda number: {"Cookie": f"socketserver_session={'Q' * 7000}{number}", "Origin": ORIGIN}, path="/session"),
        hostile=20),
    Attack("cookies-many", FAMILY, "8 KB of tiny cookies in every request", _handshakes(
        lambda number: {"Cookie": "a=b; " * 1600, "Origin": ORIGIN}, path="/session"), hostile=20),
    Attack("cookies-many-ws", FAMILY, "the same in handshakes of websockets", lambda target: hold(
        target, lambda number: wire.upgrade(headers=[("Cookie", "a=b; " * 1600), ("Origin", ORIGIN)]) + wire.frame(
            wire.TEXT, b"40"), connections=300, sources=TEN), hostile=300),
    Attack("forwarded", FAMILY, "long X-Forwarded-For from an address that is no proxy",
           _handshakes(lambda number: {"X-Forwarded-For": ", ".join(["10.0.0.1"] * 600)}), hostile=20),
    Attack("upgrades-left", FAMILY, "upgrades that are no websockets", _probes, hostile=20),
]  # fmt: skip
