"""The React example in Chromium, beside its history: names, the list, notifications, writing, languages."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
import socketio
from browser.demokit import Server
from browser.reactkit import BUILD_S, BuiltApp, People, Person
from browser.test_demo import fill, talking
from browser.test_react import app, no_sideways, no_violations, people, server
from browser.visitors import no_files
from playwright.async_api import Browser, Route, expect

__all__ = ["app", "people", "server"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2 * BUILD_S)]

PICTURE = "https://pictures.example/cleo.svg"


@contextlib.asynccontextmanager
async def known(server: Server, user: str, **shown: str) -> AsyncIterator[socketio.AsyncClient]:
    """Somebody with a name or a picture, who is connected without a page."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{server.url}/session", json={"user": user, **shown}) as response:
            token = (await response.json())["token"]
        client = socketio.AsyncClient(http_session=session)
        await client.connect(server.url, auth={"token": token}, wait_timeout=20)
        yield client
        await client.disconnect()


async def test_people_are_shown_by_name_and_picture(people: People, server: Server) -> None:
    """Ids were shown everywhere: with UUIDs nobody knew who wrote."""
    alice = await people.meet("alice")
    asked: list[dict[str, str]] = []

    async def draw(route: Route) -> None:
        asked.append(await route.request.all_headers())
        await route.fulfill(content_type="image/svg+xml", body='<svg xmlns="http://www.w3.org/2000/svg"/>')

    await alice.page.route(PICTURE, draw)
    await alice.page.route("https://pictures.example/gone.png", lambda route: route.abort())
    await alice.log_in()
    async with known(server, "u_1", name="Cleo Patra", picture=PICTURE) as cleo:
        created = await cleo.call("create_conversation", {"participantIds": ["alice", "u_2"], "title": "Nile"})
        conversation_id = created["conversation"]["id"]
        message = {"conversationId": conversation_id, "idempotencyKey": "1", "body": "Ave"}
        await cleo.call("send_message", message)
        await cleo.call("create_conversation", {"participantIds": ["alice"]})
        await expect(alice.item("Nile").locator(".item-text")).to_have_text("Cleo Patra: Ave")
        picture = alice.item("Cleo Patra").locator("img")
        await expect(picture).to_have_attribute("src", PICTURE)
        await expect(picture).to_have_js_property("complete", True)
        assert [headers.get("referer") for headers in asked] == [None] * len(asked)
        assert asked
        await alice.open("Nile")
        await expect(alice.rows.locator(".author")).to_have_text("Cleo Patra")
        await cleo.call("join_conversation", {"conversationId": conversation_id})
        await cleo.call("set_typing", {"conversationId": conversation_id, "typing": True})
        await expect(alice.page.locator(".typing")).to_have_text("Cleo Patra is typing")
        # Shown in another way from now on: at once, everywhere; a picture that cannot be had is initials.
        async with known(server, "u_1", name="Cleopatra", picture="https://pictures.example/gone.png"):
            await expect(alice.item("Cleopatra").locator(".avatar")).to_have_text("C")
            await expect(alice.item("Cleopatra").locator("img")).to_have_count(0)
            await expect(alice.rows.locator(".author")).to_have_text("Cleopatra")


async def test_somebody_who_was_never_here(people: People, server: Server) -> None:
    """A mistyped name made a conversation with nobody, and no word said so."""
    alice = await people.log_in("alice")
    await alice.start_with("Inès-Typo")
    await expect(alice.page.locator(".subtitle")).to_have_text("has never been here")
    await fill(server, "Inès-Typo", "alice", ["Here I am"])
    await expect(alice.row("Here I am")).to_have_count(1)
    await expect(alice.page.locator(".subtitle")).to_have_text(re.compile("^(online|last seen today, .*)$"))


