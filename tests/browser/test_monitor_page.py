"""The monitoring page in Chromium, over a real server and real clients: what whoever looks after it sees."""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.app import HISTORY
from socketserver.ops.history import POINTS, STEP_S
from typing import Any

import pytest
import pytest_asyncio
from browser.reactkit import AXE
from browser.visitors import RECONNECT_MS, WAIT_MS
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from support.node import Node, NodeProcess, require
from support.servers import LocalServer, running, serving, token
from support.stage import Stage, next_key
from support.waiting import eventually
from support.wire import Wire, WireClient, wire_to

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
ADMIN = "admin-token-0123456789-0123456789"
_FIRST = ("amara", "ben", "chiara", "dmitri", "elif", "farah", "goran", "hana", "ines", "jonas", "kenji", "lena")
_LAST = ("okafor", "weber", "rossi", "silva", "haddad", "tanaka", "lind", "moreau")
TOWN = [f"{first}.{last}" for first in _FIRST for last in _LAST]
# The page asks every five seconds, and a machine may be busy.
NEWS_MS = 30_000


class Watcher:
    """Somebody in front of the page. Scripts that fail, and what the security policy refuses, are faults."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.rows = page.locator("#rows tr")
        self.status = page.locator("#status")
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._console(message.text))

    def _console(self, text: str) -> None:
        # What the network does is said there too; that is no fault of the page's.
        if "Failed to load resource" not in text:
            self.faults.append(text)

    async def open(self, url: str) -> None:
        await self.page.goto(f"{url}/monitor")
        await expect(self.status).to_have_text("Live", timeout=NEWS_MS)

    def row(self, user: str) -> Locator:
        return self.rows.filter(has=self.page.locator("th b", has_text=re.compile(rf"^{re.escape(user)}$")))

    def card(self, title: str) -> Locator:
        return self.page.locator(".card").filter(has=self.page.locator("h3", has_text=re.compile(rf"^{title}\b")))

    def value(self, title: str, label: str) -> Locator:
        """The number that a chart says, now or where it is pointed at."""
        item = self.card(title).locator("li").filter(has=self.page.locator("span", has_text=re.compile(rf"^{label}$")))
        return item.locator("b")

    async def hide(self, hidden: bool) -> None:
        """Make the page believe that its tab went to the background, or came back."""
        await self.page.evaluate(
            """(hidden) => {
                Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )


