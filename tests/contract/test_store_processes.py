"""Several server processes on one database: one dense sequence, one message per key."""

from __future__ import annotations

import asyncio

from support import store_child
from support.stores import Backend, group, sequence


async def test_eight_writers_in_two_processes_make_one_dense_sequence(shared_backend: Backend) -> None:
    """Four writers each; and both processes use the same keys, so that every message is sent twice."""
    store = await shared_backend.open()
    ids = [await group(store), await group(store)]
    children = [store_child.start(shared_backend.url, "k", writers=4, count=25, ids=ids) for _ in range(2)]
    acked: list[list[str]] = []
    try:
        for child in children:
            assert child.stdin
            assert child.stdout
            assert await asyncio.to_thread(child.stdout.readline) == "ready\n"
        for child in children:
            assert child.stdin
            child.stdin.write("\n")
            child.stdin.flush()
        outputs = await asyncio.gather(*(asyncio.to_thread(child.communicate, timeout=60) for child in children))
    finally:
        for child in children:
            child.kill()
            child.wait()
    for output, _ in outputs:
        lines = output.splitlines()
        assert lines[-1] == "done"
        acked += [line.split()[1:] for line in lines if line.startswith("acked")]
    assert len(acked) == 200
    assert len({tuple(each) for each in acked}) == 100  # both were told the same seq and id for each key
    for conversation_id in ids:
        seqs = await sequence(store, conversation_id)
        assert seqs == list(range(1, 51))
        assert sorted({int(seq) for told_id, _, seq, _ in acked if told_id == conversation_id}) == seqs
