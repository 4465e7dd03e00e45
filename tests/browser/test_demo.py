"""The demo page in Chromium, against a real server: what its users see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import pytest
import socketio
from browser.conftest import StartServer
from browser.demokit import People, Person, Server
from browser.visitors import RECONNECT_MS
from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What a client sends as soon as it has left long polling: from then on everything goes through the WebSocket.
UPGRADE = "5"
AT_ONCE = 25


async def two_who_talk(people: People) -> tuple[Person, Person]:
    """Alice and Bob with their conversation open."""
    alice = await people.log_in("alice")
    bob = await people.log_in("bob")
    await alice.start_with("bob")
    await bob.open("alice")
    return alice, bob


async def test_two_people_chat_live(people: People) -> None:
    """What one writes the other sees at once, in one order, without reloading."""
    alice, bob = await two_who_talk(people)
    await alice.say("Hello Bob")
    await expect(bob.row("Hello Bob")).to_be_visible()
    await bob.say("Hello Alice")
    await alice.say("How are you?")
    for person in (alice, bob):
        await person.sees("Hello Bob", "Hello Alice", "How are you?")
    await expect(bob.page.locator("#announcer")).to_contain_text("alice: How are you?")


async def test_two_tabs_of_one_browser_are_two_people(people: People) -> None:
    """The login belongs to the tab: a second name in the same browser does not take over the first one."""
    alice = await people.log_in("alice")
    bob = await people.log_in("bob", context=alice.page.context)
    await alice.start_with("bob")
    await alice.say("Are you in the next tab?")
    await alice.page.reload()
    await alice.status("connected")
    await expect(alice.page.locator("#me-name")).to_have_text("alice")
    await bob.open("alice")
    await bob.sees("Are you in the next tab?")


async def test_unread_badge_and_activity(people: People) -> None:
    """A conversation that is not open counts what is unread, shows the last message and moves to the top."""
    alice = await people.log_in("alice")
    bob = await people.log_in("bob")
    carol = await people.log_in("carol")
    await alice.start_with("bob")
    await carol.start_with("bob")
    await expect(bob.page.locator("#list .item-title")).to_have_text(["carol", "alice"])
    await alice.say("One")
    await alice.say("Two")
    await expect(bob.badge("alice")).to_have_text("2 unread")
    await expect(bob.badge("carol")).to_be_hidden()
    await expect(bob.item("alice").locator(".item-text")).to_have_text("Two")
    await expect(bob.page.locator("#list .item-title")).to_have_text(["alice", "carol"])
    await expect(bob.page).to_have_title(re.compile(r"^\(1\) "))

    await bob.open("alice")
    await bob.sees("One", "Two")
    await expect(bob.page.locator("#messages .divider")).to_have_text("2 new")
    await expect(bob.badge("alice")).to_be_hidden()
    await bob.page.goto("about:blank")
    await bob.log_in()
    await expect(bob.item("alice")).to_be_visible()
    await expect(bob.badge("alice")).to_be_hidden()
    await expect(bob.page).not_to_have_title(re.compile(r"^\("))


async def test_typing(people: People) -> None:
    """Typing shows while it lasts: a message ends it, and so does leaving the field."""
    alice, bob = await two_who_talk(people)
    typing = alice.page.locator("#typing")
    await bob.body.press_sequentially("I am just")
    await expect(typing).to_have_text("bob is typing")
    await bob.body.press("Enter")
    await expect(alice.row("I am just")).to_be_visible()
    await expect(typing).to_be_hidden()

    await bob.body.press_sequentially("or rather")
    await expect(typing).to_be_visible()
    await bob.body.blur()
    await expect(typing).to_be_hidden()


async def test_presence(start_server: StartServer, chromium: Browser) -> None:
    """Who is connected, and has been in the conversation once, has a dot, and loses it when gone."""
    people = People(chromium, await start_server("--presence-grace-s", "0.2"))
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    dot = alice.item("bob").locator(".dot")
    subtitle = alice.page.locator("#subtitle")
    await expect(dot).to_have_attribute("data-online", "false")
    bob = await people.log_in("bob")
    await bob.open("alice")
    await expect(dot).to_have_attribute("data-online", "true")
    await expect(subtitle).to_have_text("online")
    await bob.page.close()
    await expect(dot).to_have_attribute("data-online", "false")
    await expect(subtitle).to_have_text(re.compile("^last seen today, "))
    await people.leave()


async def test_presence_of_somebody_who_starts_a_conversation(people: People) -> None:
    """A conversation that somebody else starts shows at once that they are there."""
    bob = await people.log_in("bob")
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    await expect(bob.item("alice").locator(".dot")).to_have_attribute("data-online", "true")


async def test_read_marks(people: People) -> None:
    """A message is sent, then read; a hidden page and one that is scrolled away do not read."""
    alice = await people.log_in("alice")
    bob = await people.log_in("bob")
    await alice.start_with("bob")
    await alice.say("Have you seen this?")
    await expect(alice.row("Have you seen this?")).to_have_attribute("data-state", "sent")
    await bob.open("alice")
    await expect(alice.row("Have you seen this?")).to_have_attribute("data-state", "seen")
    await expect(alice.row("Have you seen this?").get_by_role("img", name="Read")).to_be_visible()

    await bob.hide(True)
    await alice.say("And this?")
    await expect(bob.badge("alice")).to_have_text("1 unread")
    await expect(alice.row("And this?")).to_have_attribute("data-state", "sent")
    await bob.hide(False)
    await expect(alice.row("And this?")).to_have_attribute("data-state", "seen")
    await expect(bob.badge("alice")).to_be_hidden()


async def test_read_marks_in_a_group(people: People) -> None:
    """A group shows who has read up to where."""
    alice = await people.log_in("alice")
    bob = await people.log_in("bob")
    await alice.start_with("bob", "carol", title="Three of us")
    await alice.say("Anybody here?")
    row = alice.row("Anybody here?")
    await expect(row).to_have_attribute("data-state", "sent")
    await bob.open("Three of us")
    await expect(row).to_have_attribute("data-state", "read")
    await expect(row.get_by_role("img", name="Read by bob").last).to_be_visible()
    carol = await people.log_in("carol")
    await carol.open("Three of us")
    await expect(row).to_have_attribute("data-state", "seen")
    await expect(row.get_by_role("img", name="Read by bob and carol")).to_be_visible()


async def test_a_large_group_shows_all_its_members(people: People) -> None:
    """A conversation names its first members, and the answer to a join brings some more: the others are asked for."""
    alice = await people.log_in("alice")
    zoe = await people.log_in("zoe")
    members = [f"m{number:03}" for number in range(250)]
    await alice.start_with(*members, "zoe", title="Many")
    await zoe.open("Many")  # who has not taken part looks offline, and nobody is told of those in large groups
    await alice.page.reload()
    await alice.status("connected")
    await alice.open("Many")
    subtitle = alice.page.locator("#subtitle")
    await expect(subtitle).to_have_text("You, m000 and 250 more · 2 online")
    await alice.say("Everybody?")
    await expect(alice.row("Everybody?")).to_have_attribute("data-state", "sent")


async def test_a_pending_bubble_becomes_sent_in_place(people: People, server: Server) -> None:
    """What is written shows at once and waits; when the server answers, the same node says so."""
    alice, bob = await two_who_talk(people)
    server.freeze()
    await alice.write("Wait for it")
    row = alice.row("Wait for it")
    await expect(row).to_have_attribute("data-state", "waiting")
    await expect(row.get_by_role("img", name="Sending")).to_be_attached()
    await row.evaluate("(node) => { node.wasPending = true; }")
    server.thaw()
    await expect(row).to_have_attribute("data-state", "seen")
    assert await row.evaluate("(node) => node.wasPending === true")
    for person in (alice, bob):
        await person.sees("Wait for it")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.thorough)])
async def test_server_restarted_under_an_open_page(people: People, server: Server, number: signal.Signals) -> None:
    """Messages written while the server is away arrive once, in order, after it is back; nothing is lost."""
    alice, bob = await two_who_talk(people)
    await alice.say("Before")
    await expect(bob.row("Before")).to_be_visible()
    await server.stop(number)
    await alice.status("retrying")
    await expect(alice.page.locator("#bar-text")).to_contain_text(re.compile(r"Retrying, [123] of 3"))
    await alice.write("While away, one")
    await alice.write("While away, two")
    await expect(alice.row("While away, one")).to_have_attribute("data-state", "waiting")
    await server.start()
    for person in (alice, bob):
        await person.status("connected")
        await person.sees("Before", "While away, one", "While away, two", timeout_ms=RECONNECT_MS)
    await bob.say("After")
    await alice.sees("Before", "While away, one", "While away, two", "After")


@pytest.mark.thorough  # the client's own tests have it too
async def test_what_was_missed_while_away_is_fetched(start_server: StartServer, chromium: Browser) -> None:
    """A page that lost its connection gets exactly what it missed, also when that is more than one page of history."""
    server = await start_server("--messages-per-second", "0")
    people = People(chromium, server)
    alice = await people.meet("alice")
    cut = Cut()
    await cut.into(alice.page)
    await alice.log_in()
    await alice.start_with("bob")
    await alice.say("1")
    await cut.cut()
    await alice.status("retrying")
    await fill(server, "bob", "alice", [str(i) for i in range(2, 131)])
    cut.mend()
    await alice.status("connected")
    # A part of them is in the page; each says its place.
    await expect(alice.row("130")).to_have_attribute("data-seq", "130", timeout=RECONNECT_MS)
    await expect(alice.row("120")).to_have_attribute("aria-posinset", "120")
    await expect(alice.row("120")).to_have_attribute("aria-setsize", "130")
    await people.leave()


@pytest.mark.thorough  # the client's own tests have it too
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
            if route is not routes[0] or "Only once" not in str(message):
                if not lost.is_set() or route is not routes[0]:
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


async def test_what_waits_survives_a_reload(people: People) -> None:
    """Three messages written without a connection and a reloaded page: delivered once, in order."""
    alice, bob = await people.meet("alice"), await people.log_in("bob")
    cut = Cut()
    await cut.into(alice.page)
    await alice.log_in()
    await alice.start_with("bob")
    await cut.cut()
    await alice.status("retrying")
    for text in ("One", "Two", "Three"):
        await alice.write(text)
    await alice.page.reload()
    await alice.status("retrying")
    cut.mend()
    await alice.status("connected")
    await bob.open("alice")
    for person in (alice, bob):
        await person.sees("One", "Two", "Three", timeout_ms=RECONNECT_MS)


async def test_a_refused_message_can_be_tried_again(people: People) -> None:
    """A message that the server refuses says so and keeps its key when it is tried again."""
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
    await row.evaluate("(node) => { node.wasFailed = true; }")
    await row.get_by_role("button", name="Try again").click()
    await expect(row).to_have_attribute("data-state", "sent")
    await expect(row.get_by_role("alert")).to_have_count(0)
    assert await row.evaluate("(node) => node.wasFailed === true")
    assert len(keys) == 2
    assert keys[0] == keys[1]


async def test_a_second_tab_takes_over_and_the_first_stays_away(people: People) -> None:
    """The newest tab of a user has the chat; the old one says why it stopped, and comes back only by its button."""
    first = await people.meet("alice")
    await first.page.clock.install()
    await first.log_in()
    # Another context, because the clock belongs to the context.
    second = await people.log_in("alice")
    await first.status("ended")
    await expect(first.page.locator("#bar-text")).to_contain_text("opened in another tab")

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


async def test_three_failed_attempts_end_in_a_button_that_works(people: People, server: Server) -> None:
    """The page counts its three attempts, says so, and connects again when asked to, or by itself after a while."""
    alice = await people.meet("alice")
    await alice.page.clock.install()
    await alice.log_in()
    await alice.start_with("bob")
    await server.stop(signal.SIGKILL)
    bar = alice.page.locator("#bar-text")
    await expect(bar).to_contain_text("Retrying, 1 of 3")
    await alice.gives_up()
    await expect(bar).to_contain_text("The server cannot be reached.")
    await alice.write("For later")
    await server.start()
    await alice.page.get_by_role("button", name="Try again").click()
    await alice.status("connected")
    await alice.sees("For later")
    await expect(alice.page.locator("#bar")).not_to_have_class(re.compile("open"))

    await server.stop(signal.SIGKILL)
    await expect(bar).to_contain_text("Retrying, 1 of 3")
    await alice.gives_up()
    await server.start()
    await alice.page.clock.fast_forward(62_000)
    await alice.status("connected")


async def test_a_draft_stays_with_its_conversation(people: People) -> None:
    """What was begun was gone after a reload, and the list did not say that there was something."""
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


@pytest.mark.thorough  # the client's own tests have it too
async def test_what_a_paused_tab_wrote_the_other_one_sends(people: People) -> None:
    """It waited in the tab that had been replaced, and was lost when that was closed."""
    first = await people.log_in("alice")
    await first.start_with("bob")
    second = await people.log_in("alice", context=first.page.context)
    await first.status("ended")
    await first.write("From the paused tab")
    await second.open("bob")
    await second.sees("From the paused tab")
    await first.page.close()


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


async def test_keyboard_only(people: People) -> None:
    """Log in, start, write over two lines, move in the list, go back and close the dialog without a mouse."""
    bob = await people.log_in("bob")
    carol = await people.log_in("carol")
    await carol.start_with("alice")
    await carol.say("For the list")

    alice = await people.meet("alice")
    keyboard = alice.page.keyboard
    await alice.page.goto(alice.url)
    await expect(alice.page.get_by_label("Your name")).to_be_focused()
    await keyboard.type("alice")
    await keyboard.press("Enter")
    await alice.status("connected")

    await tab_to(alice.page, "New conversation")
    await keyboard.press("Enter")
    await expect(alice.page.get_by_label("Who with?")).to_be_focused()
    await keyboard.press("Escape")
    await expect(alice.page.get_by_role("dialog")).to_be_hidden()
    await expect(alice.page.get_by_role("button", name="New conversation")).to_be_focused()
    await keyboard.press("Enter")
    await keyboard.press("Enter")
    await expect(alice.page.locator("#people-error")).to_have_text("Please type a name.")
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
    await expect(alice.page.locator("#title")).to_have_text("carol")
    await expect(alice.body).to_be_focused()
    await keyboard.type("Found you")
    await keyboard.press("Enter")
    await alice.sees("For the list", "Found you")
    await keyboard.press("Escape")
    await expect(alice.item("carol")).to_be_focused()
    await keyboard.press("Escape")
    await expect(alice.page.locator("#conversation")).to_be_hidden()


async def test_on_a_phone(people: People) -> None:
    """At 375 px the list and the chat are two screens, and nothing is wider than the screen."""
    bob = await people.log_in("bob")
    await bob.start_with("alice")
    await bob.start_with("alice", "carol", title="A title that has no room on a phone " * 4)
    await bob.open("alice")
    await bob.say("W" * 200 + " and https://example.com/" + "long/" * 30)
    alice = await people.log_in("alice", width=375)
    await no_sideways(alice.page)
    await expect(alice.page.locator(".chat")).to_be_hidden()

    await alice.open("bob")
    await expect(alice.page.locator(".sidebar")).to_be_hidden()
    await expect(alice.rows.first.locator(".bubble")).to_be_in_viewport(ratio=1)
    await no_sideways(alice.page)
    await alice.say("Seen from a phone")
    await expect(bob.row("Seen from a phone")).to_be_visible()

    await alice.page.get_by_role("button", name="Back to the conversations").click()
    await expect(alice.page.locator(".chat")).to_be_hidden()
    await expect(alice.item("bob")).to_be_visible()
    await bob.say("Still there?")
    await expect(alice.badge("bob")).to_have_text("1 unread")
    await alice.open("bob")
    await alice.page.go_back()
    await expect(alice.page.locator(".sidebar")).to_be_visible()

    await alice.page.locator(".item.group").click()
    await expect(alice.page.locator(".item.group")).to_be_hidden()
    await expect(alice.page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    await alice.page.get_by_role("button", name="Back to the conversations").click()

    await alice.page.get_by_role("button", name="New conversation").click()
    await expect(alice.page.get_by_role("dialog")).to_be_in_viewport(ratio=1)
    await no_sideways(alice.page)


async def test_text_is_text(people: People) -> None:
    """Markup, right-to-left text, emoji and odd names are shown, not run."""
    alice = await people.log_in("<b>alice</b>")
    bob = await people.log_in("bob")
    await alice.start_with("bob")
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    for text in (hostile, "مرحبا بالعالم", "👍🏽", "javascript:alert(1) https://example.com/?a=1&b=2."):
        await alice.say(text)
    await bob.open("<b>alice</b>")
    await expect(bob.row(hostile)).to_be_visible()
    await expect(bob.page.locator("#messages img, #messages script, #messages b, #list b")).to_have_count(0)
    assert await bob.row("مرحبا بالعالم").locator(".body").evaluate("(node) => node.matches(':dir(rtl)')")
    await expect(bob.row("👍🏽").locator(".bubble")).to_have_class(re.compile("emoji"))
    links = bob.page.locator("#messages a")
    await expect(links).to_have_count(1)
    await expect(links).to_have_attribute("href", "https://example.com/?a=1&b=2")


async def test_field_errors_and_a_text_too_long(people: People) -> None:
    """What the server refuses is said beside the field; a text over the limit cannot be sent."""
    alice = await people.log_in("alice")
    await alice.page.get_by_role("button", name="New conversation").click()
    await alice.page.get_by_label("Who with?").fill("alice")
    await alice.page.get_by_role("button", name="Start", exact=True).click()
    await expect(alice.page.locator("#people-error")).to_have_text("Name at least one other participant.")
    await alice.page.keyboard.press("Escape")
    await alice.start_with("bob")
    await alice.body.fill("x" * 4001)
    await expect(alice.page.locator("#counter")).to_have_text("4,000 characters at most; 1 too many.")
    await expect(alice.page.get_by_role("button", name="Send")).to_be_disabled()
    await alice.body.fill("🙂" * 4000)
    await expect(alice.page.get_by_role("button", name="Send")).to_be_enabled()


async def test_log_out(people: People) -> None:
    """Logging out ends the connection and leaves the login behind, also after a reload."""
    alice = await people.log_in("alice")
    await alice.page.get_by_role("button", name="Log out").click()
    await expect(alice.page.get_by_label("Your name")).to_be_focused()
    await alice.page.reload()
    await expect(alice.page.get_by_label("Your name")).to_be_visible()
    assert await alice.page.evaluate("() => sessionStorage.length") == 0


async def test_an_address_that_is_no_text(people: People) -> None:
    """`#%E0%A4%A`, which cannot be decoded, stopped the page; it is a conversation that does not exist."""
    alice = await people.log_in("alice")
    await alice.page.goto(f"{alice.url}/#%E0%A4%A")
    await alice.status("connected")
    await alice.start_with("constructor")
    await alice.say("Are you there?")
    await expect(alice.row("Are you there?")).to_have_attribute("data-state", "sent")


async def test_a_link_logs_nobody_in(people: People) -> None:
    """`/?user=mallory`, on any page, made a visitor go on under that name."""
    alice = await people.log_in("alice")
    await alice.page.goto(f"{alice.url}/?user=mallory")
    await expect(alice.page.get_by_label("Your name")).to_have_value("mallory")
    await expect(alice.page.locator("#shell")).to_be_hidden()
    await alice.page.goto(alice.url)
    await alice.status("connected")
    await expect(alice.page.locator("#me-name")).to_have_text("alice")


@pytest.mark.thorough
async def test_a_server_under_a_prefix(start_server: StartServer, chromium: Browser) -> None:
    """The page finds its files, its login and its socket where it is itself."""
    server = await start_server("--path-prefix", "/chat")
    people = People(chromium, server)
    alice = await people.meet("alice")
    alice.url += "/chat"
    await alice.log_in()
    await alice.start_with("bob")
    await alice.say("Below /chat")
    await people.leave()


@pytest.mark.thorough
async def test_client_library_from_the_cdn(people: People) -> None:
    """Without the npm package's file the page asks the public CDN, for one version with its checksum."""
    alice = await people.meet("alice")
    asked: list[str] = []

    async def refuse(route: Route) -> None:
        asked.append(route.request.url)
        await route.abort()

    await alice.page.route("**/socket.io.min.js", refuse)
    await alice.page.goto(f"{alice.url}/?user={quote(alice.name)}")
    await alice.page.get_by_role("button", name="Start chatting").click()
    script = alice.page.locator("script[src^='https://cdn.socket.io/4.8.1/']")
    await expect(script).to_have_attribute("integrity", re.compile(r"^sha384-"))
    await expect(script).to_have_attribute("crossorigin", "anonymous")
    await expect(alice.page.locator("#login-error")).to_contain_text("cannot be loaded")
    assert len(asked) == 2


