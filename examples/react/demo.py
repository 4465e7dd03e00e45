"""Starts the chat server and the built React example, prints a link for each of two users, and ends both on Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REACT = ROOT / "examples" / "react"
SERVER_PORT = 3001  # which the build has as its default
APP_PORT = 3000
START_S = 20.0
STOP_S = 10.0


async def main() -> int:
    if not (REACT / "dist" / "index.html").exists():
        print("demo: the React example is not built; it needs Node.js 20 or later and `make demo`", file=sys.stderr)
        return 1
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    origins = f"http://localhost:{APP_PORT},http://127.0.0.1:{APP_PORT}"
    server = [sys.executable, "-m", "socketserver", "--port", str(SERVER_PORT), "--allowed-origins", origins]
    app = ["node", "node_modules/vite/bin/vite.js", "preview", "--port", str(APP_PORT), "--logLevel", "warn"]
    # Sessions of their own: Ctrl-C comes here only, and the two are ended in order.
    processes = [
        await asyncio.create_subprocess_exec(*server, cwd=ROOT, start_new_session=True, env=environment()),
        await asyncio.create_subprocess_exec(*app, cwd=REACT, start_new_session=True),
    ]
    waits = [asyncio.create_task(process.wait()) for process in processes]
    asked = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(both_answer())
    try:
        await asyncio.wait([*waits, asked, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and ready.result():
            print("\n  Open both, in two tabs, press Start chatting, and let them talk (Ctrl-C ends):\n")
            print(f"    {link('alice')}\n    {link('bob')}\n", flush=True)
            await asyncio.wait([*waits, asked], return_when=asyncio.FIRST_COMPLETED)
        return 0 if stop.is_set() else 1  # one of the two ended by itself, and has said why
    finally:
        ready.cancel()
        asked.cancel()
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.wait(waits, timeout=STOP_S)
        for process in processes:
            if process.returncode is None:
                process.kill()


def link(user: str) -> str:
    return f"http://localhost:{APP_PORT}/?user={user}"


def environment() -> dict[str, str]:
    """Without WEBSOCKET_… settings: the demo is the same for everybody."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKET_")}


async def both_answer() -> bool:
    """Wait until both listen. Returns: whether they do."""
    try:
        async with asyncio.timeout(START_S):
            for port in (SERVER_PORT, APP_PORT):
                while not await listens(port):
                    await asyncio.sleep(0.1)
    except TimeoutError:
        return False
    return True


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
