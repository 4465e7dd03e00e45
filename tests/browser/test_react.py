"""The React example in Chromium, as `vite build` makes it, against a real server: what its users see."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from socketserver.door.auth import DEVELOPMENT_SECRET
from typing import Any

import jwt
import pytest
import pytest_asyncio
from browser.conftest import StartServer
from browser.demokit import Server
from browser.reactkit import AXE, BUILD_S, BuiltApp, People, Person, authenticated
from browser.test_demo import UPGRADE, Cut, fill, talking
from browser.visitors import RECONNECT_MS
from playwright.async_api import Browser, Page, WebSocketRoute, expect
from support.ports import held_port
from support.waiting import eventually

# Building takes a part of the first test's time.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2 * BUILD_S)]

# Until the next quiet attempt at the latest.
QUIET_MS = 62_000
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BuiltApp]:
    """The production build, served. The server's address is part of it."""
    with held_port() as port:
        app = BuiltApp(tmp_path_factory.mktemp("react"), port)
        await app.build()
        await app.serve()
        yield app
        await app.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def server(start_server: StartServer, app: BuiltApp) -> Server:
    """A server for the app, without a bound on how fast one may write."""
    return await start_server(*app.flags, "--messages-per-second", "0")


@pytest_asyncio.fixture(loop_scope="module")
async def people(chromium: Browser, server: Server, app: BuiltApp) -> AsyncIterator[People]:
    """Those who use `server` through the app."""
    everybody = People(chromium, app)
    yield everybody
    await everybody.leave()


async def two_who_talk(people: People) -> tuple[Person, Person]:
    """Alice and Bob with their conversation open."""
    alice = await people.log_in("alice")
    bob = await people.log_in("bob")
    await alice.start_with("bob")
    await bob.open("alice")
    return alice, bob


async def test_two_people_chat_live(people: People) -> None:
    """What one writes the other sees at once; typing, presence, read marks and the unread count come along."""
    alice, bob = await two_who_talk(people)
    await alice.say("Hello Bob")
    await expect(bob.row("Hello Bob")).to_be_visible()
    await bob.body.press_sequentially("I am just")
    await expect(alice.page.locator(".typing")).to_have_text("bob is typing")
    await bob.body.press("Enter")
    await expect(alice.page.locator(".typing")).to_have_text("")
    for person in (alice, bob):
        await person.sees("Hello Bob", "I am just")
    await expect(alice.row("Hello Bob")).to_have_attribute("data-state", "seen")
    await expect(alice.page.locator(".subtitle")).to_have_text("online")
    await expect(alice.item("bob").locator(".dot")).to_have_attribute("data-online", "true")
    await expect(alice.page.get_by_role("log")).to_have_text("bob: I am just")
    await expect(alice.page.locator(".status-line")).to_have_text(re.compile(r"^Connected · \d+ ms$"))

    carol = await people.log_in("carol")
    await carol.start_with("bob")
    await carol.say("One")
    await carol.say("Two")
    await expect(bob.badge("carol")).to_have_text("2 unread")
    await expect(bob.page.locator(".item-title")).to_have_text(["carol", "alice"])
    await expect(bob.page).to_have_title("(1) Messages")  # one conversation
    await bob.open("carol")
    await expect(bob.badge("carol")).to_be_hidden()
    await bob.sees("One", "Two")


async def test_a_group(people: People) -> None:
    """A group has a title and names who wrote; a message is read when all have read it."""
    alice = await people.log_in("alice")
    await alice.start_with("bob", "carol", title="Three of us")
    await alice.say("Anybody here?")
    bob = await people.log_in("bob")
    await bob.open("Three of us")
    await expect(bob.rows.locator(".author")).to_have_text("alice")
    await expect(alice.row("Anybody here?")).to_have_attribute("data-state", "sent")
    carol = await people.log_in("carol")
    await carol.open("Three of us")
    await expect(alice.row("Anybody here?")).to_have_attribute("data-state", "seen")


@pytest.mark.parametrize("name", ["constructor", pytest.param("__proto__", marks=pytest.mark.thorough)])
async def test_somebody_with_a_name_that_every_object_has(people: People, name: str) -> None:
    """A participant called `constructor` had read marks and presence before they came: no number, and always online."""
    alice = await people.log_in("alice")
    await alice.start_with(name)
    await alice.say("Are you there?")
    await expect(alice.row("Are you there?")).to_have_attribute("data-state", "sent")
    await expect(alice.item(name).locator(".dot")).to_have_attribute("data-online", "false")
    other = await people.log_in(name)
    await other.open("alice")
    await expect(alice.row("Are you there?")).to_have_attribute("data-state", "seen")
    await expect(alice.item(name).locator(".dot")).to_have_attribute("data-online", "true")


async def test_a_link_logs_nobody_in(people: People) -> None:
    """`/?user=mallory`, on any page, made a visitor go on under that name."""
    alice = await people.log_in("alice")
    await alice.page.goto(f"{alice.url}/?user=mallory")
    await expect(alice.page.get_by_label("Your name")).to_have_value("mallory")
    await expect(alice.page.locator(".bar")).to_have_count(0)
    await alice.page.goto(alice.url)
    await alice.status("connected")