class Watchers:
    """Makes them."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._everybody: list[Watcher] = []

    async def come(self, *, width: int = 1440, height: int = 900, dark: bool = True, **options: Any) -> Watcher:
        context = await self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            **options,
        )
        context.set_default_timeout(WAIT_MS)
        self._contexts.append(context)
        watcher = Watcher(await context.new_page())
        self._everybody.append(watcher)
        return watcher

    async def leave(self) -> None:
        for context in self._contexts:
            await context.close()
        faults = [fault for watcher in self._everybody for fault in watcher.faults]
        assert not faults, faults


@pytest_asyncio.fixture(loop_scope="module")
async def watchers(chromium: Browser) -> AsyncIterator[Watchers]:
    everybody = Watchers(chromium)
    yield everybody
    await everybody.leave()


@pytest_asyncio.fixture(loop_scope="module")
async def node(node_process: NodeProcess) -> AsyncIterator[Node]:
    async with node_process.attach() as node:
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def server(chromium: Browser, tmp_path: Path) -> AsyncIterator[LocalServer]:
    """A server in this process, whose clock and history a test can reach."""
    async with serving(tmp_path / "chat.db", sockets_per_user=2, messages_per_second=0) as server:
        await eventually("the first point", lambda: len(server.app[HISTORY]))
        server.clock.hold()
        yield server


async def take_point(server: LocalServer) -> None:
    """Let a step pass in the history."""
    history = server.app[HISTORY]
    before = history.newest
    server.clock.advance(STEP_S)
    await eventually("the next point", lambda: history.newest > before)


async def test_who_is_connected_and_what_happens(server: LocalServer, watchers: Watchers, node: Node) -> None:
    """Users come, talk and go, and the page tells: numbers, lines, bars, rows, without a reload."""
    stage = Stage(server, node)
    ann, bob = await stage.people("ann", "bob")
    polling = await stage.person("carol", transport="polling")
    watcher = await watchers.come()
    await watcher.open(server.url)
    await expect(watcher.page.locator("#count")).to_have_text("3 users on 3 sockets")
    await expect(watcher.row("ann")).to_contain_text("websocket")
    await expect(watcher.row("carol")).to_contain_text("polling")
    await expect(watcher.row("bob").locator("td").first).to_have_text(bob.client.seen("connect")[0])

    chat = await ann.create("bob")
    for number in range(20):
        await ann.send(chat, f"message {number}")
    again = await stage.person("bob")
    await polling.client.disconnect()
    await eventually("carol is gone", lambda: len(server.sio.eio.sessions) == 3)
    for _ in range(3):
        await take_point(server)
    await expect(watcher.value("Connected", "users")).to_have_text("2", timeout=NEWS_MS)
    await expect(watcher.value("Connected", "sockets")).to_have_text("3")
    await expect(watcher.value("Messages", "stored")).not_to_have_text("0")
    await expect(watcher.value("Ended", "client_disconnect")).to_have_text("1")
    await expect(watcher.value("Memory", "resident")).to_have_text(re.compile(r"^[\d.]+ MiB$"))
    await expect(watcher.card("Ended").locator("rect.bar")).to_have_count(1)
    lines = (
        await watcher.card("Connected")
        .locator("path.line")
        .evaluate_all("(all) => all.map((one) => one.getAttribute('d'))")
    )
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+(L[\d.]+ [\d.]+)+", line) for line in lines), lines
    await expect(watcher.row("carol")).to_have_count(0)
    await expect(watcher.row("bob")).to_have_count(2)
    await expect(watcher.row("bob").first).to_contain_text("2 sockets")
    await expect(watcher.page).to_have_title("2 users · Monitor")

    latency = watcher.card("Message latency").get_by_role("slider")
    await latency.focus()
    await latency.press("End")
    await latency.press("ArrowLeft")
    await latency.press("ArrowLeft")  # the step with the messages
    await expect(latency).to_have_attribute(
        "aria-valuetext", re.compile(r"^\d\d:\d\d:\d\d: ack, median [\d.]+ ms, ack, 95 % ")
    )
    await expect(watcher.value("Connected", "users")).to_have_text("2")
    await latency.press("Escape")
    await expect(latency).to_have_attribute("aria-valuetext", re.compile(r"^Now: ack, median –"))
    await again.settle()


async def test_somebody_is_disconnected(server: LocalServer, watchers: Watchers, node: Node) -> None:
    """The stock client is told `kicked`, and stays away; the others stay. Asked first; a no changes nothing."""
    stage = Stage(server, node)
    ann, bob = await stage.people("ann", "bob")
    watcher = await watchers.come()
    await watcher.open(server.url)
    await watcher.row("ann").get_by_role("button").click()
    dialog = watcher.page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading")).to_have_text("Disconnect ann?")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_be_hidden()
    await ann.settle()

    await watcher.row("ann").get_by_role("button").click()
    await dialog.get_by_role("button", name="Disconnect", exact=True).click()
    ended = await ann.client.wait("session_ended")
    assert (ended["code"], ended["reconnect"]) == ("kicked", False)
    assert await ann.client.wait("disconnect") == "io server disconnect"
    await expect(watcher.page.locator("#news")).to_have_text("ann was disconnected.")
    await expect(watcher.row("ann")).to_have_count(0)
    state = await ann.client.state()
    assert (state["connected"], state["active"]) == (False, False), "it would come back by itself"
    await bob.settle()

    second = await stage.person("bob")
    await expect(watcher.row("bob")).to_have_count(2, timeout=NEWS_MS)
    await watcher.row("bob").first.get_by_role("button").click()
    await dialog.get_by_role("button", name="All 2 sockets").click()
    for client in (bob.client, second.client):
        assert (await client.wait("session_ended"))["code"] == "kicked"
    await expect(watcher.page.locator("#nobody")).to_have_text("Nobody is connected.")
    await ann.client.connect()  # what the button of an application does
    await eventually("ann is back", lambda: len(ann.client.seen("welcome")) == 2)


async def test_with_the_keyboard_only(server: LocalServer, watchers: Watchers, node: Node) -> None:
    """Tab reaches everything in order; the focus stays where it is while rows come and go."""
    stage = Stage(server, node)
    ann, bob, carol = await stage.people("ann", "bob", "carol")
    watcher = await watchers.come()
    await watcher.open(server.url)
    page = watcher.page
    await expect(watcher.rows).to_have_count(3)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to who is connected")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.locator("#search")).to_be_focused()
    for column in ("User", "Connected", "Unread"):
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name=column, exact=True)).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Disconnect bob")
    await expect(button).to_be_focused()

    await ann.client.disconnect()
    dave = await stage.person("aaron")
    await expect(watcher.rows.locator("th b")).to_have_text(["aaron", "bob", "carol"], timeout=NEWS_MS)
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert (await bob.client.wait("session_ended"))["code"] == "kicked"
    await expect(page.get_by_role("button", name="Disconnect carol")).to_be_focused()

    charts = page.locator(".plot")
    for _ in range(40):
        await page.keyboard.press("Shift+Tab")
        if await charts.first.evaluate("(node) => node === document.activeElement"):
            break
    await expect(charts.first).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_label("10 min")).to_be_checked()
    for person in (carol, dave):
        await person.settle()


async def test_many_sockets(server: LocalServer, watchers: Watchers) -> None:
    """The list is bounded, says so, and is searched and sorted by the server."""
    async with wire_to(server.url) as wire:
        for number in range(230):
            await wire.person(f"user-{number:03}")
            server.clock.advance(0.01)
        await wire.person('<img src="x">')
        watcher = await watchers.come()
        await watcher.open(server.url)
        await expect(watcher.row('<img src="x">')).to_have_count(1)  # a name is a text
        count = watcher.page.locator("#count")
        await expect(count).to_have_text("231 users on 231 sockets · the first 200 shown")
        await expect(watcher.rows).to_have_count(200)
        await watcher.page.locator("#search").fill("USER-22")
        await expect(watcher.rows.locator("th b")).to_have_text([f"user-{number}" for number in range(220, 230)])
        await expect(count).to_have_text("231 users on 231 sockets · 10 found")
        await watcher.page.get_by_role("button", name="User", exact=True).click()
        await expect(watcher.rows.locator("th b").first).to_have_text("user-229")
        await expect(watcher.page.locator("th[data-sort=user]")).to_have_attribute("aria-sort", "descending")
        await watcher.page.get_by_role("button", name="Connected", exact=True).click()
        await expect(watcher.rows.locator("th b").first).to_have_text("user-220")
        await watcher.page.locator("#search").fill("nobody at all")
        await expect(watcher.page.locator("#nobody")).to_have_text("Nobody fits this search.")


async def test_the_server_goes_and_comes_back(
    chromium: Browser, watchers: Watchers, node: Node, tmp_path: Path
) -> None:
    """The page says that the server is away, goes on by itself, shows the gap, and the restart."""
    async with running(tmp_path / "chat.db") as server:
        stage = Stage(server, node)
        watcher = await watchers.come()
        await watcher.open(server.url)
        await stage.person("ann", reconnectionAttempts=100)
        await expect(watcher.row("ann")).to_have_count(1, timeout=NEWS_MS)
        await server.kill()
        await expect(watcher.status).to_have_text(
            re.compile(r"^No answer since \d\d:\d\d:\d\d; trying again$"), timeout=NEWS_MS
        )
        await expect(watcher.page).to_have_title("Away · Monitor")
        await server.start()
        await expect(watcher.status).to_have_text("Live", timeout=NEWS_MS)
        await expect(watcher.row("ann")).to_have_count(1, timeout=RECONNECT_MS)
        await expect(watcher.card("Connected").locator("line.start")).to_have_count(2)
        runs = await watcher.card("Connected").locator("path.line").first.get_attribute("d")
        assert runs is not None
        assert runs.count("M") == 2, "the line goes on over the time that nobody knows of"


async def test_a_hidden_page_asks_nothing(server: LocalServer, watchers: Watchers) -> None:
    """And asks at once when somebody looks at it again."""
    watcher = await watchers.come()
    await watcher.page.clock.install()
    await watcher.open(server.url)
    asked: list[str] = []
    watcher.page.on("request", lambda request: asked.append(request.url))
    await watcher.page.clock.run_for(6_000)
    # The list is asked for last.
    await eventually("it asks while it is seen", lambda: "users?" in "".join(asked[-1:]), deadline_s=NEWS_MS / 1000)
    await watcher.hide(True)
    await expect(watcher.status).to_have_text("Paused")
    asked.clear()
    await watcher.page.clock.run_for(60_000)
    assert asked == []
    await watcher.hide(False)
    await expect(watcher.status).to_have_text("Live")
    assert asked


async def test_a_browser_with_the_token(chromium: Browser, watchers: Watchers, node: Node, tmp_path: Path) -> None:
    """The browser's own dialog asks for it; the page and its POST work, and without it there is no page."""
    async with serving(tmp_path / "chat.db", admin_token=ADMIN) as server:
        ann = await Stage(server, node).person("ann")
        watcher = await watchers.come(http_credentials={"username": "me", "password": ADMIN})
        await watcher.open(server.url)
        await watcher.row("ann").get_by_role("button").click()
        await watcher.page.get_by_role("dialog").get_by_role("button", name="Disconnect", exact=True).click()
        assert (await ann.client.wait("session_ended"))["code"] == "kicked"
        stranger = await watchers.come()
        answer = await stranger.page.request.get(f"{server.url}/monitor")
        assert answer.status == 401


