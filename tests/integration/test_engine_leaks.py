"""Nothing is left of clients that have gone, however they went."""

import asyncio
import gc
import random
import tracemalloc
from socketserver.realtime import AsyncServer
from typing import Any

import aiohttp
import pytest
from support.engine import Http, client_of, serving, until

ROUNDS = 5
CLIENTS = 400  # a hundred bytes that each left behind would show
ROOMS = 10_000


async def come_and_go(http: Http, sio: AsyncServer, rng: random.Random) -> None:
    """One client that leaves somewhere in the middle of something."""
    how = rng.randrange(10)
    if how == 0:
        await http.handshake()
        return
    if how in (1, 2):
        sid = await http.handshake()
        await http.post(sid, "40")
        if how == 1:
            poll = asyncio.create_task(http.poll(sid))
            await asyncio.sleep(0)
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)
        else:
            await http.post(sid, '42["work"]\x1e1')
        return
    if how == 3:
        sid = await http.handshake()
        raw = await http.websocket(f"&sid={sid}")
        await raw.send("2probe")
    elif how == 4:
        sid = await http.handshake()
        await http.post(sid, "40")
        raw = await http.websocket(f"&sid={sid}")
        await raw.send("2probe", "5", '42["work"]')
    elif how == 5:
        raw = await http.websocket()
        await raw.send("40")  # gone while it connects
    elif how == 6:
        raw = await http.websocket()
        await raw.send("40", "4nonsense")
    else:
        raw, sid = await http.connected()
        await raw.send('42["work"]', "421" + '["work"]')
        if how == 7:
            await sio.disconnect(sid)
        elif how == 8:
            await sio.close_transport(sid)
    await (raw.cut() if rng.random() < 0.5 else raw.socket.close())


def too_late(result: BaseException) -> bool:
    """Whether the session was over before its client upgraded or connected, as on a busy machine it may be."""
    return isinstance(result, aiohttp.WSServerHandshakeError) or result.args == (1000,)


@pytest.mark.thorough
@pytest.mark.timeout(360)  # it takes a core for half a minute, and a busy machine has not got one
async def test_clients_come_and_go_and_memory_returns() -> None:
    """Five times over: registries empty, no task left, memory on a plateau."""
    sio = AsyncServer(ping_interval=1.5, ping_timeout=2, connect_timeout=3, upgrade_timeout=3)
    connected = disconnected = 0

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        nonlocal connected
        await asyncio.sleep(0.001)
        await sio.enter_room(sid, "everybody")
        connected += 1

    @sio.event
    async def work(sid: str) -> dict[str, bool]:
        await sio.enter_room(sid, f"room of {sid}")
        sio.emit_now("worked", {"body": "x" * 500}, room="everybody")
        await asyncio.sleep(0)
        await sio.emit("asked", to=sid, callback=lambda *args: None)
        return {"ok": True}

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        nonlocal disconnected
        disconnected += 1
        if reason == "transport close":
            await asyncio.sleep(0)

    rng = random.Random(3)
    sizes = []
    async with serving(sio) as url:
        async with client_of(url) as http:
            await http.connected()  # warm up
        await until(lambda: not any(sio.stats().values()))
        tasks = len(asyncio.all_tasks())
        tracemalloc.start()
        for _ in range(ROUNDS):
            async with client_of(url) as http:
                for start in range(0, CLIENTS, 20):
                    going = [come_and_go(http, sio, rng) for _ in range(start, start + 20)]
                    for result in await asyncio.gather(*going, return_exceptions=True):
                        assert result is None or too_late(result), result
            await until(lambda: not any(sio.stats().values()), "every registry is empty")
            await until(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")
            assert connected == disconnected
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    print(f"{ROUNDS} rounds of {CLIENTS} clients; traced KiB after each: {[size // 1024 for size in sizes]}")
    assert connected > CLIENTS
    assert sizes[-1] < sizes[1] + 100_000, sizes


async def test_rooms_joined_and_left_leave_nothing() -> None:
    sio = AsyncServer()
    async with serving(sio) as url, client_of(url) as http:
        raw, sid = await http.connected()
        before = sio.stats()
        for _ in range(ROUNDS):
            for n in range(ROOMS):
                await sio.enter_room(sid, f"room {n}")
            assert sio.stats()["rooms"] == ROOMS
            for n in range(ROOMS // 2):
                await sio.leave_room(sid, f"room {n}")
            for n in range(ROOMS // 2, ROOMS):
                await sio.close_room(f"room {n}")
            assert sio.stats() == before
        for n in range(ROOMS):
            await sio.enter_room(sid, f"room {n}")
        await raw.socket.close()
        await until(lambda: not any(sio.stats().values()))


@pytest.mark.parametrize("rooms", [10, 20_000])
async def test_a_disconnect_looks_at_its_own_rooms_only(rooms: int) -> None:
    """Counted in steps of the manager, not in time: the cost does not depend on the rooms of others."""
    sio = AsyncServer()
    manager = sio.manager
    async with serving(sio) as url, client_of(url) as http:
        _, other = await http.connected()
        raw, sid = await http.connected()
        for n in range(rooms):
            await sio.enter_room(other, f"room {n}")
        await sio.enter_room(sid, "mine")
        looked: list[Any] = []

        class Watched(dict[Any, Any]):
            def __getitem__(self, key: Any) -> Any:
                looked.append(key)
                return super().__getitem__(key)

            def __iter__(self) -> Any:
                raise AssertionError("walks through all rooms")

            items = values = keys = __iter__

        space = manager.namespaces["/"]
        space.rooms = Watched(space.rooms)
        await raw.socket.close()
        await until(lambda: manager.client(sid, "/") is None)
        assert looked == ["mine"]
        space.rooms = dict(dict.items(space.rooms))
