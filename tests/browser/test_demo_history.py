"""The history of the demo page in Chromium: thousands of messages, where one begins, what counts as read."""

from __future__ import annotations

import json
import re

import pytest
from browser.demokit import People, Server
from browser.test_demo import Cut, fill
from browser.test_react_history import (
    MOST_ROWS,
    SCROLL,
    look,
    scroll_by,
    settled,
    texts_at_the_top,
    upper_edge,
    used_s,
)
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_part_of_the_rows_is_in_the_page(guests: People, one_server: Server) -> None:
    """All rows of a long history stood in the page, and were drawn anew with every fifty; and "13:44": of which day?"""
    await fill(one_server, "ann", "ben", [f"{i}" for i in range(1, 401)])
    ann = await guests.log_in("ann", width=375, height=700)
    await ann.open("ben")
    await expect(ann.page.locator(".day.sticky")).to_have_text("Today")
    for _ in range(4):
        await scroll_by(ann, -1200)
        assert await ann.rows.count() <= MOST_ROWS
    texts = await texts_at_the_top(ann)
    assert len(texts) > 3
    assert texts == [str(i) for i in range(int(texts[0]), int(texts[0]) + len(texts))]
    await expect(ann.row(texts[0])).to_have_attribute("aria-posinset", texts[0])
    await expect(ann.row(texts[0])).to_have_attribute("aria-setsize", "400")
    await expect(ann.page.locator(".day.sticky")).to_have_text("Today")
    while await ann.row("1").count() == 0:
        await ann.page.mouse.wheel(0, -20_000)
    await expect(ann.page.locator("#history")).to_have_text("This is where the conversation begins.")
    await ann.page.mouse.wheel(0, -20_000)
    await expect(ann.row("1").locator(".day")).to_be_in_viewport()
    await expect(ann.page.locator(".day.sticky")).to_be_hidden()


async def test_nothing_moves_under_the_reader(guests: People, one_server: Server) -> None:
    """What comes leaves what one reads where it is, also after a look into another conversation or a reload."""
    await fill(one_server, "cid", "dan", [f"{i}" + "\nand\nmore" * (i % 3) for i in range(1, 201)])
    cid, dan = await guests.log_in("cid"), await guests.log_in("dan")
    await cid.start_with("eve")
    await cid.open("dan")
    await dan.open("cid")
    await scroll_by(cid, -3000)
    await settled(cid)
    [text, *_] = texts = await texts_at_the_top(cid)
    row = cid.page.locator(f'[data-seq="{text.split()[0]}"]')
    before = await upper_edge(row)
    for i in range(3):
        await dan.say(f"News {i}\nof two lines")
    await expect(cid.page.get_by_role("button", name="3 new messages")).to_be_visible()
    assert abs(await upper_edge(row) - before) < 1  # scrollers have whole pixels
    await cid.page.get_by_role("button", name="3 new messages").click()
    await expect(cid.page.locator(".divider")).to_have_text("3 new")
    await expect(dan.page.locator('[data-seq="203"]')).to_have_attribute("data-state", "seen")
    await scroll_by(cid, -3000)
    await settled(cid)
    texts = await texts_at_the_top(cid)
    await cid.open("eve")
    await cid.open("dan")
    await settled(cid)
    assert await texts_at_the_top(cid) == texts
    await cid.page.reload()
    await cid.status("connected")
    await cid.joined()
    await expect(cid.page.locator(f'[data-seq="{text.split()[0]}"]')).to_have_count(1)
    await settled(cid)
    assert await texts_at_the_top(cid) == texts


async def test_one_begins_at_the_first_unread_message(guests: People, one_server: Server) -> None:
    """With eighty unread one was at the end, the line out of sight, and all eighty were read at once."""
    await fill(one_server, "fay", "gus", [f"Old {i}" for i in range(1, 31)])
    await fill(one_server, "gus", "fay", [f"{i}" for i in range(1, 81)])
    fay, gus = await guests.log_in("fay"), await guests.log_in("gus")
    await gus.open("fay")
    await expect(fay.badge("gus")).to_have_text("80 unread")
    await fay.open("gus")
    line = fay.row("1").locator(".divider")
    await expect(line).to_be_in_viewport()
    await expect(line).to_have_text("80 new")
    await expect(fay.row("80")).not_to_be_in_viewport()
    # What is on the screen is read, and no more.
    await expect(fay.badge("gus")).not_to_have_text("80 unread")
    await expect(gus.row("80")).to_have_attribute("data-state", "sent")
    unread = await fay.badge("gus").inner_text()
    assert 30 < int(unread.split()[0]) < 80
    await scroll_by(fay, 600)
    await expect(fay.badge("gus")).not_to_have_text(unread)
    await fay.page.get_by_role("button", name="To the newest messages").click()
    await expect(fay.row("80")).to_be_in_viewport()
    await expect(fay.badge("gus")).to_be_hidden()
    await expect(gus.row("80")).to_have_attribute("data-state", "seen")
    await fay.say("I have seen them")
    await expect(fay.page.locator(".divider")).to_have_count(0)


async def test_what_comes_while_nobody_looks_is_not_read(guests: People, one_server: Server) -> None:
    """A window that is visible, and not in front, read everything; and with the focus more than a screen at once."""
    hal = await guests.log_in("hal")
    await hal.start_with("ida")
    await hal.say("Before")
    await look(hal, False)
    await fill(one_server, "ida", "hal", [f"{i}" for i in range(1, 61)])
    await expect(hal.badge("ida")).to_have_text("60 unread")
    await expect(hal.page).to_have_title(re.compile(r"^\(1\) "))
    await look(hal, True)
    chip = hal.page.get_by_role("button", name="60 unread messages above")
    await expect(chip).to_be_visible()
    await expect(hal.badge("ida")).to_have_text("60 unread")
    await chip.click()
    await expect(hal.row("1").locator(".divider")).to_be_in_viewport()
    await expect(chip).to_be_hidden()


async def test_what_was_missed_without_a_connection_is_not_read_at_once(guests: People, one_server: Server) -> None:
    """Who was at the end when the connection was lost had read everything when it came back."""
    lou = await guests.meet("lou")
    cut = Cut()
    await cut.into(lou.page)
    await lou.log_in()
    await lou.start_with("max")
    await lou.say("Before")
    await cut.cut()
    await lou.status("retrying")
    await fill(one_server, "max", "lou", [f"{i}" for i in range(1, 46)])
    cut.mend()
    await lou.status("connected")
    await expect(lou.page.get_by_role("button", name="45 unread messages above")).to_be_visible()
    await expect(lou.badge("max")).to_have_text("45 unread")


@pytest.mark.thorough
@pytest.mark.timeout(240)
async def test_scrolling_through_five_thousand_messages(guests: People, one_server: Server) -> None:
    """It took more than a minute: 97 ms a frame at the 95th percentile, and 42 900 nodes."""
    await fill(one_server, "jim", "kay", [f"Message {i}" + " and on" * (i % 9) for i in range(1, 5001)])
    jim = await guests.log_in("jim")
    await jim.open("kay")
    cdp = await jim.page.context.new_cdp_session(jim.page)
    await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})  # the processor's time, whatever else runs
    before = await used_s(cdp)
    figures = await jim.page.evaluate(SCROLL)
    figures["cpuMsPerFrame"] = round(1000 * (await used_s(cdp) - before) / figures["frames"], 2)
    print(json.dumps(figures))
    assert figures["rows"] <= MOST_ROWS
    assert await texts_at_the_top(jim) != []
