"""The bystander: five users from another address who chat while somebody attacks; a process of its own.

usage: python -m chaos.attacks.bystander JSON      (see `Order`)
Each user sends four messages a second, whether or not acks come. Prints `ready` when all have joined, and when its
standard input ends, one JSON object: every message's time and how long its ack took.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import aiohttp

USERS: Final = 5
EVERY_S: Final = 0.25
LAST_ACKS_S: Final = 20.0
VISIT_EVERY_S: Final = 0.5
VISIT_S: Final = 10.0


@dataclass(frozen=True)
class Order:
    """Where to chat.

    Attributes:
        url: of the server or of the proxy before it.
        tokens: one a user; the first is in a conversation with the others.
        users: their ids.
        address: from where.
        origin: the page's, if any.
        visitors: tokens of others, who come one after the other and leave again.
    """

    url: str
    tokens: list[str]
    users: list[str]
    address: str = "127.0.0.2"
    origin: str = ""
    visitors: list[str] = field(default_factory=list)


@dataclass
class Log:
    """What happened to each message.

    Attributes:
        sent: [when, s on the machine's monotonic clock; how long until its ack, ms, or None; what it said].
        ends: why a connection ended.
        visits: [when; how long it took, ms; `in`, or why not].
    """

    sent: list[list[Any]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    received: int = 0
    visits: list[list[Any]] = field(default_factory=list)


class User:
    """One raw client that only sends, and times what comes back."""

    def __init__(self, name: str, socket: aiohttp.ClientWebSocketResponse, log: Log) -> None:
        self.name = name
        self._socket = socket
        self._log = log
        self._waiting: dict[int, list[Any]] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._last = 0

    @property
    def open(self) -> bool:
        return not self._socket.closed

    @property
    def waits(self) -> bool:
        return bool(self._waiting) and self.open

    async def enter(self, token: str) -> None:
        await self._socket.receive_str()
        await self._socket.send_str("40" + json.dumps({"token": token}))

    async def ask(self, event: str, payload: dict[str, Any]) -> Any:
        self._last += 1
        future = self._asked[self._last] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(f"42{self._last}" + json.dumps([event, payload]))
        answer = await asyncio.wait_for(future, 30)
        assert answer["ok"], answer
        return answer

    async def read(self) -> None:
        async for message in self._socket:
            text = message.data
            if not isinstance(text, str):
                continue
            if text == "2":
                await self._socket.send_str("3")
            elif text.startswith("43"):
                number, _, rest = text[2:].partition("[")
                answer = json.loads("[" + rest)[0]
                if (entry := self._waiting.pop(int(number), None)) is not None:
                    entry[1] = (time.monotonic() - entry[0]) * 1000
                    entry[2] = "ok" if answer["ok"] else answer["error"]["code"]
                elif (future := self._asked.pop(int(number), None)) is not None:
                    future.set_result(answer)
            elif text.startswith('42["message_created"'):
                self._log.received += 1
            elif text.startswith(("41", "44")) or "session_ended" in text[:30]:
                self._log.ends.append(text[:200])
        self._log.ends.append(f"{self.name}: close {self._socket.close_code}")

    async def talk(self, conversation_id: str, first_s: float) -> None:
        """Send on and on; an ack that does not come keeps nobody from sending."""
        due_s = time.monotonic() + first_s
        while self.open:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + EVERY_S, time.monotonic())
            self._last += 1
            entry: list[Any] = [time.monotonic(), None, ""]
            self._log.sent.append(entry)
            self._waiting[self._last] = entry
            payload = {
                "conversationId": conversation_id,
                "idempotencyKey": f"{self.name}-{self._last}",
                "body": "hello",
            }
            await self._socket.send_str(f"42{self._last}" + json.dumps(["send_message", payload]))


def _page(address: str, origin: str) -> aiohttp.ClientSession:
    """A browser's page, as far as this matters."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=False)
    return aiohttp.ClientSession(connector=connector, headers={"Origin": origin} if origin else {})


async def visit(url: str, order: Order, log: Log, stopping: asyncio.Event) -> None:
    """New users connect, one after the other, and leave; who has begun is waited for.

    Each has an address of its own: many who leave at once would look like a loop.
    """
    for number, token in enumerate(order.visitors, 1):
        if stopping.is_set():
            return
        began_s = time.monotonic()
        result = "no answer"
        try:
            async with (
                asyncio.timeout(VISIT_S),
                _page(f"127.0.1.{number}", order.origin) as session,
                session.ws_connect(url, max_msg_size=0) as socket,
            ):
                await socket.receive_str()
                await socket.send_str("40" + json.dumps({"token": token}))
                answer = str((await socket.receive()).data)
                result = "in" if answer.startswith("40{") else answer[:200]
        except (aiohttp.ClientError, TimeoutError, TypeError, OSError) as error:
            result = f"{type(error).__name__} {getattr(error, 'status', '')}"
        log.visits.append([began_s, (time.monotonic() - began_s) * 1000, result])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), VISIT_EVERY_S)


async def main(order: Order) -> None:
    log = Log()
    url = f"{order.url}/socket.io/?EIO=4&transport=websocket"
    async with _page(order.address, order.origin) as session:
        users = []
        background = set()
        for name, token in zip(order.users, order.tokens, strict=True):
            user = User(name, await session.ws_connect(url, max_msg_size=0), log)
            await user.enter(token)
            background.add(asyncio.create_task(user.read()))
            users.append(user)
        created = await users[0].ask("create_conversation", {"participantIds": order.users[1:]})
        conversation_id = created["conversation"]["id"]
        for user in users:
            await user.ask("join_conversation", {"conversationId": conversation_id})
        talking = [
            asyncio.create_task(user.talk(conversation_id, number * EVERY_S / USERS))
            for number, user in enumerate(users)
        ]
        stopping = asyncio.Event()
        visiting = asyncio.create_task(visit(url, order, log, stopping))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stopping.set()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await visiting
        deadline_s = time.monotonic() + LAST_ACKS_S
        while any(user.waits for user in users) and time.monotonic() < deadline_s:
            await asyncio.sleep(0.02)
        print(json.dumps(asdict(log)), flush=True)
        for reading in background:
            reading.cancel()
        await asyncio.gather(*background, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Order(**json.loads(sys.argv[1]))))