async def test_written_offline_and_reloaded(people: People) -> None:
    """Three messages written without a connection, and the page reloaded: delivered once, in order."""
    alice, bob = await people.meet("alice"), await people.log_in("bob")
    cut = Cut()
    await cut.into(alice.page)
    await alice.log_in()
    await alice.start_with("bob")
    await alice.say("Before")
    await cut.cut()
    await alice.status("retrying")
    for text in ("One", "Two", "Three"):
        await alice.write(text)
    await expect(alice.row("Three")).to_have_attribute("data-state", "waiting")
    await alice.page.reload()
    await alice.status("retrying")
    # The conversation is in the address, and what waits in the browser: both are there before the connection is.
    await expect(alice.rows.locator(".body")).to_have_text(["One", "Two", "Three"])
    cut.mend()
    await alice.status("connected")
    await bob.open("alice")
    for person in (alice, bob):
        await person.sees("Before", "One", "Two", "Three", timeout_ms=RECONNECT_MS)
    await alice.page.reload()
    await alice.status("connected")
    await alice.sees("Before", "One", "Two", "Three")


async def test_a_lost_ack_makes_no_second_message(people: People) -> None:
    """The server stores a message, the connection dies before the ack: sent again under its key, it is there once."""
    alice, bob = await people.meet("alice"), await people.log_in("bob")
    routes: list[WebSocketRoute] = []
    upgraded, lost = asyncio.Event(), asyncio.Event()

    def lose_the_answer(route: WebSocketRoute) -> None:
        routes.append(route)
        upstream = route.connect_to_server()

        def up(message: str | bytes) -> None:
            if message == UPGRADE:
                upgraded.set()
            upstream.send(message)

        async def down(message: str | bytes) -> None:
            if route is not routes[0] or (not lost.is_set() and "Only once" not in str(message)):
                route.send(message)
            elif not lost.is_set():
                lost.set()
                await route.close(code=1001)

        route.on_message(up)
        upstream.on_message(down)

    await alice.page.route_web_socket(re.compile(r"/socket\.io/"), lose_the_answer)
    await alice.log_in()
    await alice.start_with("bob")
    await asyncio.wait_for(upgraded.wait(), 10)
    await alice.write("Only once")
    await asyncio.wait_for(lost.wait(), 10)
    await alice.status("connected")
    await alice.say("And then this")
    await bob.open("alice")
    for person in (alice, bob):
        await person.sees("Only once", "And then this", timeout_ms=RECONNECT_MS)


async def test_a_bubble_that_waits_becomes_the_stored_one(people: People, server: Server) -> None:
    """What is written shows at once; when the server answers, the same node says so, and never was away."""
    alice, bob = await two_who_talk(people)
    await alice.page.evaluate(
        """() => {
            window.removed = 0;
            new MutationObserver((changes) => {
                for (const change of changes) window.removed += change.removedNodes.length;
            }).observe(document.querySelector(".messages"), { childList: true });
        }"""
    )
    server.freeze()
    await alice.write("Wait for it")
    row = alice.row("Wait for it")
    await expect(row).to_have_attribute("data-state", "waiting")
    await row.evaluate("(node) => { node.wasWaiting = true; }")
    server.thaw()
    await expect(row).to_have_attribute("data-state", "seen")
    assert await row.evaluate("(node) => node.wasWaiting === true")
    for i in range(10):
        await alice.say(f"Quick {i}")
    assert await alice.page.evaluate("() => window.removed") == 0
    await bob.sees("Wait for it", *(f"Quick {i}" for i in range(10)))


async def test_a_refused_message_can_be_tried_again(people: People) -> None:
    """A message that the server refuses says so, and keeps its key when it is tried again."""
    alice = await people.meet("alice")
    keys: list[str] = []
    upgraded = asyncio.Event()

    def refuse_the_first(route: WebSocketRoute) -> None:
        upstream = route.connect_to_server()

        def up(message: str | bytes) -> None:
            if message == UPGRADE:
                upgraded.set()
            found = re.match(r'42(\d+)\["send_message",(.*)\]$', message) if isinstance(message, str) else None
            if found:
                keys.append(json.loads(found[2])["idempotencyKey"])
                if len(keys) == 1:
                    error = {"code": "internal_error", "message": "A bug.", "retryable": False}
                    route.send(f"43{found[1]}{json.dumps([{'ok': False, 'error': error}])}")
                    return
            upstream.send(message)

        route.on_message(up)

    await alice.page.route_web_socket(re.compile(r"/socket\.io/"), refuse_the_first)
    await alice.log_in()
    await alice.start_with("bob")
    await asyncio.wait_for(upgraded.wait(), 10)
    await alice.write("Stubborn")
    row = alice.row("Stubborn")
    await expect(row).to_have_attribute("data-state", "failed")
    await expect(row.get_by_role("alert")).to_contain_text("Not sent. The server made a mistake.")
    await row.get_by_role("button", name="Try again").click()
    await expect(row).to_have_attribute("data-state", "sent")
    assert len(keys) == 2
    assert keys[0] == keys[1]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.thorough), signal.SIGKILL])
