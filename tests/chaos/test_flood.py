"""Thousands of handshakes from one address while others chat: the others miss nothing.

`make attack` makes 10 000 handshakes in 10 s beside 200 clients; otherwise it is a tenth of both.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
from support.guarded import Raw, chatting, http, knock, poll_handshake
from support.servers import ServerProcess, running, token

FULL: Final = os.environ.get("WEBSOCKET_TEST_ATTACK") == "full"
CLIENTS: Final = 200 if FULL else 20
HANDSHAKES: Final = 10_000 if FULL else 1_000
SECONDS: Final = 10.0 if FULL else 1.0
ROOM: Final = 10
MESSAGES: Final = 10 if FULL else 3
FLOODER: Final = Path(__file__).parent / "flooder.py"


class Member:
    """A well-behaved client: joins its conversation, sends, and keeps what it sees."""

    def __init__(self, user: str, raw: Raw) -> None:
        self.user = user
        self.raw = raw
        self.seen: list[int] = []
        self.latencies_ms: list[float] = []
        self._sent_s: dict[str, float] = {}

    async def read(self) -> None:
        while await self.raw.read(60) is not None:
            for name, payload in self.raw.events:
                if name == "message_created":
                    message = payload["message"]
                    self.seen.append(message["seq"])
                    if (sent_s := self._sent_s.pop(message["idempotencyKey"], None)) is not None:
                        self.latencies_ms.append((time.monotonic() - sent_s) * 1000)
            self.raw.events.clear()

    async def talk(self, conversation_id: str, seconds: float) -> None:
        for number in range(MESSAGES):
            key = f"{self.user}-{number}-{time.monotonic_ns()}"
            self._sent_s[key] = time.monotonic()
            await self.raw.emit(
                "send_message", {"conversationId": conversation_id, "idempotencyKey": key, "body": "hi"}
            )
            await asyncio.sleep(seconds / MESSAGES)


async def flood(port: int, count: int, seconds: float) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FLOODER), str(port), "127.0.0.2", str(count), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(out)
    return result


def cpu_s(server: ServerProcess) -> float:
    """The CPU time that the server's process has used."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_flood_of_handshakes_beside_a_chat(tmp_path: Path) -> None:
    """Every message reaches everybody in its conversation once and in order, also while somebody floods the door."""
    flags = {"connects_per_minute_address": 600, "ping_interval_s": 60}
    async with running(tmp_path / "chat.db", **flags) as server, http() as session:
        chat: Any = server  # what `knock` needs of it is the address
        members: list[Member] = []
        for number in range(CLIENTS):
            raw = await knock(session, chat)
            await raw.connect({"token": token(f"user{number}")})
            members.append(Member(f"user{number}", raw))
        rooms = [members[first : first + ROOM] for first in range(0, CLIENTS, ROOM)]
        ids = []
        for room in rooms:
            created = await room[0].raw.ask("create_conversation", {"participantIds": [each.user for each in room]})
            ids.append(created["conversation"]["id"])
            for member in room:
                assert (await member.raw.ask("join_conversation", {"conversationId": ids[-1]}))["ok"]
        readers = [asyncio.create_task(member.read()) for member in members]

        async def talk(times: int) -> list[float]:
            for member in members:
                member.latencies_ms.clear()
            pairs = [(member, conversation) for room, conversation in zip(rooms, ids, strict=True) for member in room]
            await asyncio.gather(*(member.talk(conversation, SECONDS) for member, conversation in pairs))
            expected = times * ROOM * MESSAGES
            deadline_s = time.monotonic() + 30
            while any(len(member.seen) < expected for member in members) and time.monotonic() < deadline_s:
                await asyncio.sleep(0.02)
            for member in members:
                assert member.seen == list(range(1, expected + 1)), member.user
            return sorted(latency for member in members for latency in member.latencies_ms)

        try:
            quiet = await talk(1)
            before_s = cpu_s(server)
            flooded, latencies = await asyncio.gather(flood(server.port, HANDSHAKES, SECONDS), talk(2))
            used_s = cpu_s(server) - before_s
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
    assert sum(flooded["statuses"].values()) == HANDSHAKES
    assert flooded["statuses"]["200"] <= 600
    for name, values in (("alone", quiet), ("flooded", latencies)):
        p99 = values[int(len(values) * 0.99)]
        print(f"\n{name}: {len(values)} messages, own echo p50 {statistics.median(values):.1f} ms, p99 {p99:.1f} ms")
    print(f"flood: {flooded}; server CPU {used_s:.2f} s; lines in its log: {len(server.output)}")
    about = [line for line in server.output if "connects_refused" in line]
    assert len(about) <= 2
    assert "127.0.0.2" in about[0]


@pytest.mark.alone
async def test_a_refused_handshake_costs_far_less_than_an_accepted_connect(tmp_path: Path) -> None:
    """In CPU time of the server."""
    connects = 400 if FULL else 200
    lifted = {"connects_per_minute_address": 0, "failed_connects_per_minute_address": 0, "max_connections_address": 0}
    async with running(tmp_path / "chat.db", **lifted) as server, http() as session:
        chat: Any = server
        before_s = cpu_s(server)
        for number in range(connects):
            raw = await knock(session, chat)
            await raw.connect({"token": token(f"user{number}")})
            await raw.close()
        accepted_us = (cpu_s(server) - before_s) / connects * 1e6
    async with running(tmp_path / "other.db", connects_per_minute_address=1) as server:
        await flood(server.port, 20, 0)
        before_s = cpu_s(server)
        flooded = await flood(server.port, connects * 10, 0)
        refused_us = (cpu_s(server) - before_s) / (connects * 10) * 1e6
    assert flooded["statuses"] == {"429": connects * 10}
    print(f"\naccepted connect {accepted_us:.0f} µs, refused handshake {refused_us:.0f} µs of CPU")
    assert refused_us < accepted_us / 2


async def test_a_flood_of_one_address_leaves_the_next_alone() -> None:
    """The other address of the same machine is served in the middle of it."""
    async with chatting(connects_per_minute_address=5) as chat, http("127.0.0.2") as flooder, http() as other:
        for _ in range(50):
            await poll_handshake(flooder, chat)
        assert (await poll_handshake(flooder, chat))[0] == 429
        assert (await poll_handshake(other, chat))[0] == 200
