"""What goes over the bus: events, gathered into frames that are numbered, so that loss is told.

Pure: no I/O. A frame goes to one target, a node or all (None). Its number counts a sender's frames to that target: who
finds a hole has missed something. Its place counts the sender's frames to all targets: what one sender has said is read
in that order, whichever way it came.

A frame is a list of fields and values, as an entry of a Redis stream is: first VERSION and `sender number place`, then
for each event its head (JSON, an object, with the event's name as "e") and its body, which is not looked into.
Source: docs/decisions/0026-the-bus-is-a-wake-up-that-carries-the-payload.md
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

Target = str | None

VERSION: Final = b"1"

# What a frame costs beside its heads and bodies, about, as queues and streams count it.
FRAME_BYTES: Final = 100

# A frame that is larger gets no further event, so that a bound on a stream's frames is one on its bytes.
FRAME_MOST_BYTES: Final = 16_384


# How many nodes that are no more are remembered with their numbers.
PAST_TARGETS: Final = 1_000


class UnreadableFrame(Exception):
    """Nothing that a node of any version has written."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        head: what it is and whom it concerns; "e" is its name, "v" its version, if not 1.
        body: what is handed on as it is; may be empty.
    """

    head: Mapping[str, Any]
    body: bytes = b""

    @property
    def name(self) -> str:
        return str(self.head.get("e", ""))


@dataclass(slots=True)
class Frame:
    """What a sender has put to one target within a tick.

    Attributes:
        target: a node, or None for all.
        number: counts the sender's frames to this target, from 1; numbers that were skipped are lost on purpose.
        place: counts the sender's frames to all targets.
        fields: heads and bodies in turn, encoded.
        size_bytes: theirs, about.
    """

    sender: str
    target: Target
    number: int
    place: int
    fields: list[bytes] = field(default_factory=list)
    size_bytes: int = 0

    def encoded(self) -> list[bytes]:
        """Fields and values in turn."""
        return [VERSION, f"{self.sender} {self.number} {self.place}".encode(), *self.fields]


class Outgoing:
    """What a node is about to send: a bounded queue of frames.

    Args:
        sender: the node's id.
        most_bytes: how much may wait.
    """

    def __init__(self, sender: str, most_bytes: int) -> None:
        self._sender = sender
        self._most_bytes = most_bytes
        self._numbers: defaultdict[Target, int] = defaultdict(int)
        self._past: OrderedDict[str, int] = OrderedDict()
        self._place = 0
        self._frames: list[Frame] = []
        self._open: dict[Target, Frame] = {}
        self._taken_bytes = 0
        self.queued_bytes = 0

    def put(self, target: Target, head: Mapping[str, Any], body: bytes = b"") -> bool:
        """Add an event to what waits.

        Returns: False if there is no room, and then nothing has happened: say `skip` if the target must know.
        Raises: TypeError if the head is no JSON.
        """
        encoded = orjson.dumps(head)
        frame = self._open.get(target)
        size = len(encoded) + len(body) + (0 if frame else FRAME_BYTES)
        if self.queued_bytes + size > self._most_bytes:
            return False
        if frame is None or frame.size_bytes + size > FRAME_MOST_BYTES:
            frame = self._begin(target)
        frame.size_bytes += size
        frame.fields += (encoded, body)
        self.queued_bytes += size
        return True

    def skip(self, target: Target) -> None:
        """Leave out a number: the target finds a hole, at the next frame or beat, and knows that it has missed
        something."""
        self._close(target)
        self._next(target)

    def take(self) -> list[Frame]:
        """Everything that waits, in order. It takes its room until `sent`."""
        frames, self._frames = self._frames, []
        self._open.clear()
        self._taken_bytes = self.queued_bytes
        return frames

    def sent(self) -> None:
        """What was taken last is with the engine."""
        self.queued_bytes -= self._taken_bytes
        self._taken_bytes = 0

    def numbers(self) -> dict[str, int]:
        """The newest number to each target, "" for all: what each beat carries, so that the loss of the last frame is
        noticed too."""
        return {target or "": number for target, number in self._numbers.items()}

    def forget(self, target: str) -> None:
        """A node is no more: beats leave it out. Its numbers go on where they were, should it be back: it may have been
        frozen, and knows them."""
        self._close(target)
        number = self._numbers.pop(target, None)
        if number is not None:
            self._past[target] = number
            if len(self._past) > PAST_TARGETS:
                self._past.popitem(last=False)

    def _next(self, target: Target) -> int:
        if target is not None and target in self._past:
            self._numbers[target] = self._past.pop(target)
        self._numbers[target] += 1
        return self._numbers[target]

    def _begin(self, target: Target) -> Frame:
        self._close(target)
        self._place += 1
        frame = self._open[target] = Frame(self._sender, target, self._next(target), self._place)
        self._frames.append(frame)
        return frame

    def _close(self, target: Target) -> None:
        """What a target gets goes on in another frame, where what comes after must not overtake what came before."""
        if target is None:
            self._open.clear()
        else:
            self._open.pop(target, None)
            self._open.pop(None, None)


@dataclass(frozen=True, slots=True)
class Received:
    """A frame as it was read.

    Attributes:
        events: those that could be read; none of a frame of a later version.
    """

    sender: str
    number: int
    place: int
    events: Sequence[Event]


def decode(fields: Sequence[bytes]) -> Received:
    """Read a frame.

    Whatever comes after the first pair is for its version to say; that pair stays as it is, so that later versions are
    counted, and only not understood.
    Raises: UnreadableFrame.
    """
    try:
        sender, number, place = fields[1].decode().split(" ")[:3]
        received = Received(sender, int(number), int(place), ())
    except (IndexError, ValueError) as error:
        raise UnreadableFrame(repr(b" ".join(fields[:2])[:100])) from error
    if fields[0] != VERSION:
        return received
    events = []
    for head, body in zip(fields[2::2], fields[3::2], strict=False):
        try:
            read = orjson.loads(head)
        except orjson.JSONDecodeError:
            continue
        if isinstance(read, dict) and isinstance(read.get("e"), str):
            events.append(Event(read, body))
    return Received(sender, received.number, received.place, events)


class Incoming:
    """What a node has read of each sender: hands out once, in order, and tells what is missing.

    Args:
        known: the events that this version knows, with their newest versions; others are skipped.
    """

    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = known
        self._newest: dict[tuple[str, bool], int] = {}

    def take(self, frame: Received, *, to_all: bool) -> tuple[bool, Sequence[Event]]:
        """A frame has come.

        Returns: whether something before it is missing, and what it brings; nothing if it came before. A sender that is
            new here has been missed, unless this is its first frame.
        """
        key = (frame.sender, to_all)
        newest = self._newest.get(key, 0)
        if frame.number <= newest:
            return False, ()
        self._newest[key] = frame.number
        return frame.number > newest + 1, [each for each in frame.events if self._understood(each)]

    def beat(self, sender: str, numbers: Mapping[str, int], node: str) -> bool:
        """A beat has come, with the numbers that its sender had given out before it.

        Returns: whether something is missing.
        """
        missing = False
        for target, to_all in (("", True), (node, False)):
            number = numbers.get(target, 0)
            if number > self._newest.get((sender, to_all), 0):
                self._newest[(sender, to_all)] = number
                missing = True
        return missing

    def forget(self, sender: str) -> None:
        """A node is no more."""
        self._newest.pop((sender, True), None)
        self._newest.pop((sender, False), None)

    def _understood(self, event: Event) -> bool:
        newest = self._known.get(event.name)
        version = event.head.get("v", 1)
        return newest is not None and isinstance(version, int) and version <= newest


def in_order(frames: Sequence[tuple[Received, bool]]) -> list[tuple[Received, bool]]:
    """Frames of one read of several streams, with whether each was to all: each sender's in the order of their places.

    Where a sender's frames stood, there are its frames still, so one's own beat stays behind what came before it.
    """
    of_sender: defaultdict[str, list[tuple[Received, bool]]] = defaultdict(list)
    for each in frames:
        of_sender[each[0].sender].append(each)
    turns = {sender: iter(sorted(own, key=_place)) for sender, own in of_sender.items()}
    return [next(turns[each[0].sender]) for each in frames]


def _place(frame: tuple[Received, bool]) -> int:
    return frame[0].place