async def test_server_restarted_under_an_open_page(people: People, server: Server, number: signal.Signals) -> None:
    """The page says what happens, comes back by itself, and sends what was written meanwhile."""
    alice, bob = await two_who_talk(people)
    await alice.say("Before")
    await server.stop(number)
    await alice.status("retrying")
    await expect(alice.bar).to_contain_text(re.compile(r"Retrying, [123] of 3"))
    if number == signal.SIGTERM:
        await expect(alice.bar).to_contain_text("The server restarts.")
    await alice.write("While away, one")
    await alice.write("While away, two")
    await server.start()
    for person in (alice, bob):
        await person.status("connected")
        await person.sees("Before", "While away, one", "While away, two", timeout_ms=RECONNECT_MS)
    await bob.say("After")
    await alice.sees("Before", "While away, one", "While away, two", "After")


async def test_what_was_missed_while_away_is_fetched(people: People, server: Server) -> None:
    """More was missed than one answer holds: the hole is filled from the history."""
    alice = await people.meet("alice")
    cut = Cut()
    await cut.into(alice.page)
    await alice.log_in()
    await alice.start_with("bob")
    await alice.say("1")
    await cut.cut()
    await alice.status("retrying")
    await fill(server, "bob", "alice", [str(i) for i in range(2, 181)])
    cut.mend()
    await alice.status("connected")
    await alice.sees(*(str(i) for i in range(1, 181)), timeout_ms=RECONNECT_MS)


async def test_a_large_group_shows_all_its_members(people: People, server: Server) -> None:
    """A conversation names its first members, and the answer to a join brings some more: the others are asked for."""
    alice = await people.log_in("alice")
    members = ["alice", *(f"m{number:03}" for number in range(250))]
    async with talking(server, "zoe") as zoe:
        await zoe.call("create_conversation", {"participantIds": members, "title": "Many"})
        await alice.open("Many")
        await expect(alice.page.locator(".subtitle")).to_have_text("252 people, 1 of the others online")


async def test_a_burst_of_new_conversations(people: People, server: Server) -> None:
    """Each of many new conversations had the list asked for at once and in vain, until the server ended a flood."""
    alice = await people.meet("alice")
    wire = Wire()
    await wire.into(alice.page)
    await alice.log_in()
    await wire.upgraded()
    await expect(alice.page.locator(".list-empty")).to_be_visible()
    wire.asked.clear()
    wire.hold("list_conversations")
    async with talking(server, "bob") as bob:
        for title in range(20):
            await bob.call("create_conversation", {"participantIds": ["alice"], "title": str(title)})
    await expect(alice.page.locator(".item")).to_have_count(20)
    wire.release()
    await alice.open("0")
    await alice.say("Sent after what was asked")
    assert wire.asked.count("list_conversations") == 2


async def test_more_than_a_page_of_the_list_changed_while_away(people: People, server: Server) -> None:
    """Only the newest page of the list was read again after a reconnect; what lay behind it stayed as it had been."""
    alice = await people.meet("alice")
    cut = Cut()
    await cut.into(alice.page)
    async with talking(server, "bob") as bob:
        ids: list[str] = []
        for title in range(55):
            answer = await bob.call("create_conversation", {"participantIds": ["alice"], "title": str(title)})
            ids.append(answer["conversation"]["id"])
        await alice.log_in()
        await alice.page.get_by_role("button", name="Earlier conversations").click()
        await expect(alice.page.locator(".item")).to_have_count(55)
        await cut.cut()
        await alice.status("retrying")
        for conversation_id in ids:
            payload = {"conversationId": conversation_id, "idempotencyKey": "news", "body": "News"}
            await bob.call("send_message", payload)
    cut.mend()
    await expect(alice.page.locator(".item .badge")).to_have_count(55, timeout=RECONNECT_MS)


async def test_the_list_after_a_backup_was_restored(people: People, server: Server, tmp_path: Path) -> None:
    """The list kept the newest messages, and what came later did not show, up to the numbers from before."""
    alice = await people.log_in("alice")
    await fill(server, "bob", "alice", ["One", "Two"])
    await expect(alice.item("bob")).to_contain_text("Two")
    with closing(sqlite3.connect(server.database)) as sql:
        sql.execute("VACUUM INTO ?", [str(tmp_path / "backup.db")])
    await fill(server, "bob", "alice", [f"Lost {i}" for i in range(5)])
    await expect(alice.badge("bob")).to_have_text("7 unread")
    await server.stop()
    for file in server.database.parent.glob("chat.db*"):
        file.unlink()
    (tmp_path / "backup.db").rename(server.database)
    await server.start()
    await expect(alice.badge("bob")).to_have_text("2 unread", timeout=RECONNECT_MS)
    await expect(alice.item("bob")).to_contain_text("Two")
    await fill(server, "bob", "alice", ["Three"])
    await expect(alice.badge("bob")).to_have_text("3 unread")
    await expect(alice.item("bob")).to_contain_text("Three")


