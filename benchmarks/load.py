"""Clients put into conversations, and what makes them send and checks what they receive."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import jwt
import orjson

from .client import MARK, Client, ClientError
from .peers import SECRET, Server

BODY_CHARS: Final = 100
TOKEN_LIFETIME_S: Final = 24 * 3600
AT_ONCE: Final = 50
SETTLE_S: Final = 0.5
DRAIN_S: Final = 30.0

T = TypeVar("T")

_made: Final[list[Client]] = []
_STAMP_CHARS: Final = 20
_FILLER: Final = b"." * (BODY_CHARS - len(MARK) - _STAMP_CHARS)


def new_client(user: str, *, offer_deflate: bool = False) -> Client:
    """A client that is not connected yet, with a token of its own."""
    claims = {"sub": user, "name": user, "exp": int(time.time()) + TOKEN_LIFETIME_S}
    client = Client(user, jwt.encode(claims, SECRET, algorithm="HS256"), offer_deflate=offer_deflate)
    _made.append(client)
    return client


async def close_everything() -> None:
    """Close the connections of all clients made so far, before the event loop ends."""
    close_all(_made)
    _made.clear()
    await asyncio.sleep(0.1)


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[Any]], at_once: int = AT_ONCE) -> None:
    """Await `work` for every item, at most `at_once` of them at a time; the first error ends it."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())


