"""Bytes of every wrong kind over TCP: heads, bodies, packed and in chunks, pipelined; handshakes and frames behind.

`make attack` sends 200 000 requests and frames; otherwise it is about a thousand. A seed says all about a connection.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from chaos.http_noise import Noise
from chaos.test_fuzz import LIFTED, TURN_S, rss_kib
from chaos.turns import in_turns
from support.guarded import Chat, chatting, enter, http, poll_handshake, until

FULL: Final = os.environ.get("WEBSOCKET_TEST_ATTACK") == "full"
SEEDS: Final = 6_000 if FULL else 40
CONNECTIONS_PER_SEED: Final = 8
AT_ONCE: Final = 40
# Seeds that found something once.
KEPT_SEEDS: Final = (1, 2)
# An answer that does not come in this time waits for more of a body, or is a poll.
ANSWER_S: Final = 0.25


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may be logged as an error but what aiohttp says of bytes that are no HTTP; the server leaves it out."""
    caplog.set_level(logging.ERROR)
    aiohttp_log = logging.getLogger("aiohttp.server")
    aiohttp_log.addFilter(_is_http)  # caplog would keep them, with their tracebacks
    yield
    aiohttp_log.removeFilter(_is_http)
    gc.collect()
    records = [record for phase in ("setup", "call") for record in caplog.get_records(phase)] + caplog.records
    assert not [record.getMessage() for record in records]


def _is_http(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not kind.__module__.startswith("aiohttp.http_exceptions")


async def _throw(chat: Chat, data: bytes, number: int) -> None:
    """Send a connection's bytes, some of them in pieces, and read until the server ends it or says nothing more."""
    address = urlsplit(chat.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        cut = len(data) // 2 if number % 3 == 0 else len(data)
        writer.write(data[:cut])
        if cut < len(data):
            await asyncio.sleep(0)
            writer.write(data[cut:])
        async with asyncio.timeout(ANSWER_S):
            while await reader.read(65536):
                pass
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()


def _only(chat: Chat, own: set[str]) -> bool:
    """End what noise has left behind, also what a request under way opens only now. Returns: whether that was all."""
    for session in list(chat.sio.eio.sessions.values()):
        if session.id not in own:
            session.close("transport close")
    return len(chat.sio.eio.sessions) == len(chat.sessions) == 1


async def _fuzz(folder: Path) -> tuple[int, list[int]]:
    loop = asyncio.get_running_loop()
    options = {**LIFTED, "websocket_compression": True, "trusted_proxies": "127.0.0.1"}
    async with (
        chatting(bounded=True, **options, store_url=f"sqlite:///{folder / 'chat.db'}") as chat,
        http() as session,
    ):
        bystander = await enter(session, chat, "bystander")
        created = await bystander.ask("create_conversation", {"participantIds": ["ann"]})
        conversation_id = created["conversation"]["id"]
        own = set(chat.sio.eio.sessions)
        sent = 0
        sizes = []
        free = asyncio.Semaphore(AT_ONCE)

        async def one(data: bytes, number: int) -> None:
            async with free:
                await _throw(chat, data, number)

        for number, seed in enumerate([*KEPT_SEEDS, *range(1_000, 1_000 + SEEDS)]):
            status, _, opened = await poll_handshake(session, chat)
            assert status == 200, opened
            sid = json.loads(opened[1:])["sid"] if number % 4 else ""
            noise = Noise(seed, sid, chat.token("ann"), conversation_id)
            loop.forgive()  # type: ignore[attr-defined]  # making noise is the test's own work
            made = [noise.connection() for _ in range(CONNECTIONS_PER_SEED)]
            sent += sum(count for _, count in made)
            await asyncio.gather(*(one(data, place) for place, (data, _) in enumerate(made)))
            if number % max(1, SEEDS // 20) == 0:
                assert (await bystander.message(conversation_id, str(number)))["ok"]
                bystander.events.clear()
                loop.forgive()  # type: ignore[attr-defined]
                sizes.append(rss_kib())
        await until(lambda: _only(chat, own), "only the bystander is left", 30)
        await until(lambda: chat.sio.stats()["tasks"] == 0, "no task is left")
        assert await chat.lifecycle.sweep() == 0
    return sent, sizes


@pytest.mark.timeout(3600)
def test_noise_over_tcp(tmp_path: Path) -> None:
    """No error is logged, the bystander is answered, nothing is kept, and no turn of the loop takes long."""
    (sent, sizes), longest_s = in_turns(_fuzz(tmp_path))

    gc.collect()
    print(f"\n{sent} requests and frames; longest turn {longest_s * 1000:.0f} ms of CPU; resident KiB: {sizes}")
    assert longest_s < TURN_S
    assert sizes[-1] - sizes[len(sizes) // 2] < 30_000


def test_the_noise_repeats_itself() -> None:
    """A seed is all that is needed to see a connection again."""
    assert [Noise(5, "s", "t", "c").connection() for _ in range(20)] == [
        Noise(5, "s", "t", "c").connection() for _ in range(20)
    ]