async def test_a_second_tab_takes_over_and_the_first_stays_away(people: People) -> None:
    """The newest tab of a user has the chat; the old one says why it stopped, and comes back only by its button."""
    first = await people.meet("alice")
    await first.page.clock.install()
    await first.log_in()
    second = await people.log_in("alice")
    await first.status("ended")
    await expect(first.bar).to_contain_text("opened in another tab")

    attempts: list[str] = []
    first.page.on("request", lambda request: attempts.append(request.url))
    await first.page.clock.fast_forward(10 * 60_000)
    await second.start_with("bob")
    await second.say("I have the chat now")
    await first.status("ended")
    await second.status("connected")
    assert attempts == []

    await first.page.get_by_role("button", name="Use it here").click()
    await first.status("connected")
    await first.open("bob")
    await first.sees("I have the chat now")
    await second.status("ended")


async def test_hidden_and_scrolled_away_do_not_read(people: People) -> None:
    """Only what is on the screen is marked as read; shown again, it is."""
    alice, bob = await two_who_talk(people)
    await alice.say("Have you seen this?")
    await expect(alice.row("Have you seen this?")).to_have_attribute("data-state", "seen")
    await bob.hide(True)
    await alice.say("And this?")
    await expect(bob.badge("alice")).to_have_text("1 unread")
    await expect(alice.row("And this?")).to_have_attribute("data-state", "sent")
    await bob.hide(False)
    await expect(alice.row("And this?")).to_have_attribute("data-state", "seen")
    await expect(bob.badge("alice")).to_be_hidden()


async def test_a_read_mark_that_is_ahead_of_an_answer(people: People) -> None:
    """A join's answer, which may be older than the events before it, took back how far somebody had read."""
    alice, bob = await people.meet("alice"), await people.log_in("bob")
    wire = Wire()
    await wire.into(alice.page)
    await alice.log_in()
    await alice.start_with("bob")
    await alice.say("Have you seen this?")
    await alice.page.keyboard.press("Escape")
    await wire.upgraded()
    wire.hold("join_conversation")
    await alice.item("bob").click()
    await eventually("the answer", lambda: wire.held)
    await bob.open("alice")
    await eventually("that Bob has read", lambda: "messages_read" in wire.told)
    wire.release()
    await expect(alice.row("Have you seen this?")).to_have_attribute("data-state", "seen")


async def test_scrolling_up_without_a_connection(people: People, server: Server) -> None:
    """Earlier messages that were scrolled to before the conversation was joined again did not come any more."""
    await fill(server, "alice", "bob", LONG)
    alice = await people.meet("alice")
    cut = Cut()
    await cut.into(alice.page)
    await alice.log_in()
    await alice.open("bob")
    await expect(alice.rows.last).to_be_in_viewport()
    await cut.cut()
    await alice.status("retrying")
    await scroll_up(alice)
    cut.mend()
    await expect(alice.page.locator('[data-seq="75"]')).to_be_attached(timeout=RECONNECT_MS)


async def test_scrolling_up_and_refused(people: People, server: Server) -> None:
    """Earlier messages that the server would not give just now did not come any more."""
    await fill(server, "alice", "bob", LONG)
    alice = await people.meet("alice")
    wire = Wire()
    await wire.into(alice.page)
    await alice.log_in()
    await wire.upgraded()
    await alice.open("bob")
    await expect(alice.rows.last).to_be_in_viewport()
    wire.refuse("fetch_history")
    await alice.sees(*LONG, timeout_ms=RECONNECT_MS)
    assert wire.asked.count("fetch_history") == 3  # the refused one, and two pages


async def test_a_hole_makes_the_page_join_once(people: People) -> None:
    """A page that had joined again because an event was missing joined once more for nothing."""
    alice, bob = await people.meet("alice"), await people.log_in("bob")
    wire = Wire()
    await wire.into(alice.page)
    await alice.log_in()
    await alice.start_with("bob")
    await wire.upgraded()
    await alice.say("Before")
    await bob.open("alice")
    wire.asked.clear()
    wire.lose("message_created")
    await bob.say("Lost on its way")
    await bob.say("And seen")
    await alice.sees("Before", "Lost on its way", "And seen")
    await alice.say("Sent after what was asked")
    assert wire.asked.count("join_conversation") == 1


async def test_a_thousand_messages_of_history(people: People, server: Server) -> None:
    """Older messages come as one scrolls up, all and in order; what arrives meanwhile moves nothing."""
    texts = [f"Message {i}" + " and on" * (i % 9) for i in range(1, 1001)]
    await fill(server, "alice", "bob", texts)
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await alice.open("bob")
    await alice.sees(*texts, timeout_ms=60_000)
    await expect(alice.page.locator(".history")).to_have_text("This is where the conversation begins.")

    await alice.page.locator(".scroller").hover()
    await alice.page.mouse.wheel(0, -1_000_000)
    await expect(alice.page.locator('[data-seq="1"] .day')).to_be_in_viewport()
    await bob.open("alice")
    third = alice.page.locator('[data-seq="3"]')
    before = await third.bounding_box()
    await bob.say("News")
    jump = alice.page.get_by_role("button", name="1 new message")
    await expect(jump).to_be_visible()
    after = await third.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) < 1  # scrollers have whole pixels
    await expect(alice.badge("bob")).to_have_text("1 unread")
    await jump.click()
    await expect(alice.row("News")).to_be_in_viewport()
    await expect(alice.badge("bob")).to_be_hidden()
    await expect(bob.row("News")).to_have_attribute("data-state", "seen")