class Cut:
    """A page's way to Socket.IO, which can be cut and mended while the rest of the server stays in reach."""

    def __init__(self) -> None:
        self._open = True
        self._routes: list[WebSocketRoute] = []
        self._upgraded = asyncio.Event()

    async def upgraded(self) -> None:
        """Wait until a page has left long polling, whose poll under way would not be cut."""
        await asyncio.wait_for(self._upgraded.wait(), 10)

    async def into(self, page: Page) -> None:
        await page.route(re.compile(r"/socket\.io/\?"), self._request)
        await page.route_web_socket(re.compile(r"/socket\.io/"), self._web_socket)

    async def cut(self) -> None:
        self._open = False
        for route in self._routes:
            await route.close(code=1001)
        self._routes.clear()

    def mend(self) -> None:
        self._open = True

    async def _request(self, route: Route) -> None:
        if self._open:
            await route.continue_()
        else:
            await route.abort()

    async def _web_socket(self, route: WebSocketRoute) -> None:
        if self._open:
            self._routes.append(route)
            upstream = route.connect_to_server()

            def up(message: str | bytes) -> None:
                if message == UPGRADE:
                    self._upgraded.set()
                upstream.send(message)

            route.on_message(up)
        else:
            await route.close(code=1001)


@contextlib.asynccontextmanager
async def talking(server: Server, user: str) -> AsyncIterator[socketio.AsyncClient]:
    """Somebody who is connected without a page."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{server.url}/session", json={"user": user}) as response:
            token = (await response.json())["token"]
        client = socketio.AsyncClient(http_session=session)
        await client.connect(server.url, auth={"token": token}, wait_timeout=20)
        yield client
        await client.disconnect()


async def fill(server: Server, sender: str, other: str, texts: list[str]) -> None:
    """Write messages into the conversation of two people, without a page."""
    async with talking(server, sender) as client:
        created: dict[str, Any] = await client.call("create_conversation", {"participantIds": [other]})
        conversation_id = created["conversation"]["id"]

        async def send(text: str) -> None:
            payload = {"conversationId": conversation_id, "idempotencyKey": uuid4().hex, "body": text}
            answer = await client.call("send_message", payload)
            assert answer["ok"], answer

        # Many at once, because a page that waits meanwhile gives up some time; they arrive in order.
        for start in range(0, len(texts), AT_ONCE):
            await asyncio.gather(*map(send, texts[start : start + AT_ONCE]))


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button of that name has the focus."""
    button = page.get_by_role("button", name=name)
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await button.evaluate("(node) => node === document.activeElement"):
            return
    pytest.fail(f"Tab does not lead to {name}")


async def no_sideways(page: Page) -> None:
    """Nothing sticks out at the side."""
    wider = await page.evaluate(
        """() => {
            const room = document.documentElement.clientWidth;
            return [document.documentElement, ...document.querySelectorAll("#scroller, #list-scroller, #dialog")]
                .filter((node) => node.clientWidth > room || node.clientWidth < node.scrollWidth)
                .map((node) => node.id || node.tagName);
        }"""
    )
    assert wider == []
