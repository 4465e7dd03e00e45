"""What the browser tests use: a server as its own process, and a person in front of the demo page.

No sleeps: every wait is for a condition, with a deadline.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 20.0
STOP_S: Final = 20.0
# For what takes a reconnect, whose delay the client chooses (2 to 10 s, spread by half).
RECONNECT_MS: Final = 30_000
WAIT_MS: Final = 10_000


class Server:
    """`python -m socketserver` as a process of its own; keeps port and database over restarts."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self._database = directory / "chat.db"
        self._log = directory / "server.log"
        self._flags = flags
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What it has written on standard error so far."""
        return self._log.read_text(encoding="utf-8")

    async def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKET_")}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "socketserver", "--port", str(self._port), "--store-url", f"sqlite:///{self._database}"),
                *self._flags,
                cwd=ROOT,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        async with asyncio.timeout(START_S):
            assert self._process.stdout is not None
            line = (await self._process.stdout.readline()).decode()
            found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", line)
            assert found, f"no address in {line!r}; the log says {self._log.read_text()[-2000:]}"
            self._port = int(found[1])
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as response:
                assert response.status == 200

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone. Does nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
        async with asyncio.timeout(STOP_S):
            # Reads the rest of its output too, which lets the transport close.
            await process.communicate()

    def freeze(self) -> None:
        """Make it stand still: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Person:
    """Somebody in front of the demo page, in a tab of their own."""

    def __init__(self, name: str, page: Page, url: str) -> None:
        self.name = name
        self.page = page
        self.url = url
        self.shell = page.locator("#shell")
        self.body = page.get_by_role("textbox", name="Message")
        self.rows = page.locator("#messages .row")
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"{name}: {error}"))
        page.on("console", lambda message: self._console(message.text))

    def _console(self, text: str) -> None:
        if "Content Security Policy" in text or "Content-Security-Policy" in text:
            self.faults.append(f"{self.name}: {text}")

    async def log_in(self) -> None:
        """Open the page by its direct link, and wait for the connection."""
        await self.page.goto(f"{self.url}/?user={quote(self.name)}")
        await self.connected()

    async def connected(self) -> None:
        await self.status("connected")

    async def status(self, state: str, timeout_ms: int = RECONNECT_MS) -> None:
        await expect(self.shell).to_have_attribute("data-status", state, timeout=timeout_ms)

    async def start_with(self, *names: str, title: str | None = None) -> None:
        """Start a conversation through the dialog; it is open afterwards."""
        await self.page.get_by_role("button", name="New conversation").click()
        dialog = self.page.get_by_role("dialog")
        if title is not None:
            await dialog.get_by_label("Group").check()
            await dialog.get_by_label("Title").fill(title)
            await dialog.get_by_label("Who is in it?").fill(", ".join(names))
        else:
            await dialog.get_by_label("Who with?").fill(names[0])
        await dialog.get_by_role("button", name="Start", exact=True).click()
        await expect(self.page.locator("#title")).to_have_text((title or names[0]).strip())
        await expect(dialog).to_be_hidden()
        await self.joined()

    def item(self, title: str) -> Locator:
        """The conversation of that title in the list."""
        return self.page.locator("#list .item").filter(
            has=self.page.locator(".item-title", has_text=re.compile(rf"^{re.escape(title)}$"))
        )

    def badge(self, title: str) -> Locator:
        return self.item(title).locator(".badge")

    async def open(self, title: str) -> None:
        await self.item(title).click()
        await expect(self.page.locator("#title")).to_have_text(title)
        await self.joined()

    async def joined(self) -> None:
        """Wait until the history's first page is there."""
        await expect(self.page.locator("#history")).not_to_have_text("Loading…")

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
                const rows = [...document.querySelectorAll("#messages .row")];
                return rows.length === count && rows.every((row, i) => row.dataset.seq === String(i + 1));
            }""",
            arg=len(texts),
            timeout=timeout_ms,
        )

    async def hide(self, hidden: bool) -> None:
        """Make the page believe that its tab went to the background, or came back."""
        await self.page.evaluate(
            """(hidden) => {
                Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
                const state = hidden ? "hidden" : "visible";
                Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
                document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
            }""",
            hidden,
        )


class People:
    """Makes persons, each in a browser context of their own unless one is given."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self._browser = browser
        self._server = server
        self._contexts: list[BrowserContext] = []
        self._everybody: list[Person] = []

    async def meet(
        self, name: str, *, context: BrowserContext | None = None, width: int = 1280, height: int = 800
    ) -> Person:
        """A person with an empty tab."""
        if context is None:
            context = await self._browser.new_context(viewport={"width": width, "height": height}, locale="en-GB")
            context.set_default_timeout(WAIT_MS)
            self._contexts.append(context)
        person = Person(name, await context.new_page(), self._server.url)
        self._everybody.append(person)
        return person

    async def log_in(self, name: str, *, context: BrowserContext | None = None, width: int = 1280) -> Person:
        """A person who is logged in and connected."""
        person = await self.meet(name, context=context, width=width)
        await person.log_in()
        return person

    async def leave(self) -> None:
        """Close everything, and fail on script errors and on what the page's security policy refused."""
        for context in self._contexts:
            await context.close()
        faults = [fault for person in self._everybody for fault in person.faults]
        assert not faults, faults
