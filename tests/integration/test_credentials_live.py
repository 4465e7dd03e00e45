"""Which proof counts while a client connects, over both transports, and what is said of one in the wrong place."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import pytest
from support.guarded import Chat, Raw, chatting, http

WEBSOCKET: Final = "websocket"
POLLING: Final = "polling"
BOTH = pytest.mark.parametrize("transport", [WEBSOCKET, POLLING])


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with chatting(sockets_per_user=0, connects_per_minute_user=0) as chat:
        yield chat


class Poller:
    """A client that stays with polling."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._packets: list[str] = []

    async def send(self, packet: str) -> None:
        async with self._session.post(self._url, data=packet) as answer:
            assert answer.status == 200

    async def read(self) -> str:
        while not self._packets:
            async with self._session.get(self._url) as answer:
                assert answer.status == 200
                self._packets = [packet for packet in (await answer.text()).split("\x1e") if packet != "2"]
        return self._packets.pop(0)

    async def close(self) -> None:
        await self.send("1")


class Socket:
    """A client over a websocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, packet: str) -> None:
        await self._socket.send_str(packet)

    async def read(self) -> str:
        return await self._socket.receive_str()

    async def close(self) -> None:
        await self._socket.close()


async def connect(
    session: aiohttp.ClientSession,
    chat: Chat,
    transport: str,
    auth: object = None,
    query: str = "",
    **headers: str,
) -> list[Any]:
    """CONNECT, then ask for the conversations. Returns: the packets that come, up to the ack, without their numbers."""
    url = f"{chat.url}/socket.io/?EIO=4&transport={transport}{query}"
    client: Poller | Socket
    if transport == WEBSOCKET:
        client = Socket(await session.ws_connect(url, headers=headers))
        assert (await client.read()).startswith("0")
    else:
        async with session.get(url, headers=headers) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        client = Poller(session, f"{url}&sid={sid}")
    await client.send("40" + (json.dumps(auth) if auth is not None else ""))
    first = await client.read()
    packets = [json.loads(first[2:])]
    if first.startswith("40"):
        await client.send('420["list_conversations",{}]')
        while not (packet := await client.read()).startswith("430"):
            packets.append(json.loads(packet[2:]))
        packets.append(json.loads(packet[3:])[0])
    await client.close()
    return packets


def user_of(packets: list[Any]) -> str | None:
    """Whom `welcome` greets; None for a client without a user, whose request is refused."""
    if packets[-1]["ok"]:
        return str(packets[1][1]["user"]["id"])
    assert packets[-1]["error"]["code"] == "auth_required"
    return None


async def cookie_of(session: aiohttp.ClientSession, chat: Chat, user: str) -> str:
    async with session.post(f"{chat.url}/session", json={"user": user}) as answer:
        return answer.headers["Set-Cookie"].partition(";")[0]


@BOTH
async def test_a_token_in_authorization_is_taken(chat: Chat, transport: str) -> None:
    """A token in Authorization was ignored, and the client got auth_timeout after ten seconds."""
    async with http() as session:
        header = f"Bearer {chat.token('ann')}"
        assert user_of(await connect(session, chat, transport, Authorization=header)) == "ann"
        assert user_of(await connect(session, chat, transport, {"pid": "x"}, Authorization=header)) == "ann"


@BOTH
async def test_the_first_proof_decides(chat: Chat, transport: str) -> None:
    """auth.token, then Authorization, then the cookie; a bad one in front is not covered up by a good one behind."""
    async with http() as session:
        cookie = {"Cookie": await cookie_of(session, chat, "cat"), "Origin": chat.url}
        header = {"Authorization": f"Bearer {chat.token('ben')}"}
        token = {"token": chat.token("ann")}
        assert user_of(await connect(session, chat, transport, token, **header, **cookie)) == "ann"
        assert user_of(await connect(session, chat, transport, **header, **cookie)) == "ben"
        assert user_of(await connect(session, chat, transport, **cookie)) == "cat"
        assert user_of(await connect(session, chat, transport, Authorization="Basic eDp5", **cookie)) == "cat"
        (refused,) = await connect(session, chat, transport, {"token": "bad"}, **header, **cookie)
        assert refused["data"]["code"] == "invalid_token"
        (refused,) = await connect(session, chat, transport, Authorization="Bearer bad", **cookie)
        assert refused["data"]["code"] == "invalid_token"


@BOTH
async def test_a_token_in_the_query_is_spoken_of(chat: Chat, transport: str, caplog: pytest.LogCaptureFixture) -> None:
    """It was ignored without a word. Now the log has one line and the client's errors say where it belongs."""
    token = chat.token("ann")
    caplog.set_level(logging.WARNING)
    async with http() as session:
        for _ in range(3):
            packets = await connect(session, chat, transport, query=f"&token={token}")
            assert user_of(packets) is None
            assert 'A token in the query ("token") is not read' in packets[-1]["error"]["message"]
        # Beside a proof it is nobody's business.
        assert user_of(await connect(session, chat, transport, {"token": token}, query="&token=x")) == "ann"
    lines = [record for record in caplog.records if "token_misplaced" in record.getMessage()]
    assert len(lines) == 1
    assert token not in caplog.text


