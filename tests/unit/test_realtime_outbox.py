"""The outbox: one write per client and tick, order, the bound; without a socket."""

import asyncio
from socketserver.realtime import packets
from socketserver.realtime.engine import outbox as boxes
from socketserver.realtime.engine.outbox import Flusher, Outbox
from socketserver.realtime.engine.packets import Encoded
from typing import Any

import pytest


class Pipe(asyncio.Transport):
    """A transport that keeps what is written, and takes from its buffer what a test says."""

    def __init__(self, takes: bool = True) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.takes = takes

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0 if self.takes else sum(map(len, self.writes))

    def is_closing(self) -> bool:
        return False


def event(*args: Any) -> Encoded:
    return packets.encode_event("/", args)


def websocket(flusher: Flusher, limit: int = 1 << 20, takes: bool = True) -> tuple[Outbox, Pipe, list[int]]:
    overflows: list[int] = []
    box = Outbox(flusher, limit, lambda: overflows.append(1))
    pipe = Pipe(takes)
    box.to_websocket(pipe)
    return box, pipe, overflows


async def test_one_write_per_client_and_tick() -> None:
    """However many messages a tick brings; one callback for all clients."""
    flusher = Flusher()
    clients = [websocket(flusher) for _ in range(3)]
    messages = [event("m", n) for n in range(10)]
    for message in messages:
        for box, _, _ in clients:
            box.push(message)
    assert all(pipe.writes == [] for _, pipe, _ in clients)
    await asyncio.sleep(0)
    for _, pipe, _ in clients:
        assert pipe.writes == [b"".join(message.ws for message in messages)]
    clients[0][0].push(messages[0])
    await asyncio.sleep(0)
    assert len(clients[0][1].writes) == 2
    assert len(clients[1][1].writes) == 1


async def test_a_burst_is_written_before_it_piles_up() -> None:
    box, pipe, overflows = websocket(Flusher())
    for _ in range(100):
        box.push(event("m", "x" * 60_000))
    assert len(pipe.writes) == 50
    assert box.size == 0
    assert overflows == []


async def test_the_bound_counts_what_the_transport_holds() -> None:
    box, pipe, overflows = websocket(Flusher(), limit=200_000, takes=False)
    while not overflows:
        assert box.unsent < 300_000
        box.push(event("m", "x" * 10_000))
    assert pipe.get_write_buffer_size() > 200_000
    assert overflows == [1]


@pytest.mark.parametrize("burst", [1, 3])
async def test_one_message_may_be_larger_than_the_bound(burst: int) -> None:
    """A reader was ended for an answer that it had no time to read."""
    large, small = event("m", "x" * 300_000), event("m", "x" * 100)
    box, pipe, overflows = websocket(Flusher(), limit=200_000, takes=False)
    for message in [small] * (burst - 1) + [large]:
        box.push(message)
    await asyncio.sleep(0)
    assert overflows == []
    assert sum(map(len, pipe.writes)) > 300_000
    box.push(small)
    await asyncio.sleep(0)
    assert overflows == [1]

    box = Outbox(Flusher(), 200_000, lambda: overflows.append(2))
    box.push(large)
    await asyncio.sleep(0)
    assert overflows == [1]
    assert len(box.take()) > 300_000
    box.push(large)
    await asyncio.sleep(0)
    box.take()
    box.push(small)
    await asyncio.sleep(0)
    assert overflows == [1]


async def test_the_bound_of_a_polling_client() -> None:
    overflows: list[int] = []
    box = Outbox(Flusher(), 100_000, lambda: overflows.append(1))
    for _ in range(20):
        box.push(event("m", "x" * 10_000))
    assert overflows
    assert box.size < 100_000


async def test_what_was_queued_for_polling_leaves_first_over_the_websocket() -> None:
    flusher = Flusher()
    box = Outbox(flusher, 0, lambda: None)
    messages = [event("m", 1), event("m", b"two"), event("m", 3)]
    box.push(messages[0])
    box.push(messages[1])
    pipe = Pipe()
    box.to_websocket(pipe)
    box.push(messages[2])
    await asyncio.sleep(0)
    assert b"".join(pipe.writes) == b"".join(message.ws for message in messages)


async def test_a_closed_outbox_drops_everything() -> None:
    box, pipe, _ = websocket(Flusher())
    box.push(event("m"))
    box.close()
    box.push(event("m"))
    await asyncio.sleep(0)
    assert pipe.writes == []
    assert box.unsent == 0
    assert box.mode == boxes.CLOSED


@pytest.mark.parametrize("count", [1, 5])
async def test_polling_gets_one_payload(count: int) -> None:
    box = Outbox(Flusher(), 0, lambda: None)
    woken: list[int] = []
    box.on_poll_data = lambda: woken.append(1)
    for n in range(count):
        box.push(event("m", n))
    await asyncio.sleep(0)
    assert woken == [1]
    assert box.take() == b"\x1e".join(b'42["m",%d]' % n for n in range(count))
