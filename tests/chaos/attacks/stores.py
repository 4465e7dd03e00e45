"""What reaches the store: probes while another process holds its lock, large groups at the allowed rate, full pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from socketserver.chat.domain import ConversationDraft, ConversationId, MessageDraft, MessageId, UserId, new_id
from socketserver.store import open_store
from typing import Any, Final

from . import wire
from .connection import Connection, Tally, Target, websocket
from .hostile import Crowd, ask
from .scene import SECRET, Attack, Stage, plain_token

FAMILY: Final = "store"
GROUPS: Final = 200
MEMBERS: Final = 1000
MESSAGES: Final = 1000
READERS: Final = 6
# What one user may ask in the long run (WEBSOCKET_EVENTS_PER_SECOND).
EVENTS_PER_S: Final = 20.0


@contextlib.asynccontextmanager
async def locked(folder: Path) -> AsyncIterator[Stage]:
    """Another process takes SQLite's write lock when the attack begins, and keeps it."""
    held: list[sqlite3.Connection] = []

    def begin() -> None:
        connection = sqlite3.connect(folder / "chat.db", timeout=5, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        held.append(connection)

    try:
        yield Stage(begin=begin)
    finally:
        for connection in held:
            connection.close()


@contextlib.asynccontextmanager
async def groups(folder: Path) -> AsyncIterator[Stage]:
    """Six users who take part in 200 groups of 1 000, and in one with 1 000 messages of 4 000 characters."""
    store = open_store(f"sqlite:///{folder / 'chat.db'}")
    await store.open()
    readers = [UserId(f"reader{number}") for number in range(READERS)]
    crowd = [UserId(f"member-with-a-long-id-{number:05}") for number in range(MEMBERS - READERS)]
    everybody = tuple(sorted([*readers, *crowd]))
    conversation_id = ConversationId("")
    try:
        for number in range(GROUPS):
            conversation_id = ConversationId(new_id())
            await store.create_conversation(
                ConversationDraft(conversation_id, "group", f"group {number}", readers[0], everybody, number + 1, None)
            )
        await asyncio.gather(
            *(
                store.append_message(
                    MessageDraft(MessageId(new_id()), conversation_id, readers[0], f"k{number}", "x" * 4000, None, 1)
                )
                for number in range(MESSAGES)
            )
        )
    finally:
        await store.close()
    tokens = " ".join(plain_token(reader) for reader in readers)
    yield Stage({"jwt_secret": SECRET}, target={"token": tokens, "conversation_id": conversation_id})


def _readers(event: str, payload: Callable[[Target, int], dict[str, Any]]) -> Callable[[Target], Tally]:
    """Six sockets that each ask as often as they may: the burst at once, then at the rate."""

    def run(target: Target) -> Tally:
        tokens = iter(target.token.split() * 1000)
        most = target.of(READERS)
        crowd = Crowd(target, lambda connection: websocket(token=next(tokens))(connection), most, ("127.0.0.3",))
        started_s = time.monotonic()
        asked: dict[Connection, int] = {}
        while crowd.going_on:
            crowd.fill()
            for key, _ in crowd.selector.select(0.01):
                connection: Connection = key.data
                if connection.pull() is None:
                    crowd.lost(connection)
                    continue
                number = asked.get(connection, 0)
                if number < 100 + (time.monotonic() - started_s) * EVENTS_PER_S:
                    text = f"42{number}" + json.dumps([event, payload(target, number)])
                    connection.push(wire.frame(wire.TEXT, text.encode()))
                    asked[connection] = number + 1
            time.sleep(0.001)
        return crowd.finish()

    return run


def _probe(path: str, connections: int, per_s: float = 0.0) -> Callable[[Target], Tally]:
    return lambda target: ask(target, lambda *_: wire.request("GET", path), connections=connections, per_s=per_s)


ATTACKS: Final = [
    Attack("locked", FAMILY, "another process holds SQLite's write lock; nobody probes", _probe("/healthz", 1, 2.0),
           stage=locked, waits=True),
    Attack("readyz-locked-5", FAMILY, "5 probes of /readyz meanwhile", _probe("/readyz", 5), hostile=5, stage=locked,
           waits=True),
    Attack("readyz-locked", FAMILY, "100 probes of /readyz meanwhile", _probe("/readyz", 100), hostile=100,
           stage=locked, waits=True),
    Attack("readyz", FAMILY, "/readyz as fast as it is answered", _probe("/readyz", 20), hostile=20),
    Attack("metrics", FAMILY, "/metrics as fast as it is answered", _probe("/metrics", 4), hostile=4),
    Attack("groups-list", FAMILY, "six users list 200 groups of 1 000 as often as they may",
           _readers("list_conversations", lambda target, number: {"limit": 200}), hostile=READERS, stage=groups),
    Attack("groups-join", FAMILY, "six users join a group of 1 000 with 1 000 long messages as often as they may",
           _readers("join_conversation", lambda target, number: {
               "conversationId": target.conversation_id, "limit": 200}), hostile=READERS, stage=groups),
    Attack("groups-history", FAMILY, "six users read its history as often as they may",
           _readers("fetch_history", lambda target, number: {
               "conversationId": target.conversation_id, "beforeSeq": 900 - number % 500, "limit": 200}),
           hostile=READERS, stage=groups),
    Attack("invalid-bursts", FAMILY, "six users send payloads that are invalid in every field",
           _readers("send_message", lambda target, number: {f"field{n}": n for n in range(500)} | {
               "conversationId": 1, "body": ["x"] * 500, "metadata": [[{}]] * 500}), hostile=READERS, stage=groups),
    Attack("surrogate-bursts", FAMILY, "six users send messages full of lone surrogates",
           _readers("send_message", lambda target, number: {
               "conversationId": target.conversation_id, "idempotencyKey": str(number), "body": "\ud800" * 10_000}),
           hostile=READERS, stage=groups),
]  # fmt: skip