@dataclass
class Room:
    """A conversation and those who joined it.

    Attributes:
        conversation_id: its id on the server.
        members: everybody; the first ones send.
        senders: the members that send.
        checkers: look into every message that some of the others receive.
    """

    conversation_id: str
    members: list[Client]
    senders: list[Sender] = field(default_factory=list)
    checkers: list[Checker] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Messages sent so far, acked or not."""
        return sum(sender.sent for sender in self.senders)

    @property
    def acked(self) -> int:
        """Messages acked so far."""
        return sum(sender.acked for sender in self.senders)

    @property
    def delivered(self) -> int:
        """Messages delivered so far, summed over the members."""
        return sum(member.delivered for member in self.members)

    def problems(self) -> list[str]:
        """What is not as it must be once everything is quiet: lost, doubled or swapped messages, refusals, cuts."""
        found = [text for sender in self.senders for text in sender.problems]
        found += [text for checker in self.checkers for text in checker.problems]
        found += [f"{member.user}: {member.ended}" for member in self.members if member.ended]
        short = [member for member in self.members if member.delivered != self.sent]
        if short:
            found.append(f"{len(short)} members have not exactly {self.sent} messages ({short[0].delivered})")
        return found


class Sender:
    """A member that sends: as often as acks come, or when told.

    Args:
        client: its connection.
        conversation_id: where to.
        outstanding: how many messages wait for their ack at a time, once started.

    Attributes:
        sent, acked: messages.
        acks_ms: from each send to its ack, where acks come in the order of the sends.
        problems: refusals.
    """

    def __init__(self, client: Client, conversation_id: str, outstanding: int) -> None:
        self.client = client
        self.sent = 0
        self.acked = 0
        self.acks_ms: list[float] = []
        self.problems: list[str] = []
        self._unacked_s: deque[float] = deque()
        self._outstanding = outstanding
        self._running = False
        self._head = b'{"conversationId":"%b","idempotencyKey":"%b-' % (conversation_id.encode(), client.user.encode())

    def start(self) -> None:
        """Send, and send again whenever an ack comes."""
        self._running = True
        for _ in range(self._outstanding):
            self.send()

    def stop(self) -> None:
        """Do not send any more; acks may still come."""
        self._running = False

    def send(self) -> None:
        """Send one message, with the time in its body."""
        self.sent += 1
        stamp = time.perf_counter_ns()
        payload = b'%b%d","body":"%b%020d%b"}' % (self._head, self.sent, MARK, stamp, _FILLER)
        self._unacked_s.append(stamp / 1e9)
        self.client.emit("send_message", payload, self._on_ack)

    def _on_ack(self, packet: bytes) -> None:
        self.acked += 1
        self.acks_ms.append((time.perf_counter() - self._unacked_s.popleft()) * 1000)
        if b'"ok":true' not in packet[:64] or b'"duplicate":false' not in packet[-64:]:
            self.problems.append(f"{self.client.user}: {packet[:300]!r}")
            self._running = False
        elif self._running:
            self.send()


class Checker:
    """Looks into every message that one member receives.

    Attributes:
        latencies_ms: from the send to the delivery, of the messages that came while `recording`.
        recording: whether latencies are kept.
        problems: holes, repeats and swaps in `seq`.
    """

    def __init__(self, client: Client) -> None:
        self.latencies_ms: list[float] = []
        self.recording = False
        self.problems: list[str] = []
        self._user = client.user
        self._last_seq = 0
        client.on_message = self._on_message

    def _on_message(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        message = orjson.loads(data)
        seq = message["seq"]
        if seq != self._last_seq + 1 and len(self.problems) < 3:
            self.problems.append(f"{self._user}: seq {seq} after {self._last_seq}")
        self._last_seq = seq
        if self.recording:
            self.latencies_ms.append((now - int(message["body"][len(MARK) : len(MARK) + _STAMP_CHARS])) / 1e6)


async def populate(
    server: Server, *, rooms: int, members: int, senders: int, outstanding: int, checkers: int
) -> list[Room]:
    """Connect users and put them into rooms of `members`, of whom `senders` send and `checkers` others are checked.

    Where every member sends, the checked ones are senders. All others only count deliveries.

    Raises: ClientError if the server does not go along.
    """
    people = [[new_client(f"user-{room}-{number}") for number in range(members)] for room in range(rooms)]
    await for_each([client for group in people for client in group], lambda client: client.connect(server.port))
    made: list[Room] = []

    async def open_room(group: list[Client]) -> None:
        conversation_id = await create_conversation(server, group[0], [client.user for client in group[1:]])
        made.append(Room(conversation_id, group))
        await for_each(group, lambda client: client.ask("join_conversation", {"conversationId": conversation_id}))

    await for_each(people, open_room, 4)
    await asyncio.sleep(SETTLE_S)
    for room in made:
        room.senders = [Sender(client, room.conversation_id, outstanding) for client in room.members[:senders]]
        watched = room.members[-checkers:] if checkers else []
        room.checkers = [Checker(client) for client in watched]
        for client in room.members[senders:]:
            if client not in watched:
                client.only_count()
    return made


async def create_conversation(server: Server, creator: Client, others: Sequence[str]) -> str:
    """A conversation of the creator and others; where conversations need no creating, just a name for it.

    Returns: its id.
    """
    if not server.peer.stores:
        return f"room-of-{creator.user}"
    ack = await creator.ask("create_conversation", {"participantIds": list(others)})
    return str(ack["conversation"]["id"])


async def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition. Returns: whether it came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        await asyncio.sleep(0.02)
    return True


async def drain(rooms: Sequence[Room], timeout_s: float = DRAIN_S) -> list[str]:
    """Stop sending, wait until everything has arrived, and say what is wrong then."""
    for room in rooms:
        for sender in room.senders:
            sender.stop()
    await until(
        lambda: all(room.acked == room.sent and room.delivered >= room.sent * len(room.members) for room in rooms),
        timeout_s,
    )
    problems = [problem for room in rooms for problem in room.problems()]
    problems += [f"{room.sent - room.acked} messages were never acked" for room in rooms if room.acked < room.sent]
    return problems


def close_all(clients: Iterable[Client]) -> None:
    """Close connections without waiting."""
    for client in clients:
        client.close()


def raise_if_ended(clients: Iterable[Client]) -> None:
    """Raises: ClientError with the first reason, if a connection is over."""
    for client in clients:
        if client.ended:
            raise ClientError(f"{client.user}: {client.ended}")
