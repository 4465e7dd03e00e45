"""Back-pressure both ways: clients that do not read, and clients that send faster than they are served."""

import asyncio
import contextlib
import gc
import time
import tracemalloc
from socketserver.realtime import AsyncServer
from typing import Any

import pytest
from support.engine import UNIT_S, Http, Stubborn, client_of, serving, until

MEBIBYTE = 1 << 20


@pytest.mark.parametrize("pongs", [False, True])
async def test_a_client_that_never_reads_is_ended_and_costs_the_others_nothing(pongs: bool) -> None:
    """10 000 messages of 1 KiB to its room: bounded memory, the others get all, its socket is freed."""
    sio = AsyncServer(ping_interval=1, ping_timeout=30, end_event=lambda reason: ("session_ended", {"code": reason}))
    reasons: list[tuple[str, str]] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append((sid, reason))

    async with serving(sio) as url, client_of(url) as http:
        stubborn = await Stubborn.connect(url)
        reader, reader_sid = await http.connected()
        for sid in (stubborn.sid, reader_sid):
            await sio.enter_room(sid, "room")
        got = 0

        async def read() -> None:
            nonlocal got
            while got < 10_000:
                packet = await reader.next()
                assert packet.startswith(f'42["m",{{"n":{got},')
                got += 1

        async def pong() -> None:
            while True:
                await stubborn.send("3")
                await asyncio.sleep(0.05)

        reading = asyncio.create_task(read())
        ponging = asyncio.create_task(pong()) if pongs else None
        tracemalloc.start()
        most = 0
        body = "x" * 1024
        for n in range(10_000):
            sio.emit_now("m", {"n": n, "body": body}, room="room")
            if n % 50 == 0:
                most = max(most, sio.stats()["outbox_bytes"])
                while n - got > 200:
                    await asyncio.sleep(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await asyncio.wait_for(reading, UNIT_S)
        assert reasons == [(stubborn.sid, "slow_consumer")]
        assert most < 2 * MEBIBYTE
        assert peak < 16 * MEBIBYTE
        await until(lambda: len(sio.eio.sessions) == 1)
        if ponging is not None:
            ponging.cancel()
        # its socket is freed: reading to the end finds an end
        with contextlib.suppress(ConnectionError):
            while await stubborn.read(1 << 20):
                pass
        stubborn.close()


async def test_a_client_that_answers_pings_but_takes_nothing_is_ended_before_the_bound() -> None:
    """What lies in the TCP buffer for a whole ping interval is not on its way."""
    sio = AsyncServer(ping_interval=0.2, ping_timeout=30)
    reasons: list[str] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    async with serving(sio) as url:
        stubborn = await Stubborn.connect(url)
        session = next(iter(sio.eio.sessions.values()))
        while not session.outbox.unsent:  # fill the kernel's buffers
            sio.emit_now("fill", "x" * 50_000)
            await asyncio.sleep(0)
        assert session.outbox.unsent < MEBIBYTE
        deadline = time.monotonic() + UNIT_S
        while not reasons and time.monotonic() < deadline:
            try:
                await stubborn.send("3")
            except ConnectionError:
                break
            await asyncio.sleep(0.05)
        await until(lambda: reasons == ["slow_consumer"])
        stubborn.close()


async def test_the_end_event_reaches_a_polling_client_that_was_too_slow_or_it_is_just_gone() -> None:
    """A polling client that does not fetch is ended at the same bound."""
    sio = AsyncServer(outbox_bytes=100_000)
    reasons: list[str] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        await http.post(sid, "40")
        for _ in range(20):
            sio.emit_now("m", "x" * 10_000)
        await until(lambda: reasons == ["slow_consumer"])
        assert (await http.poll(sid))[0] == 400


async def test_a_client_that_sends_faster_than_it_is_served_is_slowed_by_tcp() -> None:
    """Events in progress are bounded; the client's own writes stop; nothing is lost; pings do not end it."""
    sio = AsyncServer(ping_interval=0.2, ping_timeout=UNIT_S)
    gate = asyncio.Event()
    handled = 0

    @sio.event
    async def work(sid: str, number: int, body: str) -> None:
        nonlocal handled
        await gate.wait()
        assert number == handled
        handled += 1

    total = 4000
    async with serving(sio) as url:
        client = await Stubborn.connect(url)
        session = next(iter(sio.eio.sessions.values()))
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for number in range(total):
                await client.send(f'42["work",{number},"{"x" * 4000}"]')
                sent += 1

        async def answer_pings() -> None:
            while handled < total:
                if b"\x81\x012" in await client.read():
                    await client.send("3")

        flooding = asyncio.create_task(flood())
        await until(lambda: session.link is not None and session.link.plugged, "the server does not read any more")
        last = -1
        while sent != last:  # until the client's writes have stopped
            last = sent
            await asyncio.sleep(0.1)
        assert sent < total
        assert session.inbox.waiting_bytes < 2 * sio.eio.inbox_bytes
        session.heartbeat.timeout_s = 0.2
        await asyncio.sleep(0.5)  # longer than interval + timeout: the pong is behind what we do not read
        assert session.open
        session.heartbeat.timeout_s = UNIT_S
        gate.set()
        answering = asyncio.create_task(answer_pings())
        await asyncio.wait_for(flooding, UNIT_S)
        await until(lambda: handled == total)
        answering.cancel()
        client.close()


async def test_a_polling_client_that_sends_faster_than_it_is_served_waits_for_its_post() -> None:
    """The POST is answered when there is room again."""
    sio = AsyncServer()
    gate = asyncio.Event()
    handled: list[int] = []

    @sio.event
    async def work(sid: str, number: int) -> None:
        await gate.wait()
        handled.append(number)

    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        await http.post(sid, "40")
        post = asyncio.create_task(http.post(sid, "\x1e".join(f'42["work",{n}]' for n in range(1000))))
        await asyncio.sleep(0.1)
        assert not post.done()
        gate.set()
        assert await post == (200, "ok")
        await until(lambda: handled == list(range(1000)))


async def test_attachments_are_bounded_in_bytes() -> None:
    """A binary event may not gather more than four times the largest message."""
    sio = AsyncServer(max_http_buffer_size=100_000)
    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        places = ",".join(f'{{"_placeholder":true,"num":{n}}}' for n in range(10))
        await raw.send(f'4510-["m",{places}]', *[b"x" * 90_000] * 5)
        assert await raw.closed() == 1009


async def test_an_idle_connection_is_small_and_has_no_task_of_ours() -> None:
    """One connection's tasks are aiohttp's own: its reader's and its request's."""
    sio = AsyncServer()
    async with serving(sio) as url, client_of(url) as http:
        gc.collect()
        before = len(asyncio.all_tasks())
        raws: list[Any] = [await http.connected() for _ in range(20)]
        assert len(asyncio.all_tasks()) - before <= 2 * 20
        assert sio.stats()["tasks"] == 0
        assert isinstance(http, Http)
        for raw, _ in raws:
            await raw.socket.close()
