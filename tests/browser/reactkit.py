"""What the tests of the React example use: the app built and served, and a person in front of it.

No sleeps: every wait is for a condition, with a deadline.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiohttp import web
from browser.demokit import RECONNECT_MS, ROOT, WAIT_MS, Server
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from support.node import require

EXAMPLE: Final = ROOT / "examples" / "react"
AXE: Final = EXAMPLE / "node_modules" / "axe-core" / "axe.min.js"
BUILD_S: Final = 120.0


def missing_build_tools() -> str | None:
    """What is lacking to build the example, as a sentence; None if nothing is."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    if not (EXAMPLE / "node_modules" / "vite").is_dir():
        return "the npm packages of the React example are not installed; run make setup"
    return None


def free_port() -> int:
    """A port that was free a moment ago; the address is part of the built app."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class BuiltApp:
    """The example as `vite build` makes it, for a server on one port, served from another."""

    def __init__(self, directory: Path, server_port: int) -> None:
        self.server_port = server_port
        self._directory = directory
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def build(self, *, mode: str = "production") -> None:
        """Run vite. `mode` development has React's checks in it, StrictMode's double mounting among them."""
        require(missing_build_tools())
        process = await asyncio.create_subprocess_exec(
            *("node", "node_modules/vite/bin/vite.js", "build", "--mode", mode, "--logLevel", "warn"),
            *("--outDir", str(self._directory), "--emptyOutDir"),
            cwd=EXAMPLE,
            env={**os.environ, "NODE_ENV": mode, "VITE_WEBSOCKET_URL": f"http://127.0.0.1:{self.server_port}"},
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

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(self._directory / "index.html")

    @property
    def flags(self) -> tuple[str, ...]:
        """What the server needs to be the app's."""
        return ("--port", str(self.server_port), "--allowed-origins", self.url)


class Person:
    """Somebody in front of the app, in a tab of their own."""

    def __init__(self, name: str, page: Page, url: str) -> None:
        self.name = name
        self.page = page
        self.url = url
        self.bar = page.locator(".bar")
        self.body = page.get_by_role("textbox", name="Message")
        self.rows = page.locator(".messages .row")
        self.title = page.locator("#title")
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"{name}: {error}"))

    async def log_in(self) -> None:
        """Open the app by its direct link, and wait for the connection."""
        await self.page.goto(f"{self.url}/?user={quote(self.name)}")
        await self.status("connected")

    async def status(self, state: str, timeout_ms: int = RECONNECT_MS) -> None:
        await expect(self.bar).to_have_attribute("data-state", state, timeout=timeout_ms)

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

    def item(self, title: str) -> Locator:
        """The conversation of that title in the list."""
        return self.page.locator(".list .item").filter(
            has=self.page.locator(".item-title", has_text=re.compile(rf"^{re.escape(title)}$"))
        )

    def badge(self, title: str) -> Locator:
        return self.item(title).locator(".badge")

    async def open(self, title: str) -> None:
        await self.item(title).click()
        await expect(self.title).to_have_text(title)
        await self.joined()

    async def joined(self) -> None:
        await expect(self.page.locator(".history")).not_to_have_text("Loading…")

    async def write(self, text: str) -> None:
        await self.body.fill(text)
        await self.body.press("Enter")
        await expect(self.body).to_have_value("")

    async def say(self, text: str) -> None:
        """Write a message and wait until it is stored."""
        await self.write(text)
        await expect(self.row(text)).to_have_attribute("data-seq", re.compile(r"\d+"))

    def row(self, text: str) -> Locator:
        """The bubbles with exactly that text: one, if all is well."""
        return self.rows.filter(has=self.page.locator(".body", has_text=re.compile(rf"^{re.escape(text)}$")))

    async def sees(self, *texts: str, timeout_ms: int = WAIT_MS) -> None:
        """Wait until the conversation consists of exactly these messages, in this order, all of them stored."""
        await expect(self.rows.locator(".body")).to_have_text(list(texts), timeout=timeout_ms)
        await self.page.wait_for_function(
            """(count) => {
                const rows = [...document.querySelectorAll(".messages .row")];
                return rows.length === count && rows.every((row, i) => row.dataset.seq === String(i + 1));
            }""",
            arg=len(texts),
            timeout=timeout_ms,
        )

    async def hide(self, hidden: bool) -> None:
        """Make the page believe that its tab went to the background, or came back."""
        await self.page.evaluate(
            """(hidden) => {
                const state = hidden ? "hidden" : "visible";
                Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
                document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
            }""",
            hidden,
        )


class People:
    """Makes persons, each in a browser context of their own unless one is given."""

    def __init__(self, browser: Browser, app: BuiltApp) -> None:
        self._browser = browser
        self._app = app
        self._contexts: list[BrowserContext] = []
        self._everybody: list[Person] = []

    async def meet(
        self,
        name: str,
        *,
        context: BrowserContext | None = None,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
    ) -> Person:
        """A person with an empty tab."""
        if context is None:
            context = await self._browser.new_context(
                viewport={"width": width, "height": height},
                locale="en-GB",
                color_scheme="dark" if dark else "light",
            )
            context.set_default_timeout(WAIT_MS)
            self._contexts.append(context)
        person = Person(name, await context.new_page(), self._app.url)
        self._everybody.append(person)
        return person

    async def log_in(self, name: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Person:
        """A person who is logged in and connected."""
        person = await self.meet(name, width=width, height=height, dark=dark)
        await person.log_in()
        return person

    async def leave(self) -> None:
        """Close everything, and fail on script errors."""
        for context in self._contexts:
            await context.close()
        faults = [fault for person in self._everybody for fault in person.faults]
        assert not faults, faults


def authenticated(server: Server, user: str) -> int:
    """How many sockets of that user the server has accepted so far, by its log."""
    log = server._log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return sum((line["event"], line.get("user_id")) == ("authenticated", user) for line in lines)
