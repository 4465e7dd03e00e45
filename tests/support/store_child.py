"""A process of its own that writes to a store: `python -m support.store_child URL PREFIX WRITERS COUNT CONVERSATION…`.

Starts at a line on its input. Says on its output `sent CONVERSATION KEY` before each call and `acked CONVERSATION KEY
SEQ ID` after it, and `done` at the end. It may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from socketserver.chat.domain import ConversationId
from socketserver.errors import ChatError
from socketserver.store import Store, open_store

from support.stores import message_draft

ROOT = Path(__file__).parent.parent.parent


def start(url: str, prefix: str, *, writers: int, count: int, ids: Sequence[ConversationId]) -> subprocess.Popen[str]:
    """Start such a process; it opens the store, says `ready` and waits for a line."""
    return subprocess.Popen(
        [sys.executable, "-m", "support.store_child", url, prefix, str(writers), str(count), *ids],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _say(*words: object) -> None:
    # One write, below the size to which a pipe is atomic: a line is whole or not there at all.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def _writer(store: Store, prefix: str, number: int, count: int, ids: Sequence[ConversationId]) -> None:
    for turn in range(count):
        conversation_id = ids[(number + turn) % len(ids)]
        key = f"{prefix}-{number}-{turn}"
        _say("sent", conversation_id, key)
        while True:
            try:
                result = await store.append_message(message_draft(conversation_id, key, key=key))
            except ChatError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(0.01)
            else:
                break
        _say("acked", conversation_id, key, result.message.seq, result.message.id)


async def _main(url: str, prefix: str, writers: int, count: int, ids: Sequence[ConversationId]) -> None:
    store = open_store(url)
    await store.open()
    _say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(_writer(store, prefix, number, count, ids) for number in range(writers)))
    await store.close()
    _say("done")


if __name__ == "__main__":
    url, prefix, writers, count, *ids = sys.argv[1:]
    asyncio.run(_main(url, prefix, int(writers), int(count), [ConversationId(each) for each in ids]))
