"""A network and a database that fail: the MongoDB store answers StoreUnavailable, in time or at once, and recovers by
itself; a message that is sent again with its key is there exactly once."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from socketserver.chat.domain import ConversationId, UserId, new_id
from socketserver.errors import Overloaded, StoreUnavailable
from socketserver.store.mongo.mongo_store import MongoStore
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.uri_parser import parse_uri
from support.histories import Caller, Reader, check_state, present
from support.mongo import MongoServer, own_server, skip_or_fail, with_database
from support.stores import BOB, NOW_MS, Watching, conversation_draft, group, message_draft, sequence
from support.tcp_proxy import Proxy, proxy_to

# Short, so that the tests are; the ratios are those of the defaults.
OPTIONS = "directConnection=true&timeoutMS=2000&serverSelectionTimeoutMS=800&connectTimeoutMS=800"
IN_TIME_S = 5.0
TOO_LATE_S = 10.0  # for a reply
DEADLINE_S = 30


@pytest.fixture
async def proxy(mongo_url: str) -> AsyncIterator[Proxy]:
    ((host, port), *_) = parse_uri(mongo_url)["nodelist"]
    async with proxy_to(host, port) as made:
        yield made


@pytest.fixture
def watching() -> Watching:
    """The store's observer."""
    return Watching()


@pytest.fixture
async def store(proxy: Proxy, mongo_url: str, watching: Watching) -> AsyncIterator[MongoStore]:
    name = f"test_{new_id()}"
    made = MongoStore(f"mongodb://127.0.0.1:{proxy.port}/{name}?{OPTIONS}", observer=watching)
    await made.open()
    yield made
    proxy.heal()
    await made.close()
    with MongoClient[dict[str, Any]](with_database(mongo_url, name)) as client:
        client.drop_database(name)


async def assert_refused_in_time(call: Awaitable[object]) -> None:
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await call
    assert time.monotonic() - started < IN_TIME_S


def assert_refused_at_once(call: Coroutine[Any, Any, object]) -> None:
    """Before it has waited for anything."""
    with pytest.raises(StoreUnavailable):
        call.send(None)


