"""kill -9 at random moments under load: what was acknowledged is there, once, in one dense sequence.

CHAOS_ROUNDS sets the number of kills (8 without it).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from socketserver.chat.domain import ConversationId, Message
from socketserver.store import Store, open_store

import pytest
from support import store_child
from support.stores import group, message_draft

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "8"))


@pytest.mark.timeout(60 + 10 * ROUNDS)
async def test_a_killed_process_loses_no_acknowledged_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    store = open_store(url)
    await store.open()
    ids = [await group(store) for _ in range(3)]
    await store.close()

    acked: dict[tuple[str, str], tuple[int, str]] = {}
    faults: Counter[str] = Counter()
    unknown = 0
    for number in range(ROUNDS):
        sent, told = await _round(url, f"r{number}", ids, kill_after=random.randint(0, 1500))
        acked |= told
        open_calls = sent - told.keys()
        unknown += len(open_calls)

        await store.open()  # recovery: the log is read, the half-written transaction is gone
        _count_faults(await _stored(store, ids), acked, faults)
        for conversation_id, key in open_calls:
            result = await store.append_message(message_draft(ConversationId(conversation_id), key, key=key))
            acked[conversation_id, key] = result.message.seq, result.message.id
        stored = await _stored(store, ids)
        _count_faults(stored, acked, faults)
        assert len(stored) == len(acked)  # exactly one row for everything that was ever sent
        await store.close()
    with capsys.disabled():
        print(
            f"\n{ROUNDS} kills: {len(acked)} messages, {unknown} of them open when killed and sent again: "
            f"lost {faults['lost']}, doubled {faults['doubled']}, holes {faults['holes']}"
        )
    assert not +faults


async def _round(
    url: str, prefix: str, ids: list[ConversationId], *, kill_after: int
) -> tuple[set[tuple[str, str]], dict[tuple[str, str], tuple[int, str]]]:
    """Run a process that writes until it is killed after so many lines; what it sent, and what it was told."""
    sent: set[tuple[str, str]] = set()
    told: dict[tuple[str, str], tuple[int, str]] = {}

    def run() -> None:
        child = store_child.start(url, prefix, writers=32, count=100_000, ids=ids)
        assert child.stdin
        assert child.stdout
        try:
            assert child.stdout.readline() == "ready\n"
            child.stdin.write("\n")
            child.stdin.flush()
            for seen, line in enumerate(child.stdout):
                if seen == kill_after:
                    child.kill()  # and go on reading what it had said
                match line.split():
                    case ["sent", conversation_id, key]:
                        sent.add((conversation_id, key))
                    case ["acked", conversation_id, key, seq, message_id]:
                        told[conversation_id, key] = int(seq), message_id
                    case _:
                        raise AssertionError(f"unexpected line {line!r}")
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()

    await asyncio.to_thread(run)
    return sent, told


async def _stored(store: Store, ids: list[ConversationId]) -> list[Message]:
    messages: list[Message] = []
    for conversation_id in ids:
        after = 0
        while True:
            page = await store.list_messages(conversation_id, after_seq=after, limit=5000)
            messages += page.messages
            if not page.has_more:
                break
            after = page.messages[-1].seq
    return messages


def _count_faults(stored: list[Message], acked: dict[tuple[str, str], tuple[int, str]], faults: Counter[str]) -> None:
    by_key = {(message.conversation_id, message.idempotency_key): (message.seq, message.id) for message in stored}
    faults["doubled"] += len(stored) - len(by_key)
    faults["lost"] += sum(by_key.get((ConversationId(id_), key)) != what for (id_, key), what in acked.items())
    seqs: dict[str, list[int]] = {}
    for message in stored:
        seqs.setdefault(message.conversation_id, []).append(message.seq)
    faults["holes"] += sum(each != list(range(1, len(each) + 1)) for each in seqs.values())
