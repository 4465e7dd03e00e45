"""The limits of the running server, each at its limit and over it, through raw frames and HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from socketserver.door.loops import TOLD
from socketserver.door.rates import REFUSALS_BURST
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from support.guarded import Raw, Refused, chatting, enter, http, knock, poll_handshake, until


async def test_connects_of_an_address_over_both_transports() -> None:
    """The limit's last handshake is served, the next is refused with 429 whatever the transport; others are served."""
    async with chatting(connects_per_minute_address=4) as chat, http() as one, http("127.0.0.2") as other:
        for _ in range(2):
            assert (await poll_handshake(one, chat))[0] == 200
            await (await knock(one, chat)).close()
        status, headers, text = await poll_handshake(one, chat)
        error = json.loads(text)["error"]
        assert status == 429
        assert error["code"] == "too_many_connects"
        assert 0 < error["retryAfterMs"] <= 65_000
        assert headers["Retry-After"] == str(-(-error["retryAfterMs"] // 1000))
        with pytest.raises(Refused) as refused:
            await knock(one, chat)
        assert refused.value.error == 429
        await (await knock(other, chat)).close()
        chat.clock.advance(error["retryAfterMs"] / 1000)
        await (await knock(one, chat)).close()


async def test_a_refusal_can_be_read_by_an_allowed_page() -> None:
    """It carries the headers without which a browser would hide status and body from the page."""
    page = "http://localhost:3000"
    async with chatting(connects_per_minute_address=1) as chat, http() as session:
        await poll_handshake(session, chat, Origin=page)
        status, headers, _ = await poll_handshake(session, chat, Origin=page)
        assert status == 429
        assert headers["Access-Control-Allow-Origin"] == page
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert headers["Cache-Control"] == "no-store"


async def test_failed_connects_of_a_client() -> None:
    """Bad tokens of one page refused everybody behind its address. Now only who has no good token is refused, of the
    same address, page and browser."""
    async with chatting(failed_connects_per_minute_address=5) as chat, http() as session:
        codes = []
        for _ in range(6):
            raw = await knock(session, chat)
            with pytest.raises(Refused) as refused:
                await raw.connect({"token": "nonsense"})
            codes.append(refused.value.error["data"]["code"])
            await raw.close()
        assert codes == ["invalid_token"] * 5 + ["too_many_connects"]
        assert 0 < refused.value.error["data"]["retryAfterMs"] <= 65_000
        await enter(session, chat, "ann")
        await enter(session, chat, None, **{"User-Agent": "another"})
        with pytest.raises(Refused) as too_often:
            await enter(session, chat, None)
        assert too_often.value.error["data"]["code"] == "too_many_connects"


async def test_who_comes_back_regardless_waits_for_its_answer() -> None:
    """A page that calls connect() in every listener used up its address's handshakes: its answers come late."""
    async with chatting(failed_connects_per_minute_address=1) as chat, http() as session:
        for _ in range(1 + TOLD):
            with pytest.raises(Refused):
                await (await knock(session, chat)).connect({"token": "nonsense"})
        late = asyncio.create_task((await knock(session, chat)).connect({"token": "nonsense"}))
        await enter(session, chat, "ann")
        assert not late.done()
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)


async def test_bad_tokens_over_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    """2 000 tries over one websocket counted as one that failed, and wrote a line each."""
    caplog.set_level(logging.INFO, "socketserver")
    async with chatting() as chat, http() as session:
        raw = await knock(session, chat)
        answers: list[Any] = []
        while "closed" not in answers and len(answers) < 100:
            with pytest.raises(Refused) as refused:
                await raw.connect({"token": "nonsense"})
            answers.append(refused.value.error)
        assert answers[5:] == ["closed"]
        assert len(caplog.records) < 12


async def test_failed_logins_count_like_failed_connects() -> None:
    """Tokens cannot be tried out over HTTP either: past the limit a bad one gets 429, a good one its cookie."""
    options: dict[str, Any] = {"failed_connects_per_minute_address": 3}
    async with chatting(**options) as chat, http() as session, http("127.0.0.2") as other:
        url, bad = f"{chat.url}/session", {"Authorization": "Bearer nonsense"}
        for _ in range(3):
            async with session.post(url, headers=bad) as response:
                assert response.status == 401
        async with session.post(url, headers=bad) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (429, "too_many_connects")
            assert "Retry-After" in response.headers
        async with other.post(url, headers=bad) as response:
            assert response.status == 401
        async with session.post(url, headers={"Authorization": f"Bearer {chat.token('ann')}"}) as response:
            assert response.status == 200
        with pytest.raises(Refused):
            await enter(session, chat, None)
        await enter(session, chat, "ann")


async def test_open_connections_of_an_address() -> None:
    """At the cap of users the next is refused; when one has gone there is room for one."""
    async with chatting(max_connections_address=3) as chat, http() as session, http("127.0.0.2") as other:
        sockets = [await enter(session, chat, f"user {number}") for number in range(3)]
        status, _, text = await poll_handshake(session, chat)
        assert (status, json.loads(text)["error"]["code"]) == (429, "too_many_connections")
        await knock(other, chat)
        await sockets[0].close()
        await until(lambda: chat.guards.sizes()["unproven"] + len(chat.sessions) == 3, "one is gone")
        await enter(session, chat, "ann")
        assert (await poll_handshake(session, chat))[0] == 429


async def test_open_connections_of_an_origin() -> None:
    """At the cap of users the pages of that origin are refused from every address; programs without one are not."""
    page = "http://localhost:3000"
    async with chatting(max_connections_origin=2) as chat, http() as session, http("127.0.0.2") as other:
        await enter(session, chat, "ann", Origin=page)
        await enter(other, chat, "bob", Origin=page)
        status, _, text = await poll_handshake(session, chat, Origin=page)
        assert (status, json.loads(text)["error"]["code"]) == (429, "too_many_connections")
        await knock(session, chat)


@pytest.mark.parametrize("connected", [False, True])
async def test_strangers_do_not_fill_the_door(connected: bool) -> None:
    """Handshakes with a forged Origin filled the origin's cap, and visitors got 429. Now the oldest stranger goes for
    each newcomer, and nobody who has a user."""
    page = "http://localhost:3000"
    options: dict[str, Any] = {"max_unproven_address": 3, "max_unproven": 5, "max_connections_origin": 6}
    async with chatting(**options) as chat, http() as session, http("127.0.0.2") as other, http("127.0.0.3") as third:
        ann = await enter(session, chat, "ann", Origin=page)

        async def come(where: aiohttp.ClientSession) -> Raw:
            return await (enter(where, chat, None, Origin=page) if connected else knock(where, chat, Origin=page))

        strangers = [await come(where) for where in (session, session, session, session, other, other, other, third)]
        bob = await enter(session, chat, "bob", Origin=page)
        eve = await enter(other, chat, "eve", Origin=page)
        for user in (ann, bob, eve):
            assert (await user.ask("list_conversations", {}))["ok"]
        await until(lambda: chat.guards.sizes()["unproven"] <= 5, "the strangers are within their share")
        assert chat.guards.crowded_out >= 3
        if connected:
            ended, _ = await strangers[0].end()
            assert (ended["code"], ended["reconnect"]) == ("crowded_out", True)
        else:
            assert await strangers[0].read() is None
        assert chat.guards.sweep(list(chat.sio.eio.sessions.values())) == 0


async def test_a_login_cookie_is_let_in_where_an_address_has_made_too_many_handshakes() -> None:
    """Strangers behind the same address used up its connects a minute, and nobody could prove anything any more."""
    async with chatting(connects_per_minute_address=2) as chat, http() as session:
        login = await session.post(f"{chat.url}/session", json={"user": "ann"})
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        for _ in range(2):
            assert (await poll_handshake(session, chat))[0] == 200
        assert (await poll_handshake(session, chat, Origin=chat.url))[0] == 429
        assert (await poll_handshake(session, chat, Origin=chat.url, Cookie=cookie.replace("=", "=x", 1)))[0] == 429
        ann = await enter(session, chat, None, Origin=chat.url, Cookie=cookie)
        assert (await ann.wait("welcome"))["user"]["id"] == "ann"
        await enter(session, chat, "bob", Origin=chat.url)  # of a page and browser that are known from now on


async def test_connects_of_a_user() -> None:
    """At the limit the next connect is refused with an error that says when, and the user's open socket stays."""
    async with chatting(connects_per_minute_user=3, sockets_per_user=0) as chat, http() as session:
        sockets = [await enter(session, chat, "ann") for _ in range(3)]
        with pytest.raises(Refused) as refused:
            await enter(session, chat, "ann")
        data = refused.value.error["data"]
        assert set(data) == {"code", "message", "retryable", "retryAfterMs"}
        assert (data["code"], data["retryable"]) == ("too_many_connects", True)
        assert (await sockets[2].ask("list_conversations", {}))["ok"]
        await enter(session, chat, "bob")
        chat.clock.advance(data["retryAfterMs"] / 1000)
        await enter(session, chat, "ann")


async def test_connects_of_a_user_by_the_authenticate_event() -> None:
    """The event gets its ack, and then the socket is ended with the reason."""
    async with chatting(connects_per_minute_user=1) as chat, http() as session:
        await enter(session, chat, "ann")
        raw = await enter(session, chat, None)
        ack = await raw.ask("authenticate", {"token": chat.token("ann")})
        assert ack["error"]["code"] == "too_many_connects"
        ended, _ = await raw.end()
        assert (ended["code"], ended["reconnect"]) == ("too_many_connects", False)
        assert 0 < ended["retryAfterMs"] <= 65_000


async def test_wrong_origin(caplog: pytest.LogCaptureFixture) -> None:
    """One JSON refusal over every transport; it names the origin and the setting, and no page may read it."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting() as chat, http() as session:
            for origin in ["https://evil.example", "null", "http://localhost:3000.evil.example"]:
                status, headers, text = await poll_handshake(session, chat, Origin=origin)
                error = json.loads(text)["error"]
                assert (status, error["code"]) == (403, "origin_not_allowed")
                assert f'"{origin}"' in error["message"]
                assert "Access-Control-Allow-Origin" not in headers
                with pytest.raises(Refused) as refused:
                    await knock(session, chat, Origin=origin)
                assert refused.value.error == 403
            async with session.post(f"{chat.url}/session", headers={"Origin": "https://evil.example"}) as response:
                assert "https://evil.example" in (await response.json())["error"]["message"]
    assert len([record for record in caplog.records if record.name.startswith("socketserver")]) == 3


async def test_a_program_without_an_origin_needs_a_token() -> None:
    """It is let in, and without a token it is nobody; a cookie is not believed."""
    async with chatting() as chat, http() as session:
        login = await session.post(f"{chat.url}/session", json={"user": "ann"})
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        raw = await enter(session, chat, None, Cookie=cookie)
        assert (await raw.ask("list_conversations", {}))["error"]["code"] == "auth_required"
        known = await enter(session, chat, None, Cookie=cookie, Origin=chat.url)
        assert (await known.wait("welcome"))["user"]["id"] == "ann"


async def test_addresses_behind_a_trusted_proxy() -> None:
    """Each client behind it has limits of its own, and cannot talk its way out of them."""
    async with chatting(connects_per_minute_address=1, trusted_proxies="127.0.0.1") as chat, http() as proxy:
        assert (await poll_handshake(proxy, chat, **{"X-Forwarded-For": "203.0.113.1"}))[0] == 200
        assert (await poll_handshake(proxy, chat, **{"X-Forwarded-For": "203.0.113.1"}))[0] == 429
        assert (await poll_handshake(proxy, chat, **{"X-Forwarded-For": "9.9.9.9, 203.0.113.1"}))[0] == 429
        assert (await poll_handshake(proxy, chat, **{"X-Forwarded-For": "203.0.113.2"}))[0] == 200
        async with http("127.0.0.2") as stranger:
            assert (await poll_handshake(stranger, chat, **{"X-Forwarded-For": "203.0.113.3"}))[0] == 200
            assert (await poll_handshake(stranger, chat, **{"X-Forwarded-For": "203.0.113.4"}))[0] == 429


async def test_messages_at_the_rate_and_over_it() -> None:
    """The burst is stored, the next is refused and says when; that time later one more is stored."""
    async with chatting(messages_per_second=2, messages_burst=3) as chat, http() as session:
        ann = await enter(session, chat, "ann")
        created = await ann.ask("create_conversation", {"participantIds": ["bob"]})
        conversation = created["conversation"]["id"]
        chat.clock.hold()
        chat.clock.advance(60)
        for number in range(3):
            assert (await ann.message(conversation, str(number)))["ok"]
        error = (await ann.message(conversation, "one too many"))["error"]
        assert (error["code"], error["retryable"]) == ("rate_limited", True)
        assert 0 < error["retryAfterMs"] <= 501
        chat.clock.advance(error["retryAfterMs"] / 1000)
        assert (await ann.message(conversation, "later"))["message"]["seq"] == 4


async def test_duplicates_are_not_charged() -> None:
    """A message sent again and again costs nothing of the rate for messages."""
    async with chatting(messages_per_second=0.001, messages_burst=2) as chat, http() as session:
        ann = await enter(session, chat, "ann")
        conversation = (await ann.ask("create_conversation", {"participantIds": ["bob"]}))["conversation"]["id"]
        await ann.message(conversation, "hello", "key")
        for _ in range(150):
            assert (await ann.message(conversation, "hello", "key"))["duplicate"] is True
        assert (await ann.message(conversation, "second"))["ok"]
        assert (await ann.message(conversation, "third"))["error"]["code"] == "rate_limited"


async def test_other_events_at_the_rate_and_over_it() -> None:
    """They have a bucket of their own: a user who may ask nothing more may still send messages."""
    async with chatting(events_per_second=1, events_burst=10) as chat, http() as session:
        chat.clock.hold()
        ann = await enter(session, chat, "ann")
        conversation = (await ann.ask("create_conversation", {"participantIds": ["bob"]}))["conversation"]["id"]
        acks = [await ann.ask("list_conversations", {}) for _ in range(12)]
        assert [ack["ok"] for ack in acks[:9]] == [True] * 9
        error = acks[-1]["error"]
        assert error["code"] == "rate_limited"
        assert (await ann.ask("no_such_event", {}))["error"]["code"] == "rate_limited"
        assert (await ann.message(conversation, "hello"))["ok"]
        chat.clock.advance(error["retryAfterMs"] / 1000)
        assert (await ann.ask("list_conversations", {}))["ok"]


async def test_a_client_that_goes_on_regardless_is_ended() -> None:
    """Every request is acked to the last, then session_ended says why, and the others have not noticed."""
    async with chatting(events_per_second=1, events_burst=5) as chat, http() as session:
        chat.clock.hold()
        ann, bob = await enter(session, chat, "ann"), await enter(session, chat, "bob")
        numbers = [await ann.emit("list_conversations", {}) for _ in range(5 + REFUSALS_BURST + 1)]
        acks = [await ann.ack(number) for number in numbers]
        assert sum(ack["ok"] for ack in acks) == 5
        ended, _ = await ann.end()
        assert (ended["code"], ended["reconnect"]) == ("flooding", False)
        assert ended["retryAfterMs"] > 0
        assert (await bob.ask("list_conversations", {}))["ok"]


async def test_a_client_within_its_patience_is_not_ended() -> None:
    """As many refusals as are borne: it is still there."""
    async with chatting(events_per_second=0.001, events_burst=5) as chat, http() as session:
        chat.clock.hold()
        ann = await enter(session, chat, "ann")
        numbers = [await ann.emit("list_conversations", {}) for _ in range(5 + REFUSALS_BURST)]
        acks = [await ann.ack(number) for number in numbers]
        assert sum(ack["ok"] for ack in acks) == 5
        assert (await ann.ask("set_typing", {}))["error"]["code"] == "rate_limited"


async def test_repeats_without_end_are_ended() -> None:
    """Repeats are answered, but a client that does nothing else has to go."""
    async with chatting(events_per_second=0.001, events_burst=10) as chat, http() as session:
        chat.clock.hold()
        ann = await enter(session, chat, "ann")
        conversation = (await ann.ask("create_conversation", {"participantIds": ["bob"]}))["conversation"]["id"]
        payload = {"conversationId": conversation, "idempotencyKey": "key", "body": "again"}
        numbers = [await ann.emit("send_message", payload) for _ in range(12 + REFUSALS_BURST)]
        assert all([(await ann.ack(number))["ok"] for number in numbers[:-5]])
        ended, _ = await ann.end()
        assert ended["code"] == "flooding"


async def test_guessing_tokens_is_flooding() -> None:
    """A socket without a user has the rates of one."""
    async with chatting(events_per_second=1, events_burst=5) as chat, http() as session:
        chat.clock.hold()
        raw = await enter(session, chat, None)
        codes = [(await raw.ask("authenticate", {"token": "x"}))["error"]["code"] for _ in range(8)]
        assert codes == ["invalid_token"] * 5 + ["rate_limited"] * 3


@pytest.mark.parametrize("name", ["*", "the victim's sid"])
async def test_an_event_that_does_not_exist_is_charged_to_whoever_sent_it(name: str) -> None:
    """One that was named like a sid, or had one as argument, was charged to that client."""
    async with chatting() as chat, http() as session:
        chat.clock.hold()
        victim, mallory = await enter(session, chat, "victim"), await enter(session, chat, "mallory")
        event = [victim.sid, {}] if name != "*" else ["*", victim.sid]
        for _ in range(REFUSALS_BURST + chat.settings.events_burst + 10):
            await mallory.send("42" + json.dumps(event))
        assert (await mallory.end())[0]["code"] == "flooding"
        assert (await victim.ask("list_conversations", {}))["ok"]


async def test_large_heads_are_not_kept() -> None:
    """Sessions kept the whole head of their handshake: over polling a bounded part stays, a websocket is refused."""
    large = {f"X-{number}": "x" * 8_000 for number in range(8)}
    async with chatting() as chat, http() as session:
        status, headers, _ = await poll_handshake(session, chat, **large)
        assert (status, headers["Connection"]) == (200, "close")
        with pytest.raises(Refused) as refused:
            await knock(session, chat, **large)
        assert refused.value.error == 431
        cookies = {"Cookie": "x" * 8_000}
        ann = await enter(session, chat, "ann", **cookies)
        for each in chat.sio.eio.sessions.values():
            assert sum(len(name) + len(value) for name, value in each.request.headers.items()) < 40_960
        environ = chat.sio.get_environ(ann.sid)
        assert environ is not None
        assert "HTTP_COOKIE" not in environ
        assert environ["HTTP_HOST"] == environ["aiohttp.request"].host
        assert chat.guards.unproven_bytes <= 40_960


async def test_invented_key_ids_are_no_fault_of_the_key_server() -> None:
    """60 of 60 tokens with key ids that nobody has were forgiven: past the limit their client is refused like any
    other, and the key server was asked once."""
    key, asked = ec.generate_private_key(ec.SECP256R1()), 0

    async def keys(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return web.json_response({"keys": [{**jwk, "kid": "real", "alg": "ES256"}]})

    app = web.Application()
    app.router.add_get("/keys", keys)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    options: dict[str, Any] = {"jwt_jwks_url": url, "failed_connects_per_minute_address": 5}
    try:
        async with chatting(**options) as chat, http() as session:
            codes = []
            for number in range(7):
                token = jwt.encode({"sub": "ann", "exp": 2**32}, key, "ES256", headers={"kid": f"made up {number}"})
                with pytest.raises(Refused) as refused:
                    await (await knock(session, chat)).connect({"token": token})
                codes.append(refused.value.error["data"]["code"])
            assert codes == ["invalid_token"] + ["auth_unavailable"] * 4 + ["too_many_connects"] * 2
            assert asked == 1
            good = jwt.encode({"sub": "ann", "exp": 2**32}, key, "ES256", headers={"kid": "real"})
            await (await knock(session, chat)).connect({"token": good})
    finally:
        await runner.cleanup()
