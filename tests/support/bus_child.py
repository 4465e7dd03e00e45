"""A node in a process of its own, that prints what it hears: its tests stop it and let it go on.

python -m support.bus_child URL
"""

from __future__ import annotations

import asyncio
import sys
from socketserver.cluster.frames import Event
from socketserver.cluster.redis_broker import RedisBroker

from .bus_nodes import KNOWN, Listener


class Printing(Listener):
    """Prints the numbers that come, and what was missed; -1 ends it."""

    def __init__(self, url: str) -> None:
        super().__init__("child", RedisBroker(url, "test", KNOWN))
        self.ended = asyncio.Event()
        self._known: set[str] = set()

    def received(self, sender: str, event: Event) -> None:
        number = event.head.get("id")
        if number == -1:
            print("connects", self.broker.stats.connects, flush=True)
            self.ended.set()
        elif number is not None:
            print(number, flush=True)

    def missed(self, sender: str | None) -> None:
        if sender in self._known:  # whoever was there before is missed once
            print("missed", sender, flush=True)
        self._known.add(str(sender))


async def main() -> None:
    node = Printing(sys.argv[1])
    await node.open()
    await node.ended.wait()
    await node.broker.close()


if __name__ == "__main__":
    asyncio.run(main())
