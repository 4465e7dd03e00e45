"""The Socket.IO Admin UI itself, in Chromium: what somebody who runs the server sees there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from aiohttp import web
from browser.conftest import StartServer
from browser.demokit import ROOT, People, Server
from playwright.async_api import Browser, Page, Route, expect
from support.node import require

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.thorough]

PASSWORD: Final = "the-password-of-the-administrator"
PAGES: Final = ROOT / "node_modules" / "@socket.io" / "admin-ui" / "ui" / "dist"


@pytest_asyncio.fixture(loop_scope="module")
async def ui_url() -> AsyncIterator[str]:
    """The UI's files on an origin of their own."""
    require(None if PAGES.is_dir() else "the npm packages are not installed; run make setup")
    app = web.Application()
    app.router.add_static("/", PAGES)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def watched(start_server: StartServer, ui_url: str) -> Server:
    return await start_server("--admin-ui", "true", "--admin-token", PASSWORD, "--allowed-origins", ui_url)


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, ui_url: str) -> AsyncIterator[Page]:
    """A browser without the fonts and icons that the UI takes from other hosts."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 800})

    async def local_only(route: Route) -> None:
        await (route.continue_() if route.request.url.startswith("http://127.0.0.1:") else route.abort())

    await context.route("**/*", local_only)
    page = await context.new_page()
    await page.goto(f"{ui_url}/index.html")
    yield page
    await context.close()


async def log_in(page: Page, server: Server, password: str) -> None:
    await page.get_by_label("Server URL").fill(server.url)
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Connect").click()


async def go_to(page: Page, title: str) -> None:
    await page.get_by_role("navigation").get_by_role("link", name=re.compile(title)).click()


async def test_watching_a_chat(chromium: Browser, watched: Server, page: Page) -> None:
    """A wrong password is refused and the right one let in; sockets, rooms and events are there, without a body."""
    people = People(chromium, watched)
    alice = await people.log_in("alice")
    bob = await people.log_in("bob")
    await log_in(page, watched, "wrong")
    await expect(page.get_by_text("Invalid credentials")).to_be_visible()
    await log_in(page, watched, PASSWORD)
    await expect(page.get_by_text("Invalid credentials")).to_be_hidden()
    await go_to(page, "Sockets")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("127.0.0.1")

    await alice.start_with("bob")
    await bob.open("alice")
    await alice.say("for nobody else")
    await go_to(page, "Events")
    await expect(page.get_by_text("send_message")).to_be_visible()
    await expect(page.get_by_text("message_created").first).to_be_visible()
    assert "for nobody else" not in await page.content()
    await go_to(page, "Rooms")
    await expect(page.get_by_text("u:alice")).to_be_visible()

    await go_to(page, "Sockets")
    await bob.page.context.close()
    await expect(rows).to_have_count(1)
    await rows.first.get_by_role("button").click()
    await alice.status("ended")
    await go_to(page, "Sockets")
    await expect(page.get_by_text("No data available")).to_be_visible()
    await people.leave()


async def test_a_reloaded_page_is_logged_in_still(watched: Server, page: Page) -> None:
    """It has a session id, and asks for no password."""
    await log_in(page, watched, PASSWORD)
    status = page.get_by_role("banner").filter(has_text=re.compile(r"Status:\s*connected"))
    await expect(status).to_be_visible()
    await page.reload()
    await expect(status).to_be_visible()
    await expect(page.get_by_role("button", name="Connect", exact=True)).to_be_hidden()
