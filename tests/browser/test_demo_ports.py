"""`make demo` on a machine where others listen too: the program that it starts, in a copy of the React example."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from browser.reactkit import BUILD_S, EXAMPLE, missing_build_tools
from support.node import require
from support.pages import ROOT

NODE_MODULES: Final = "node_modules"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """demo.py of a checkout of its own, whose database is its own too."""
    react = tmp_path / "examples" / "react"
    shutil.copytree(EXAMPLE, react, ignore=shutil.ignore_patterns(NODE_MODULES, "dist", "__pycache__"))
    (react / NODE_MODULES).symlink_to(EXAMPLE / NODE_MODULES)
    (react / "dist").mkdir()
    (react / "dist" / "index.html").write_text("built for the usual port")
    (react.parent / "shared").symlink_to(EXAMPLE.parent / "shared")
    (tmp_path / "socketserver").symlink_to(ROOT / "socketserver")
    return react / "demo.py"


async def started(program: Path, **variables: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def refused(program: Path, **variables: object) -> tuple[int | None, list[str]]:
    """The exit status and the lines on standard error of a demo that does not start."""
    process = await started(program, **variables)
    async with asyncio.timeout(BUILD_S):
        out, err = await process.communicate()
    assert out == b""
    return process.returncode, err.decode().splitlines()


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    """Somebody on a free port of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as somebody:
        somebody.bind((address, 0))
        somebody.listen()
        yield somebody.getsockname()[1]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def test_busy_ports_are_said_first(program: Path) -> None:
    """A server on 3001 made it print the links first, and an application on 3000 a stack trace of Node's."""
    with listening() as server, listening() as app:
        status, lines = await refused(program, DEMO_PORT=server, APP_PORT=app)
    assert (status, len(lines)) == (1, 2)
    others: set[int] = set()
    for line, port, what, name in zip(
        lines, (server, app), ("server", "application"), ("DEMO_PORT", "APP_PORT"), strict=True
    ):
        found = re.fullmatch(
            rf"demo: port {port} for the {what} is taken, by .* perhaps: .* make demo {name}=(\d+)", line
        )
        assert found, line
        others.add(int(found[1]))
    assert len(others - {server, app}) == 2


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
async def test_all_addresses_of_localhost_count(program: Path, address: str) -> None:
    """A browser asks ::1 first, so an application there would get what was meant for the demo's."""
    [free] = free_ports(1)
    try:
        with listening(address) as app:
            status, lines = await refused(program, DEMO_PORT=free, APP_PORT=app)
    except OSError:
        pytest.skip(f"this machine has no {address}")
    assert (status, len(lines)) == (1, 1)
    assert f"demo: port {app} for the application is taken" in lines[0]


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1", "３０００"])
async def test_what_is_no_port_is_said(program: Path, value: str) -> None:
    """With status 2, as the server does for settings that cannot be used."""
    assert await refused(program, APP_PORT=value) == (2, [f"demo: APP_PORT={value} is no port"])


async def test_one_port_is_not_enough_for_two(program: Path) -> None:
    """Both on one port."""
    assert await refused(program, APP_PORT=4000, DEMO_PORT=4000) == (2, ["demo: DEMO_PORT and APP_PORT are both 4000"])


async def test_it_runs_on_other_ports(program: Path) -> None:
    """The application is built for the server's port, the server lets its origin in, and SIGINT ends both."""
    require(missing_build_tools())
    server, app = free_ports(2)
    process = await started(program, DEMO_PORT=server, APP_PORT=app)
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(BUILD_S):
            while "?user=bob" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line.decode()
        assert f"http://localhost:{app}/?user=alice\n" in said
        origin = f"http://localhost:{app}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{app}/") as answer:
                [script] = re.findall(r'src="(/assets/[^"]+\.js)"', await answer.text())
            async with session.get(f"http://127.0.0.1:{app}{script}") as answer:
                assert f"http://localhost:{server}" in await answer.text()
            url = f"http://127.0.0.1:{server}/session"
            async with session.post(url, json={"user": "ann"}, headers={"Origin": origin}) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(BUILD_S):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
