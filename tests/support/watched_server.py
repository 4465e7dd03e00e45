"""The server with a recorder of its longest turns (support/turns.py).

usage: WEBSOCKET_TEST_TURNS=FILE python tests/support/watched_server.py [arguments of python -m socketserver]

FILE gets a line for every turn that is too long, as soon as it is over, and one for the longest at the end: JSON.
Turns count from when the server listens: imports and the first collection of garbage are nobody's waiting.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import sys
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from socketserver import cli  # noqa: E402
from socketserver.stopping import Stop  # noqa: E402

from support.turns import LIMIT_S, Recorder, Turn  # noqa: E402


class _Asked(asyncio.Event):
    """What the server waits for once it has started."""

    async def wait(self) -> Literal[True]:
        file = Path(os.environ["WEBSOCKET_TEST_TURNS"])

        def write(line: object) -> None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")

        def tell(turn: Turn) -> None:
            write({"ms": round(turn.seconds * 1000), "turn": str(turn)})

        recorder = Recorder(asyncio.get_running_loop(), LIMIT_S, tell)
        recorder.start()
        atexit.register(lambda: write({"longest_ms": round(recorder.longest_s * 1000, 1)}))
        return await super().wait()


class _Stop(Stop):
    def __init__(self, within_s: float) -> None:
        super().__init__(within_s)
        self.asked = _Asked()


def watch() -> None:
    """Have the server of this process watched, if somebody wants to know."""
    if "WEBSOCKET_TEST_TURNS" in os.environ:
        vars(cli)["Stop"] = _Stop


if __name__ == "__main__":
    watch()
    sys.exit(cli.main())
