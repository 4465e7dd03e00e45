"""A process of its own that writes at random: `python -m support.history_child URL CONVERSATION CALLERS COUNT SEED`.

Starts at a line on its input. Says `told CHANGE SEQ` after each write, `unsure` where it is not known what came of one,
and `done` at the end. It may be killed at any moment. The conversation's participants are PEOPLE.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from socketserver.chat.domain import ConversationId, Message
from socketserver.store import open_store

from support.histories import PEOPLE, Caller

ROOT = Path(__file__).parent.parent.parent

Child = subprocess.Popen[str]


def start(url: str, conversation_id: ConversationId, *, callers: int, count: int, seed: int) -> Child:
    """Start such a process; it opens the store, says `ready` and waits for a line."""
    return subprocess.Popen(
        [sys.executable, "-m", "support.history_child", url, conversation_id, str(callers), str(count), str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _say(*words: object) -> None:
    # One write, below the size to which a pipe is atomic: a line is whole or not there at all.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _tell(message: Message) -> None:
    _say("told", message.change, message.seq)


async def _main(url: str, conversation_id: ConversationId, callers: int, count: int, seed: int) -> None:
    store = open_store(url)
    await store.open()
    _say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    dice = random.Random(seed)
    writing = [
        Caller(
            store,
            conversation_id,
            PEOPLE[number % len(PEOPLE)],
            random.Random(dice.random()),
            told=_tell,
            failed=lambda: _say("unsure"),
            mentioned=PEOPLE,
        )
        for number in range(callers)
    ]
    await asyncio.gather(*(caller.run(count) for caller in writing))
    await store.close()
    _say("done")


if __name__ == "__main__":
    url, conversation_id, callers, count, seed = sys.argv[1:]
    asyncio.run(_main(url, ConversationId(conversation_id), int(callers), int(count), int(seed)))