async def eventually(call: Callable[[], Awaitable[object]]) -> None:
    """Wait until a call is no longer refused as unavailable."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            await call()
        except StoreUnavailable:
            assert time.monotonic() < deadline, "the store did not recover"
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_connection_cut_before_the_write(store: MongoStore, proxy: Proxy, watching: Watching) -> None:
    conversation_id = await group(store)
    draft = message_draft(conversation_id)
    before = watching.writes
    proxy.cut()
    await assert_refused_in_time(store.append_message(draft))
    assert (watching.failures, watching.writes) == (1, before)
    for call in (
        store.append_message(draft),
        store.check(),
        store.get_conversation(conversation_id),
        store.create_conversation(conversation_draft(BOB)),
        store.advance_read(conversation_id, BOB, 1, NOW_MS),
        store.list_messages(conversation_id, limit=1),
    ):
        assert_refused_at_once(call)  # known to be away
    assert watching.failures == 1, "what is refused without asking the database is no failure of its own"
    proxy.heal()
    await eventually(store.check)
    again = await store.append_message(draft)
    assert (again.message.seq, again.duplicate) == (1, False)


async def test_a_short_cut_is_not_noticed(store: MongoStore, proxy: Proxy) -> None:
    """The driver tries once more."""
    conversation_id = await group(store)
    for number in range(1, 6):
        proxy.cut_once()
        result = await store.append_message(message_draft(conversation_id))
        assert (result.message.seq, result.duplicate) == (number, False)


async def test_a_reply_lost_after_the_write_is_found_out_to_be_the_callers_own(store: MongoStore, proxy: Proxy) -> None:
    """The driver sends the insert again, and it meets its own row: no conflict, and no repeat either."""
    conversation_id = await group(store)
    proxy.swallow, proxy.swallow_times = b"\x02insert\x00", 1
    results = await asyncio.gather(*(store.append_message(message_draft(conversation_id)) for _ in range(10)))
    assert proxy.swallow_times == 0
    assert [(result.message.seq, result.duplicate) for result in results] == [(n, False) for n in range(1, 11)]
    assert await sequence(store, conversation_id) == list(range(1, 11))


async def test_a_conversation_whose_reply_was_lost_is_the_callers_own(store: MongoStore, proxy: Proxy) -> None:
    proxy.swallow, proxy.swallow_times = b"\x02insert\x00", 1
    assert not (await store.create_conversation(conversation_draft(BOB))).duplicate
    assert proxy.swallow_times == 0
    assert (await store.create_conversation(conversation_draft(BOB))).duplicate


async def test_replies_lost_for_good_leave_one_row_for_whoever_sends_again(store: MongoStore, proxy: Proxy) -> None:
    conversation_id = await group(store)
    drafts = [message_draft(conversation_id, str(number)) for number in range(10)]
    proxy.swallow, proxy.swallow_times = b"\x02insert\x00", 1000
    results = await asyncio.gather(*(store.append_message(draft) for draft in drafts), return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    proxy.heal()
    await eventually(store.check)
    again = await asyncio.gather(*(store.append_message(draft) for draft in drafts))
    assert all(result.duplicate for result in again)  # it had been written
    assert await sequence(store, conversation_id) == list(range(1, 11))


async def test_replies_delayed_beyond_the_timeout(store: MongoStore, proxy: Proxy) -> None:
    conversation_id = await group(store)
    draft = message_draft(conversation_id)
    proxy.reply_delay_s = TOO_LATE_S
    await assert_refused_in_time(store.append_message(draft))
    assert_refused_at_once(store.append_message(draft))
    assert_refused_at_once(store.check())
    proxy.heal()
    await eventually(store.check)
    await store.append_message(draft)
    assert await sequence(store, conversation_id) == [1]


async def test_closing_during_an_outage_answers_every_call_after_one_timeout(
    store: MongoStore, proxy: Proxy, watching: Watching
) -> None:
    """Each flight of the calls that waited ran into a timeout of its own: closing took minutes."""
    ids = [await group(store) for _ in range(40)]
    proxy.cut()
    calls = [asyncio.ensure_future(store.append_message(message_draft(each))) for each in ids for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert 1 <= watching.failures <= 2  # as many flights are in the air at once


@pytest.mark.thorough
async def test_faults_at_random_under_load(store: MongoStore, proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """Writers that send again until they are answered; cuts, lost replies and delays all the while."""
    ids = [await group(store) for _ in range(3)]
    acked: dict[str, tuple[ConversationId, int]] = {}
    refused = 0
    working = True

    async def write(number: int) -> None:
        nonlocal refused
        turn = 0
        while working:
            turn += 1
            conversation_id = ids[(number + turn) % len(ids)]
            draft = message_draft(conversation_id, key=f"{number}-{turn}")
            while True:
                try:
                    result = await store.append_message(draft)
                except (StoreUnavailable, Overloaded):
                    refused += 1
                    await asyncio.sleep(0.02)
                else:
                    break
            acked[draft.idempotency_key] = (conversation_id, result.message.seq)

    writers = [asyncio.ensure_future(write(number)) for number in range(12)]
    for _ in range(12):
        fault = random.choice(["cut", "cut_once", "swallow", "delay"])
        if fault == "cut":
            proxy.cut()
        elif fault == "cut_once":
            proxy.cut_once()
        elif fault == "swallow":
            proxy.swallow, proxy.swallow_times = b"\x02insert\x00", random.randint(1, 3)
        else:
            proxy.reply_delay_s = 3
        before = len(acked)
        await asyncio.sleep(random.uniform(0, 0.5))  # how long a fault lasts
        proxy.heal()
        deadline = time.monotonic() + DEADLINE_S
        while len(acked) < before + 12:
            assert time.monotonic() < deadline, f"no progress after {fault}"
            await asyncio.sleep(0.02)
    working = False
    await asyncio.gather(*writers)
    faults: Counter[str] = Counter()
    rows = 0
    for conversation_id in ids:
        seqs = await sequence(store, conversation_id)
        rows += len(seqs)
        faults["holes"] += seqs != list(range(1, len(seqs) + 1))
        told = sorted(seq for where, seq in acked.values() if where == conversation_id)
        faults["lost"] += len(set(told) - set(seqs))
        faults["doubled"] += len(seqs) - len(told)
    with capsys.disabled():
        print(
            f"\n{proxy.faults} faults: {len(acked)} messages acknowledged, {refused} refusals, {store.races} races: "
            f"lost {faults['lost']}, doubled {faults['doubled']}, holes {faults['holes']}"
        )
    assert not +faults
    assert rows == len(acked)


async def test_faults_at_random_among_changes(mongo_url: str, proxy: Proxy) -> None:
    """Cuts, lost replies and delays while two processes edit, delete, react and change people: each change is there
    once, and all readers end with the same messages."""
    name = f"test_{new_id()}"
    store = MongoStore(f"mongodb://127.0.0.1:{proxy.port}/{name}?{OPTIONS}")
    other = MongoStore(with_database(mongo_url, name))
    await store.open()
    await other.open()
    here = await group(store)
    dice = random.Random(7)
    callers = [
        Caller((store, store, other)[number % 3], here, UserId(f"u{number % 3}"), random.Random(number))
        for number in range(6)
    ]
    writing = [asyncio.ensure_future(caller.run(100)) for caller in callers]
    reader = Reader()
    while not all(task.done() for task in writing):
        fault = dice.choice(["cut", "cut_once", "insert", "update", "delay"])
        if fault == "cut":
            proxy.cut()
        elif fault == "cut_once":
            proxy.cut_once()
        elif fault == "delay":
            proxy.reply_delay_s = 3
        else:
            proxy.swallow, proxy.swallow_times = b"\x02" + fault.encode() + b"\x00", dice.randint(1, 3)
        await asyncio.sleep(dice.uniform(0, 0.5))  # how long a fault lasts
        proxy.heal()
        await reader.catch_up(other, here)
        await asyncio.wait(writing, timeout=1)
    await asyncio.gather(*writing)
    given = set().union(*(caller.given for caller in callers))
    newest = max(change for change, _ in given)
    assert len({change for change, _ in given}) == len(given), "no number was given out twice"
    await check_state(other, here, newest, [reader, Reader(), Reader()])
    messages = await present(other, here)
    keys = sorted(each.idempotency_key for each in messages if each.system is None)
    assert keys == sorted(key for caller in callers for key in caller.sent)
    await store.close()
    await other.close()
    with MongoClient[dict[str, Any]](with_database(mongo_url, name)) as client:
        client.drop_database(name)


# -- the server itself


@pytest.fixture
def server() -> Iterator[MongoServer]:
    """A server of the test's own, because it is stopped; there is no such thing where a real one is configured."""
    skip_or_fail(own=True)
    with own_server() as made:
        yield made


