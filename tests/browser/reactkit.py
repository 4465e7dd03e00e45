"""What the tests of the React example use: the app built and served, and a person in front of it.

No sleeps: every wait is for a condition, with a deadline.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from browser.demokit import ROOT, Server
from browser.visitors import WAIT_MS, Visitor, Visitors
from playwright.async_api import Browser, expect
from support.node import require

EXAMPLE: Final = ROOT / "examples" / "react"
AXE: Final = EXAMPLE / "node_modules" / "axe-core" / "axe.min.js"
BUILD_S: Final = 120.0
FEW: Final = 20  # messages that are in the page all at once, wherever one is


def missing_build_tools() -> str | None:
    """What is lacking to build the example, as a sentence; None if nothing is."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    if not (EXAMPLE / "node_modules" / "vite").is_dir():
        return "the npm packages of the React example are not installed; run make setup"
    return None


class BuiltApp:
    """The example as `vite build` makes it, for a server on one port, served from another."""

    def __init__(self, directory: Path, server_port: int) -> None:
        self.server_port = server_port
        self._directory = directory
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def build(self, *, mode: str = "production", scheme: str = "http") -> None:
        """Run vite. `mode` development has React's checks in it, StrictMode's double mounting among them.

        Args:
            scheme: of the server's address.
        """
        require(missing_build_tools())
        process = await asyncio.create_subprocess_exec(
            *("node", "node_modules/vite/bin/vite.js", "build", "--mode", mode, "--logLevel", "warn"),
            *("--outDir", str(self._directory), "--emptyOutDir"),
            cwd=EXAMPLE,
            env={**os.environ, "NODE_ENV": mode, "VITE_WEBSOCKET_URL": f"{scheme}://127.0.0.1:{self.server_port}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(BUILD_S):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()

    async def serve(self) -> None:
        """Serve the files on a port of their own, which is an origin of their own."""
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_static("/", self._directory)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def compress(self) -> None:
        """Have the files served compressed, as a web server does."""
        for file in (self._directory / "assets").iterdir():
            if file.suffix != ".gz":
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(self._directory / "index.html")

    @property
    def flags(self) -> tuple[str, ...]:
        """What the server needs to be the app's."""
        return ("--port", str(self.server_port), "--allowed-origins", self.url)


class Person(Visitor):
    """Somebody in front of the app."""

    BAR = ".bar"
    STATE = "data-state"
    LIST = ".list"
    HISTORY = ".history"
    MESSAGES = ".messages"

    async def sees(self, *texts: str, timeout_ms: int = WAIT_MS) -> None:
        """The same, in a history of which a part is in the page."""
        if len(texts) <= FEW:
            await super().sees(*texts, timeout_ms=timeout_ms)
            return
        async with asyncio.timeout(timeout_ms / 1000):
            while (found := await self.everything()) != list(texts):
                if len(found) > len(texts):
                    pytest.fail(f"{len(found)} messages, not {len(texts)}")

    async def everything(self) -> list[str]:
        """All messages that can be scrolled to, from the newest one on upwards; as far as they were drawn in time."""
        found: dict[str, str] = await self.page.evaluate(
            """async () => {
                const scroller = document.querySelector(".scroller");
                const frame = () => new Promise(requestAnimationFrame);
                const found = new Map();
                scroller.scrollTop = 0;
                for (let still = 0; still < 20; still += 1) {
                    await frame();
                    await frame();
                    for (const row of document.querySelectorAll(".row[data-seq]")) {
                        if (!found.has(row.dataset.seq)) still = 0;
                        found.set(row.dataset.seq, row.querySelector(".body").innerText);
                    }
                    scroller.scrollTop -= scroller.clientHeight;
                }
                return Object.fromEntries(found);
            }"""
        )
        seqs = sorted(map(int, found))
        return [found[str(seq)] for seq in seqs]

    async def start_with(self, *names: str, title: str | None = None) -> None:
        """Start a conversation through the dialog; it is open afterwards."""
        await self.page.get_by_role("button", name="New conversation").click()
        dialog = self.page.get_by_role("dialog")
        await dialog.get_by_label("Who with?").fill(", ".join(names))
        if title is not None:
            await dialog.get_by_label("Title").fill(title)
        await dialog.get_by_role("button", name="Start", exact=True).click()
        await expect(self.title).to_have_text(title or ", ".join(names))
        await self.joined()


class People(Visitors[Person]):
    """Those in front of the app."""

    def __init__(self, browser: Browser, app: BuiltApp) -> None:
        super().__init__(browser, Person, app.url)


def authenticated(server: Server, user: str) -> int:
    """How many sockets of that user the server has accepted so far, by its log."""
    log = server._log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return sum((line["event"], line.get("user_id")) == ("authenticated", user) for line in lines)
