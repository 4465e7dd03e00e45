"""The history of the React example in Chromium: thousands of messages, where one begins, what counts as read."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from browser.demokit import Server
from browser.reactkit import BUILD_S, People
from browser.test_demo import Cut, fill
from browser.test_react import app, people, server
from browser.visitors import WAIT_MS, Visitor
from playwright.async_api import CDPSession, Locator, expect

__all__ = ["app", "people", "server"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2 * BUILD_S)]

MOST_ROWS = 150

# Scrolls up 200 px a frame until the first message is there.
SCROLL = """async () => {
    const scroller = document.querySelector(".scroller");
    const tasks = [];
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration)));
    observer.observe({ entryTypes: ["longtask"] });
    const frames = [];
    let rows = 0;
    let before = performance.now();
    const began = before;
    const first = () => document.querySelector('.row[data-seq="1"]');
    while (!first() || scroller.scrollTop + scroller.scrollHeight - scroller.clientHeight > 1) {
        scroller.scrollTop -= 200;
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - before);
        before = now;
        rows = Math.max(rows, document.querySelectorAll(".row").length);
    }
    observer.disconnect();
    frames.sort((a, b) => a - b);
    const at = (part) => Math.round(frames[Math.min(frames.length - 1, Math.floor(frames.length * part))]);
    return {
        seconds: Math.round((before - began) / 100) / 10, frames: frames.length,
        p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1), longTasks: tasks.length,
        rows, nodes: document.querySelectorAll("*").length,
    };
}"""


async def texts_at_the_top(person: Visitor) -> list[str]:
    """What is on the screen, from its upper edge on."""
    found: list[str] = await person.page.evaluate(
        """() => {
            const { top, bottom } = document.querySelector(".scroller").getBoundingClientRect();
            return [...document.querySelectorAll(".row")]
                .map((row) => ({ row, box: row.getBoundingClientRect() }))
                .filter(({ box }) => box.top >= top - 1 && box.bottom <= bottom)
                .map(({ row }) => row.querySelector(".body").innerText);
        }"""
    )
    return found


async def scroll_by(person: Visitor, px: int) -> None:
    """Scroll by the wheel, and wait until it has had its effect."""
    await person.page.locator(".scroller").hover()
    before = await person.page.locator(".scroller").evaluate("(node) => node.scrollTop")
    await person.page.mouse.wheel(0, px)
    await person.page.wait_for_function(
        "(before) => document.querySelector('.scroller').scrollTop !== before", arg=before
    )


@pytest.mark.thorough
async def test_scrolling_through_five_thousand_messages(people: People, server: Server) -> None:
    """Thousands of rows stood in the page: 64 ms a frame at the 95th percentile, and 33 800 nodes."""
    await fill(server, "alice", "bob", [f"Message {i}" + " and on" * (i % 9) for i in range(1, 5001)])
    alice = await people.log_in("alice")
    await alice.open("bob")
    cdp = await alice.page.context.new_cdp_session(alice.page)
    await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})  # the processor's time, whatever else runs
    before = await used_s(cdp)
    figures: dict[str, Any] = await alice.page.evaluate(SCROLL)
    figures["cpuMsPerFrame"] = round(1000 * (await used_s(cdp) - before) / figures["frames"], 2)
    print(json.dumps(figures))
    assert figures["rows"] <= MOST_ROWS
    assert await texts_at_the_top(alice) != []


async def used_s(cdp: CDPSession) -> float:
    """How much time the page's main thread has had."""
    answer = await cdp.send("Performance.getMetrics")
    return next(float(each["value"]) for each in answer["metrics"] if each["name"] == "TaskDuration")


@pytest.mark.parametrize(("width", "height"), [(375, 700), (1440, 2000)])
async def test_a_part_of_the_rows_is_in_the_page(people: People, server: Server, width: int, height: int) -> None:
    """However long the history, no more rows than some screens; a reader is told how many there are, and which."""
    await fill(server, "alice", "bob", [f"{i}" for i in range(1, 401)])
    alice = await people.meet("alice", width=width, height=height)
    await alice.log_in()
    await alice.open("bob")
    for _ in range(4):
        await scroll_by(alice, -1200)
        assert await alice.rows.count() <= MOST_ROWS
    async with asyncio.timeout(WAIT_MS / 1000):
        while len(texts := await texts_at_the_top(alice)) < 4:
            await settled(alice)
    assert texts == [str(i) for i in range(int(texts[0]), int(texts[0]) + len(texts))]
    row = alice.row(texts[0])
    await expect(row).to_have_attribute("aria-posinset", texts[0])
    await expect(row).to_have_attribute("aria-setsize", "400")


