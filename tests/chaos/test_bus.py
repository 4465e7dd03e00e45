"""The bus between nodes, on a real engine that is cut off, frozen, slow, or killed and started again empty."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from socketserver.cluster.broker import BusUnusable
from socketserver.cluster.redis_broker import SILENT_S, RedisBroker

import pytest
from support.bus_nodes import KNOWN, Listener, acquainted
from support.ports import held_port
from support.redis_server import KINDS, RedisServer, binary, redis_server
from support.tcp_proxy import Proxy, proxy_to
from support.waiting import eventually

TESTS = Path(__file__).resolve().parent.parent
ENV = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(request.param, tmp_path) as server:
        yield server


@pytest.fixture
async def proxy(engine: RedisServer) -> AsyncIterator[Proxy]:
    """Between the first node and the engine."""
    async with proxy_to("127.0.0.1", engine.port) as made:
        yield made


@contextlib.asynccontextmanager
async def nodes(*urls: str) -> AsyncIterator[list[Listener]]:
    listeners = [Listener(f"n{number}", RedisBroker(url, "test", KNOWN)) for number, url in enumerate(urls)]
    try:
        for each in listeners:
            await each.open()
        await acquainted(*listeners)
        yield listeners
    finally:
        for each in listeners:
            await each.broker.close()


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}"


async def test_who_is_cut_off_goes_on_where_it_was(engine: RedisServer, proxy: Proxy) -> None:
    """What either side said meanwhile comes when the line is back: in order, once, and nothing was missed."""
    async with nodes(through(proxy), engine.url) as (one, two):
        proxy.cut()
        one.say(two.name, *range(1, 50))
        two.say(one.name, *range(1, 50))
        two.say(None, 50)
        await eventually("it knows", lambda: not one.broker.up)
        one.say(None, 50)
        proxy.heal()
        await eventually("all have come", lambda: 50 in one.heard("n1") and 50 in two.heard("n0"))
        assert one.heard("n1") == two.heard("n0") == list(range(1, 51))
        assert one.missed_from == two.missed_from == []
        await eventually("it knows", lambda: one.broker.up)
        assert two.broker.up


async def test_connections_that_die_again_and_again_lose_and_repeat_nothing(engine: RedisServer, proxy: Proxy) -> None:
    """Frames that were sent twice, as nobody knew whether the first had arrived, are handed out once."""
    async with nodes(through(proxy), engine.url) as (one, two):
        number = 0
        for turn in range(6):
            connects = one.broker.stats.connects
            proxy.swallow, proxy.swallow_times = b"XADD", turn % 2  # it is stored, and the answer is lost
            for _ in range(20):
                number += 1
                one.say(two.name if number % 2 else None, number)
                await asyncio.sleep(0)
            if turn % 2:
                await eventually("it is cut", lambda: not proxy.swallow_times)
            else:
                proxy.cut_once()
            await eventually("it is back", lambda connects=connects: one.broker.stats.connects > connects)  # type: ignore[misc]
        await eventually("all have come", lambda: number in two.heard("n0"))
        assert two.heard("n0") == list(range(1, number + 1))
        assert two.missed_from == []


async def test_an_engine_that_is_frozen_makes_nobody_wait(engine: RedisServer) -> None:
    """Publishing goes on, both know, and everything comes when it is awake: in order, once."""
    async with nodes(engine.url, engine.url) as (one, two):
        engine.freeze()
        one.say(two.name, *range(1, 30))
        await eventually("both know", lambda: not one.broker.up and not two.broker.up)
        one.say(None, *range(30, 60))
        engine.thaw()
        await eventually("all have come", lambda: 59 in two.heard("n0"))
        assert two.heard("n0") == list(range(1, 60))
        assert two.missed_from == []


async def test_who_was_frozen_itself_reads_first(engine: RedisServer) -> None:
    """A bug of a prototype: a process that was stopped for a while took the engine for dead when it went on, connected
    anew, and lost what was waiting."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.bus_child", engine.url, stdout=asyncio.subprocess.PIPE, cwd=TESTS.parent, env=ENV
    )
    assert child.stdout
    try:
        async with nodes(engine.url) as (one,):
            await eventually("the child is there", lambda: any(who == "child" for who, _ in one.beats))
            one.say("child", 1)
            assert await child.stdout.readline() == b"1\n"
            beats = len(one.beats)
            await eventually("beats go on", lambda: [who for who, _ in one.beats[beats:]][-2:] == ["child", "n0"])
            child.send_signal(signal.SIGSTOP)
            beats = len(one.beats)
            one.say("child", *range(2, 500), body=bytes(5_000))  # more than one read brings
            await eventually("longer than a silence", lambda: len(one.beats) > beats + SILENT_S + 1)
            one.say(None, 500)
            child.send_signal(signal.SIGCONT)
            for number in range(2, 501):
                assert await child.stdout.readline() == b"%d\n" % number
            one.say("child", -1)
            assert await child.stdout.readline() == b"connects 1\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def test_an_engine_that_comes_back_empty_is_told(engine: RedisServer) -> None:
    """What it had is lost, so both are told that something may be; then all is as before."""
    async with nodes(engine.url, engine.url) as (one, two):
        engine.kill()
        await eventually("both know", lambda: not one.broker.up and not two.broker.up)
        engine.start()
        await eventually("both are told", lambda: None in one.missed_from and None in two.missed_from)
        await eventually("both are back", lambda: one.broker.up and two.broker.up)
        one.say(two.name, 1)
        two.say(None, 1)
        await eventually("it came", lambda: 1 in two.heard("n0") and 1 in one.heard("n1"))


