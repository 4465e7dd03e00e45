"""TCP proxies that treat a client badly: small segments, upgrades that are killed or never answered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

SEGMENT_BYTES = 1400


class Proxy:
    """What a proxy has seen.

    Attributes:
        polls: GET requests over polling.
        upgrades: websocket handshakes.
    """

    def __init__(self) -> None:
        self.url = ""
        self.polls = 0
        self.upgrades = 0


@asynccontextmanager
async def proxy(url: str, *, segments: bool = False, upgrades: str = "pass") -> AsyncIterator[Proxy]:
    """Yield a proxy in front of `url`.

    Args:
        segments: forward at most 1 400 bytes at a time, each in a write of its own.
        upgrades: "pass", "kill" (close the connection of a websocket handshake) or "stall" (pass the request on, and
            never an answer).
    """
    target = urlsplit(url)
    seen = Proxy()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inbound: bool, stalled: list[bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if inbound:
                    seen.polls += data.count(b"GET /socket.io/?") if b"transport=polling" in data else 0
                    if b"pgrade: websocket" in data:
                        seen.upgrades += 1
                        if upgrades == "kill":
                            break
                        stalled[0] = upgrades == "stall"
                elif stalled[0]:
                    continue
                size = SEGMENT_BYTES if segments else len(data)
                for start in range(0, len(data), size):
                    writer.write(data[start : start + size])
                    await writer.drain()
                    if segments:
                        await asyncio.sleep(0)
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(target.hostname, target.port)
            stalled = [False]
            both = [
                asyncio.create_task(pump(reader, upstream_writer, True, stalled)),
                asyncio.create_task(pump(upstream_reader, writer, False, stalled)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pumping in both:
                    pumping.cancel()
                await asyncio.gather(*both, return_exceptions=True)
                writer.close()
                upstream_writer.close()
        except OSError:
            writer.close()
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
