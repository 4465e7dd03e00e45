"""Somebody comes back to a conversation in which ten thousand messages were changed: the answer is short."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from socketserver.chat.changes import Edit, React
from socketserver.chat.domain import ConversationId
from socketserver.store import Store, open_store
from typing import Any, Final

from support.servers import serving
from support.stores import ANN, BOB, NOW_MS, group, message_draft
from support.wire import wire_to

CHANGED: Final = 10_000
AT_ONCE: Final = 1000
# What a list of bodies of a few characters may come to: 360 bytes a message.
MOST_BYTES: Final = {50: 20_000, 200: 75_000}


async def write(store: Store) -> ConversationId:
    """Ten thousand messages; bob, who was there, has left; then each is changed, and every tenth twice."""
    where = await group(store, BOB)

    def calls() -> Iterator[Any]:
        for number in range(CHANGED):
            yield store.append_message(message_draft(where, f"message {number}"))
        for seq in range(1, CHANGED + 1):
            yield store.change_message(React(where, seq, ANN, "👍", on=True))
        for seq in range(1, CHANGED + 1, 10):
            yield store.change_message(Edit(where, seq, ANN, "e", f"other {seq}", NOW_MS))

    work = list(calls())
    for start in range(0, len(work), AT_ONCE):
        await asyncio.gather(*work[start : start + AT_ONCE])
    return where


async def test_a_join_with_ten_thousand_changes_behind_is_one_page(tmp_path: Path) -> None:
    """As many updates as the limit, and from where to go on; whoever pages on has every message as it is."""
    path = tmp_path / "chat.db"
    store = open_store(f"sqlite:///{path}")
    await store.open()
    where = await write(store)
    await store.close()
    newest = CHANGED * 2 + CHANGED // 10
    async with serving(path, events_per_second=0) as server, wire_to(server.url) as wire:
        bob = await wire.person("bob")
        for limit, most_bytes in MOST_BYTES.items():
            started_s = time.perf_counter()
            ack = await bob.join(where, after=CHANGED, limit=limit)
            took_ms = (time.perf_counter() - started_s) * 1000
            size = len(json.dumps(ack, ensure_ascii=False, separators=(",", ":")).encode())
            print(f"\n{CHANGED} changes behind: {len(ack['updates'])} updates, {size} bytes, {took_ms:.0f} ms")
            assert (ack["messages"], ack["change"], ack["lastSeq"]) == ([], newest, CHANGED)
            assert len(ack["updates"]) == limit
            assert size < most_bytes
            # Every tenth was changed once more later, and comes at its present place.
            last = ack["updates"][-1]
            assert ack["updatesThrough"] == last["change"] == CHANGED + last["seq"]
        known = {each["seq"]: each for each in ack["updates"]}
        page = {"change": ack["updatesThrough"], "hasMore": True}
        while page["hasMore"]:
            asked = {"conversationId": where, "after": page["change"], "limit": 200}
            page = await bob.client.ok("fetch_changes", asked)
            assert len(page["messages"]) <= 200
            known |= {each["seq"]: each for each in page["messages"]}
        assert page["change"] == newest
        assert sorted(known) == list(range(1, CHANGED + 1))
        for seq in (1, 2, 11, CHANGED - 9, CHANGED):
            found = await bob.client.ok("fetch_messages", {"conversationId": where, "seqs": [seq]})
            assert found["messages"] == [known[seq]]