async def test_the_list_can_be_searched(people: People, server: Server) -> None:
    """One of two hundred conversations had to be found by scrolling."""
    alice = await people.log_in("alice")
    async with talking(server, "bob") as bob:
        for title in (*(f"Number {i}" for i in range(55)), "Été à Zürich"):
            await bob.call("create_conversation", {"participantIds": ["alice"], "title": title})
    await expect(alice.page.get_by_role("button", name="Earlier conversations")).to_be_visible()
    search = alice.page.get_by_role("searchbox", name="Search conversations")
    await search.fill("ZURICH")
    await expect(alice.page.locator(".item-title")).to_have_text(["Été à Zürich"])
    await search.fill("number 0")  # on the second page
    await expect(alice.page.locator(".item-title")).to_have_text(["Number 0"])
    await search.press("ArrowDown")
    await expect(alice.item("Number 0")).to_be_focused()
    await search.fill("nobody at all")
    await expect(alice.page.locator(".list-empty")).to_have_text("No conversation of that name.")
    await search.press("Escape")
    await expect(search).to_have_value("")
    await expect(alice.page.locator(".item")).to_have_count(56)


async def test_the_title_counts_all_unread_conversations(people: People, server: Server) -> None:
    """It counted those of the first page only."""
    async with talking(server, "bob") as bob:
        for i in range(53):
            made = await bob.call("create_conversation", {"participantIds": ["alice"], "title": f"{i}"})
            payload = {"conversationId": made["conversation"]["id"], "idempotencyKey": "1", "body": "News"}
            await bob.call("send_message", payload)
    alice = await people.log_in("alice")
    await expect(alice.page).to_have_title("(53) Messages")
    await alice.open("52")
    await expect(alice.page).to_have_title("(52) Messages")
    await alice.page.get_by_role("button", name="Earlier conversations").click()
    await expect(alice.page.locator(".item")).to_have_count(53)
    await expect(alice.page).to_have_title("(52) Messages")


async def test_notifications_are_asked_for_and_keep_quiet_about_what_is_seen(people: People, server: Server) -> None:
    """Who looked elsewhere heard of nothing."""
    alice, bob = await people.meet("alice"), await people.log_in("bob")
    await alice.page.context.grant_permissions(["notifications"])
    await alice.page.add_init_script(
        """window.notes = [];
        window.Notification = class extends Notification {
            constructor(title, options) {
                super(title, options);
                window.notes.push(this);
            }
        };"""
    )
    await alice.log_in()
    await alice.start_with("bob")
    await bob.open("alice")
    await look(alice, False)
    await bob.say("Before they were asked for")
    await expect(alice.badge("bob")).to_have_text("1 unread")
    await look(alice, True)
    button = alice.page.get_by_role("button", name="Notify me of new messages")
    await expect(button).to_have_attribute("aria-pressed", "false")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await bob.say("Seen at once")
    await expect(bob.row("Seen at once")).to_have_attribute("data-state", "seen")
    assert await notes(alice) == []
    await look(alice, False)
    await bob.say("Behind another window")
    await expect(alice.badge("bob")).to_have_text("1 unread")
    await alice.page.wait_for_function("() => window.notes.length === 1")
    assert await notes(alice) == ["bob: Behind another window"]
    await look(alice, True)
    await alice.body.press("Escape")
    await expect(alice.body).to_have_count(0)
    await bob.say("In another conversation")
    await alice.page.wait_for_function("() => window.notes.length === 2")
    await alice.page.evaluate("() => window.notes[1].dispatchEvent(new Event('click'))")
    await expect(alice.title).to_have_text("bob")
    await alice.page.reload()  # the setting stays
    await alice.status("connected")
    await expect(button).to_have_attribute("aria-pressed", "true")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "false")


