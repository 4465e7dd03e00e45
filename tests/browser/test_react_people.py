"""The people of a group in the React example, in Chromium: who comes and goes, their roles, and the title."""

from __future__ import annotations

import pytest
from browser.reactkit import BUILD_S, People, Person
from browser.test_react import app, no_sideways, no_violations, people, server
from playwright.async_api import Locator, expect

__all__ = ["app", "people", "server"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2 * BUILD_S)]


async def panel(person: Person) -> Locator:
    """Open the panel from the conversation's menu."""
    await person.page.get_by_role("button", name="Conversation options").click()
    await person.page.get_by_role("button", name="People", exact=True).click()
    dialog = person.page.get_by_role("dialog", name="People")
    await expect(dialog).to_be_visible()
    return dialog


def row(dialog: Locator, user: str) -> Locator:
    return dialog.locator(f'[data-user="{user}"]')


async def test_people_come_get_roles_and_go(people: People) -> None:
    """The owner adds, gives a role, changes the title and removes; a second user's panel shows each at once."""
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await alice.start_with("bob", title="Trip")
    await alice.say("Before")
    await bob.open("Trip")
    hers, his = await panel(alice), await panel(bob)
    await expect(row(hers, "bob").locator("small")).to_have_text("online")
    await expect(row(his, "alice").locator(".role")).to_have_text("Owner")
    for offered in ("Title", "Add people", "Role of alice"):
        await expect(his.get_by_label(offered)).to_have_count(0)  # a member may not
    await expect(his.get_by_role("button", name="Remove alice")).to_have_count(0)

    await hers.get_by_role("button", name="Add", exact=True).click()
    await expect(hers.locator(".field-error")).to_have_text("Please type a name.")
    await hers.get_by_label("Add people").fill("carol, dave")
    await hers.get_by_label("What they see").select_option("From now on")
    await hers.get_by_role("button", name="Add", exact=True).click()
    for dialog in (hers, his):
        await expect(row(dialog, "carol").locator("small")).to_have_text("has never been here")
        await expect(row(dialog, "dave").locator("small")).to_have_text("has never been here")
    await expect(hers.locator(".field-error")).to_have_text("")
    await expect(hers.get_by_label("Add people")).to_have_value("")

    await hers.get_by_label("Role of bob").select_option("Admin")
    await expect(row(his, "bob").locator(".role")).to_have_text("Admin")
    await expect(his.get_by_role("button", name="Remove carol")).to_be_visible()  # an admin may
    await expect(his.get_by_role("button", name="Remove alice")).to_have_count(0)

    await his.get_by_label("Title").fill("Long trip")
    await his.get_by_role("button", name="Save").click()
    for person in (alice, bob):
        await expect(person.title).to_have_text("Long trip")
    await expect(hers.get_by_label("Title")).to_have_value("Long trip")

    await his.get_by_role("button", name="Remove dave").click()
    await his.get_by_role("button", name="Cancel").click()
    await expect(his.get_by_role("button", name="Remove dave")).to_be_focused()
    await his.get_by_role("button", name="Remove dave").click()
    await his.get_by_role("button", name="Remove", exact=True).click()
    for dialog in (hers, his):
        await expect(row(dialog, "dave")).to_have_count(0)

    await alice.page.keyboard.press("Escape")
    carol = await people.log_in("carol")
    await carol.open("Long trip")
    await expect(carol.row("Before")).to_have_count(0)
    hers = await panel(alice)
    await hers.get_by_role("button", name="Remove bob").click()
    await hers.get_by_role("button", name="Remove", exact=True).click()
    await expect(bob.page.locator(".gone")).to_have_text("You were removed from “Long trip”.")
    await expect(bob.page.get_by_role("dialog")).to_have_count(0)
    await expect(bob.item("Long trip")).to_have_count(0)
    await expect(bob.title).to_have_count(0)

    # Who comes again, comes in.
    await hers.get_by_label("Add people").fill("bob")
    await hers.get_by_role("button", name="Add", exact=True).click()
    await bob.open("Long trip")
    await expect(bob.page.locator(".gone")).to_be_hidden()
    await expect(bob.row("Before")).to_be_visible()


async def test_leaving_a_group(people: People) -> None:
    """It is asked about first; then the list says that one has left, and somebody else is the owner."""
    alice, bob = await people.log_in("alice"), await people.log_in("bob")
    await alice.start_with("bob", title="Short")
    await bob.open("Short")
    his, hers = await panel(bob), await panel(alice)
    await expect(hers.get_by_label("Role of alice")).to_have_count(0)  # the only owner stays one
    await hers.get_by_role("button", name="Leave the group").click()
    await expect(hers.get_by_role("button", name="Leave", exact=True)).to_be_focused()
    await alice.page.keyboard.press("Enter")
    await expect(alice.page.locator(".gone")).to_have_text("You left “Short”.")
    await expect(alice.item("Short")).to_have_count(0)
    await expect(row(his, "alice")).to_have_count(0)
    await expect(row(his, "bob").locator(".role")).to_have_text("Owner")
    await alice.page.get_by_role("button", name="Close").click()
    await expect(alice.page.locator(".gone")).to_be_hidden()


async def test_a_refusal_is_said(people: People) -> None:
    """Without a connection nothing is done, it is said, and what was typed stays."""
    alice = await people.log_in("alice")
    await alice.start_with("bob", title="Ours")
    hers = await panel(alice)
    await alice.page.context.set_offline(True)
    await alice.status("offline")
    await hers.get_by_label("Add people").fill("carol")
    await hers.get_by_role("button", name="Add", exact=True).click()
    await expect(hers.locator(".field-error")).to_have_text("There is no connection at the moment.")
    await expect(hers.get_by_label("Add people")).to_have_value("carol")


@pytest.mark.parametrize(("width", "dark"), [(375, True), (1440, False)], ids=["dark phone", "light desktop"])
async def test_the_panel_by_keyboard_and_for_a_reader(people: People, width: int, dark: bool) -> None:
    """axe finds nothing, nothing sticks out; Escape closes the panel, not the conversation; the focus comes back."""
    alice = await people.log_in("alice", width=width, dark=dark)
    await alice.start_with("bob", "w" * 100, title="Ours")
    options = alice.page.get_by_role("button", name="Conversation options")
    await options.focus()
    await alice.page.keyboard.press("Enter")
    await expect(alice.page.get_by_role("button", name="People", exact=True)).to_be_focused()
    await alice.page.keyboard.press("Enter")
    dialog = alice.page.get_by_role("dialog", name="People")
    await expect(dialog.get_by_role("heading")).to_be_focused()
    await dialog.get_by_role("button", name="Remove bob").click()
    await no_violations(alice.page)
    await no_sideways(alice.page)
    await alice.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(options).to_be_focused()
    await expect(alice.title).to_have_text("Ours")
