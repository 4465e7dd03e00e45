"""Nodes that only listen to a bus, for its tests."""

from __future__ import annotations

from collections.abc import Mapping
from socketserver.cluster.broker import BEAT, Broker
from socketserver.cluster.frames import Event, Target
from typing import Any

from .waiting import eventually

KNOWN = {"message": 1}


async def acquainted(*nodes: Listener) -> None:
    """All have heard each other's beats; from here on they write down what they are told."""
    names = {each.name for each in nodes}
    for node in nodes:
        await eventually("they hear each other", lambda node=node: names <= {who for who, _ in node.beats})  # type: ignore[misc]
    for node in nodes:
        assert node.told[0] == ("connected", True)
        node.told.clear()


class Listener:
    """A Receiver that writes down what it is told.

    Attributes:
        told: in order: numbers of events, "missed" with the sender, and whether it is connected.
        beats: whose beats came, and with what.
    """

    def __init__(self, name: str, broker: Broker) -> None:
        self.name = name
        self.broker = broker
        self.told: list[tuple[str, object]] = []
        self.beats: list[tuple[str, object]] = []

    async def open(self) -> None:
        await self.broker.open(self.name, self)

    def say(self, target: Target, *numbers: int, body: bytes = b"") -> bool:
        """Publish an event for each number. Returns whether all fitted."""
        return sum(self.broker.publish(target, {"e": "message", "id": number}, body) for number in numbers) == len(
            numbers
        )

    def heard(self, sender: str) -> list[object]:
        """The numbers that came from a node."""
        return [what for who, what in self.told if who == sender]

    @property
    def missed_from(self) -> list[object]:
        return [sender for what, sender in self.told if what == "missed"]

    def received(self, sender: str, event: Event) -> None:
        if event.name == BEAT:
            self.beats.append((sender, event.head.get("of")))
        else:
            self.told.append((sender, event.head["id"] if not event.body else (event.head["id"], event.body)))

    def missed(self, sender: str | None) -> None:
        self.told.append(("missed", sender))

    def connected(self, up: bool) -> None:
        self.told.append(("connected", up))

    def beating(self) -> Mapping[str, Any]:
        return {"of": self.name}
