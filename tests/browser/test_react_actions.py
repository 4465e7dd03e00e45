"""What can be done with a message in the React example, in Chromium: edit, delete, react, reply, mention."""

from __future__ import annotations

import re

import pytest
from browser.demokit import Server
from browser.reactkit import BUILD_S, People, Person
from browser.test_demo import fill
from browser.test_react import app, no_sideways, no_violations, people, server, two_who_talk
from playwright.async_api import Locator, expect

__all__ = ["app", "people", "server"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2 * BUILD_S)]


async def menu(person: Person, text: str, name: str) -> None:
    """Choose something from the menu of a message."""
    row = person.row(text)
    await row.hover()
    await row.get_by_role("button", name="Message options").click()
    await person.page.get_by_role("button", name=name, exact=True).click()


def seq(person: Person, number: int) -> Locator:
    return person.page.locator(f'[data-seq="{number}"]')


async def test_arrow_up_edits_the_last_message(people: People) -> None:
    """Its text is in the field, Escape gives it up, Enter saves it; the others see it, and that it was edited."""
    alice, bob = await two_who_talk(people)
    await alice.say("First")
    await alice.say("Helo Bob")
    await bob.say("Hi")
    await alice.body.press("ArrowUp")
    await expect(alice.body).to_have_value("Helo Bob")
    await alice.body.press("Escape")
    await expect(alice.body).to_have_value("")
    await expect(alice.body).to_be_focused()
    await alice.body.press("ArrowUp")
    await alice.body.fill("Hello Bob")
    await alice.body.press("Enter")
    for person in (alice, bob):
        await expect(seq(person, 2).locator(".body")).to_have_text("Hello Bob")
        await expect(seq(person, 2).locator(".meta")).to_contain_text("edited")
        await person.sees("First", "Hello Bob", "Hi")


async def test_a_draft_is_kept_while_another_message_is_edited(people: People) -> None:
    """The menu's way to edit; what was begun before is there again afterwards."""
    alice, bob = await two_who_talk(people)
    await alice.say("Helo")
    await alice.body.fill("Half a")
    await menu(alice, "Helo", "Edit")
    await expect(alice.body).to_have_value("Helo")
    await alice.body.fill("Hello")
    await alice.page.get_by_role("button", name="Save").click()
    await bob.sees("Hello")
    await expect(alice.body).to_have_value("Half a")


async def test_a_deletion_can_be_undone_for_some_seconds(people: People) -> None:
    """It shows at once as deleted, and is sent some seconds later; undone before that, nobody hears of it."""
    alice, bob = await two_who_talk(people)
    await alice.say("Stays")
    await alice.say("Goes")
    await menu(alice, "Stays", "Delete")
    await expect(seq(alice, 1).locator(".body")).to_have_text("Message deleted")
    await seq(alice, 1).get_by_role("button", name="Undo").click()
    await expect(seq(alice, 1).locator(".body")).to_have_text("Stays")
    await menu(alice, "Goes", "Delete")
    await expect(seq(bob, 2).locator(".body")).to_have_text("Message deleted", timeout=20_000)
    await expect(alice.page.get_by_role("button", name="Undo")).to_have_count(0)
    await expect(seq(bob, 1).locator(".body")).to_have_text("Stays")
    await expect(alice.item("bob").locator(".item-text")).to_have_text("You: Stays")
    # Of another's message one may not do that.
    await bob.row("Stays").hover()
    await bob.row("Stays").get_by_role("button", name="Message options").click()
    await expect(bob.page.get_by_role("button", name="Reply")).to_be_visible()
    await expect(bob.page.get_by_role("button", name="Delete")).to_have_count(0)


