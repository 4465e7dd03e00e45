"""Chromium and a server for the tests of the demo page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from browser.demokit import People, Server
from browser.visitors import WAIT_MS
from playwright.async_api import Browser, async_playwright, expect
from support.fixtures import node_process
from support.node import require

__all__ = ["node_process"]

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

StartServer = Callable[..., Awaitable[Server]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    require(None if CHROMIUM else "Chromium is not installed (there is no command chromium)")
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def start_server(chromium: Browser, tmp_path: Path) -> AsyncIterator[StartServer]:
    """Starts a server with an empty database and the flags given."""
    servers: list[Server] = []

    async def start(*flags: str) -> Server:
        server = Server(tmp_path, *flags)
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def server(start_server: StartServer) -> Server:
    """A server with the default settings."""
    return await start_server()


@pytest_asyncio.fixture(loop_scope="module")
async def people(chromium: Browser, server: Server) -> AsyncIterator[People]:
    """Those who use `server`."""
    everybody = People(chromium, server)
    yield everybody
    await everybody.leave()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server for all tests of a module, which are kept apart by their users' names."""
    server = Server(tmp_path_factory.mktemp("server"), "--messages-per-second", "0", "--events-per-second", "0")
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def guests(chromium: Browser, one_server: Server) -> AsyncIterator[People]:
    """Those who use `one_server`."""
    everybody = People(chromium, one_server)
    yield everybody
    await everybody.leave()
