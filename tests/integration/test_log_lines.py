"""What the server's log says of a chat, and what it must never say."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from integration.test_hostile import exchange
from support.guarded import Raw, chatting, enter, http, knock
from support.servers import running, token

BODY, KEY = "a-body-that-nobody-may-read", "MALFORMED-BODY"
LIMITS: dict[str, Any] = {"messages_per_second": 0.001, "messages_burst": 2}


async def use(chat: Any, session: aiohttp.ClientSession, login: str) -> list[str]:
    """A conversation and its failures, with a token, a cookie and bodies. Returns what must not be in the log."""
    async with session.post(f"{chat.url}/session", headers={"Authorization": f"Bearer {login}"}) as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    by_cookie = await enter(session, chat, None, Cookie=cookie, Origin=chat.url)
    ann: Raw = await knock(session, chat)
    await ann.connect({"token": login})
    created = await ann.ask("create_conversation", {"participantIds": ["bob"], "title": BODY})
    conversation_id = created["conversation"]["id"]
    for number in range(4):
        await ann.message(conversation_id, f"{BODY} {number}")
    await ann.ask("send_message", {"conversationId": conversation_id, "body": [BODY], "idempotencyKey": BODY})
    await ann.ask("authenticate", {"token": login})
    await ann.ask("authenticate", {"token": f"{login}x"})
    await ann.ask(BODY, {"token": login})
    bad = await knock(session, chat)
    await bad.send("40" + json.dumps({"token": f"{login[:-4]}AAAA"}))
    await bad.read()
    for packet in (f'42["{KEY}",NaN]', f"4{KEY}{login}", f'451-["{KEY}","{login}"]'):
        mad = await knock(session, chat)
        await mad.connect({"token": token("mad")})
        await mad.send(packet)
        while not mad.closed:
            await mad.read()
    await exchange(chat, f"GET /session HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}; {BODY}\r\n\r\n".encode())
    await exchange(chat, f"POST /session HTTP/1.1\r\nAuthorization: Bearer {login}x\r\n\r\n".encode())
    await by_cookie.close()
    await ann.close()
    await bad.close()
    return [login, login[:-4], login.split(".")[2], cookie.partition("=")[2], BODY, KEY]


async def test_no_secret_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Through a conversation and its failures, with everything logged: no token, no cookie, no body of a message."""
    caplog.set_level(logging.DEBUG)
    async with chatting(**LIMITS) as chat, http() as session:
        secrets = await use(chat, session, chat.token("ann"))
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records if record.name != "asyncio")
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("socketserver"))
    assert "authenticated" in ours
    for secret in secrets:
        assert secret not in logged, secret[:20]


async def test_changes_have_a_line_and_a_count_and_never_what_they_say(caplog: pytest.LogCaptureFixture) -> None:
    """A repeat has a line too, and counts as none."""
    caplog.set_level(logging.INFO)
    async with chatting() as chat, http() as session:
        ann = await knock(session, chat)
        await ann.connect({"token": chat.token("ann")})
        created = await ann.ask("create_conversation", {"participantIds": ["bob"]})
        where = {"conversationId": created["conversation"]["id"], "seq": 1}
        await ann.message(where["conversationId"], BODY)
        await ann.ask("set_reaction", {**where, "reaction": "+", "on": True})
        for _ in range(2):
            await ann.ask("edit_message", {**where, "idempotencyKey": "e", "body": f"{BODY} {KEY}"})
        await ann.ask("delete_message", where)
        await ann.ask("delete_message", {**where, "seq": 9})
        async with session.get(f"{chat.url}/metrics") as response:
            metrics = await response.text()
        await ann.close()
    lines = [line for line in caplog.messages if line.startswith("message_changed")]
    told = [dict(part.split("=") for part in line.split()[1:]) for line in lines]
    assert [(each["kind"], each["seq"], each["change"], each["duplicate"]) for each in told] == [
        ("reaction", "1", "2", "False"),
        ("edit", "1", "3", "False"),
        ("edit", "1", "3", "True"),
        ("deletion", "1", "4", "False"),
    ]
    assert BODY not in caplog.text
    for kind in ("reaction", "edit", "deletion"):
        assert f'socketserver_changes_total{{kind="{kind}"}} 1.0' in metrics
    assert "socketserver_change_events_total 3.0" in metrics


@pytest.mark.thorough
@pytest.mark.parametrize("format", ["json", "console"])
async def test_the_whole_output_of_a_server(tmp_path: Path, format: str) -> None:
    """With everything logged there is a line for each moment that matters, and no secret; not even those in
    requests that are not HTTP, which aiohttp quotes."""
    flags = {"log_level": "debug", "log_format": format, "log_messages_per_second": 0, **LIMITS}
    async with running(tmp_path / "chat.db", **flags) as server:
        chat: Any = server  # what the clients need of it is the address
        async with http() as session:
            secrets = await use(chat, session, login := token("ann"))
        for line in (f"Authorization: Bearer {login}\0", f"{login}: {secrets[3]}\0", f"{login}\r\n {login}\0"):
            await exchange(chat, f"POST /session HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n".encode())
        await server.terminate()
        output = server.output
    for secret in secrets:
        assert secret not in "\n".join(output), secret[:20]
    events = {
        *("listening", "connected", "authenticated", "message_received", "message_sent", "request_refused"),
        *("refused", "ended", "disconnected", "stopping", "stopped"),
    }
    if format == "console":
        assert events <= {line.split()[2] for line in output if line[:2] == "20"}
        return
    lines = [json.loads(line) for line in output if line.startswith("{")]
    assert len(lines) == len(output) - 4  # the banner
    assert events <= {line["event"] for line in lines}
    assert all({"time", "level", "event", "logger"} <= line.keys() for line in lines)
    sent = next(line for line in lines if line["event"] == "message_sent")
    assert (sent["user_id"], sent["seq"], sent["duplicate"]) == ("ann", 1, False)
    assert sent["ms"] >= 0
    own = [line["event"] for line in lines if line.get("connection_id") == sent["connection_id"]]
    assert own[:4] == ["connected", "authenticated", "message_received", "message_sent"]
    assert own.count("request_refused") == 4  # two messages over the rate, an invalid one, a bad token
    assert own[-1] == "disconnected"
    ended = next(line for line in lines if line["event"] == "ended")
    assert (ended["user_id"], ended["code"]) == ("ann", "replaced")


@pytest.mark.thorough
async def test_the_lines_of_messages_are_sampled(tmp_path: Path) -> None:
    """Of a burst the log has as many messages as the setting says; a later line counts the others."""
    flags = {"log_format": "json", "log_messages_per_second": 2, "messages_per_second": 0}
    async with running(tmp_path / "chat.db", **flags) as server:
        chat: Any = server
        async with http() as session:
            ann = await knock(session, chat)
            await ann.connect({"token": token("ann")})
            created = await ann.ask("create_conversation", {"participantIds": ["bob"]})
            sent = 0
            lines: list[dict[str, Any]] = []
            while not any("skipped" in line for line in lines):  # until the next second has begun
                for _ in range(50):
                    await ann.message(created["conversation"]["id"], "hello")
                    sent += 1
                lines = [json.loads(line) for line in server.output if '"message_received"' in line]
            await ann.close()
    skipped = next(line["skipped"] for line in lines if "skipped" in line)
    assert 2 <= len(lines) < sent
    assert 0 < skipped < sent
