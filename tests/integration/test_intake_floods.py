"""Floods of every kind of frame and packet, at, under and over what a client may send, over both transports."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from socketserver.realtime import Allowance, AsyncServer, IntakeLimits
from typing import Any

import pytest
from support.engine import PATIENT, UNIT_S, Http, Stubborn, client_of, masked, serving, until
from support.servers import ServerProcess, token
from support.wire import WireClient

TIGHT = IntakeLimits(user=Allowance(20_000, 400_000), turn_s=0.01, flooding_s=0.2)


def control(opcode: int, data: bytes = b"") -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(data)]) + b"\0\0\0\0" + data


FRAMES = {
    "pings": control(9),
    "pongs": control(10, b"x" * 100),
    "noops": masked("6"),
    "unasked pongs of Engine.IO": masked("3"),
    "acks that nobody waits for": masked("430[]"),
    "events without a handler": masked('42["nothing",{}]'),
    "lone surrogates": masked('42["nothing","' + "\\ud800" * 2000 + '"]'),
    "large events": masked('42["nothing","' + "x" * 30_000 + '"]'),
}


def server(limits: IntakeLimits = TIGHT) -> AsyncServer:
    return AsyncServer(
        **PATIENT, intake_limits=limits, end_event=lambda reason: ("session_ended", {"code": reason}), namespaces="*"
    )


async def told_and_closed(client: Stubborn) -> bytes:
    """Read until the server closes. Returns all that it said."""
    try:
        while await client.read():
            pass
    except ConnectionError:
        pass
    client.close()
    return client.buffer


async def write_on(client: Stubborn, frames: bytes) -> None:
    try:
        while True:
            await client.write(frames)
    except OSError:
        return


@pytest.mark.parametrize("kind", list(FRAMES))
async def test_whoever_sends_on_and_on_is_ended_whatever_it_sends(kind: str) -> None:
    """No rate counted frames that reach no handler: a megabyte a second of PINGs delayed everybody by six seconds."""
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        bystander, _ = await http.connected()
        flooder = await Stubborn.connect(url)
        writing = asyncio.create_task(write_on(flooder, FRAMES[kind] * (1 + 60_000 // len(FRAMES[kind]))))
        said = await told_and_closed(flooder)
        await asyncio.wait_for(writing, UNIT_S)
        assert b'42["session_ended",{"code":"flooding"}]' in said
        assert b"\x88\x02" + (1008).to_bytes(2, "big") in said
        assert sio.eio.intake.flooded == 1
        assert sio.eio.intake.paused
        await bystander.send("421" + '["nothing"]')
        assert len(sio.eio.sessions) == 1


async def test_empty_fragments_count_though_no_message_ever_comes_of_them() -> None:
    """The parser keeps them to itself: only the bytes can tell."""
    sio = server(IntakeLimits(user=Allowance(20_000, 400_000), flooding_s=0.2))
    async with serving(sio) as url:
        flooder = await Stubborn.connect(url)
        await flooder.write(b"\x01\x81\0\0\0\0" + b"4")
        writing = asyncio.create_task(write_on(flooder, b"\x00\x80\0\0\0\0" * 10_000))
        assert b'"flooding"' in await told_and_closed(flooder)
        await asyncio.wait_for(writing, UNIT_S)


async def counting(sio: AsyncServer) -> list[int]:
    seen: list[int] = []

    @sio.event
    async def count(sid: str, number: int) -> int:
        seen.append(number)
        return number

    return seen


@pytest.mark.parametrize("burst", [50, 1000])
async def test_a_busy_client_is_not_touched_over_a_websocket(burst: int) -> None:
    """As many events at once as an application has that was offline: all handled, acked, in order."""
    sio = server(IntakeLimits(user=Allowance(1 << 20, 4 << 20), guest=Allowance(1 << 17, 2 << 20)))
    seen = await counting(sio)
    async with serving(sio) as url:
        client = await Stubborn.connect(url)
        await client.write(b"".join(masked(f'42{number}["count",{number}]') for number in range(burst)))
        while f"43{burst - 1}[{burst - 1}]".encode() not in client.buffer:
            assert await client.read()
        assert seen == list(range(burst))
        assert not sio.eio.intake.paused
        client.close()
        await until(lambda: not sio.eio.sessions)


async def test_what_a_client_sent_before_it_closed_is_handled_though_it_had_to_wait() -> None:
    """The rest of a burst is held back for another turn: its sender's end must not overtake it."""
    sio = server(IntakeLimits(user=Allowance(200_000, 200_000), flooding_s=0))
    seen = await counting(sio)
    async with serving(sio) as url:
        client = await Stubborn.connect(url)
        await client.write(b"".join(masked(f'42["count",{number}]') for number in range(300)))
        client.close()
        await until(lambda: len(seen) == 300)
        assert seen == list(range(300))
        await until(lambda: not sio.eio.sessions)
    assert sio.eio.intake.paused


