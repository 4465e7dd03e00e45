"""A TCP proxy between a client and a server, in the test's own event loop, that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Proxy:
    """Passes bytes on, until told otherwise.

    Attributes:
        port: where it listens.
        refusing: new connections are closed at once. Set by `cut`, cleared by `heal`.
        reply_delay_s: replies are held back for so long.
        swallow: what a request contains whose reply is cut off, connection and all; None for no such thing.
        swallow_times: how often.
        faults: how often something was done to a connection.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.refusing = False
        self.reply_delay_s = 0.0
        self.swallow: bytes | None = None
        self.swallow_times = 0
        self.faults = 0
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        self.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self.refusing = True
        self.cut_once()

    def cut_once(self) -> None:
        """End every connection; new ones are welcome."""
        self.faults += len(self._writers)
        for writer in list(self._writers):
            writer.transport.abort()

    def heal(self) -> None:
        self.refusing = False
        self.reply_delay_s = 0.0
        self.swallow = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: one that is cancelled before it has begun closes nothing.
        if self.refusing:
            self.faults += 1
            writer.transport.abort()
            return
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

        task.add_done_callback(done)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await self._connect(reader, writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        self._writers.add(server_writer)
        marked = False  # the reply to what this connection asked last is to be cut off

        async def up() -> None:
            nonlocal marked
            while data := await reader.read(1 << 16):
                if self.swallow is not None and self.swallow in data and self.swallow_times > 0:
                    self.swallow_times -= 1
                    marked = True
                server_writer.write(data)
                await server_writer.drain()

        async def down() -> None:
            while data := await server_reader.read(1 << 16):
                if marked:
                    self.faults += 1
                    return
                if self.reply_delay_s:
                    self.faults += 1
                    await asyncio.sleep(self.reply_delay_s)
                writer.write(data)
                await writer.drain()

        pumps = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            server_writer.transport.abort()
            self._writers.discard(server_writer)


@contextlib.asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(host, port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