async def test_nothing_moves_under_the_reader(people: People, server: Server) -> None:
    """Rows that come above and below, and those that change their height, leave what one reads where it is."""
    await fill(server, "alice", "bob", [f"{i}" + "\nand\nmore" * (i % 3) for i in range(1, 301)])
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await alice.open("bob")
    await bob.open("alice")
    await scroll_by(alice, -3000)
    await settled(alice)
    [text, *_] = await texts_at_the_top(alice)
    row = alice.page.locator(f'[data-seq="{text.split()[0]}"]')
    before = await upper_edge(row)
    for i in range(5):
        await bob.say(f"News {i}\nof two lines")
    await expect(alice.page.get_by_role("button", name="5 new messages")).to_be_visible()
    assert abs(await upper_edge(row) - before) < 1  # scrollers have whole pixels
    # Rows of which only an estimate is known are drawn, below where one is.
    await alice.page.evaluate("() => { document.querySelector('.row:last-child .bubble').style.minHeight = '300px'; }")
    await settled(alice)
    assert abs(await upper_edge(row) - before) < 1  # scrollers have whole pixels


async def upper_edge(row: Locator) -> float:
    box = await row.bounding_box()
    assert box is not None
    return box["y"]


async def settled(person: Visitor) -> None:
    """Wait until two frames in a row show the same."""
    await person.page.evaluate(
        """async () => {
            const top = (row) => row.getBoundingClientRect().top;
            const place = () => [...document.querySelectorAll(".row")].map(top).join();
            for (let before = ""; before !== place(); ) {
                before = place();
                for (let i = 0; i < 3; i += 1) await new Promise(requestAnimationFrame);
            }
        }"""
    )


async def test_a_selection_stays_while_one_scrolls(people: People, server: Server) -> None:
    """What was selected was no longer so when its row left the page."""
    await fill(server, "alice", "bob", [f"{i}" for i in range(1, 201)])
    alice = await people.log_in("alice")
    await alice.open("bob")
    await alice.row("200").locator(".body").select_text()
    for _ in range(3):
        await scroll_by(alice, -1500)
    await expect(alice.row("200")).to_have_count(1)
    assert await alice.page.evaluate("() => getSelection().toString()") == "200"


async def test_the_day_stays_in_sight(people: People, server: Server) -> None:
    """While one scrolled, a row said "13:44": of which day?"""
    await fill(server, "alice", "bob", [f"{i}" for i in range(1, 101)])
    alice = await people.log_in("alice")
    await alice.open("bob")
    await expect(alice.page.locator(".day.sticky")).to_have_text("Today")
    await scroll_by(alice, -100_000)
    await scroll_by(alice, -100_000)
    await expect(alice.row("1").locator(".day")).to_be_in_viewport()
    await expect(alice.page.locator(".day.sticky")).to_have_count(0)


async def test_one_comes_back_to_where_one_was(people: People, server: Server) -> None:
    """A look into another conversation, or a reload, led back to the end."""
    await fill(server, "alice", "bob", [f"{i}" for i in range(1, 201)])
    alice = await people.log_in("alice")
    await alice.start_with("carol")
    await alice.open("bob")
    await scroll_by(alice, -2500)
    await settled(alice)
    texts = await texts_at_the_top(alice)
    assert "200" not in texts
    await alice.open("carol")
    await alice.open("bob")
    await settled(alice)
    assert await texts_at_the_top(alice) == texts
    await alice.page.reload()
    await alice.status("connected")
    await alice.joined()
    await expect(alice.row(texts[1])).to_be_in_viewport()
    await settled(alice)
    assert await texts_at_the_top(alice) == texts