async def test_what_one_settles_for_oneself(people: People, server: Server) -> None:
    """A conversation is pinned, muted, marked as unread and archived by its menu, and the list shows it."""
    async with talking(server, "bob") as bob:
        for title in ("First", "Second"):
            made = await bob.call("create_conversation", {"participantIds": ["alice"], "title": title})
            await bob.call(
                "send_message",
                {"conversationId": made["conversation"]["id"], "idempotencyKey": "1", "body": "News"},
            )
    alice = await people.log_in("alice")
    titles = alice.page.locator(".item-title")
    await expect(titles).to_have_text(["Second", "First"])
    await alice.open("First")
    await settle(alice, "Pin")
    await expect(titles).to_have_text(["First", "Second"])
    await expect(alice.item("First").get_by_label("Pinned")).to_be_visible()
    await settle(alice, "Mute")
    await expect(alice.item("First").get_by_label("Muted")).to_be_visible()
    await settle(alice, "Mark as unread")
    await expect(alice.badge("First")).to_contain_text("Marked as unread")
    await expect(alice.title).to_have_count(0)
    await alice.open("Second")
    await settle(alice, "Archive")
    await expect(titles).to_have_text(["First"])
    await alice.page.get_by_role("button", name="Archived (1)").click()
    await expect(titles).to_have_text(["First", "Second"])
    await no_violations(alice.page)


async def settle(person: Person, name: str) -> None:
    await person.page.get_by_role("button", name="Conversation options").click()
    await person.page.get_by_role("button", name=name, exact=True).click()


async def test_what_the_server_says_in_the_history(people: People, server: Server) -> None:
    """A change of the title looked like a message of somebody who had written it."""
    alice = await people.log_in("alice")
    async with talking(server, "bob") as bob:
        made = await bob.call("create_conversation", {"participantIds": ["alice"], "title": "Old"})
        await alice.open("Old")
        change = {"conversationId": made["conversation"]["id"], "title": "New", "idempotencyKey": "1"}
        answer = await bob.call("update_conversation", change)
        assert answer["ok"], answer
    await expect(alice.title).to_have_text("New")
    await expect(alice.page.locator(".notice")).to_contain_text("New")
    await expect(alice.rows.get_by_role("button")).to_have_count(0)


async def notes(person: Person) -> list[str]:
    found: list[str] = await person.page.evaluate("() => window.notes.map(({ title, body }) => `${title}: ${body}`)")
    return found


async def look(person: Person, looks: bool) -> None:
    """Make the page believe that its window got the focus, or lost it."""
    await person.page.evaluate(
        """(looks) => {
            document.hasFocus = () => looks;
            window.dispatchEvent(new Event(looks ? "focus" : "blur"));
        }""",
        looks,
    )


async def test_links_and_indents(people: People) -> None:
    """Brackets were cut off addresses, `www.` was no address, and pasted code lost its first indent."""
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    await alice.say("See https://en.wikipedia.org/wiki/Foo_(bar), (www.example.com/a) and https://x.example/?q=1!")
    links = alice.rows.first.locator("a")
    expected = ["https://en.wikipedia.org/wiki/Foo_(bar)", "https://www.example.com/a", "https://x.example/?q=1"]
    assert await links.evaluate_all("(all) => all.map((link) => link.getAttribute('href'))") == expected
    await alice.write("\n    if it:\n        stands\n")
    await expect(alice.rows.last.locator(".body")).to_have_text("    if it:\n        stands", use_inner_text=True)
    assert await alice.rows.last.locator(".body").inner_text() == "    if it:\n        stands"


async def test_what_is_too_long_or_no_text_is_said(people: People) -> None:
    """A red "-16000", and Enter that did nothing; a picture that was pasted or dropped was no word worth."""
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    await alice.body.fill("x" * 20_000)
    counter = alice.page.locator(".counter")
    await expect(counter).to_have_text("4,000 characters at most; 16,000 too many.")
    await alice.body.fill("")
    await expect(counter).to_be_hidden()
    await no_files(alice.body, counter)