class Town:
    """People who come, talk and go, each over a websocket of their own."""

    def __init__(self, server: LocalServer, wire: Wire) -> None:
        self._server = server
        self._wire = wire
        self._random = random.Random(7)  # the same town each time
        self._here: dict[str, WireClient] = {}
        self._second: dict[str, WireClient] = {}  # tabs
        self._chats: list[tuple[str, list[str]]] = []

    async def live(self, steps: int) -> None:
        """An hour, in so many steps: it fills up, the network fails once, a few reload or open a second tab."""
        for step in range(steps):
            hour = step / steps
            await self._come_and_go(round(26 + 46 * math.sin(math.pi * min(1, hour * 1.15)) ** 2))
            if step == steps * 13 // 20:
                await self._network_fails()
            await self._talk(0.5 if 0.35 < hour < 0.55 else 0.2)
            await take_point(self._server)

    async def _come_and_go(self, wanted: int) -> None:
        away = [name for name in TOWN if name not in self._here]
        for name in self._random.sample(away, min(len(away), 4, max(0, wanted - len(self._here)))):
            await self._enter(name)
        for name in self._random.sample(sorted(self._here), min(3, max(0, len(self._here) - wanted))):
            await self._leave(name)
        if self._random.random() < 0.12:
            name = self._random.choice(sorted(self._here))  # somebody reloads the page
            await self._leave(name)
            await self._enter(name)
        if self._random.random() < 0.1:
            name = self._random.choice(sorted(self._here))  # a second tab; a third one takes the first one's place
            self._second[name] = self._here[name]
            await self._enter(name)
        if self._random.random() < 0.02:
            await self._wire.open()  # and never says who it is

    async def _enter(self, name: str) -> None:
        lifetime_s = self._random.choice([900, 86_400, 86_400, 86_400])
        ahead_s = self._server.clock.monotonic_s() - time.monotonic()
        client = await self._wire.open({"token": token(name, lifetime_s=lifetime_s, ahead_s=ahead_s)})
        await client.wait("welcome")
        self._here[name] = client
        if len(self._chats) < 12 and len(self._here) > 6:
            members = self._random.sample(sorted(self._here), 5)
            ack = await client.ok("create_conversation", {"participantIds": members, "idempotencyKey": next_key()})
            self._chats.append((ack["conversation"]["id"], members))

    async def _leave(self, name: str) -> None:
        for client in (self._here.pop(name), self._second.pop(name, None)):
            if client is not None and not client.seen("disconnect"):
                await client.send("1")

    async def _network_fails(self) -> None:
        for name in self._random.sample(sorted(self._here), len(self._here) * 2 // 3):
            self._here.pop(name).abort()

    async def _talk(self, share: float) -> None:
        for name in [name for name, client in self._here.items() if client.seen("disconnect")]:
            del self._here[name]
        said = []
        for chat, members in self._chats:
            for name in members:
                if name in self._here and self._random.random() < share:
                    payload = {"conversationId": chat, "idempotencyKey": next_key(), "body": "hello"}
                    said.append(self._here[name].emit("send_message", payload))
        await asyncio.gather(*said, return_exceptions=True)  # one of them may be disconnected meanwhile


@pytest.mark.thorough
@pytest.mark.timeout(900)
async def test_accessible_and_good_to_look_at(
    chromium: Browser, watchers: Watchers, node: Node, tmp_path: Path
) -> None:
    """axe-core finds nothing serious, dark and light, on a desk and on a phone, and nothing is wider than a phone.

    UPDATE_IMAGES=1 renews the pictures of the documentation: then the town lives for an hour of the server's clock.
    """
    require(None if AXE.is_file() else "axe-core is not installed; run make setup")
    pictures = os.environ.get("UPDATE_IMAGES") == "1"
    options: dict[str, Any] = {
        "sockets_per_user": 2,
        "messages_per_second": 0,
        "connects_per_minute_user": 0,
        "connects_per_minute_address": 0,
        "failed_connects_per_minute_address": 0,
    }
    async with serving(tmp_path / "chat.db", **options) as server, wire_to(server.url) as wire:
        await eventually("the first point", lambda: len(server.app[HISTORY]))
        server.clock.hold()
        stage = Stage(server, node)
        for name in ("grace.obi", "henrik.dahl", "noor.aziz"):
            await stage.person(name, auth={"token": token(name, lifetime_s=86_400)}, transport="polling")
        await Town(server, wire).live(POINTS - 2 if pictures else 12)
        for dark in (True, False):
            desk = await watchers.come(dark=dark, height=1000)
            await desk.open(server.url)
            await expect(desk.rows.first).to_be_visible()
            await no_violations(desk.page)
            if pictures:
                await desk.page.screenshot(path=IMAGES / f"monitor-{'dark' if dark else 'light'}.png")
            await desk.card("Connected").get_by_role("slider").hover()
            await no_violations(desk.page)
            await desk.page.get_by_text("Server and settings").click()
            await desk.rows.first.get_by_role("button").click()
            await no_violations(desk.page)
            phone = await watchers.come(dark=dark, width=375, height=760)
            await phone.open(server.url)
            await expect(phone.rows.first).to_be_visible()
            if pictures and dark:
                await phone.page.screenshot(path=IMAGES / "monitor-phone.png")
            await phone.page.get_by_text("Server and settings").click()
            await no_violations(phone.page)
            assert await phone.page.evaluate("() => document.documentElement.scrollWidth") <= 375
            await phone.rows.first.get_by_role("button").click()
            await expect(phone.page.get_by_role("dialog")).to_be_in_viewport(ratio=1)


async def no_violations(page: Page) -> None:
    """axe-core finds nothing serious or critical. It is evaluated, as the page's policy lets no other script in."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = await page.evaluate(
        """async () => {
            const { violations } = await axe.run(document, { resultTypes: ["violations"] });
            return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
                .map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html + node.failureSummary) }));
        }"""
    )
    assert found == []
