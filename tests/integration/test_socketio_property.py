"""Random interleavings of sends, joins, leaves, upgrades, cuts and reconnects: every view is dense and in order."""

import asyncio
import json
import random
from socketserver.realtime import AsyncServer, Json
from typing import Any

import pytest
from support.engine import Http, Raw, client_of, serving, until

CONVERSATIONS = ["a", "b", "c"]
CLIENTS = 8
STEPS = 40


def chat() -> tuple[AsyncServer, dict[str, list[Any]]]:
    """Return a small chat server in memory, and its conversations: what a client must be able to rebuild."""
    sio = AsyncServer(ping_interval=1, ping_timeout=5)
    stored: dict[str, list[Any]] = {name: [] for name in CONVERSATIONS}

    @sio.event
    async def join(sid: str, name: str, after: int) -> Any:
        await sio.enter_room(sid, name)
        return {"seq": len(stored[name]), "messages": stored[name][after:]}

    @sio.event
    async def leave(sid: str, name: str) -> bool:
        await sio.leave_room(sid, name)
        return True

    @sio.event
    async def send(sid: str, name: str, body: str) -> Any:
        if len(body) % 3 == 0:
            await asyncio.sleep(0)
        message = {"seq": len(stored[name]) + 1, "conversation": name, "body": body}
        stored[name].append(message)
        sio.emit_now("created", Json(json.dumps(message).encode()), room=name)
        return {"ok": True, "seq": message["seq"]}

    return sio, stored


class User:
    """A raw client that polls first and may upgrade, be cut and come back."""

    def __init__(self, http: Http, rng: random.Random) -> None:
        self.http = http
        self.rng = rng
        self.views: dict[str, list[Any]] = {}
        self.joined: set[str] = set()
        self.acks: dict[int, asyncio.Future[Any]] = {}
        self.ids = 0
        self.raw: Raw | None = None
        self.eio_sid = ""
        self.reader: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        self.posting = asyncio.Lock()
        self.owes_pong = False

    async def connect(self) -> None:
        self.ready = asyncio.Event()
        if self.rng.random() < 0.5:
            self.raw = await self.http.websocket()
            self.reader = asyncio.create_task(self.read_websocket(self.raw))
        else:
            self.raw = None
            self.eio_sid = await self.http.handshake()
            self.reader = asyncio.create_task(self.read_polls(self.eio_sid))
        await self.send("40")
        await self.ready.wait()

    async def send(self, packet: str) -> None:
        async with self.posting:
            if self.raw is not None:
                await self.raw.send(packet)
            else:
                assert (await self.http.post(self.eio_sid, packet))[0] == 200

    async def read_websocket(self, raw: Raw) -> None:
        while isinstance(packet := await raw.next(), str):
            self.take(packet)

    async def read_polls(self, sid: str) -> None:
        while True:
            status, text = await self.http.poll(sid)
            if status != 200 or self.raw is not None:
                for packet in text.split("\x1e") if status == 200 else ():
                    self.owes_pong |= packet == "2"
                    self.take(packet)
                return
            for packet in text.split("\x1e"):
                if packet == "2":
                    await self.send("3")
                self.take(packet)

    async def upgrade(self) -> None:
        if self.raw is not None or self.reader is None:
            return
        raw = await self.http.websocket(f"&sid={self.eio_sid}")
        await raw.send("2probe")
        assert await raw.next() == "3probe"
        async with self.posting:  # as the JS client: no POST under way, the GET ended, then UPGRADE
            reader = self.reader
            self.raw = raw
            await reader
            await raw.send("5")
            if self.owes_pong:
                self.owes_pong = False
                await raw.send("3")
            self.reader = asyncio.create_task(self.read_websocket(raw))

    def take(self, packet: str) -> None:
        if packet.startswith("40"):
            self.ready.set()
        elif packet.startswith("43"):
            at = packet.index("[")
            future = self.acks.pop(int(packet[2:at]))
            if not future.done():
                future.set_result(json.loads(packet[at:])[0])
        elif packet.startswith('42["created"'):
            message = json.loads(packet[2:])[1]
            self.see(message)

    def see(self, message: Any) -> None:
        name = message["conversation"]
        if name not in self.joined and name not in self.views:
            return
        view = self.views.setdefault(name, [])
        if message["seq"] <= len(view):  # seen in the answer to join already
            assert view[message["seq"] - 1] == message
        else:
            assert message["seq"] == len(view) + 1, f"a hole in {name}"
            view.append(message)

    async def ask(self, *args: Any) -> Any:
        self.ids += 1
        future = self.acks[self.ids] = asyncio.get_running_loop().create_future()
        await self.send(f"42{self.ids}{json.dumps(args)}")
        return await asyncio.wait_for(future, 10)

    async def join(self, name: str) -> None:
        view = self.views.setdefault(name, [])
        # events of the room may come before the answer: they wait until the answer has filled what was before them
        early: list[Any] = []
        see = self.see
        self.see = early.append  # type: ignore[method-assign, assignment]
        try:
            answer = await self.ask("join", name, len(view))
        finally:
            self.see = see  # type: ignore[method-assign]
        self.joined.add(name)
        for message in [*answer["messages"], *early]:
            self.see(message)

    async def cut(self) -> None:
        self.joined.clear()
        if self.raw is not None:
            await (self.raw.cut() if self.rng.random() < 0.5 else self.raw.socket.close())
        await self.stop_reading()
        self.acks.clear()
        await self.connect()

    async def stop_reading(self) -> None:
        assert self.reader is not None
        self.reader.cancel()
        await asyncio.gather(self.reader, return_exceptions=True)

    async def leave(self) -> None:
        await self.stop_reading()
        if self.raw is not None:
            await self.raw.socket.close()

    async def live(self) -> None:
        await self.connect()
        for step in range(STEPS):
            await self.step(step)
        for name in CONVERSATIONS:
            await self.join(name)

    async def step(self, step: int) -> None:
        choice = self.rng.random()
        name = self.rng.choice(CONVERSATIONS)
        if choice < 0.45:
            await asyncio.gather(*(self.ask("send", name, f"{step} {n}") for n in range(self.rng.randrange(1, 4))))
        elif choice < 0.65:
            if self.joined:
                await self.rejoin()
            await self.join(name)
        elif choice < 0.75 and name in self.joined:
            await self.ask("leave", name)
            self.joined.discard(name)
        elif choice < 0.85:
            await self.upgrade()
        elif choice < 0.93:
            joined = list(self.joined)
            await self.cut()
            for again in joined:
                await self.join(again)
        else:
            await asyncio.sleep(self.rng.random() / 100)

    async def rejoin(self) -> None:
        for name in list(self.joined):
            await self.ask("leave", name)
            self.joined.discard(name)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_client_can_rebuild_every_conversation(seed: int) -> None:
    """No event of a room is lost or out of order between join and leave, over both transports and an upgrade."""
    sio, stored = chat()
    rng = random.Random(seed)
    async with serving(sio) as url, client_of(url) as http:
        users = [User(http, random.Random(rng.random())) for _ in range(CLIENTS)]
        await asyncio.wait_for(asyncio.gather(*(user.live() for user in users)), 60)
        total = {name: len(messages) for name, messages in stored.items()}
        assert sum(total.values()) > CLIENTS * STEPS / 3
        for user in users:
            await until(lambda user=user: all(len(user.views[name]) == total[name] for name in total))  # type: ignore[misc]
            assert user.views == stored
            await user.leave()
