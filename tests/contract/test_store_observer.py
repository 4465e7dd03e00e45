"""What a store tells whoever measures it."""

from __future__ import annotations

import asyncio

from support.stores import ANN, NOW_MS, Backend, Watching, group, message_draft


async def test_commits_are_told_with_their_writes(backend: Backend) -> None:
    """Every write is in exactly one commit; those made together share some; repeats are counted, reads are not."""
    watching = Watching()
    store = await backend.open(watching)
    conversation_id = await group(store)
    before = watching.writes
    drafts = [message_draft(conversation_id, key=f"k{number}") for number in range(40)]
    await asyncio.gather(*map(store.append_message, drafts))
    assert watching.writes - before == 40
    assert max(writes for writes, _ in watching.commits) > 1
    assert (await store.append_message(drafts[0])).duplicate
    await store.advance_read(conversation_id, ANN, 40, NOW_MS)
    assert watching.writes - before == 42
    commits = len(watching.commits)
    await store.list_messages(conversation_id, limit=10)
    await store.check()
    assert len(watching.commits) == commits
    assert all(seconds > 0 for _, seconds in watching.commits)
    assert watching.failures == 0


async def test_lost_races_are_told(shared_backend: Backend) -> None:
    """Two servers at one conversation. SQLite's lock settles who is first, so there is nothing to lose."""
    watching = Watching()
    here, elsewhere = await shared_backend.open(watching), await shared_backend.open()
    conversation_id = await group(here)
    await here.append_message(message_draft(conversation_id))
    await elsewhere.append_message(message_draft(conversation_id))
    await here.append_message(message_draft(conversation_id))  # takes a number that is taken, then the next one
    assert watching.retries == (1 if shared_backend.name == "mongo" else 0)
    assert watching.failures == 0
