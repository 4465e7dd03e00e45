"""Two loads in which messages change: people who edit and react all the time, and a thousand who see one reacted to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from .client import MARK, Client, ClientError
from .load import DRAIN_S, Room, populate, until
from .measure import Usage
from .peers import Server
from .plan import Measured, Plan

ROOMS: Final = 10
MEMBERS: Final = 50
CHANGERS: Final = 5  # who edit, and as many who react
CROWD: Final = 1000
REACTING: Final = 500
FIRST_ACKS_S: Final = 20.0


Changes = Callable[[int], tuple[str, dict[str, Any]]]
"""What somebody asks for, an event and its payload, by how many times there were before."""


class Changer:
    """A member that changes messages: one change at a time, and the next when it is acked.

    Args:
        changes: what to ask for.

    Attributes:
        asked, acked: changes.
        problems: refusals.
    """

    def __init__(self, client: Client, changes: Changes) -> None:
        self.client = client
        self.asked = 0
        self.acked = 0
        self.problems: list[str] = []
        self._changes = changes
        self._running = False

    def start(self) -> None:
        """Change, and change again whenever an ack comes."""
        self._running = True
        self.change()

    def stop(self) -> None:
        """Ask for no more; an ack may still come."""
        self._running = False

    def change(self) -> None:
        """Ask for one change."""
        event, payload = self._changes(self.asked)
        self.asked += 1
        self.client.emit(event, orjson.dumps(payload), self._on_ack)

    def _on_ack(self, packet: bytes) -> None:
        self.acked += 1
        if b'"ok":true' not in packet[:64] or b'"duplicate":false' not in packet[-64:]:
            self.problems.append(f"{self.client.user}: {packet[:300]!r}")
        elif self._running:
            self.change()


class Follower:
    """A member that keeps the conversation by its events, as a client does: it must never have to join again.

    Attributes:
        cursor: the change up to which it has everything.
        known: the messages by seq, as JSON objects.
        problems: numbers left out, and what came late.
    """

    def __init__(self, client: Client) -> None:
        self.cursor = 0
        self.known: dict[int, dict[str, Any]] = {}
        self.problems: list[str] = []
        self.client = client
        client.on_message = self._on_message

    def _on_message(self, data: bytes) -> None:
        message = orjson.loads(data)
        change = message["change"]
        if change != self.cursor + 1 and len(self.problems) < 3:
            self.problems.append(f"{self.client.user}: change {change} after {self.cursor}")
        self.cursor = change
        self.known[message["seq"]] = message


async def changes(server: Server, plan: Plan) -> Measured:
    """10 conversations of 50, of whom 5 edit and 5 others react, each one change at a time."""
    rooms = await _rooms(server, plan.of(ROOMS), plan.of(MEMBERS), plan.of(CHANGERS))
    followers = [Follower(room.members[-1]) for room in rooms]
    changers = [changer for room in rooms for changer in await _changers(room, plan.of(CHANGERS))]
    for changer in changers:
        changer.start()
    await asyncio.sleep(plan.warm_up_s)
    measured = Measured()
    if not await until(lambda: all(changer.acked for changer in changers), FIRST_ACKS_S):
        measured.problems.append(f"not everybody had an ack within {FIRST_ACKS_S:.0f} s")
    before, done, told, events = _count(server, rooms, changers, followers)
    await asyncio.sleep(plan.seconds)
    after, done_after, told_after, events_after = _count(server, rooms, changers, followers)
    measured.share(before, after)
    done, told, events = done_after - done, told_after - told, events_after - events
    if not done or not told:
        raise ClientError(f"{done} changes were acked and {told} events came in the whole window")
    cpu_us = (after.server_s - before.server_s) * 1e6
    wall_s = after.at_s - before.at_s
    measured.figures = {
        "cpu_us_per_change": cpu_us / done,
        "cpu_us_per_delivered": cpu_us / told,
        "changes_per_s": done / wall_s,
        "delivered_per_s": told / wall_s,
        "events_per_change": events / done,
    }
    for changer in changers:
        changer.stop()
    measured.problems += await _settle(rooms, changers, followers)
    return measured


async def reactions(server: Server, plan: Plan) -> Measured:
    """One conversation of 1 000, of whom 500 react to one message, evenly spread over twice the window."""
    (room,) = await _rooms(server, 1, plan.of(CROWD), plan.of(REACTING))
    follower = Follower(room.members[-1])
    seq = await _say(room.members[0], room.conversation_id)
    await until(lambda: all(member.delivered for member in room.members), DRAIN_S)
    reacting = [
        Changer(client, lambda _: _reaction(room.conversation_id, seq, True))
        for client in room.members[: plan.of(REACTING)]
    ]
    bytes_before = [member.bytes_in for member in room.members]
    before, started_s, first = Usage.now(server.pid), time.monotonic(), follower.cursor
    for number, changer in enumerate(reacting):
        due_s = started_s + number * 2 * plan.seconds / len(reacting)
        if (left_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        changer.change()
    asked_s = time.monotonic()
    measured = Measured()
    measured.problems += await _settle([room], reacting, [follower])
    settled_s = time.monotonic()
    measured.share(before, Usage.now(server.pid))
    numbers = follower.cursor - first
    (reaction,) = follower.known[seq]["reactions"]
    if reaction["count"] != len(reacting):
        measured.problems.append(f"{reaction['count']} reactions of {len(reacting)} are there")
    came = [
        member.bytes_in - was
        for member, was in zip(room.members[len(reacting) :], bytes_before[len(reacting) :], strict=True)
    ]
    measured.figures = {
        "all_same_s": settled_s - asked_s,
        "numbers": numbers,
        "reactions_per_number": len(reacting) / numbers,
        "bytes_per_client": max(came),
    }
    return measured


async def _rooms(server: Server, rooms: int, members: int, changers: int) -> list[Room]:
    """Rooms in which nobody sends; those that neither change nor are followed only count."""
    made = await populate(server, rooms=rooms, members=members, senders=0, outstanding=0, checkers=members)
    for room in made:
        room.checkers.clear()
        for client in room.members:
            client.on_message = None
        for client in room.members[2 * changers : -1]:
            client.only_count()
    return made


async def _changers(room: Room, count: int) -> list[Changer]:
    """People who edit, each a message of their own, and others who react to these; another message is the newest."""
    editors, reacting = room.members[:count], room.members[count : 2 * count]
    seqs = [await _say(client, room.conversation_id) for client in (*editors, editors[0])][:count]

    def edits(seq: int) -> Changes:
        return lambda number: _edit(room.conversation_id, seq, number)

    def reacts(number: int) -> tuple[str, dict[str, Any]]:
        return _reaction(room.conversation_id, seqs[number // 2 % count], number % 2 == 0)

    made = [Changer(client, edits(seq)) for seq, client in zip(seqs, editors, strict=True)]
    return made + [Changer(client, reacts) for client in reacting]


async def _say(client: Client, conversation_id: str) -> int:
    body = f"{MARK.decode()}{'.' * 80}"
    payload = {"conversationId": conversation_id, "idempotencyKey": str(time.perf_counter_ns()), "body": body}
    ack = await client.ask("send_message", payload)
    return int(ack["message"]["seq"])


def _edit(conversation_id: str, seq: int, number: int) -> tuple[str, dict[str, Any]]:
    body = f"{MARK.decode()}{number:080d}"
    return "edit_message", {"conversationId": conversation_id, "seq": seq, "idempotencyKey": str(number), "body": body}


def _reaction(conversation_id: str, seq: int, on: bool) -> tuple[str, dict[str, Any]]:
    return "set_reaction", {"conversationId": conversation_id, "seq": seq, "reaction": "👍", "on": on}


def _count(
    server: Server, rooms: Iterable[Room], changers: Iterable[Changer], followers: Iterable[Follower]
) -> tuple[Usage, int, int, int]:
    return (
        Usage.now(server.pid),
        sum(changer.acked for changer in changers),
        sum(room.delivered for room in rooms),
        sum(follower.cursor for follower in followers),
    )


async def _settle(rooms: list[Room], changers: list[Changer], followers: list[Follower]) -> list[str]:
    """Wait until everybody has everything, and say what is wrong then: somebody with other messages than the store, or
    with fewer events than the others."""
    await until(lambda: all(changer.acked == changer.asked for changer in changers), DRAIN_S)
    found = [text for changer in changers for text in changer.problems]
    if unacked := sum(changer.asked - changer.acked for changer in changers):
        found.append(f"{unacked} changes were never acked")
    for room, follower in zip(rooms, followers, strict=True):
        joined = await room.members[0].ask("join_conversation", {"conversationId": room.conversation_id})
        await until(lambda: follower.cursor >= joined["change"], DRAIN_S)  # noqa: B023 - awaited here
        if [follower.known[seq] for seq in sorted(follower.known)] != joined["messages"]:
            found.append(f"{follower.client.user} has other messages than the store")
        events = follower.client.delivered
        await until(lambda: all(member.delivered >= events for member in room.members), DRAIN_S)  # noqa: B023
        short = [member for member in room.members if member.delivered != events]
        if short:
            found.append(f"{len(short)} members have not exactly {events} events ({short[0].delivered})")
        found += follower.problems
        found += [f"{member.user}: {member.ended}" for member in room.members if member.ended]
    return found
