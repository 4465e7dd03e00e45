"""Starts the chat server and the built React example, prints a link for each of two users, and ends both on Ctrl-C.

DEMO_PORT is the server's port, APP_PORT the application's.
Exit status: 0 after Ctrl-C, 1 if a port is taken or one of the two ends by itself, 2 for a port that is none.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REACT = ROOT / "examples" / "react"
BUILT = REACT / "dist"
SERVER_PORT = 3001  # which the build has as its default
APP_PORT = 3000
LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))  # what a browser takes for localhost
PORTS_TRIED = 100
START_S = 20.0
STOP_S = 10.0


def main() -> int:
    try:
        server_port, app_port = chosen("DEMO_PORT", SERVER_PORT), chosen("APP_PORT", APP_PORT)
        if server_port == app_port:
            raise ValueError(f"DEMO_PORT and APP_PORT are both {app_port}")
    except ValueError as error:
        return said(error, 2)
    ports = {server_port, app_port}
    busy = []
    for name, port, what, who in (
        ("DEMO_PORT", server_port, "server", "another make run or make demo"),
        ("APP_PORT", app_port, "application", "an application of yours"),
    ):
        if taken(port):
            ports.add(another := free_after(port, ports))
            busy.append(
                f"port {port} for the {what} is taken, by {who} perhaps: end that, or make demo {name}={another}"
            )
    if busy:
        return max(said(line, 1) for line in busy)
    if not (BUILT / "index.html").exists():
        return said("the React example is not built; it needs Node.js 20 or later and `make demo`", 1)
    return asyncio.run(run(server_port, app_port))


def said(what: object, status: int) -> int:
    print(f"demo: {what}", file=sys.stderr)
    return status


def chosen(name: str, default: int) -> int:
    """The port that a variable names. Raises: ValueError."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"{name}={text} is no port")
    return int(text)


def taken(port: int) -> bool:
    """Whether somebody listens there, at one of the addresses of localhost, or holds the port."""
    for family, address in LOOPBACK:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                if probe.connect_ex((address, port)) == 0:
                    return True
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:  # a machine without IPv6 has no ::1
            if error.errno == errno.EADDRINUSE:
                return True
    return False


def free_after(port: int, but: set[int]) -> int:
    """A port above that one that is not taken; the next one if there is none nearby."""
    for each in range(port + 1, min(65536, port + PORTS_TRIED)):
        if each not in but and not taken(each):
            return each
    return port + 1


async def run(server_port: int, app_port: int) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    built = BUILT
    vite = ["node", "node_modules/vite/bin/vite.js"]
    if server_port != SERVER_PORT:
        built = ROOT / "build" / "demo"  # the server's address is a part of what is built
        building = await asyncio.create_subprocess_exec(
            *(*vite, "build", "--outDir", str(built), "--emptyOutDir", "--logLevel", "warn"),
            cwd=REACT,
            env={**os.environ, "VITE_WEBSOCKET_URL": f"http://localhost:{server_port}"},
        )
        if await building.wait() != 0:
            return 1
    origins = f"http://localhost:{app_port},http://127.0.0.1:{app_port}"
    server = [sys.executable, "-m", "socketserver", "--port", str(server_port), "--allowed-origins", origins]
    app = [*vite, "preview", "--outDir", str(built), "--port", str(app_port), "--logLevel", "warn"]
    # Sessions of their own: Ctrl-C comes here only, and the two are ended in order.
    processes = [
        await asyncio.create_subprocess_exec(*server, cwd=ROOT, start_new_session=True, env=environment()),
        await asyncio.create_subprocess_exec(*app, cwd=REACT, start_new_session=True),
    ]
    waits = [asyncio.create_task(process.wait()) for process in processes]
    asked = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(both_answer(server_port, app_port))
    try:
        await asyncio.wait([*waits, asked, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and ready.result():
            print("\n  Open both, in two tabs, press Start chatting, and let them talk (Ctrl-C ends):\n")
            print(f"    {link(app_port, 'alice')}\n    {link(app_port, 'bob')}\n", flush=True)
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


def link(port: int, user: str) -> str:
    return f"http://localhost:{port}/?user={user}"


def environment() -> dict[str, str]:
    """Without WEBSOCKET_… settings: the demo is the same for everybody."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKET_")}


async def both_answer(*ports: int) -> bool:
    """Wait until both listen. Returns: whether they do."""
    try:
        async with asyncio.timeout(START_S):
            for port in ports:
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
    sys.exit(main())