async def test_reactions_are_set_and_taken_back(people: People) -> None:
    """A small picker; pressed again a reaction is taken back; who reacted is said."""
    alice, bob = await two_who_talk(people)
    await alice.say("Done!")
    await menu(bob, "Done!", "React with 🎉")
    for person in (alice, bob):
        await expect(seq(person, 1).locator(".reactions button")).to_have_text("🎉 1")
    chip = seq(alice, 1).locator(".reactions button")
    await expect(chip).to_have_attribute("title", "🎉: bob")
    await expect(chip).to_have_attribute("aria-pressed", "false")
    await chip.click()
    await expect(seq(bob, 1).locator(".reactions button")).to_have_text("🎉 2")
    await expect(chip).to_have_attribute("aria-pressed", "true")
    await chip.click()
    await seq(bob, 1).locator(".reactions button").click()
    for person in (alice, bob):
        await expect(seq(person, 1).locator(".reactions")).to_have_count(0)


async def test_a_reply_quotes_and_leads_to_the_original(people: People, server: Server) -> None:
    """The quote is what the original says now, also where that is far above and not loaded; a click leads there."""
    await fill(server, "alice", "bob", ["What about lunch?", *(f"{i}" for i in range(2, 121))])
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await alice.open("bob")
    await alice.page.locator(".scroller").hover()
    while await alice.row("What about lunch?").count() == 0:
        await alice.page.mouse.wheel(0, -3000)
    await menu(alice, "What about lunch?", "Reply")
    await expect(alice.page.locator(".task")).to_contain_text("Reply to alice")
    await alice.body.fill("At one")
    await alice.body.press("Enter")
    await expect(alice.page.locator(".task")).to_have_count(0)
    await expect(alice.row("At one")).to_be_in_viewport()
    await bob.open("alice")
    await bob.page.get_by_role("button", name=re.compile(r"^(To the newest messages|New messages|\d+ new)$")).click()
    quote = bob.row("At one").locator(".quote")
    await expect(quote).to_contain_text("What about lunch?")
    await quote.click()
    await expect(bob.row("What about lunch?")).to_be_in_viewport()


async def test_people_are_mentioned(people: People) -> None:
    """After an @ the participants are offered; who is mentioned sees it marked."""
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await alice.start_with("bob", "carol", title="Three")
    await alice.body.press_sequentially("Ask @")
    options = alice.page.get_by_role("option")
    await expect(options.locator(":scope > span:last-child")).to_have_text(["bob", "carol"])
    await alice.body.press("ArrowDown")
    await alice.body.press("Enter")
    await expect(alice.body).to_have_value("Ask @carol ")
    await alice.body.press_sequentially("or @b")
    await expect(options.locator(":scope > span:last-child")).to_have_text(["bob"])
    await no_violations(alice.page)
    await alice.body.press("Tab")
    await expect(alice.body).to_have_value("Ask @carol or @bob ")
    await alice.body.press("Enter")
    await bob.open("Three")
    await expect(bob.page.locator(".mention")).to_have_text(["@carol", "@bob"])
    await expect(bob.page.locator(".mention.me")).to_have_text(["@bob"])


@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_menu_by_keyboard_and_for_a_reader(people: People, width: int, dark: bool) -> None:
    """It opens with the focus in it, arrows move, Escape closes it and not the conversation; axe finds nothing."""
    alice = await people.log_in("alice", width=width, dark=dark)
    await alice.start_with("bob")
    await alice.say("Hello")
    options = seq(alice, 1).get_by_role("button", name="Message options")
    await options.focus()
    await alice.page.keyboard.press("Enter")
    await expect(alice.page.get_by_role("button", name="React with 👍")).to_be_focused()
    await no_violations(alice.page)
    await no_sideways(alice.page)
    await alice.page.keyboard.press("ArrowUp")
    await expect(alice.page.get_by_role("button", name="Delete")).to_be_focused()
    await alice.page.keyboard.press("Escape")
    await expect(options).to_be_focused()
    await expect(alice.title).to_have_text("bob")
    await alice.page.keyboard.press("Enter")
    await expect(alice.page.get_by_role("button", name="React with 👍")).to_be_focused()
    await alice.page.keyboard.press("Enter")
    await expect(seq(alice, 1).locator(".reactions button")).to_have_text("👍 1")
    await menu(alice, "Hello", "Reply")
    await no_violations(alice.page)
    await no_sideways(alice.page)
    await alice.body.press("Escape")
    await expect(alice.page.locator(".task")).to_have_count(0)
    await expect(alice.title).to_have_text("bob")