async def test_a_window_without_the_focus_reads_nothing(people: People) -> None:
    """Of two windows side by side the one that nobody used marked everything as read."""
    alice, bob = await two_who_talk(people)
    await bob.page.evaluate("() => { document.hasFocus = () => false; window.dispatchEvent(new Event('blur')); }")
    await alice.say("Are you looking?")
    await expect(bob.badge("alice")).to_have_text("1 unread")
    await expect(alice.row("Are you looking?")).to_have_attribute("data-state", "sent")
    await expect(bob.page).to_have_title("(1) Messages")
    await bob.page.evaluate("() => { document.hasFocus = () => true; window.dispatchEvent(new Event('focus')); }")
    await expect(alice.row("Are you looking?")).to_have_attribute("data-state", "seen")
    await expect(bob.badge("alice")).to_be_hidden()


async def test_a_draft_stays_with_its_conversation(people: People) -> None:
    """What was begun was gone after a look into another conversation, or a reload."""
    alice = await people.log_in("alice")
    await alice.start_with("carol")
    await alice.start_with("bob")
    await alice.body.fill("Half a")
    await alice.open("carol")
    await expect(alice.body).to_have_value("")
    await expect(alice.item("bob").locator(".item-text")).to_have_text("Draft: Half a")
    await alice.page.reload()
    await alice.status("connected")
    await alice.open("bob")
    await expect(alice.body).to_have_value("Half a")
    await alice.body.press("Enter")
    await expect(alice.row("Half a")).to_have_attribute("data-state", "sent")
    await alice.open("carol")
    await expect(alice.item("bob").locator(".item-text")).to_have_text("You: Half a")


async def test_what_a_paused_tab_wrote_the_other_one_sends(people: People) -> None:
    """It waited in the tab that had been replaced, and was lost or late when that was closed."""
    first = await people.log_in("alice")
    await first.start_with("bob")
    second = await people.log_in("alice", context=first.page.context)
    await first.status("ended")
    await first.write("From the paused tab")
    await second.open("bob")
    await second.sees("From the paused tab")
    await expect(first.row("From the paused tab")).to_have_attribute("data-seq", "1")
    await first.page.close()
    await second.say("And on")
    await second.sees("From the paused tab", "And on")


async def test_written_offline_in_two_tabs_that_are_closed(people: People) -> None:
    """What two tabs wrote in turns, without a connection, the next one sends: everything once, in order."""
    first = await people.log_in("alice")
    await first.start_with("bob")
    context = first.page.context
    second = await people.meet("alice", context=context)
    cut = Cut()
    await cut.into(second.page)
    await second.log_in()
    await second.open("bob")
    await first.status("ended")
    await cut.upgraded()
    await cut.cut()
    await second.status("retrying")
    texts = [f"{i}" for i in range(6)]
    for i, text in enumerate(texts):
        await (first, second)[i % 2].write(text)
        await kept(second, i + 1)  # the browser takes some milliseconds
    await first.page.close()
    await second.page.close()
    third = await people.log_in("alice", context=context)
    await third.open("bob")
    await third.sees(*texts)
    bob = await people.log_in("bob")
    await bob.open("alice")
    await bob.sees(*texts)


async def kept(person: Person, count: int) -> None:
    """Wait until the browser's database has that many messages that wait."""
    await person.page.wait_for_function(
        """(count) => new Promise((resolve) => {
            const opening = indexedDB.open("chat-socketserver-client");
            opening.onsuccess = () => {
                const asking = opening.result.transaction("kept").objectStore("kept").getAllKeys();
                asking.onsuccess = () => {
                    opening.result.close();
                    resolve(asking.result.filter((key) => key.includes(" outbox ")).length === count);
                };
            };
        })""",
        arg=count,
    )


async def test_a_device_that_is_offline_says_so(people: People) -> None:
    """It said "Connected" until the ping timeout, up to 85 seconds, and others went on being online."""
    alice, _ = await two_who_talk(people)
    await alice.say("Before")
    dot = alice.item("bob").locator(".dot")
    await expect(dot).to_have_attribute("data-online", "true")
    await alice.page.context.set_offline(True)
    await alice.status("retrying")
    await expect(alice.bar).to_contain_text("You are offline.")
    await expect(dot).to_have_attribute("data-online", "false")
    await alice.write("Written offline")
    await alice.page.context.set_offline(False)
    await alice.status("connected")
    await alice.sees("Before", "Written offline")


async def test_the_enter_that_ends_a_composition_in_safari(people: People) -> None:
    """It sent the message: Safari says `isComposing: false` there, and only the code 229 tells."""
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    await alice.body.fill("にほん")
    await alice.body.evaluate(
        "(node) => node.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', keyCode: 229, bubbles: true}))"
    )
    await alice.body.press("End")
    await expect(alice.body).to_have_value("にほん")
    await expect(alice.rows).to_have_count(0)