async def test_auth_timeout_says_it_too(chat: Chat) -> None:
    """A client that waits in silence learns it from the end."""
    async with http() as session:
        url = f"{chat.url}/socket.io/?EIO=4&transport=websocket&access_token=x"
        raw = Raw(await session.ws_connect(url))
        assert (await raw.socket.receive_str()).startswith("0")
        await raw.connect()
        chat.clock.advance(11)
        await chat.housekeeping.tick()
        ended, _ = await raw.end()
        assert ended["code"] == "auth_timeout"
        assert "auth: { token }" in ended["message"]


@BOTH
async def test_of_two_cookies_the_first_good_one_counts(chat: Chat, transport: str) -> None:
    """Good then bad gave 401: a parser that makes a dictionary keeps the last."""
    async with http() as session:
        ann, ben = await cookie_of(session, chat, "ann"), await cookie_of(session, chat, "ben")
        bad = ann[:-5] + "xxxxx"
        for header, user in (
            (f"{ann}; {bad}", "ann"),
            (f"{bad}; {ann}", "ann"),
            (f"{ann}; {ben}", "ann"),
            (f"{ann.partition('=')[0]}=; {ben}", "ben"),
        ):
            headers = {"Cookie": header, "Origin": chat.url}
            assert user_of(await connect(session, chat, transport, **headers)) == user
            async with session.get(f"{chat.url}/session", headers=headers) as answer:
                assert (await answer.json())["user"]["id"] == user


async def test_a_cookie_that_has_ended_does_not_hide_a_good_one(chat: Chat) -> None:
    """Two paths, two logins, a week between them."""
    async with http() as session:
        old = await cookie_of(session, chat, "ann")
        chat.clock.advance(6 * 24 * 3600)
        new = await cookie_of(session, chat, "ben")
        chat.clock.advance(2 * 24 * 3600)
        headers = {"Cookie": f"{old}; {new}", "Origin": chat.url}
        async with session.get(f"{chat.url}/session", headers=headers) as answer:
            assert (await answer.json())["user"]["id"] == "ben"
        # And a second cookie does not get around the check of a request's Origin.
        for cookies in (old, f"{old}; {new}", f'x"={{; {new}'):
            async with session.delete(f"{chat.url}/session", headers={"Cookie": cookies}) as answer:
                assert answer.status == 403


async def test_the_cookie_is_secure_where_a_proxy_says_https() -> None:
    """Behind a proxy that ends TLS a login without an Origin got a cookie that plain http would show."""
    async with chatting(trusted_proxies="127.0.0.1") as chat, http() as session:
        for headers, secure in (
            ({"X-Forwarded-Proto": "https"}, True),
            ({"Forwarded": "for=203.0.113.9;proto=https"}, True),
            ({"Origin": f"{chat.url.replace('http', 'WS')}/"}, False),
            ({}, False),
        ):
            async with session.post(f"{chat.url}/session", json={"user": "ann"}, headers=headers) as answer:
                assert answer.status == 200
                assert ("Secure" in answer.headers["Set-Cookie"]) is secure
