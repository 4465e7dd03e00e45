"""The bus on Redis or Valkey, 6.2 or later: a stream per node, and one for all.

Streams and not publish/subscribe: whoever was cut off for a moment goes on where it was. Each node has two connections,
one that waits for what comes and one that sends; what came of a command that a connection died over is not known, so
frames are sent again, and their numbers tell the repeats. What the numbers cannot tell, that another engine answers
than before, its run id does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from .broker import BusStats, BusUnusable, Receiver
from .exchange import QUEUE_BYTES, Exchange
from .frames import Target
from .members import BEAT_S

log = logging.getLogger(__name__)

OLDEST_VERSION: Final = (6, 2)  # XADD with NOMKSTREAM
STREAM_FRAMES: Final = 1_000  # that a stream keeps, about; a frame has 16 KiB at the most, unless one event is larger
INBOX_KEPT_S: Final = 60  # without a beat of its owner
SHARED_KEPT_S: Final = 600  # without a beat of anybody
READ_S: Final = 1.0
SILENT_S: Final = 3.0  # own beats that do not come back for so long: connect anew
ANSWER_S: Final = 3.0  # how long connecting may take
PAUSE_S: Final = (0.05, 2.0)
LOOK_S: Final = 0.25
CLOSE_S: Final = 2.0


class RedisBroker:
    """A Broker on an engine at `url` (redis://, rediss://, unix://).

    Args:
        cluster: the name of the cluster, the first part of all keys: several can share an engine.
        known: the events that are handed out, with their newest versions.
        queue_bytes: how much may wait to be sent.
    """

    def __init__(self, url: str, cluster: str, known: Mapping[str, int], *, queue_bytes: int = QUEUE_BYTES) -> None:
        self._url = url
        self._cluster = cluster
        self._known = known
        self._queue_bytes = queue_bytes
        self._exchange: Exchange | None = None
        self._pool: ConnectionPool | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting = asyncio.Event()  # something is to be sent
        self._idle = asyncio.Event()  # everything is with the engine
        self._unsent: list[tuple[bytes, ...]] = []
        self._run_id: str | None = None
        self._cursors: dict[bytes, bytes] = {}
        self._connected_now = False
        self._heard = False  # one's own beat has come back since the last look

    @property
    def up(self) -> bool:
        return self._exchange is not None and self._exchange.up

    @property
    def stats(self) -> BusStats:
        return self._own.stats

    async def open(self, node: str, receiver: Receiver) -> None:
        self._exchange = Exchange(node, receiver, self._known, queue_bytes=self._queue_bytes)
        try:
            # The connections have no time limit of their own: what is late is judged in one place, `_watch`.
            # driver_info: else each connection reads files, to find out the library's version.
            self._pool = ConnectionPool.from_url(
                self._url, protocol=2, socket_timeout=None, decode_responses=False, driver_info=None
            )
        except ValueError as error:
            raise BusUnusable(f"the address of the bus cannot be used: {error}") from error
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with self._connected() as connection:
                await self._examine(connection)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is None:
            return
        if self._connected_now:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def publish(self, target: Target, head: Mapping[str, Any], body: bytes = b"") -> bool:
        fits = self._own.publish(target, head, body)
        self._wake()
        return fits

    def skip(self, target: Target) -> None:
        self._own.skip(target)

    def forget(self, node: str) -> None:
        self._own.forget(node)

    @property
    def _own(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError("the bus is not open")
        return self._exchange

    def _key(self, target: Target) -> bytes:
        return f"{self._cluster}:all".encode() if target is None else f"{self._cluster}:node:{target}".encode()

    async def _run(self) -> None:
        """Be connected, for ever."""
        shortest_s, longest_s = PAUSE_S
        pause_s = shortest_s
        while True:
            started_s = time.monotonic()
            try:
                await self._session()
            except (RedisError, OSError, TimeoutError, BusUnusable) as error:
                log.warning("the bus is away: %s", error or type(error).__name__)
            except Exception:
                log.exception("the bus failed")
            self._own.connected(False)
            if time.monotonic() - started_s > longest_s:
                pause_s = shortest_s
            await asyncio.sleep(pause_s * (0.5 + random.random() / 2))  # noqa: S311  # spreads the nodes, hides nothing
            pause_s = min(longest_s, 2 * pause_s)

    @contextlib.asynccontextmanager
    async def _connected(self) -> Any:
        """A connection of its own. Raises: what the engine says, or TimeoutError; BusUnusable for a wrong password."""
        assert self._pool is not None
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(ANSWER_S):
                await connection.connect()  # type: ignore[no-untyped-call]
            yield connection
        except (AuthenticationError, NoPermissionError) as error:
            raise BusUnusable(f"the bus does not take the password or the user: {error}") from error
        finally:
            await connection.disconnect(nowait=True)

    async def _session(self) -> None:
        """Connect, and send and read until that ends. Raises: why it ended."""
        async with self._connected() as reading, self._connected() as sending:
            async with asyncio.timeout(ANSWER_S):
                await self._begin(sending)
            self.stats.connects += 1
            self._connected_now = True
            self._beat()
            tasks = [asyncio.create_task(each) for each in (self._read(reading), self._send(sending), self._watch())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                self._connected_now = False
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _examine(self, connection: AbstractConnection) -> str:
        """Whether the engine is of use. Returns: its run id. Raises: BusUnusable."""
        found = _info(await _ask(connection, "INFO"))
        version = found.get("redis_version", "0")
        if tuple(map(int, version.split(".")[:2])) < OLDEST_VERSION:
            raise BusUnusable(f"the bus has version {version}; it takes Redis or Valkey 6.2 or later")
        policy = found.get("maxmemory_policy", "noeviction")
        if found.get("maxmemory", "0") != "0" and policy != "noeviction":
            raise BusUnusable(
                f"the bus may throw away what nodes have not read yet: set maxmemory-policy to noeviction, not {policy}"
            )
        return found.get("run_id", "")

    async def _begin(self, connection: AbstractConnection) -> None:
        """Find out where to read on, and make one's own stream."""
        run_id = await self._examine(connection)
        shared, inbox = self._key(None), self._key(self._own.node)
        if self._run_id is None:
            newest = await _ask(connection, "XREVRANGE", shared, "+", "-", "COUNT", 1)
            self._cursors = {inbox: b"0-0", shared: newest[0][0] if newest else b"0-0"}
        elif run_id != self._run_id:
            self._cursors = {inbox: b"0-0", shared: b"0-0"}
            self._own.cut_off()
        self._run_id = run_id
        # The others write to streams that exist only, so that what is written to the dead does not stay.
        with contextlib.suppress(ResponseError):  # it is there already
            await _ask(connection, "XGROUP", "CREATE", inbox, "owner", "$", "MKSTREAM")
        await _ask(connection, "EXPIRE", inbox, INBOX_KEPT_S)

    async def _read(self, connection: AbstractConnection) -> None:
        """Hand out what comes, of both streams as of one moment."""
        shared = self._key(None)
        while True:
            command = ("XREAD", "BLOCK", int(READ_S * 1000), "STREAMS", *self._cursors, *self._cursors.values())
            found = await _ask(connection, *command)
            entries = []
            for key, rows in sorted(found or (), key=lambda stream: bool(stream[0] == shared)):
                entries += [(fields, key == shared) for _, fields in rows if fields is not None]
                self._cursors[key] = rows[-1][0]
            if entries:
                before_s = self._own.heard_s
                self._own.read(entries, time.monotonic())
                self._heard = self._heard or self._own.heard_s != before_s

    async def _send(self, connection: AbstractConnection) -> None:
        """Send what is put, one write for each turn of the loop; first what the connection before was not told of."""
        while True:
            if not self._unsent:
                await self._waiting.wait()
                self._waiting.clear()
                self._unsent = [self._command(each.target, each.encoded()) for each in self._own.take()]
                if not self._unsent:
                    continue
            expiries = [
                ("EXPIRE", self._key(self._own.node), INBOX_KEPT_S),
                ("EXPIRE", self._key(None), SHARED_KEPT_S),
            ]
            commands = [*self._unsent, *expiries]
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            for _ in commands:
                await connection.read_response()
            self._unsent = []
            self._own.sent()
            if not self._waiting.is_set():
                self._idle.set()

    def _wake(self) -> None:
        self._idle.clear()
        self._waiting.set()

    def _command(self, target: Target, fields: list[bytes]) -> tuple[Any, ...]:
        exists = () if target is None else (b"NOMKSTREAM",)
        return (b"XADD", self._key(target), *exists, b"MAXLEN", b"~", STREAM_FRAMES, b"*", *fields)

    def _beat(self) -> None:
        self._own.beat(time.monotonic())
        self._wake()

    async def _watch(self) -> None:
        """Beat, and end the session when one's own beats do not come back.

        Only time in which this process ran counts, by a look at a time: who was frozen itself finds everybody silent,
        and reads first.
        """
        silent_s, beat_s = 0.0, 0.0
        before_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            passed_s = min(now_s - before_s, 2 * LOOK_S)
            before_s = now_s
            beat_s += passed_s
            silent_s = 0.0 if self._heard else silent_s + passed_s
            self._heard = False
            if silent_s > SILENT_S:
                raise TimeoutError("one's own beats do not come back")
            self._own.judge(now_s)
            if beat_s >= BEAT_S:
                beat_s = 0.0
                self._beat()


async def _ask(connection: AbstractConnection, *command: Any) -> Any:
    await connection.send_packed_command(connection.pack_command(*command), check_health=False)
    return await connection.read_response()


def _lines(text: bytes) -> Iterator[tuple[str, str]]:
    for line in text.decode(errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name, value


def _info(answer: bytes) -> dict[str, str]:
    return dict(_lines(answer))