async def test_every_row_says_who_wrote_it(people: People) -> None:
    """To a screen reader a row was its text and time: no author, neither of one's own nor of the others' messages."""
    alice, bob = await two_who_talk(people)
    await alice.say("One")
    await bob.say("Two")
    await bob.say("Three")
    shown = await alice.rows.evaluate_all("(rows) => rows.map((row) => row.querySelector('.bubble').innerText)")
    assert [re.sub(r"\s+", " ", text).split(":")[0] for text in shown] == ["You", "bob", "bob"]


@pytest.mark.parametrize(
    "width", [375, pytest.param(1024, marks=pytest.mark.thorough), pytest.param(1440, marks=pytest.mark.thorough)]
)
async def test_long_names_leave_room_for_the_message(people: People, width: int) -> None:
    """A long title, or a user id, pushed the Send button and one's own messages off the screen."""
    alice = await people.log_in("alice", width=width)
    for names, title in [
        (["anne-charlotte.de-la-rochefoucauld@example-company.com"], None),
        (["bob", "carol"], "A title " + "as long as a title may well be " * 5),
    ]:
        await alice.start_with(*names, title=title and title.strip())
        await alice.say("Here")
        for part in (alice.page.get_by_role("button", name="Send"), alice.row("Here").locator(".bubble")):
            box = await part.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        await no_sideways(alice.page)
        if width < 760:
            await alice.page.get_by_role("button", name="Back to the conversations").click()


async def test_a_browser_without_a_database_keeps_nothing_and_says_so(people: People) -> None:
    """What was written seemed to be kept where a private window blocks IndexedDB."""
    alice = await people.meet("alice")
    cut = Cut()
    await cut.into(alice.page)
    await alice.page.add_init_script("indexedDB.open = () => { throw new DOMException('blocked', 'SecurityError'); };")
    await alice.log_in()
    await alice.start_with("bob")
    await cut.cut()
    await alice.status("retrying")
    await alice.write("Only here")
    await expect(alice.bar).to_contain_text("What you write is lost if you close this page.")
    cut.mend()
    await alice.status("connected")
    await alice.sees("Only here")


async def test_three_failed_attempts_end_in_a_button_that_works(people: People, server: Server) -> None:
    """The app counts its three attempts, says so, and connects again when asked to."""
    alice = await people.meet("alice")
    await gives_up(alice, server)
    await alice.write("For later")
    await server.start()
    await alice.page.get_by_role("button", name="Try again").click()
    await alice.status("connected")
    await alice.sees("For later")


async def test_a_page_that_gave_up_comes_back_by_itself(people: People, server: Server) -> None:
    """It waited for a click: each deploy of more than twelve seconds left all open pages offline."""
    alice = await people.meet("alice")
    await gives_up(alice, server)
    for _ in range(2):
        async with alice.page.expect_event("requestfailed", timeout=RECONNECT_MS):
            await alice.page.clock.fast_forward(QUIET_MS)
        await alice.status("offline")  # a quiet attempt says nothing
    await server.start()
    await alice.page.clock.fast_forward(QUIET_MS)
    await alice.status("connected")


@pytest.mark.parametrize(
    "look", ["focus", *(pytest.param(look, marks=pytest.mark.thorough) for look in ("visibilitychange", "online"))]
)
async def test_looking_at_a_page_that_gave_up_connects_it(people: People, server: Server, look: str) -> None:
    """Only the button did, and the network's return."""
    alice = await people.meet("alice")
    await gives_up(alice, server)
    await server.start()
    await alice.page.clock.fast_forward(6_000)  # attempts are five seconds apart, whatever calls for them
    await alice.page.evaluate(
        "(look) => (look === 'visibilitychange' ? document : window).dispatchEvent(new Event(look))", look
    )
    await alice.status("connected")


async def gives_up(person: Person, server: Server) -> None:
    """Kill the server, and let the three attempts fail."""
    await person.page.clock.install()
    await person.log_in()
    await person.start_with("bob")
    await server.stop(signal.SIGKILL)
    await expect(person.bar).to_contain_text("Retrying, 1 of 3")
    await person.gives_up()
    await expect(person.bar).to_contain_text("The server cannot be reached.")


async def test_an_expired_token_is_renewed_in_place(people: People, server: Server) -> None:
    """The server refuses an expired token once; the app fetches another and goes on, without a reload."""
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    expired = await use_token(alice, lifetime_s=-1)
    await server.stop()
    await alice.status("retrying")
    await server.start()
    await alice.status("connected")
    await alice.say("Still me")
    assert await alice.page.evaluate("() => window.stillHere === true")
    assert await used_token(alice) != expired


async def test_a_token_that_expires_while_connected_is_renewed(people: People) -> None:
    """The server ends the connection with `token_expired`; the app comes back with another token."""
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    short = await use_token(alice, lifetime_s=10)
    await alice.page.reload()
    await alice.status("connected")
    await alice.page.evaluate("() => { window.stillHere = true; }")
    await alice.status("retrying")
    await alice.write("Written in between")
    await alice.status("connected")
    await alice.sees("Written in between")
    assert await alice.page.evaluate("() => window.stillHere === true")
    assert await used_token(alice) != short


