"""The ten loads, what is measured under each, and what this server has promised to reach."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Final

from .changes import changes, reactions
from .client import Client, ClientError
from .load import Room, close_all, create_conversation, drain, for_each, new_client, populate, raise_if_ended, until
from .measure import Usage, resident_kib
from .peers import Server
from .plan import Measured, Plan, Shape, Target

PAIRS: Final = 200
ROOMS: Final = 10
ROOM_MEMBERS: Final = 50
ROOM_SENDERS: Final = 5
STORE_PAIRS: Final = 500
# Messages per second that `acks` sends; what one chat server on a small machine is to store without making people wait.
STORED_RATE: Final = 5000
BIG_MEMBERS: Final = 500
BIG_SENDERS: Final = 50
BIG_OUTSTANDING: Final = 4
IDLE: Final = 2000
STORM: Final = 1000
STORM_AT_ONCE: Final = 100

FIRST_ACKS_S: Final = 20.0
# Messages that the pacer sends in one turn of the event loop, and how much may be waiting for acks or to be sent, s.
MOST_AT_ONCE: Final = 50
BACKLOG_S: Final = 0.5


async def _saturate(server: Server, rooms: list[Room], plan: Plan) -> Measured:
    """Let every sender send whenever it has its ack; figures of messages sent and delivered."""
    senders = [sender for room in rooms for sender in room.senders]
    for sender in senders:
        sender.start()
    await asyncio.sleep(plan.warm_up_s)
    measured = Measured()
    if not await until(lambda: all(sender.acked for sender in senders), FIRST_ACKS_S):
        measured.problems.append(f"not every sender had an ack within {FIRST_ACKS_S:.0f} s")
    for sender in senders:
        sender.acks_ms.clear()
    before, sent, delivered = _count(server, rooms)
    await asyncio.sleep(plan.seconds)
    after, sent_after, delivered_after = _count(server, rooms)
    measured.share(before, after)
    measured.figures = _rates(before, after, sent_after - sent, delivered_after - delivered)
    measured.problems += await drain(rooms)
    return measured


def _count(server: Server, rooms: Sequence[Room]) -> tuple[Usage, int, int]:
    return Usage.now(server.pid), sum(room.acked for room in rooms), sum(room.delivered for room in rooms)


def _rates(before: Usage, after: Usage, sent: int, delivered: int) -> dict[str, float]:
    if not sent or not delivered:
        raise ClientError(f"{sent} messages were acked and {delivered} delivered in the whole window")
    wall_s = after.at_s - before.at_s
    cpu_us = (after.server_s - before.server_s) * 1e6
    return {
        "cpu_us_per_sent": cpu_us / sent,
        "cpu_us_per_delivered": cpu_us / delivered,
        "sent_per_s": sent / wall_s,
        "delivered_per_s": delivered / wall_s,
    }


async def pairs(server: Server, plan: Plan) -> Measured:
    """200 conversations of two; both send, each one message at a time."""
    rooms = await populate(server, rooms=plan.of(PAIRS), members=2, senders=2, outstanding=1, checkers=1)
    for room in rooms[20:]:  # a sample will do
        room.members[-1].on_message = None
        room.checkers.clear()
    return await _saturate(server, rooms, plan)


async def store(server: Server, plan: Plan) -> Measured:
    """500 conversations of two; all 1 000 send, each one message at a time, and their acks are timed.

    Order is checked only where it is promised: plain inserts overtake each other.
    """
    rooms = await _many_pairs(server, plan)
    measured = await _saturate(server, rooms, plan)
    measured.figures |= _ack_percentiles(rooms)
    return measured


async def acks(server: Server, plan: Plan) -> Measured:
    """The conversations of `store` at a given rate, evenly spread over time and senders, whether or not acks come."""
    rooms = await _many_pairs(server, plan)
    rate = STORED_RATE * plan.scale
    measured = Measured()
    problem = await _pace(rooms, rate, plan.warm_up_s)
    if problem is None:
        for room in rooms:
            for sender in room.senders:
                sender.acks_ms.clear()
        before, sent, delivered = _count(server, rooms)
        problem = await _pace(rooms, rate, plan.seconds)
        after, sent_after, delivered_after = _count(server, rooms)
        measured.share(before, after)
    if problem:
        measured.problems.append(problem)
        return measured
    measured.figures = _rates(before, after, sent_after - sent, delivered_after - delivered)
    measured.problems += await drain(rooms)
    measured.figures |= _ack_percentiles(rooms)
    return measured


async def _many_pairs(server: Server, plan: Plan) -> list[Room]:
    checkers = 1 if server.peer.stores else 0
    rooms = await populate(server, rooms=plan.of(STORE_PAIRS), members=2, senders=2, outstanding=1, checkers=checkers)
    for room in rooms[20:]:  # a sample will do
        room.members[-1].on_message = None
        room.checkers.clear()
    return rooms


def _ack_percentiles(rooms: Sequence[Room]) -> dict[str, float]:
    acks_ms = [value for room in rooms for sender in room.senders for value in sender.acks_ms]
    percentiles = statistics.quantiles(acks_ms, n=100, method="inclusive")
    return {"ack_p50_ms": percentiles[49], "ack_p99_ms": percentiles[98], "ack_max_ms": max(acks_ms)}


async def rooms(server: Server, plan: Plan) -> Measured:
    """10 conversations of 50, of whom 5 send, each one message at a time."""
    return await _saturate(server, await _ten_rooms(server, plan), plan)


async def bigroom(server: Server, plan: Plan) -> Measured:
    """One conversation of 500, of whom 50 send, each four messages at a time."""
    members = plan.of(BIG_MEMBERS)
    room = await populate(
        server,
        rooms=1,
        members=members,
        senders=min(plan.of(BIG_SENDERS), members - 1),
        outstanding=BIG_OUTSTANDING,
        checkers=1 if members < 10 else 5,
    )
    return await _saturate(server, room, plan)


async def latency(server: Server, plan: Plan) -> Measured:
    """The rooms of `rooms` at a given rate, evenly spread over time and senders, whether or not acks come."""
    rooms = await _ten_rooms(server, plan)
    checkers = [checker for room in rooms for checker in room.checkers]
    measured = Measured()
    if problem := await _pace(rooms, plan.rate, plan.warm_up_s):
        measured.problems.append(problem)
        return measured
    before, sent, delivered = _count(server, rooms)
    for checker in checkers:
        checker.recording = True
    problem = await _pace(rooms, plan.rate, plan.seconds)
    for checker in checkers:
        checker.recording = False
    after, sent_after, delivered_after = _count(server, rooms)
    measured.share(before, after)
    if problem:
        measured.problems.append(problem)
        return measured
    latencies_ms = [value for checker in checkers for value in checker.latencies_ms]
    percentiles = statistics.quantiles(latencies_ms, n=100, method="inclusive")
    measured.figures = _rates(before, after, sent_after - sent, delivered_after - delivered)
    measured.figures |= {"p50_ms": percentiles[49], "p99_ms": percentiles[98], "max_ms": max(latencies_ms)}
    measured.problems += await drain(rooms)
    return measured


async def _ten_rooms(server: Server, plan: Plan) -> list[Room]:
    members = plan.of(ROOM_MEMBERS)
    return await populate(
        server,
        rooms=plan.of(ROOMS),
        members=members,
        senders=min(ROOM_SENDERS, members - 1),
        outstanding=1,
        checkers=1 if members < 10 else 2,
    )


async def _pace(rooms: Sequence[Room], rate: float, seconds: float) -> str | None:
    """Send `rate` messages per second, from all rooms in turn. Returns: why that does not work, or None if it does."""
    senders = [sender for turn in zip(*(room.senders for room in rooms), strict=True) for sender in turn]
    start_s = time.monotonic()
    sent = 0
    while (passed_s := time.monotonic() - start_s) < seconds:
        due = int(passed_s * rate)
        for _ in range(sent, min(due, sent + MOST_AT_ONCE)):
            senders[sent % len(senders)].send()
            sent += 1
        if sum(sender.client.waiting for sender in senders) > max(100.0, BACKLOG_S * rate):
            return f"the server cannot keep up with {rate:.0f} messages/s"
        if due - sent > max(100.0, BACKLOG_S * rate):
            return f"the generator cannot send {rate:.0f} messages/s"
        await asyncio.sleep(0.001)
    return None


async def idle(server: Server, plan: Plan) -> Measured:
    """2 000 connections that offer compression, as browsers do, and then say nothing."""
    await _come_and_go(server, [new_client(f"early-{number}") for number in range(plan.of(IDLE // 10))], plan)
    clients = [new_client(f"user-{number}", offer_deflate=True) for number in range(plan.of(IDLE))]
    usage = Usage.now(server.pid)
    before_kib = resident_kib(server.pid)
    await for_each(clients, lambda client: client.connect(server.port))
    await asyncio.sleep(plan.rest_s)
    after_kib = resident_kib(server.pid)
    measured = Measured()
    measured.share(usage, Usage.now(server.pid))
    raise_if_ended(clients)
    measured.figures = {"kib_per_connection": (after_kib - before_kib) / len(clients), "kib_before": before_kib}
    return measured


async def storm(server: Server, plan: Plan) -> Measured:
    """1 000 users connect as fast as they can, each with a token, and join a conversation."""
    await _connect_and_join(server, "early", plan)
    clients, usage, after = await _connect_and_join(server, "user", plan)
    measured = Measured()
    measured.share(usage, after)
    measured.figures = {
        "cpu_us_per_connect": (after.server_s - usage.server_s) * 1e6 / clients,
        "connects_per_s": clients / (after.at_s - usage.at_s),
    }
    return measured


async def _connect_and_join(server: Server, prefix: str, plan: Plan) -> tuple[int, Usage, Usage]:
    """Connect users, each of whom joins a conversation with one other, then close them all.

    Returns: how many they were, and the usage right before and right after.
    """
    clients = [new_client(f"{prefix}-{number}") for number in range(plan.of(STORM // 2) * 2)]
    joins: list[tuple[Client, str]] = []
    owner = new_client(f"{prefix}-owner")
    await owner.connect(server.port)
    for two in zip(clients[::2], clients[1::2], strict=True):
        # The owner takes part, so that none of the two has to be connected before.
        conversation_id = await create_conversation(server, owner, [client.user for client in two])
        joins += [(client, conversation_id) for client in two]
    owner.close()
    await asyncio.sleep(plan.rest_s)

    async def arrive(join: tuple[Client, str]) -> None:
        client, conversation_id = join
        await client.connect(server.port)
        await client.ask("join_conversation", {"conversationId": conversation_id})
        arrived.append(client)

    arrived: list[Client] = []
    before = Usage.now(server.pid)
    await for_each(joins, arrive, STORM_AT_ONCE)
    after = Usage.now(server.pid)
    if len(arrived) != len(clients):
        raise ClientError(f"{len(arrived)} of {len(clients)} connected and joined")
    raise_if_ended(clients)
    close_all(clients)
    await asyncio.sleep(plan.rest_s)
    return len(joins), before, after


async def _come_and_go(server: Server, clients: list[Client], plan: Plan) -> None:
    await for_each(clients, lambda client: client.connect(server.port))
    close_all(clients)
    await asyncio.sleep(plan.rest_s)


SHAPES: Final = {
    shape.name: shape
    for shape in (
        Shape(
            "pairs",
            "200 conversations of 2",
            "cpu_us_per_sent",
            "server CPU per sent message",
            "µs",
            pairs,
            [Target("node", 1.0)],
        ),
        Shape(
            "rooms",
            "10 conversations of 50",
            "cpu_us_per_delivered",
            "server CPU per delivered message",
            "µs",
            rooms,
            [Target("node", 0.8)],
        ),
        Shape(
            "bigroom",
            "one conversation of 500",
            "delivered_per_s",
            "messages delivered per second",
            "/s",
            bigroom,
            [Target("node", 6.0), Target("bun", 5.0)],
            more_is_better=True,
        ),
        Shape(
            "idle",
            "2 000 idle connections",
            "kib_per_connection",
            "resident memory per connection",
            "KiB",
            idle,
            [Target("node", 0.9)],
        ),
        Shape(
            "storm",
            "1 000 connects at once",
            "cpu_us_per_connect",
            "server CPU per authenticated connect",
            "µs",
            storm,
            [Target("node", 1.0)],
        ),
        Shape(
            "latency",
            "10 conversations of 50, at half of Node's most",
            "p99_ms",
            "send to delivery, 99th percentile",
            "ms",
            latency,
            [Target("node", 1.0)],
        ),
        Shape(
            "store",
            "1 000 senders, every message stored",
            "sent_per_s",
            "messages acked per second",
            "/s",
            store,
            [Target("node-mongo", 2.5)],
            more_is_better=True,
            peers=("socketserver", "socketserver-mongo", "node-mongo"),
            reference="node-mongo",
            ours="socketserver-mongo",
        ),
        Shape(
            "acks",
            "1 000 senders, 5 000 messages a second stored",
            "ack_p99_ms",
            "send to ack, 99th percentile",
            "ms",
            acks,
            [Target(None, 100.0)],
            peers=("socketserver", "node-mongo"),
            reference="node-mongo",
        ),
        Shape(
            "changes",
            "10 conversations of 50, 5 edit and 5 react",
            "cpu_us_per_delivered",
            "server CPU per delivered change",
            "µs",
            changes,
            [],
            peers=("socketserver", "socketserver-mongo"),
            reference="socketserver",
        ),
        Shape(
            "reactions",
            "500 of 1 000 react to one message",
            "all_same_s",
            "last reaction to everybody having it",
            "s",
            reactions,
            [],
            peers=("socketserver", "socketserver-mongo"),
            reference="socketserver",
        ),
    )
}
