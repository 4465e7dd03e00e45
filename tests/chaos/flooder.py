"""Handshakes from one address as fast as they are answered, or as a rate says; a process of its own.

usage: python flooder.py PORT ADDRESS COUNT SECONDS   (0 seconds: as fast as possible)
Prints one JSON object: how many answers of which status there were, and how long it took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

CONNECTIONS = 20
REQUEST = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: flooder\r\n\r\n"


async def knock(port: int, address: str, share: int, seconds: float, statuses: Counter[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    started_s = time.monotonic()
    for number in range(share):
        if seconds:
            due_s = started_s + number * seconds / share
            if (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
        writer.write(REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        statuses[head.split()[1]] += 1
    writer.close()


async def main(port: int, address: str, count: int, seconds: float) -> None:
    statuses: Counter[str] = Counter()
    started_s = time.monotonic()
    share = count // CONNECTIONS
    await asyncio.gather(*(knock(port, address, share, seconds, statuses) for _ in range(CONNECTIONS)))
    print(json.dumps({"statuses": statuses, "seconds": round(time.monotonic() - started_s, 2)}))


asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