async def test_what_the_engine_no_longer_has_is_told_before_what_comes_after(engine: RedisServer, proxy: Proxy) -> None:
    """A node was cut off for longer than its stream is kept."""
    async with nodes(through(proxy), engine.url) as (one, two):
        proxy.cut()
        await eventually("it knows", lambda: not one.broker.up)
        two.say(one.name, 1)
        await eventually("it is stored", lambda: two.broker.stats.queued_bytes == 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        writer.write(b"XTRIM test:node:n0 MAXLEN 0\r\n")
        assert await reader.readline() == b":1\r\n"
        writer.close()
        await writer.wait_closed()
        two.say(one.name, 2)
        await eventually("it is stored", lambda: two.broker.stats.queued_bytes == 0)
        proxy.heal()
        await eventually("it came", lambda: 2 in one.heard("n1"))
        told = [each for each in one.told if each[0] != "connected"]
        assert told == [("missed", "n1"), ("n1", 2)]


async def test_a_slow_line_only_makes_late(engine: RedisServer, proxy: Proxy) -> None:
    """Answers that take their time lose nothing, and do not have it connect anew."""
    async with nodes(through(proxy), engine.url) as (one, two):
        connects = one.broker.stats.connects
        proxy.reply_delay_s = 0.2
        one.say(two.name, *range(1, 20))
        two.say(one.name, *range(1, 20))
        await eventually("all have come", lambda: 19 in one.heard("n1") and 19 in two.heard("n0"))
        beats = len(one.beats)
        await eventually("beats go on", lambda: len(one.beats) > beats + 2)
        assert one.heard("n1") == two.heard("n0") == list(range(1, 20))
        assert one.missed_from == two.missed_from == []
        assert one.broker.stats.connects == connects


async def test_an_engine_that_is_away_at_the_start_is_waited_for(tmp_path: Path) -> None:
    """The node starts all the same, and what it says meanwhile goes out later."""
    with held_port() as port:
        server = RedisServer(binary("valkey"), tmp_path, port)
        one = Listener("n0", RedisBroker(server.url, "test", KNOWN))
        await one.open()
        try:
            assert not one.broker.up
            assert one.say(None, 1)
            server.start()
            await eventually("it hears itself", lambda: one.broker.up)
            assert one.broker.stats.queued_bytes == 0
        finally:
            await one.broker.close()
            server.kill()


async def test_what_others_write_to_the_streams_is_left_alone(engine: RedisServer) -> None:
    """Somebody's own entry is counted and costs nothing."""
    async with nodes(engine.url, engine.url) as (one, two):
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        writer.write(b"XADD test:all * hello world\r\n")
        assert (await reader.readline()).startswith(b"$")
        writer.close()
        await writer.wait_closed()
        one.say(two.name, 1)
        await eventually("it came", lambda: 1 in two.heard("n0"))
        await eventually("it is counted", lambda: two.broker.stats.unreadable == 1)


@pytest.mark.parametrize(
    ("options", "url", "says"),
    [
        (("--requirepass", "right"), "redis://:wrong@127.0.0.1:{port}", "password"),
        (("--requirepass", "right"), "redis://127.0.0.1:{port}", "password"),
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "redis://127.0.0.1:{port}", "noeviction"),
        ((), "http://127.0.0.1:{port}", "address"),
    ],
)
async def test_what_somebody_has_to_mend(tmp_path: Path, options: tuple[str, ...], url: str, says: str) -> None:
    """Opening says what is wrong."""
    with redis_server("valkey", tmp_path, *options) as server:
        node = Listener("n0", RedisBroker(url.format(port=server.port), "test", KNOWN))
        with pytest.raises(BusUnusable, match=says):
            await node.open()


async def test_an_engine_that_is_too_old() -> None:
    """It would not know the commands."""
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b"redis_version:6.0.16\r\nrun_id:x\r\n"
        while data := await reader.read(4096):
            for _ in range(data.upper().count(b"SETINFO")):
                writer.write(b"+OK\r\n")
            if b"INFO\r\n" in data and b"SETINFO" not in data:
                writer.write(b"$%d\r\n%b\r\n" % (len(text), text))
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    node = Listener("n0", RedisBroker(f"redis://127.0.0.1:{port}", "test", KNOWN))
    with pytest.raises(BusUnusable, match=r"6\.0\.16"):
        await node.open()
    await gone.wait()
    server.close()
    await server.wait_closed()