async def test_a_database_that_stops_and_starts_again(server: MongoServer) -> None:
    store = MongoStore(f"{server.url}/chat?{OPTIONS}")
    await store.open()
    conversation_id = await group(store)
    drafts = [message_draft(conversation_id, str(number)) for number in range(30)]
    for draft in drafts[:10]:
        await store.append_message(draft)
    await asyncio.to_thread(server.stop)
    await assert_refused_in_time(store.append_message(drafts[10]))
    assert_refused_at_once(store.append_message(drafts[10]))
    await asyncio.to_thread(server.start)
    await eventually(store.check)
    results = [await store.append_message(draft) for draft in drafts]
    assert [result.message.seq for result in results] == list(range(1, 31))
    assert [result.duplicate for result in results] == [True] * 10 + [False] * 20
    await store.close()


async def test_a_database_that_is_absent_at_the_start(server: MongoServer) -> None:
    await asyncio.to_thread(server.stop)
    store = MongoStore(f"{server.url}/chat?{OPTIONS}")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="chat cannot be used"):
        await store.open()
    assert time.monotonic() - started < IN_TIME_S
    assert_refused_at_once(store.check())
    await asyncio.to_thread(server.start)
    await eventually(store.open)
    assert await sequence(store, await group(store)) == []
    await store.close()
