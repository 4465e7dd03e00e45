"""What the browser tests use: a server as its own process, and a person in front of the demo page.

No sleeps: every wait is for a condition, with a deadline.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Final

import aiohttp
from browser.visitors import Visitor, Visitors
from playwright.async_api import Browser, Page, expect
from support.forking import Process, start

ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 60.0
STOP_S: Final = 60.0


class Server:
    """`python -m socketserver` as a process of its own; keeps port and database over restarts."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.database = directory / "chat.db"
        self._log = directory / "server.log"
        self._flags = flags
        self._port = 0
        self._process: Process | None = None

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
            self._process = await start(
                ("-m", "socketserver"),
                *("--port", str(self._port), "--store-url", f"sqlite:///{self.database}"),
                *self._flags,
                environment=environment,
                stderr=log.fileno(),
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
            assert process.stdout is not None
            await process.stdout.read()  # which lets the transport close
            await process.wait()

    def freeze(self) -> None:
        """Make it stand still: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Person(Visitor):
    """Somebody in front of the demo page."""

    BAR = "#shell"
    STATE = "data-status"
    LIST = "#list"
    HISTORY = "#history"
    MESSAGES = "#messages"

    def __init__(self, name: str, page: Page, url: str) -> None:
        super().__init__(name, page, url)
        page.on("console", lambda message: self._console(message.text))

    def _console(self, text: str) -> None:
        if "Content Security Policy" in text or "Content-Security-Policy" in text:
            self.faults.append(f"{self.name}: {text}")

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
        await expect(self.title).to_have_text((title or names[0]).strip())
        await expect(dialog).to_be_hidden()
        await self.joined()


class People(Visitors[Person]):
    """Those in front of the demo page."""

    def __init__(self, browser: Browser, server: Server) -> None:
        super().__init__(browser, Person, server.url)