@pytest.mark.parametrize("burst", [50, 1000])
async def test_a_busy_client_is_not_touched_over_polling(burst: int) -> None:
    """The same in one POST: there are as many packets in it as the client has."""
    sio = server(IntakeLimits(user=Allowance(1 << 20, 4 << 20), guest=Allowance(1 << 17, 2 << 20)))
    seen = await counting(sio)
    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        await http.post(sid, "40")
        body = "\x1e".join(f'42["count",{number}]' for number in range(burst))
        assert await http.post(sid, body) == (200, "ok")
        await until(lambda: len(seen) == burst)
        assert seen == list(range(burst))
        assert not sio.eio.intake.paused
        await http.post(sid, "1")


async def test_thousands_of_packets_in_one_post_are_charged_and_end_their_session() -> None:
    """65 KB held the event loop for 55 ms, time after time, and no rate counted it."""
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        await http.post(sid, "40")
        status, text = await http.post(sid, "\x1e".join(["41"] * 20_000))
        assert (status, json.loads(text)["code"]) == (429, 3)
        assert sio.eio.intake.flooded == 1
        assert (await http.poll(sid))[1].startswith('42["session_ended",{"code":"flooding"}') or not sio.eio.sessions


async def test_a_compressed_post_is_refused_unread() -> None:
    """102 bytes unpacked to 21 000 packets."""
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        body = gzip.compress(b"\x1e".join([b"41"] * 21_000))
        headers = {"Content-Encoding": "gzip"}
        status, text = await http.request("POST", f"EIO=4&transport=polling&sid={sid}", data=body, headers=headers)
        assert status == 415
        assert "Content-Encoding" in json.loads(text)["message"]
        assert not sio.eio.sessions
        sid = await http.handshake()
        headers = {"Content-Encoding": "Identity"}
        query = f"EIO=4&transport=polling&sid={sid}"
        assert await http.request("POST", query, data="40", headers=headers) == (200, "ok")


async def test_the_inbox_is_bounded_while_a_post_is_taken_apart() -> None:
    """It was looked at after the last packet only: one POST held megabytes while a handler hung."""
    sio = AsyncServer(**PATIENT, inbox_bytes=8192)
    gate = asyncio.Event()
    handled = 0

    @sio.event
    async def work(sid: str) -> None:
        nonlocal handled
        await gate.wait()
        handled += 1

    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        await http.post(sid, "40")
        posting = asyncio.create_task(http.post(sid, "\x1e".join(['42["work"]'] * 500)))
        session = sio.eio.sessions[sid]
        await until(lambda: session.inbox.crowded)
        assert session.inbox.waiting_bytes <= 8192 + 1024 + 16
        gate.set()
        assert await asyncio.wait_for(posting, UNIT_S) == (200, "ok")
        await until(lambda: handled == 500)
        await http.post(sid, "1")