async def test_one_begins_at_the_first_unread_message(people: People, server: Server) -> None:
    """A conversation with eighty unread messages was opened at its end, and all eighty were read at once."""
    await fill(server, "alice", "bob", [f"Old {i}" for i in range(1, 31)])
    await fill(server, "bob", "alice", [f"{i}" for i in range(1, 81)])
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await bob.open("alice")
    await expect(alice.badge("bob")).to_have_text("80 unread")
    await alice.open("bob")
    line = alice.row("1").locator(".divider")
    await expect(line).to_be_in_viewport()
    await expect(line).to_have_text("80 new")
    await expect(alice.row("80")).not_to_be_in_viewport()
    # What is on the screen is read, and no more.
    await expect(bob.row("1")).to_have_count(0)
    await expect(alice.badge("bob")).not_to_have_text("80 unread")
    await expect(bob.row("80")).to_have_attribute("data-state", "sent")
    unread = await alice.badge("bob").inner_text()
    assert 30 < int(unread.split()[0]) < 80
    await scroll_by(alice, 600)
    await expect(alice.badge("bob")).not_to_have_text(unread)
    await alice.page.get_by_role("button", name="To the newest messages").click()
    await expect(alice.row("80")).to_be_in_viewport()
    await expect(alice.badge("bob")).to_be_hidden()
    await expect(bob.row("80")).to_have_attribute("data-state", "seen")
    await alice.say("I have seen them")
    await expect(alice.page.locator(".divider")).to_have_count(0)


async def test_a_thousand_unread_are_not_read_at_once(people: People, server: Server) -> None:
    """Too far back to go by itself: one is at the end, nothing counts as read, and a button leads to the first."""
    await fill(server, "bob", "alice", [f"{i}" for i in range(1, 1001)])
    alice = await people.log_in("alice")
    await alice.open("bob")
    await expect(alice.row("1000")).to_be_in_viewport()
    chip = alice.page.get_by_role("button", name="1,000 unread messages above")
    await expect(chip).to_have_text("1,000 new")
    await expect(alice.badge("bob")).to_have_text("1000 unread")
    await chip.click()
    await expect(alice.row("1").locator(".divider")).to_be_in_viewport(timeout=30_000)
    await expect(chip).to_have_count(0)
    await expect(alice.badge("bob")).not_to_have_text("1000 unread")


async def test_the_button_leads_to_what_is_new_first(people: People, server: Server) -> None:
    """It went to the end, without a line where the new ones begin."""
    await fill(server, "alice", "bob", [f"{i}" for i in range(1, 121)])
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await alice.open("bob")
    await bob.open("alice")
    await scroll_by(alice, -2000)
    for i in range(40):
        await bob.say(f"Later {i}")
    await alice.page.get_by_role("button", name="40 new messages").click()
    await expect(alice.row("Later 0")).to_be_in_viewport()
    await expect(alice.row("Later 0").locator(".divider")).to_have_text("40 new")
    await expect(alice.row("Later 39")).not_to_be_in_viewport()
    await alice.page.get_by_role("button", name=re.compile("newest|^[0-9]+ new message")).click()
    await expect(alice.row("Later 39")).to_be_in_viewport()
    await expect(bob.row("Later 39")).to_have_attribute("data-state", re.compile("sent|seen"))


async def test_what_came_while_nobody_looked_is_not_read_at_once(people: People, server: Server) -> None:
    """More than a screen came while the window had no focus: with the focus all of it was read."""
    alice = await people.log_in("alice")
    await alice.start_with("bob")
    await alice.say("Before")
    await look(alice, False)
    await fill(server, "bob", "alice", [f"{i}" for i in range(1, 61)])
    await expect(alice.badge("bob")).to_have_text("60 unread")
    await look(alice, True)
    chip = alice.page.get_by_role("button", name="60 unread messages above")
    await expect(chip).to_be_visible()
    await expect(alice.badge("bob")).to_have_text("60 unread")
    await chip.click()
    await expect(alice.row("1").locator(".divider")).to_be_in_viewport()
    await expect(chip).to_have_count(0)


async def test_what_was_missed_without_a_connection_is_not_read_at_once(people: People, server: Server) -> None:
    """Who was at the end when the connection was lost had read everything when it came back."""
    alice = await people.meet("alice")
    cut = Cut()
    await cut.into(alice.page)
    await alice.log_in()
    await alice.start_with("bob")
    await alice.say("Before")
    await cut.cut()
    await alice.status("retrying")
    await fill(server, "bob", "alice", [f"{i}" for i in range(1, 46)])
    cut.mend()
    await alice.status("connected")
    await expect(alice.page.get_by_role("button", name="45 unread messages above")).to_be_visible()
    await expect(alice.badge("bob")).to_have_text("45 unread")


async def look(person: Visitor, looks: bool) -> None:
    """Make the page believe that its window got the focus, or lost it."""
    await person.page.evaluate(
        """(looks) => {
            document.hasFocus = () => looks;
            window.dispatchEvent(new Event(looks ? "focus" : "blur"));
        }""",
        looks,
    )
