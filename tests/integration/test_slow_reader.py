"""A person whose client stops reading is ended, costs the others nothing, and gets all that was missed afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Final

import pytest
from support.engine import Stubborn
from support.servers import serving, token
from support.waiting import eventually
from support.wire import wire_to

MESSAGES: Final = 10_000
AT_ONCE: Final = 50
SEEN: Final = 10
PAGE: Final = 200
OUTBOX_BYTES: Final = 1 << 20


@pytest.mark.thorough
@pytest.mark.parametrize("pongs", [False, True])
async def test_whoever_stops_reading_is_ended_and_resumes_completely(tmp_path: Path, pongs: bool) -> None:
    """10 000 messages of 1 KiB to a conversation of three, of whom one reads the first few and then nothing more."""
    # The writer is a load, not an application: on a quick machine it sends more than a user may, and for too long.
    async with (
        serving(
            tmp_path / "chat.db",
            messages_per_second=0,
            events_per_second=0,
            user_bytes_per_second=0,
            outbox_bytes=OUTBOX_BYTES,
        ) as server,
        wire_to(server.url) as wire,
    ):
        ana, carla = await wire.people("ana", "carla")
        chat = await ana.create("ben", "carla")
        await carla.join(chat)
        ben = await Stubborn.connect(server.url, auth={"token": token("ben")})
        await ben.send('420["join_conversation",' + json.dumps({"conversationId": chat}) + "]")
        while b"430[" not in ben.buffer:
            await ben.read()

        async def send(number: int) -> None:
            await ana.send(chat, f"{number} ".ljust(1024, "."), key=f"key-{number}")

        for number in range(1, SEEN + 1):
            await send(number)
        while b'"seq":10,' not in ben.buffer:
            await ben.read()

        async def pong() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await ben.send("3")
                    await asyncio.sleep(0.05)

        ponging = asyncio.create_task(pong()) if pongs else None
        outbox_bytes = 0
        for start in range(SEEN + 1, MESSAGES + 1, AT_ONCE):
            await asyncio.gather(*map(send, range(start, min(start + AT_ONCE, MESSAGES + 1))))
            outbox_bytes = max(outbox_bytes, server.sio.stats()["outbox_bytes"])
        await eventually("the slow one is gone", lambda: len(server.sessions) == 2, deadline_s=60)
        assert outbox_bytes < 2 * OUTBOX_BYTES
        await eventually("everybody else has all", lambda: len(carla.client.seen("message_created")) == MESSAGES)
        assert [event["message"]["seq"] for event in carla.client.seen("message_created")] == [*range(1, MESSAGES + 1)]
        if ponging is not None:
            ponging.cancel()
            await asyncio.gather(ponging, return_exceptions=True)
        ben.close()

        again = await wire.person("ben")
        answer = await again.join(chat, after=SEEN, limit=PAGE)
        missed: list[Any] = answer["messages"]
        first, last = answer["gap"]["fromSeq"], answer["gap"]["toSeq"]
        assert (first, last + 1) == (SEEN + 1, missed[0]["seq"])
        while last >= first:
            page = await again.client.ok(
                "fetch_history", {"conversationId": chat, "beforeSeq": last + 1, "limit": min(PAGE, last + 1 - first)}
            )
            missed = page["messages"] + missed
            last = page["messages"][0]["seq"] - 1
        assert [message["seq"] for message in missed] == [*range(SEEN + 1, MESSAGES + 1)]
        assert all(message["body"].split()[0] == message["idempotencyKey"].removeprefix("key-") for message in missed)
        await send(MESSAGES + 1)
        assert (await again.client.wait("message_created"))["message"]["seq"] == MESSAGES + 1
