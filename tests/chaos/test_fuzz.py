"""Frames of every wrong kind, thousands of them: no crash, no unhandled exception, nothing kept, nobody else disturbed.

`make attack` sends 850 000; otherwise it is a few thousand. A seed says all about a sequence; seeds that ever found
something are kept as examples below.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.test_utils import make_mocked_request
from chaos.frames import Fuzzer
from chaos.turns import in_turns
from support.guarded import Chat, Raw, chatting, enter, http, knock, until

from benchmarks.lifted import lifted

FULL: Final = os.environ.get("WEBSOCKET_TEST_ATTACK") == "full"
FRAMES_PER_SEED: Final = 50
SEEDS: Final = 16_000 if FULL else 80
SEEDS_OVER_TCP: Final = 1_000 if FULL else 10
# The CPU time that one turn of the event loop may take: nobody else is served meanwhile.
TURN_S: Final = 0.1
# Seeds that found something once.
KEPT_SEEDS: Final = (1, 2, 3)
# No limit on what comes in; a fuzzer would be refused before anything is parsed.
LIFTED: Final[dict[str, Any]] = {**lifted(), "ping_interval_s": 60}


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may be logged as an error, and no task may die unheard."""
    caplog.set_level(logging.ERROR)
    yield
    gc.collect()
    # `caplog.records` has those of the phase that runs: the teardown's.
    records = [record for phase in ("setup", "call") for record in caplog.get_records(phase)] + caplog.records
    assert not [record.getMessage() for record in records if record.levelno >= logging.ERROR]


class Direct:
    """A session of the running server without a TCP connection, as its engine opens them: for speed."""

    def __init__(self, chat: Chat) -> None:
        self.session = chat.sio.eio.begin(_REQUEST)
        self.session.outbox.take()

    async def send(self, frame: str | bytes) -> None:
        """Have a frame handled to its end. What is answered has to be text of the protocol."""
        self.session.receive(frame)
        await self.session.settled()
        for packet in self.session.outbox.take().decode().split("\x1e"):
            assert not packet or packet[0] in "0123456b", packet
            if packet.startswith("42"):
                json.loads(packet[2:])


class _Transport(asyncio.Transport):
    """Stands for a connection; a mock would remember every question about it."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 4711) if name == "peername" else default


_REQUEST: Final[Any] = make_mocked_request("GET", "/socket.io/", transport=_Transport())


async def _fuzz(chat: Chat, seed: int, conversation_id: str) -> tuple[int, int]:
    """One seed's frames. Returns: how many were sent, over how many connections."""
    fuzzer = Fuzzer(seed, conversation_id)
    connections = 0
    direct: Direct | None = None
    for number in range(FRAMES_PER_SEED):
        if direct is None or not direct.session.open:
            if direct is not None:
                direct.session.close("transport close")
            direct = Direct(chat)
            connections += 1
            if (seed + number) % 5:
                token = {"token": chat.token(f"user{seed % 7}")} if (seed + number) % 3 else {}
                await direct.send("40" + json.dumps(token))
        await direct.send(fuzzer.frame())
    if direct is not None:
        direct.session.close("client disconnect")
    return FRAMES_PER_SEED, connections


async def _read(raw: Raw) -> None:
    async for _ in raw.socket:
        pass


def rss_kib() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


async def _fuzz_all(folder: Path) -> None:
    """Messages are kept in a file, and what the bystander receives is let go, so that memory shows what is kept."""
    loop = asyncio.get_running_loop()
    async with chatting(**LIFTED, store_url=f"sqlite:///{folder / 'chat.db'}") as chat, http() as session:
        bystander = await enter(session, chat, "bystander")
        created = await bystander.ask("create_conversation", {"participantIds": [f"user{n}" for n in range(7)]})
        conversation_id = created["conversation"]["id"]
        frames = connections = 0
        sizes = []
        for number, seed in enumerate([*KEPT_SEEDS, *range(1_000, 1_000 + SEEDS)]):
            sent, opened = await _fuzz(chat, seed, conversation_id)
            frames, connections = frames + sent, connections + opened
            if number % max(1, SEEDS // 20) == 0:
                assert (await bystander.message(conversation_id, str(number)))["ok"]
                bystander.events.clear()
                loop.forgive()  # type: ignore[attr-defined]  # looking at the memory is the test's own work
                sizes.append(rss_kib())
        await until(lambda: len(chat.sessions) == 1, "only the bystander is left")
        assert len(chat.sio.eio.sessions) == 1
        await until(lambda: chat.sio.stats()["tasks"] == 0, "no task is left")
        assert await chat.lifecycle.sweep() == 0
        print(f"\n{frames} frames over {connections} connections; resident KiB at twentieths: {sizes}")
        # A plateau: what the second half adds is a fraction of what is there.
        assert sizes[-1] - sizes[len(sizes) // 2] < 30_000


@pytest.mark.timeout(3600)
def test_fuzzed_frames(tmp_path: Path) -> None:
    """Meanwhile a bystander is answered, no turn of the loop takes long, and at the end no registry holds anything."""
    _, longest_s = in_turns(_fuzz_all(tmp_path))

    print(f"longest turn {longest_s * 1000:.0f} ms of CPU")
    assert longest_s < TURN_S


@pytest.mark.timeout(1800)
async def test_fuzzed_frames_over_tcp() -> None:
    """The same over real websockets: whoever breaks the rules is closed, and the others go on."""
    async with chatting(**LIFTED) as chat, http() as session:
        bystander = await enter(session, chat, "bystander")
        created = await bystander.ask("create_conversation", {"participantIds": ["ann"]})
        conversation_id = created["conversation"]["id"]
        frames = connections = 0
        for seed in range(SEEDS_OVER_TCP):
            fuzzer = Fuzzer(seed, conversation_id)
            raw: Raw | None = None
            reading: asyncio.Task[None] | None = None
            for _ in range(FRAMES_PER_SEED):
                if raw is None or raw.socket.closed:
                    raw = await knock(session, chat)
                    connections += 1
                    reading = asyncio.create_task(_read(raw))
                    await raw.send("40" + json.dumps({"token": chat.token("ann")}))
                try:
                    await raw.send(fuzzer.frame())
                    frames += 1
                    # Its answer is the sign that the frame was handled, or the connection's end.
                    await raw.socket.ping()
                except (ConnectionError, UnicodeEncodeError):
                    pass
                await asyncio.sleep(0.001)
            assert raw is not None
            assert reading is not None
            await raw.close()
            await reading
            assert (await bystander.ask("list_conversations", {}))["ok"]
        await until(lambda: len(chat.sessions) == 1, "only the bystander is left")
        print(f"\n{frames} frames over {connections} TCP connections")


def test_the_fuzzer_repeats_itself() -> None:
    """A seed is all that is needed to see a sequence again."""
    assert [Fuzzer(5, "c").frame() for _ in range(20)] == [Fuzzer(5, "c").frame() for _ in range(20)]
