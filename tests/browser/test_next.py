"""A Next.js application that passes on the chat server's path: its development server and its production build."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Literal

import pytest
from browser.conftest import StartServer
from browser.visitors import WAIT_MS
from playwright.async_api import Browser, expect
from support.node import ROOT, require
from support.ports import held_port
from support.servers import token
from support.waiting import eventually
from support.wire import wire_to

APPLICATION: Final = ROOT / "tests" / "browser" / "next"
NEXT: Final = APPLICATION / "node_modules" / "next" / "dist" / "bin" / "next"
BUILD_S: Final = 180.0

Mode = Literal["dev", "start"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600), pytest.mark.thorough]


async def run(*arguments: str, deadline_s: float, **environment: str) -> None:
    """Run a program in the application's folder, and see that it ends well."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=APPLICATION,
        env={**os.environ, "NEXT_TELEMETRY_DISABLED": "1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(deadline_s):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def missing_next() -> str | None:
    """What is lacking, as a sentence; None if nothing is."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    return None if NEXT.is_file() else "Next.js is not installed; run make tests/browser/next/node_modules/.ready"


@contextlib.asynccontextmanager
async def application(mode: Mode, server_url: str, port: int, tmp_path: Path) -> AsyncIterator[str]:
    """Run the application. Yields its address."""
    environment = {
        "CHAT_SERVER_URL": server_url,
        "NEXT_TELEMETRY_DISABLED": "1",
        "NEXT_DIST_DIR": f".next-{mode}",
    }
    if mode == "start":
        await run("node", str(NEXT), "build", deadline_s=BUILD_S, **environment)
    log = tmp_path / "next.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *("node", str(NEXT), mode, "--port", str(port), "--hostname", "127.0.0.1"),
            cwd=APPLICATION,
            env={**os.environ, **environment},
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await eventually("it is ready", lambda: b"Ready in" in log.read_bytes(), deadline_s=BUILD_S)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@pytest.mark.parametrize("mode", ["dev", "start"])
async def test_a_rewrite(chromium: Browser, start_server: StartServer, mode: Mode, tmp_path: Path) -> None:
    """Next.js passes `/socket.io` on without its last slash, which the server answered with 404.

    Over each transport, with and without `addTrailingSlash`: a page connects, joins, sends, and hears of others too.
    """
    require(missing_next())
    with held_port() as port:  # Next.js listens on it beside the holder
        server = await start_server("--allowed-origins", f"http://127.0.0.1:{port}", "--sockets-per-user", "0")
    async with application(mode, server.url, port, tmp_path) as url, wire_to(server.url) as wire:
        ben = await wire.person("ben")

        async def visit(transports: str, slash: str) -> None:
            page = await chromium.new_page()
            try:
                user = f"{transports}-{slash}"
                await page.goto(
                    f"{url}/#token={token(user)}&transports={transports}&slash={slash}", timeout=BUILD_S * 1000
                )
                main = page.locator("main")
                await expect(main).to_have_attribute("data-status", "joined", timeout=4 * WAIT_MS)
                await expect(main).to_have_attribute("data-transport", transports.split("-")[-1], timeout=2 * WAIT_MS)
                await expect(page.locator("li")).to_have_text(["from Next.js"])
                conversation = await main.get_attribute("data-conversation")
                assert conversation is not None
                await ben.send(conversation, "from ben")
                await expect(page.locator("li")).to_have_text(["from Next.js", "from ben"])
            finally:
                await page.close()

        ways = itertools.product(("polling", "websocket", "polling-websocket"), ("yes", "no"))
        await asyncio.gather(*(visit(*way) for way in ways))
