"""Somebody in front of a page with a chat: what the demo page and the React example have in common for the tests.

No sleeps: every wait is for a condition, with a deadline.
"""

from __future__ import annotations

import asyncio
import re
from typing import ClassVar, Final, Generic, TypeVar
from urllib.parse import quote

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

WAIT_MS: Final = 10_000
# For what takes a reconnect, whose delay the client chooses (2 to 10 s, spread by half).
RECONNECT_MS: Final = 30_000


class Visitor:
    """Somebody in a tab of their own. The selectors and the attribute say where a page shows what.

    Attributes:
        bar: the element whose attribute STATE is the state of the connection.
        rows: the bubbles.
        faults: what must not happen in a page, such as script errors.
    """

    BAR: ClassVar[str]
    STATE: ClassVar[str]
    LIST: ClassVar[str]
    HISTORY: ClassVar[str]
    MESSAGES: ClassVar[str]

    def __init__(self, name: str, page: Page, url: str) -> None:
        self.name = name
        self.page = page
        self.url = url
        self.bar = page.locator(self.BAR)
        self.title = page.locator("#title")
        self.body = page.get_by_role("textbox", name="Message")
        self.rows = page.locator(f"{self.MESSAGES} .row")
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"{name}: {error}"))

    async def log_in(self) -> None:
        """Open the page by the link that proposes the name, take it, and wait for the connection."""
        await self.page.goto(f"{self.url}/?user={quote(self.name)}")
        start = self.page.locator(".login:not([hidden]) button.primary")
        await start.or_(self.page.locator(":not([hidden]) > .bar")).first.wait_for(state="attached")
        if await start.count():  # else the tab is logged in already
            await start.click()
        await self.status("connected")

    async def status(self, state: str, timeout_ms: int = RECONNECT_MS) -> None:
        """Wait for a state of the connection."""
        await expect(self.bar).to_have_attribute(self.STATE, state, timeout=timeout_ms)

    def item(self, title: str) -> Locator:
        """The conversation of that title in the list."""
        return self.page.locator(f"{self.LIST} .item").filter(
            has=self.page.locator(".item-title", has_text=re.compile(rf"^{re.escape(title)}$"))
        )

    def badge(self, title: str) -> Locator:
        return self.item(title).locator(".badge")

    async def open(self, title: str) -> None:
        await self.item(title).click()
        await expect(self.title).to_have_text(title)
        await self.joined()

    async def joined(self) -> None:
        """Wait until the history's first page is there."""
        await expect(self.page.locator(self.HISTORY)).not_to_have_text("Loading…")

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
            """([selector, count]) => {
                const rows = [...document.querySelectorAll(selector)];
                return rows.length === count && rows.every((row, i) => row.dataset.seq === String(i + 1));
            }""",
            arg=[f"{self.MESSAGES} .row", len(texts)],
            timeout=timeout_ms,
        )

    async def gives_up(self) -> None:
        """Let the page's clock run, which is installed, until its three attempts are used up."""
        bar = self.page.locator(self.BAR)
        async with asyncio.timeout(RECONNECT_MS / 1000):
            while await bar.get_attribute(self.STATE) != "offline":
                await self.page.clock.fast_forward(1_000)

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


V = TypeVar("V", bound=Visitor)


class Visitors(Generic[V]):
    """Makes visitors, each in a browser context of their own unless one is given."""

    def __init__(self, browser: Browser, kind: type[V], url: str) -> None:
        self._browser = browser
        self._kind = kind
        self._url = url
        self._contexts: list[BrowserContext] = []
        self._everybody: list[V] = []

    async def meet(
        self,
        name: str,
        *,
        context: BrowserContext | None = None,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
    ) -> V:
        """Somebody with an empty tab."""
        if context is None:
            context = await self._browser.new_context(
                viewport={"width": width, "height": height},
                locale="en-GB",
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",  # sixty pictures a second, drawn without a graphics card, are most of the work
            )
            context.set_default_timeout(WAIT_MS)
            self._contexts.append(context)
        visitor = self._kind(name, await context.new_page(), self._url)
        self._everybody.append(visitor)
        return visitor

    async def log_in(
        self,
        name: str,
        *,
        context: BrowserContext | None = None,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
    ) -> V:
        """Somebody who is logged in and connected."""
        visitor = await self.meet(name, context=context, width=width, height=height, dark=dark)
        await visitor.log_in()
        return visitor

    async def leave(self) -> None:
        """Close everything, and fail on what must not have happened in a page."""
        for context in self._contexts:
            await context.close()
        faults = [fault for visitor in self._everybody for fault in visitor.faults]
        assert not faults, faults


async def no_files(body: Locator, counter: Locator) -> None:
    """A pasted picture, and a file that is dragged over the page, are refused in words until something is typed; the
    browser does not open the file in place of the page."""
    for event, way in (("paste", "clipboardData"), ("dragover", "dataTransfer")):
        prevented = await body.evaluate(
            """(node, [type, way]) => {
                const data = new DataTransfer();
                data.items.add(new File(["x"], "x.png", { type: "image/png" }));
                const Kind = type === "paste" ? ClipboardEvent : DragEvent;
                const event = new Kind(type, { [way]: data, bubbles: true, cancelable: true });
                node.dispatchEvent(event);
                return event.defaultPrevented;
            }""",
            [event, way],
        )
        assert prevented == (event == "dragover")
        await expect(counter).to_have_text("Files and pictures cannot be sent here.")
        await body.fill("a")
        await expect(counter).to_be_hidden()
        await body.fill("")