async def use_token(person: Person, *, lifetime_s: int) -> str:
    """Give a tab another token for its next handshake, and mark the page, to see whether it is loaded again."""
    now_s = int(time.time())
    claims = {"sub": person.name, "iat": now_s - 60, "exp": now_s + lifetime_s}
    token = jwt.encode(claims, DEVELOPMENT_SECRET, algorithm="HS256")
    await person.page.evaluate(
        """(token) => {
            window.stillHere = true;
            const session = JSON.parse(sessionStorage.getItem("chat.session"));
            sessionStorage.setItem("chat.session", JSON.stringify({ ...session, token }));
        }""",
        token,
    )
    return token


async def used_token(person: Person) -> str:
    session: dict[str, str] = json.loads(await person.page.evaluate("() => sessionStorage.getItem('chat.session')"))
    return session["token"]


async def test_strict_mode_makes_one_socket(start_server: StartServer, chromium: Browser, tmp_path: Path) -> None:
    """In development React mounts everything twice; the server sees one handshake and one socket.

    An address with `ws://`, which a raw WebSocket needed, was no address for the login.
    """
    with held_port() as port:
        app = BuiltApp(tmp_path / "development", port)
        await app.build(mode="development", scheme="ws")
        await app.serve()
        people = People(chromium, app)
        try:
            server = await start_server(*app.flags)
            alice = await people.meet("alice")
            handshakes: list[str] = []

            def count(url: str) -> None:
                if "/socket.io/" in url and "sid=" not in url:
                    handshakes.append(url)

            alice.page.on("request", lambda request: count(request.url))
            await alice.log_in()
            await alice.start_with("bob")
            await alice.say("Said once")
            await alice.sees("Said once")
            assert len(handshakes) == 1
            assert authenticated(server, "alice") == 1
        finally:
            await people.leave()
            await app.stop()


async def test_keyboard_only(people: People) -> None:
    """Log in, start, write over two lines, move in the list and go back without a mouse."""
    bob = await people.log_in("bob")
    carol = await people.log_in("carol")
    await carol.start_with("alice")
    await carol.say("For the list")

    alice = await people.meet("alice")
    keyboard = alice.page.keyboard
    await alice.page.goto(alice.url)
    await expect(alice.page.get_by_label("Your name")).to_be_focused()
    await keyboard.press("Enter")
    await expect(alice.page.locator("#name-error")).to_have_text("Please type a name.")
    await keyboard.type("alice")
    await keyboard.press("Enter")
    await alice.status("connected")

    await tab_to(alice.page, "New conversation")
    await keyboard.press("Enter")
    await expect(alice.page.get_by_label("Who with?")).to_be_focused()
    await keyboard.press("Escape")
    await expect(alice.page.locator("dialog")).to_have_count(0)  # hidden at once; a moment later the page knows it
    await expect(alice.page.get_by_role("button", name="New conversation")).to_be_focused()
    await keyboard.press("Enter")
    await keyboard.type("bob")
    await keyboard.press("Enter")
    await expect(alice.body).to_be_focused()

    await keyboard.type("Line one")
    await keyboard.press("Shift+Enter")
    await keyboard.type("line two")
    await keyboard.press("Enter")
    await bob.open("alice")
    await expect(bob.rows.locator(".body")).to_have_text(["Line one\nline two"], use_inner_text=True)

    await keyboard.press("Escape")
    await expect(alice.item("bob")).to_be_focused()
    await keyboard.press("ArrowDown")
    await expect(alice.item("carol")).to_be_focused()
    await keyboard.press("Enter")
    await expect(alice.title).to_have_text("carol")
    await expect(alice.body).to_be_focused()


@pytest.mark.thorough
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_accessible_and_good_to_look_at(people: People, dark: bool) -> None:
    """axe-core finds nothing serious on any screen, and nothing is wider than a phone."""
    dora = await people.log_in("Dora Ek", dark=dark)
    await dora.start_with("alice")
    await dora.say("Lunch at one?")
    eve = await people.log_in("eve", dark=dark)
    await eve.start_with("alice", "bob", title="Book club")
    await eve.say("Chapter three is up to you two")
    await eve.page.close()
    bob = await people.log_in("bob", width=375, height=760, dark=dark)
    await bob.start_with("alice")
    await bob.say("Good morning! Did the deploy go through?")
    alice = await people.meet("alice", width=1440, height=900, dark=dark)
    await alice.page.goto(alice.url)
    await no_violations(alice.page)
    await alice.log_in()
    await alice.start_with("bob", "carol", title="Release 2.0")
    await alice.say("Notes are in https://example.com/notes")
    await no_violations(alice.page)
    await alice.open("bob")
    await alice.say("It did. Four minutes, and nobody lost a message.")
    await alice.say("Even the tab that slept through it has everything.")
    await bob.say("And the three messages that I wrote in the tunnel?")
    await alice.say("Once each, in order.")
    await bob.say(
        "Then I will take the afternoon off. The numbers are on https://example.com/release if you want them."
    )
    await expect(bob.badge("Release 2.0")).to_have_count(1)
    await bob.body.fill("W" * 300)
    await no_sideways(bob.page)
    await no_violations(bob.page)
    await bob.body.fill("")
    await bob.body.press_sequentially("See you")
    await expect(alice.page.locator(".typing")).to_have_text("bob is typing")
    await no_violations(alice.page)
    mode = "dark" if dark else "light"
    await shoot(alice.page, f"react-{mode}.png")
    await shoot(bob.page, f"react-{mode}-phone.png")
    await bob.page.get_by_role("button", name="Back to the conversations").click()
    await expect(bob.item("Release 2.0")).to_be_visible()
    await no_violations(bob.page)
    await no_sideways(bob.page)
    await bob.page.get_by_role("button", name="New conversation").click()
    await no_violations(bob.page)
    await no_sideways(bob.page)
    await bob.page.keyboard.press("Escape")
    elsewhere = await people.log_in("alice", dark=dark)
    await alice.status("ended")
    await no_violations(alice.page)
    await elsewhere.status("connected")


