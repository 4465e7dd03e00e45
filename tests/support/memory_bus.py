"""A bus in memory, with faults on request: for tests that need many nodes, or a bus that misbehaves in a known way.

It has no time of its own: `turn` is called for each node, in whatever rhythm.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from socketserver.cluster.broker import BusStats, Receiver
from socketserver.cluster.exchange import QUEUE_BYTES, Exchange
from socketserver.cluster.frames import Target
from socketserver.cluster.members import BEAT_S
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame in a stream: `visible_s`, when it can be read."""

    number: int
    visible_s: float
    fields: tuple[bytes, ...]


class Engine:
    """What the nodes share.

    Attributes:
        lost: how likely a frame is not to be stored, and how likely a reader is not to see one.
        delay_s: after how long a frame can be read, at the most; at random.
        frozen: nothing goes in or out.
        cut: nodes that cannot reach it.
        most_frames: what a stream keeps.
    """

    def __init__(self, chance: random.Random, *, most_frames: int = 10_000) -> None:
        self.chance = chance
        self.lost = 0.0
        self.delay_s = 0.0
        self.frozen = False
        self.cut: set[str] = set()
        self.most_frames = most_frames
        self._streams: defaultdict[Target, list[Entry]] = defaultdict(list)
        self._number = 0

    def reachable(self, node: str) -> bool:
        return not self.frozen and node not in self.cut

    def newest(self) -> int:
        return self._number

    def restart(self) -> None:
        """It comes back empty."""
        self._streams.clear()

    def append(self, target: Target, fields: list[bytes], now_s: float) -> None:
        self._number += 1
        if self.lost and self.chance.random() < self.lost:
            return
        stream = self._streams[target]
        visible_s = now_s + (self.chance.random() * self.delay_s if self.delay_s else 0.0)
        if stream:
            visible_s = max(visible_s, stream[-1].visible_s)  # a stream keeps its order
        stream.append(Entry(self._number, visible_s, tuple(fields)))
        del stream[: -self.most_frames]

    def read(self, node: str, after: int, now_s: float) -> tuple[list[tuple[tuple[bytes, ...], bool]], int]:
        """What a node can see of both of its streams, as one look at both at the same moment."""
        found = [(each, False) for each in self._after(node, after)] + [
            (each, True) for each in self._after(None, after)
        ]
        found.sort(key=lambda each: each[0].number)
        read = []
        for each, to_all in found:
            if each.visible_s > now_s:
                break
            after = each.number
            if not (self.lost and self.chance.random() < self.lost):
                read.append((each.fields, to_all))
        return read, after

    def _after(self, target: Target, number: int) -> list[Entry]:
        stream = self._streams.get(target, [])
        first = len(stream)
        while first and stream[first - 1].number > number:
            first -= 1
        return stream[first:]


class MemoryBroker:
    """A Broker on such an engine.

    Args:
        steady: it takes its turns itself, every few milliseconds; else whoever has it calls `turn`.
    """

    def __init__(
        self, engine: Engine, known: Mapping[str, int], *, queue_bytes: int = QUEUE_BYTES, steady: bool = False
    ) -> None:
        self._engine = engine
        self._known = known
        self._queue_bytes = queue_bytes
        self._steady = steady
        self._exchange: Exchange | None = None
        self._after = 0
        self._beat_s = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def exchange(self) -> Exchange:
        assert self._exchange is not None
        return self._exchange

    async def open(self, node: str, receiver: Receiver) -> None:
        self.begin(node, receiver)
        if self._steady:
            self._task = asyncio.create_task(self._turns())

    def begin(self, node: str, receiver: Receiver) -> None:
        self._exchange = Exchange(node, receiver, self._known, queue_bytes=self._queue_bytes)
        self._after = self._engine.newest()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._send(time.monotonic())

    def publish(self, target: Target, head: Mapping[str, Any], body: bytes = b"") -> bool:
        return self.exchange.publish(target, head, body)

    def skip(self, target: Target) -> None:
        self.exchange.skip(target)

    def forget(self, node: str) -> None:
        self.exchange.forget(node)

    @property
    def up(self) -> bool:
        return self.exchange.up

    @property
    def stats(self) -> BusStats:
        return self.exchange.stats

    def turn(self, now_s: float) -> None:
        """Send, read, and find out whether one hears oneself."""
        exchange = self.exchange
        if self._engine.reachable(exchange.node):
            if now_s - self._beat_s >= BEAT_S:
                self._beat_s = now_s
                exchange.beat(now_s)
            self._send(now_s)
            entries, self._after = self._engine.read(exchange.node, self._after, now_s)
            if entries:
                exchange.read(entries, now_s)
        exchange.judge(now_s)

    def _send(self, now_s: float) -> None:
        exchange = self.exchange
        if self._engine.reachable(exchange.node):
            for frame in exchange.take():
                self._engine.append(frame.target, frame.encoded(), now_s)
            exchange.sent()

    async def _turns(self) -> None:
        while True:
            self.turn(time.monotonic())
            await asyncio.sleep(0.005)
