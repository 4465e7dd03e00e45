"""What happens to an open socket when its token runs out, is renewed, or its login ends."""

from __future__ import annotations

import asyncio
from socketserver.chat.identity import Identity
from socketserver.door.auth import Authenticator
from unittest import mock

import aiohttp
from support.guarded import Chat, chatting, enter, http, knock, until


async def test_an_expired_token_ends_the_socket() -> None:
    """With the reason and the advice to come back, which the JS client does after a close of the transport."""
    async with chatting() as chat, http() as session:
        chat.clock.hold()
        raw = await knock(session, chat)
        await raw.connect({"token": chat.token("ann", lifetime_s=60)})
        bob = await enter(session, chat, "bob")
        chat.clock.advance(58)
        assert (await raw.ask("list_conversations", {}))["ok"]
        chat.clock.advance(3)
        ended, _ = await raw.end()
        assert (ended["code"], ended["reconnect"]) == ("token_expired", True)
        assert (await bob.ask("list_conversations", {}))["ok"]


async def test_a_fresh_token_extends_the_socket_in_place() -> None:
    """No new connection, no new welcome; then the fresh token's end counts."""
    async with chatting() as chat, http() as session:
        chat.clock.hold()
        raw = await knock(session, chat)
        await raw.connect({"token": chat.token("ann", lifetime_s=60)})
        chat.clock.advance(50)
        assert (await raw.ask("authenticate", {"token": chat.token("ann", lifetime_s=60)}))["ok"]
        chat.clock.advance(50)
        assert (await raw.ask("list_conversations", {}))["ok"]
        assert [name for name, _ in raw.events] == ["welcome"]
        other = await raw.ask("authenticate", {"token": chat.token("bob")})
        assert other["error"]["code"] == "user_mismatch"
        chat.clock.advance(11)
        assert (await raw.end())[0]["code"] == "token_expired"


async def _log_in(session: aiohttp.ClientSession, chat: Chat, user: str) -> str:
    async with session.post(f"{chat.url}/session", json={"user": user}) as response:
        assert response.status == 200
        return response.headers["Set-Cookie"].partition(";")[0]


async def _log_out(session: aiohttp.ClientSession, chat: Chat, cookie: str) -> int:
    async with session.delete(f"{chat.url}/session", headers={"Cookie": cookie, "Origin": chat.url}) as response:
        return response.status


async def test_a_logout_ends_the_sockets_of_that_cookie_only() -> None:
    """Not those of the same user's other login, nor one with a token."""
    async with chatting(sockets_per_user=0) as chat, http() as session:
        here, there = await _log_in(session, chat, "ann"), await _log_in(session, chat, "ann")
        first = await enter(session, chat, None, Cookie=here, Origin=chat.url)
        second = await enter(session, chat, None, Cookie=here, Origin=chat.url)
        elsewhere = await enter(session, chat, None, Cookie=there, Origin=chat.url)
        token = await enter(session, chat, "ann")
        for raw in (first, second, elsewhere, token):
            await raw.wait("welcome")
        assert await _log_out(session, chat, here) == 200
        for raw in (first, second):
            ended, _ = await raw.end()
            assert (ended["code"], ended["reconnect"]) == ("logged_out", False)
        for raw in (elsewhere, token):
            assert (await raw.ask("list_conversations", {}))["ok"]


async def test_a_logout_without_a_login_ends_nobody() -> None:
    """A cookie that is garbled, and a request that a foreign page may have caused."""
    async with chatting() as chat, http() as session:
        cookie = await _log_in(session, chat, "ann")
        raw = await enter(session, chat, None, Cookie=cookie, Origin=chat.url)
        await raw.wait("welcome")
        assert await _log_out(session, chat, cookie[:-5] + "xxxxx") == 200
        async with session.delete(f"{chat.url}/session", headers={"Cookie": cookie}) as response:
            assert response.status == 403
        assert (await raw.ask("list_conversations", {}))["ok"]


async def test_a_login_that_ends_by_itself_ends_its_sockets() -> None:
    """A cookie lasts a week; a socket that it opened does not last longer."""
    async with chatting(ping_interval_s=3600) as chat, http() as session:
        cookie = await _log_in(session, chat, "ann")
        raw = await enter(session, chat, None, Cookie=cookie, Origin=chat.url)
        await raw.wait("welcome")
        chat.clock.advance(7 * 24 * 3600 + 1)
        ended, _ = await raw.end()
        assert (ended["code"], ended["reconnect"]) == ("token_expired", True)


async def test_nothing_is_left() -> None:
    """After everybody has gone, no registry knows anybody."""
    async with chatting() as chat, http() as session:
        for user in ("ann", "bob"):
            await (await enter(session, chat, user)).close()
        await until(lambda: len(chat.sessions) == 0, "the sockets are gone")
        chat.clock.advance(200)
        await until(lambda: not any(chat.guards.sizes().values()), "the guards have forgotten")


async def test_a_token_that_is_being_checked_is_waited_for() -> None:
    """A key server that was slower than the limit had its users ended, and told to stay away."""
    async with chatting(auth_timeout_s=30) as chat, http() as session:
        asked, go = asyncio.Event(), asyncio.Event()
        from_token = Authenticator.from_token

        async def slow(authenticator: Authenticator, token: str) -> Identity:
            asked.set()
            await go.wait()
            return await from_token(authenticator, token)

        with mock.patch.object(Authenticator, "from_token", slow):
            raw = await knock(session, chat)
            connecting = asyncio.create_task(raw.connect({"token": chat.token("ann")}))
            await asked.wait()
            assert (len(chat.guards.visits), len(chat.sessions)) == (1, 0), "nobody is registered who may be refused"
            chat.clock.advance(60)
            for _ in range(2):
                await chat.housekeeping.tick()
            go.set()
            await connecting
        assert (await raw.ask("list_conversations", {}))["ok"]