async def test_a_client_that_is_not_read_from_is_not_ended_for_its_pongs() -> None:
    """They lie behind what it may not send yet."""
    limits = IntakeLimits(user=Allowance(20_000, 50_000), flooding_s=0)
    sio = AsyncServer(ping_interval=0.2, ping_timeout=0.3, intake_limits=limits)
    async with serving(sio) as url:
        client = await Stubborn.connect(url)
        await client.write(masked("6") * 90 + masked("3") * 3)
        session = next(iter(sio.eio.sessions.values()))
        await until(lambda: session.link is not None and session.link.unread)
        assert session.open
        await until(lambda: session.link is not None and not session.link.unread)
        assert session.open
        client.close()
        await until(lambda: not sio.eio.sessions)


async def test_what_a_message_inflates_to_counts() -> None:
    """With permessage-deflate 11 KB/s cost half a core."""
    sio = AsyncServer(
        **PATIENT,
        websocket_compression=True,
        intake_limits=TIGHT,
        end_event=lambda reason: ("session_ended", {"code": reason}),
    )

    async def flood(send: Callable[[str], Awaitable[None]]) -> None:
        while sio.eio.sessions:
            await send('42["nothing","' + "x" * 100_000 + '"]')

    async with serving(sio) as url, client_of(url) as http:
        raw = await http.websocket(compress=15)
        await raw.send("40")
        await raw.next()
        flooding = asyncio.create_task(flood(raw.socket.send_str))
        frames = []
        while not isinstance(frame := await raw.next(), int):
            frames.append(frame)
        assert frames[-1] == '42["session_ended",{"code":"flooding"}]'
        assert frame == 1008
        await asyncio.gather(flooding, return_exceptions=True)


async def test_without_limits_nothing_is_weighed() -> None:
    """The parser stands where aiohttp has put it: not a call more per frame."""
    sio = AsyncServer(**PATIENT, intake_limits=IntakeLimits(Allowance(0, 1), None, 0))
    seen = await counting(sio)
    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        (session,) = sio.eio.sessions.values()
        assert session.link is not None
        assert session.link.tap is None
        await raw.send('42["count",1]')
        await until(lambda: seen == [1])
        await raw.cut()


@pytest.mark.thorough
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_flood_ends_and_a_user_is_answered_with_either_loop(loop: str, tmp_path: Path) -> None:
    """uvloop reads a socket again and again within one turn; asyncio does not."""
    flooders = 20
    process = ServerProcess(
        tmp_path / "chat.db",
        guest_bytes_per_second=20_000,
        guest_burst_bytes=100_000,
        flooding_s=0.5,
        connects_per_minute_address=0,
        failed_connects_per_minute_address=0,
    )
    if loop == "asyncio":
        start = "import sys; sys.modules['uvloop'] = None; from socketserver.cli import main; sys.exit(main())"
        process.program = ("-c", start)
    else:
        pytest.importorskip("uvloop")
    await process.start()
    try:
        async with client_of(process.url) as http:
            user = WireClient("alice", await connected(http, token("alice")))
            clients = [await Stubborn.connect(process.url) for _ in range(flooders)]
            floods = [asyncio.create_task(write_on(client, FRAMES["pings"] * 20_000)) for client in clients]
            ends = [asyncio.create_task(told_and_closed(client)) for client in clients]
            answered = 0
            while not all(end.done() for end in ends):
                ack = await user.emit("list_conversations", {})
                assert ack["ok"] or ack["error"]["code"] == "rate_limited"
                answered += 1
                await asyncio.sleep(0.1)
            assert answered
            assert all(b'"code":"flooding"' in end.result() for end in ends)
            await asyncio.gather(*floods)
            await user.close()
    finally:
        await process.stop()


async def connected(http: Http, auth: str) -> Any:
    raw = await http.websocket()
    await raw.send("40" + json.dumps({"token": auth}))
    assert str(await raw.next()).startswith("40")
    return raw.socket