# Three pages of messages, each far higher than the screen.
LONG = [f"{i}\nof\nmany" for i in range(1, 131)]


async def scroll_up(person: Person) -> None:
    """To the first message that is there."""
    await person.page.locator(".scroller").hover()
    await person.page.mouse.wheel(0, -100_000)
    await expect(person.rows.first).to_be_in_viewport()


class Wire:
    """A page's WebSocket: what goes over it, and ways to hold it up.

    Attributes:
        asked: the requests, by name.
        told: the server's events, by name.
        held: the answers that are held back.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told: list[str] = []
        self.held: list[str | bytes] = []
        self._route: WebSocketRoute | None = None
        self._upgraded = asyncio.Event()
        self._holding: str | None = None
        self._ids: set[str] = set()
        self._losing: str | None = None
        self._refusing: str | None = None

    async def into(self, page: Page) -> None:
        await page.route_web_socket(re.compile(r"/socket\.io/"), self._connected)

    async def upgraded(self) -> None:
        """Wait until the page has left long polling: from then on all of it goes through here."""
        await asyncio.wait_for(self._upgraded.wait(), 10)

    def hold(self, event: str) -> None:
        """Hold back the answers to that request."""
        self._holding = event

    def lose(self, event: str) -> None:
        """Lose the next event of that name."""
        self._losing = event

    def refuse(self, event: str) -> None:
        """Refuse the next request of that name, for now."""
        self._refusing = event

    def release(self) -> None:
        """Hand over what was held back, and hold back no more."""
        self._holding = None
        assert self._route is not None
        for message in self.held:
            self._route.send(message)
        self.held.clear()

    def _connected(self, route: WebSocketRoute) -> None:
        self._route = route
        upstream = route.connect_to_server()

        def up(message: str | bytes) -> None:
            if message == UPGRADE:
                self._upgraded.set()
            if found := re.match(r'42(\d+)\["(\w+)"', str(message)):
                self.asked.append(found[2])
                if found[2] == self._refusing:
                    self._refusing = None
                    error = {"code": "store_unavailable", "message": "Soon.", "retryable": True, "retryAfterMs": 100}
                    route.send(f"43{found[1]}{json.dumps([{'ok': False, 'error': error}])}")
                    return
                if found[2] == self._holding:
                    self._ids.add(found[1])
            upstream.send(message)

        def down(message: str | bytes) -> None:
            found = re.match(r"43(\d+)\[", str(message))
            if found and found[1] in self._ids and self._holding is not None:
                self.held.append(message)
                return
            if found := re.match(r'42\["(\w+)"', str(message)):
                self.told.append(found[1])
                if found[1] == self._losing:
                    self._losing = None
                    return
            route.send(message)

        route.on_message(up)
        upstream.on_message(down)


async def shoot(page: Page, name: str) -> None:
    """Renew a picture of the documentation, where UPDATE_IMAGES=1 asks for it."""
    if os.environ.get("UPDATE_IMAGES") == "1":
        IMAGES.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=IMAGES / name)


async def no_violations(page: Page) -> None:
    """axe-core finds nothing serious or critical, once animations, which have contrasts of their own, are over."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.add_script_tag(path=AXE)
    found: list[dict[str, Any]] = await page.evaluate(
        """async () => {
            await Promise.all(document.getAnimations().filter((each) => each.effect.getTiming().iterations !== Infinity)
                .map((each) => each.finished.catch(() => {})));
            const { violations } = await axe.run(document, { resultTypes: ["violations"] });
            return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
                .map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html + node.failureSummary) }));
        }"""
    )
    assert found == []


async def no_sideways(page: Page) -> None:
    """Nothing sticks out at the side."""
    wider = await page.evaluate(
        """() => {
            const room = document.documentElement.clientWidth;
            return [document.documentElement, ...document.querySelectorAll(".scroller, .list, .dialog, .shell")]
                .filter((node) => node.clientWidth > room || node.clientWidth < node.scrollWidth)
                .map((node) => node.className || node.tagName);
        }"""
    )
    assert wider == []


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button of that name has the focus."""
    button = page.get_by_role("button", name=name)
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await button.evaluate("(node) => node === document.activeElement"):
            return
    pytest.fail(f"Tab does not lead to {name}")
