"""What every bus between nodes promises: the one in memory, Valkey and Redis."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from socketserver.cluster.broker import Broker
from socketserver.cluster.redis_broker import RedisBroker

import pytest
from support.bus_nodes import KNOWN, Listener, acquainted
from support.memory_bus import Engine, MemoryBroker
from support.redis_server import KINDS, redis_server
from support.waiting import eventually

QUEUE_BYTES = 100_000


@pytest.fixture(scope="module", params=["memory", *KINDS])
def make_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Broker]]:
    """Brokers on one engine."""
    if request.param == "memory":
        engine = Engine(random.Random(1))
        yield lambda: MemoryBroker(engine, KNOWN, queue_bytes=QUEUE_BYTES, steady=True)
        return
    with redis_server(request.param, tmp_path_factory.mktemp("engine")) as server:
        yield lambda: RedisBroker(server.url, "test", KNOWN, queue_bytes=QUEUE_BYTES)


Join = Callable[[int], Awaitable[list[Listener]]]


@pytest.fixture
async def join(make_broker: Callable[[], Broker], request: pytest.FixtureRequest) -> AsyncIterator[Join]:
    """So many nodes that know each other."""
    nodes: list[Listener] = []

    async def come(many: int) -> list[Listener]:
        for number in range(many):
            nodes.append(Listener(f"{request.node.name}-{number}", make_broker()))
            await nodes[-1].open()
        await acquainted(*nodes)
        return nodes

    yield come
    for node in nodes:
        await node.broker.close()


async def test_who_gets_what(join: Join) -> None:
    """What goes to a node comes there and nowhere else; what goes to all comes to all others; bodies as they are."""
    one, two, three = await join(3)
    body = b'{"any": "bytes \xf0\x9f\x98\x80"}\r\n\x00'
    assert one.say(two.name, 1, body=body)
    assert one.say(None, 2)
    assert one.say(three.name, 3)
    await eventually("all have come", lambda: len(two.heard(one.name)) == 2 == len(three.heard(one.name)))
    assert two.heard(one.name) == [(1, body), 2]
    assert three.heard(one.name) == [2, 3]
    assert one.heard(one.name) == []


async def test_the_order_of_a_sender_holds_over_both_ways(join: Join) -> None:
    """Whether it went to the node or to all, within a turn of the loop or over many."""
    one, two = await join(2)
    for number in range(300):
        assert one.say(two.name if number % 3 else None, number)
        if number % 20 == 0:
            await eventually("it came", lambda number=number: number in two.heard(one.name))  # type: ignore[misc]
    await eventually("all have come", lambda: 299 in two.heard(one.name))
    assert two.heard(one.name) == list(range(300))
    assert two.missed_from == []


async def test_everybody_hears_everybodys_beats(join: Join) -> None:
    """One's own come back too, and are all that does; they carry what the node wants them to."""
    one, two = await join(2)
    for node in (one, two):
        assert {(each.name, each.name) for each in (one, two)} == set(node.beats)
        assert node.told == []


async def test_what_has_no_room_is_refused_and_skipped_numbers_are_told(join: Join) -> None:
    """Nothing waits: the queue is full at once, and whoever is told of it by `skip` knows that something is missing
    before what comes after."""
    one, two = await join(2)
    sent = 0
    while one.say(two.name, sent, body=bytes(1000)):
        sent += 1
    assert 50 < sent < 100
    assert one.broker.stats.refused == 1
    one.broker.skip(two.name)
    await eventually("there is room again", lambda: one.broker.publish(two.name, {"e": "message", "id": "after"}))
    await eventually("all have come", lambda: "after" in two.heard(one.name))
    assert [what for who, what in two.told if who != "connected"] == [
        *((number, bytes(1000)) for number in range(sent)),
        one.name,
        "after",
    ]


async def test_skip_is_told_by_the_beat_too(join: Join) -> None:
    """Nothing need come after it; and it is the target's alone."""
    one, two, three = await join(3)
    one.say(None, 1)
    one.broker.skip(two.name)
    await eventually("it is told", lambda: two.missed_from == [one.name])
    one.broker.skip(None)
    await eventually("it is told", lambda: three.missed_from == [one.name])


async def test_what_is_not_known_is_skipped(join: Join) -> None:
    """An event of another version of the server costs nothing."""
    one, two = await join(2)
    one.broker.publish(two.name, {"e": "of tomorrow"})
    one.say(two.name, 1)
    await eventually("it came", lambda: two.heard(one.name))
    assert two.heard(one.name) == [1]
    assert two.missed_from == []


async def test_what_waits_goes_out_at_the_end(join: Join) -> None:
    """A node that stops has said everything; and nothing is told to it any more."""
    one, two = await join(2)
    one.say(two.name, 1)
    await one.broker.close()
    await eventually("it came", lambda: two.heard(one.name) == [1])
    told = list(one.told)
    two.say(one.name, 2)
    two.say(None, 3)
    seen = len(two.beats)
    await eventually("time passes", lambda: len(two.beats) > seen)
    assert one.told == told


async def test_who_is_forgotten_and_comes_back_is_heard(join: Join) -> None:
    """A node that was taken for dead: what it says counts as missed up to then, and what is said to it arrives."""
    one, two = await join(2)
    one.say(two.name, 1)
    await eventually("it came", lambda: two.heard(one.name))
    one.broker.forget(two.name)
    two.broker.forget(one.name)
    one.say(two.name, 2)
    await eventually("it came", lambda: two.heard(one.name) == [1, 2])
    assert one.name in two.missed_from