async def test_the_keyboard_stays_down_on_a_phone(chromium: Browser, people: People) -> None:
    """Opening a conversation focused the field to write in, and the keyboard covered half of what one came to read."""
    context = await chromium.new_context(viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    try:
        alice = await people.log_in("alice", context=context)
        await alice.start_with("bob")
        await expect(alice.body).not_to_be_focused()
        await no_sideways(alice.page)
    finally:
        await context.close()


async def test_back_leads_to_the_list(people: People) -> None:
    """From the second conversation the browser's button led to the first one, and not to the list."""
    alice = await people.log_in("alice", width=375)
    await alice.start_with("bob")
    await alice.page.go_back()
    await expect(alice.item("bob")).to_be_visible()
    await alice.start_with("carol")
    await alice.page.get_by_role("button", name="Back to the conversations").click()
    await alice.open("bob")
    await alice.page.go_back()
    await expect(alice.item("bob")).to_be_visible()
    await expect(alice.body).to_have_count(0)
    await alice.page.go_forward()
    await expect(alice.title).to_have_text("bob")


async def test_in_french(chromium: Browser, people: People, server: Server) -> None:
    """A French browser got French weekdays among English words: `mercredi, jeudi, Yesterday, Today`."""
    await fill(server, "bob", "alice", ["Bonjour", "Ça va ?"])
    context = await chromium.new_context(locale="fr-FR", viewport={"width": 1280, "height": 800})
    try:
        alice = await people.meet("alice", context=context)
        page = alice.page
        await page.goto(f"{alice.url}/?user=alice")
        await page.get_by_role("button", name="Commencer").click()
        await expect(page.locator("html")).to_have_attribute("lang", "fr")
        await expect(page.locator(".badge")).to_have_text("2 non lus")
        await page.locator(".item").click()
        await expect(page.locator(".divider")).to_have_text("2 nouveaux")
        await expect(page.locator(".row .day")).to_have_text("Aujourd’hui")
        await expect(page.get_by_role("textbox", name="Message")).to_have_attribute("placeholder", "Écrivez un message")
        await expect(page.locator(".status-line")).to_have_text(re.compile("^Connecté · "))
        shown = await page.locator("body").inner_text()
        assert not re.search(r"\b(the|you|new|unread|to|search)\b", shown, re.IGNORECASE), shown
    finally:
        await context.close()


@pytest.mark.thorough
async def test_the_first_screen_over_a_slow_network(people: People, server: Server, app: BuiltApp) -> None:
    """Fast 3G and a quarter of the processor, files compressed, an empty cache: prints when the list is there.

    It was there after 3.5 s, and something was painted after 1.5 s.
    """
    async with talking(server, "bob") as bob:
        for title in range(201):
            await bob.call("create_conversation", {"participantIds": ["alice"], "title": f"{title}"})
    app.compress()
    alice = await people.log_in("alice")  # the tab has a token now, as an application has one
    cdp = await alice.page.context.new_cdp_session(alice.page)
    await cdp.send("Network.enable")
    await cdp.send("Network.clearBrowserCache")
    await cdp.send("Storage.clearDataForOrigin", {"origin": alice.url, "storageTypes": "indexeddb"})
    slow = {"offline": False, "latency": 300, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
    await cdp.send("Network.emulateNetworkConditions", slow)
    await cdp.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    await alice.page.add_init_script(
        """new MutationObserver((_, observer) => {
            if (!document.querySelector(".item")) return;
            window.listAt = performance.now();
            observer.disconnect();
        }).observe(document, { childList: true, subtree: true });"""
    )
    await alice.page.reload(wait_until="commit")
    await alice.page.wait_for_function("() => window.listAt", timeout=60_000)
    figures = await alice.page.evaluate(
        """() => ({
            listMs: Math.round(window.listAt),
            firstPaintMs: Math.round(performance.getEntriesByName("first-contentful-paint")[0]?.startTime),
            bytes: performance.getEntriesByType("resource").reduce((sum, each) => sum + each.encodedBodySize, 0),
        })"""
    )
    print(json.dumps(figures))
    assert figures["bytes"] < 130_000
