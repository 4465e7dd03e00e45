"""The demo page in Chromium, beside its history: names, the list, notifications, writing, languages, changes."""

from __future__ import annotations

import re

import pytest
from browser.demokit import People, Person, Server
from browser.reactkit import AXE
from browser.test_demo import fill, no_sideways, talking
from browser.test_react import no_violations
from browser.test_react_history import look
from browser.test_react_page import PICTURE, known
from browser.visitors import no_files
from playwright.async_api import Browser, Locator, Page, Route, expect
from support.node import require

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_people_are_shown_by_name_and_picture(guests: People, one_server: Server) -> None:
    """Ids were shown everywhere: with UUIDs nobody knew who wrote. Pictures come over https, and from nowhere else."""
    ann = await guests.meet("ann")
    asked: list[dict[str, str]] = []

    async def draw(route: Route) -> None:
        asked.append(await route.request.all_headers())
        await route.fulfill(content_type="image/svg+xml", body='<svg xmlns="http://www.w3.org/2000/svg"/>')

    await ann.page.route(PICTURE, draw)
    await ann.page.route("https://pictures.example/gone.png", lambda route: route.abort())
    await ann.log_in()
    async with known(one_server, "u_1", name="Cleo Patra", picture=PICTURE) as cleo:
        created = await cleo.call("create_conversation", {"participantIds": ["ann", "u_2"], "title": "Nile"})
        conversation_id = created["conversation"]["id"]
        await cleo.call("send_message", {"conversationId": conversation_id, "idempotencyKey": "1", "body": "Ave"})
        await cleo.call("create_conversation", {"participantIds": ["ann"]})
        await expect(ann.item("Nile").locator(".item-text")).to_have_text("Cleo Patra: Ave")
        picture = ann.item("Cleo Patra").locator("img")
        await expect(picture).to_have_attribute("src", PICTURE)
        await expect(picture).to_have_js_property("complete", True)
        assert asked
        assert [headers.get("referer") for headers in asked] == [None] * len(asked)
        await ann.open("Nile")
        await expect(ann.rows.locator(".author")).to_have_text("Cleo Patra")
        await cleo.call("join_conversation", {"conversationId": conversation_id})
        await cleo.call("set_typing", {"conversationId": conversation_id, "typing": True})
        await expect(ann.page.locator("#typing")).to_have_text("Cleo Patra is typing")
        # Shown in another way from now on: at once, everywhere; a picture that cannot be had is initials.
        async with known(one_server, "u_1", name="Cleopatra", picture="https://pictures.example/gone.png"):
            await expect(ann.item("Cleopatra").locator(".avatar")).to_have_text("C")
            await expect(ann.item("Cleopatra").locator("img")).to_have_count(0)
            await expect(ann.rows.locator(".author")).to_have_text("Cleopatra")
    await ann.start_with("Inès-Typo")
    await expect(ann.page.locator("#subtitle")).to_have_text("has never been here")
    async with talking(one_server, "Inès-Typo") as ines:
        [conversation] = (await ines.call("list_conversations", {"limit": 10}))["conversations"]
        await ines.call("join_conversation", {"conversationId": conversation["id"]})
        await expect(ann.page.locator("#subtitle")).to_have_text("online")


async def test_the_list_can_be_searched_and_counts_all(guests: People, one_server: Server) -> None:
    """One of two hundred had to be found by scrolling; the title counted the unread ones of the first page only."""
    async with talking(one_server, "ben") as ben:
        for title in (*(f"Number {i}" for i in range(52)), "Été à Zürich"):
            made = await ben.call("create_conversation", {"participantIds": ["cid"], "title": title})
            payload = {"conversationId": made["conversation"]["id"], "idempotencyKey": "1", "body": "News"}
            await ben.call("send_message", payload)
    cid = await guests.log_in("cid")
    await expect(cid.page).to_have_title(re.compile(r"^\(53\) cid"))
    search = cid.page.get_by_role("searchbox", name="Search conversations")
    await search.fill("ZURICH")
    await expect(cid.page.locator(".item-title")).to_have_text(["Été à Zürich"])
    await search.fill("number 0")  # on the second page
    await expect(cid.page.locator(".item-title")).to_have_text(["Number 0"])
    await search.press("ArrowDown")
    await expect(cid.item("Number 0")).to_be_focused()
    await search.fill("nobody at all")
    await expect(cid.page.locator("#list-none")).to_have_text("No conversation of that name.")
    await search.press("Escape")
    await expect(search).to_have_value("")
    await expect(cid.page.locator(".item")).to_have_count(53)
    await cid.open("Number 51")
    await expect(cid.page).to_have_title(re.compile(r"^\(52\) cid"))


async def test_notifications_are_asked_for_and_keep_quiet_about_what_is_seen(guests: People) -> None:
    """Who looked elsewhere heard of nothing."""
    dan, eve = await guests.meet("dan"), await guests.log_in("eve")
    await dan.page.context.grant_permissions(["notifications"])
    await dan.page.add_init_script(
        """window.notes = [];
        window.Notification = class extends Notification {
            constructor(title, options) {
                super(title, options);
                window.notes.push(this);
            }
        };"""
    )
    await dan.log_in()
    await dan.start_with("eve")
    await eve.open("dan")
    await look(dan, False)
    await eve.say("Before they were asked for")
    await expect(dan.badge("eve")).to_have_text("1 unread")
    await look(dan, True)
    button = dan.page.get_by_role("button", name="Notify me of new messages")
    await expect(button).to_have_attribute("aria-pressed", "false")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await eve.say("Seen at once")
    await expect(eve.row("Seen at once")).to_have_attribute("data-state", "seen")
    await look(dan, False)
    await eve.say("Behind another window")
    await dan.page.wait_for_function("() => window.notes.length === 1")
    notes = await dan.page.evaluate("() => window.notes.map(({ title, body }) => `${title}: ${body}`)")
    assert notes == ["eve: Behind another window"]
    await look(dan, True)
    await dan.page.reload()  # the setting stays
    await dan.status("connected")
    await expect(button).to_have_attribute("aria-pressed", "true")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "false")


async def test_links_indents_and_what_is_no_text(guests: People) -> None:
    """Brackets were cut off addresses, pasted code lost its first indent, and a pasted picture was no word worth."""
    fay = await guests.log_in("fay")
    await fay.start_with("gus")
    await fay.say("See https://en.wikipedia.org/wiki/Foo_(bar), (www.example.com/a) and https://x.example/?q=1!")
    links = fay.rows.first.locator("a")
    expected = ["https://en.wikipedia.org/wiki/Foo_(bar)", "https://www.example.com/a", "https://x.example/?q=1"]
    assert await links.evaluate_all("(all) => all.map((link) => link.getAttribute('href'))") == expected
    await fay.write("\n    if it:\n        stands\n")
    await expect(fay.rows.last.locator(".body")).to_have_text("    if it:\n        stands", use_inner_text=True)
    assert await fay.rows.last.locator(".body").inner_text() == "    if it:\n        stands"
    counter = fay.page.locator("#counter")
    await no_files(fay.body, counter)


async def test_the_keyboard_stays_down_on_a_phone_and_back_leads_to_the_list(chromium: Browser, guests: People) -> None:
    """Opening a conversation focused the field to write in, and the keyboard covered half of what one came to read."""
    context = await chromium.new_context(viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    try:
        hal = await guests.log_in("hal", context=context)
        await hal.start_with("ida")
        await expect(hal.body).not_to_be_focused()
        await no_sideways(hal.page)
        await hal.page.go_back()
        await hal.start_with("jim")
        await hal.page.go_back()
        await expect(hal.item("ida")).to_be_visible()
        await expect(hal.body).to_be_hidden()
        await hal.page.go_forward()
        await expect(hal.title).to_have_text("jim")
    finally:
        await context.close()


async def test_in_french(chromium: Browser, guests: People, one_server: Server) -> None:
    """A French browser got French weekdays among English words: `mercredi, jeudi, Yesterday, Today`."""
    await fill(one_server, "kay", "léa", ["Bonjour", "Ça va ?"])
    context = await chromium.new_context(locale="fr-FR", viewport={"width": 1280, "height": 800})
    try:
        lea = await guests.meet("léa", context=context)
        page = lea.page
        await page.goto(f"{lea.url}/?user=léa")
        assert english(await page.locator("body").inner_text()) == []
        await page.get_by_role("button", name="Commencer").click()
        await expect(page.locator("html")).to_have_attribute("lang", "fr")
        await expect(page.locator(".badge")).to_have_text("2 non lus")
        await expect(page.get_by_role("searchbox", name="Rechercher une conversation")).to_be_visible()
        assert english(await page.locator("body").inner_text()) == []
        await page.locator(".item").click()
        await expect(page.locator(".divider")).to_have_text("2 nouveaux")
        await expect(page.locator(".row .day")).to_have_text("Aujourd’hui")
        await expect(page.get_by_role("textbox", name="Message")).to_have_attribute("placeholder", "Écrivez un message")
        await expect(page.locator("#me-status")).to_have_text(re.compile("^Connecté"))
        await page.get_by_role("button", name="Nouvelle conversation").click()
        await page.get_by_label("Groupe").check()
        assert english(await page.locator("body").inner_text()) == []
        labels = await page.locator("[aria-label]").evaluate_all("(all) => all.map((each) => each.ariaLabel).join()")
        assert english(labels) == []
    finally:
        await context.close()


def english(shown: str) -> list[str]:
    return re.findall(r"\b(?:the|you|your|new|unread|to|of|search|send|with|close)\b", shown, re.IGNORECASE)


# What can be done with a message


def seq(person: Person, number: int) -> Locator:
    return person.page.locator(f'[data-seq="{number}"]')


async def menu(person: Person, text: str, name: str) -> None:
    """Choose something from the menu of a message."""
    row = person.row(text)
    await row.hover()
    await row.get_by_role("button", name="Message options").click()
    await person.page.get_by_role("button", name=name, exact=True).click()


async def test_messages_are_edited_deleted_and_reacted_to(guests: People) -> None:
    """The last one by the arrow, any by its menu; what was begun stays; a deletion can be undone for some seconds."""
    mia, ned = await guests.log_in("mia"), await guests.log_in("ned")
    await mia.start_with("ned")
    await ned.open("mia")
    await mia.say("First")
    await mia.say("Helo Ned")
    await mia.body.press("ArrowUp")
    await expect(mia.body).to_have_value("Helo Ned")
    await mia.body.press("Escape")
    await expect(mia.body).to_have_value("")
    await expect(mia.body).to_be_focused()
    await mia.body.fill("Half a")
    await menu(mia, "Helo Ned", "Edit")
    await mia.body.fill("Hello Ned")
    await mia.page.get_by_role("button", name="Save").click()
    await expect(mia.body).to_have_value("Half a")
    for person in (mia, ned):
        await expect(seq(person, 2).locator(".body")).to_have_text("Hello Ned")
        await expect(seq(person, 2).locator(".meta")).to_contain_text("edited")

    await menu(ned, "First", "React with 🎉")
    chip = seq(mia, 1).locator(".reactions button")
    await expect(chip).to_have_text("🎉 1")
    await expect(chip).to_have_attribute("title", "🎉: ned")
    await expect(chip).to_have_attribute("aria-pressed", "false")
    await chip.click()
    await expect(seq(ned, 1).locator(".reactions button")).to_have_text("🎉 2")
    await expect(chip).to_have_attribute("aria-pressed", "true")
    await chip.click()
    await seq(ned, 1).locator(".reactions button").click()
    for person in (mia, ned):
        await expect(seq(person, 1).locator(".reactions")).to_have_count(0)

    await menu(mia, "First", "Delete")
    await expect(seq(mia, 1).locator(".body")).to_have_text("Message deleted")
    await seq(mia, 1).get_by_role("button", name="Undo").click()
    await expect(seq(mia, 1).locator(".body")).to_have_text("First")
    await menu(mia, "Hello Ned", "Delete")
    await expect(seq(ned, 2).locator(".body")).to_have_text("Message deleted", timeout=20_000)
    await expect(mia.page.get_by_role("button", name="Undo")).to_have_count(0)
    await expect(seq(ned, 1).locator(".body")).to_have_text("First")
    # Of another's message one may not do that.
    await ned.row("First").hover()
    await ned.row("First").get_by_role("button", name="Message options").click()
    await expect(ned.page.get_by_role("button", name="Reply")).to_be_visible()
    await expect(ned.page.get_by_role("button", name="Delete")).to_have_count(0)


async def test_replies_quote_and_people_are_mentioned(guests: People, one_server: Server) -> None:
    """The quote is what the original says, also where that is far above; after an @ the participants are offered."""
    await fill(one_server, "oda", "pia", ["What about lunch?", *(f"{i}" for i in range(2, 91))])
    oda, pia = await guests.log_in("oda"), await guests.log_in("pia")
    await oda.open("pia")
    await oda.page.locator("#scroller").hover()
    while await oda.row("What about lunch?").count() == 0:
        await oda.page.mouse.wheel(0, -3000)
    await menu(oda, "What about lunch?", "Reply")
    await expect(oda.page.locator("#task")).to_contain_text("Reply to oda")
    await oda.body.press_sequentially("At one, @p")
    options = oda.page.get_by_role("option")
    await expect(options.locator(":scope > span:last-child")).to_have_text(["pia"])
    await oda.body.press("Tab")
    await expect(oda.body).to_have_value("At one, @pia ")
    await oda.body.press("Enter")
    await expect(oda.page.locator("#task")).to_be_hidden()
    await expect(oda.row("At one, @pia")).to_be_in_viewport()
    await pia.open("oda")
    await pia.page.get_by_role("button", name="To the newest messages").click()
    await expect(pia.row("At one, @pia").locator(".mention.me")).to_have_text("@pia")
    quote = pia.row("At one, @pia").locator(".quote")
    await expect(quote).to_contain_text("What about lunch?")
    await quote.click()
    await expect(pia.row("What about lunch?")).to_be_in_viewport()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_accessible(guests: People, dark: bool) -> None:
    """axe-core finds nothing serious on any screen; the menu opens by keyboard, with the focus in it, and closes."""
    require(None if AXE.is_file() else "axe-core is not installed; run make setup")
    name, other = ("rob", "sue") if dark else ("tim", "una")
    una = await guests.log_in(other, dark=dark)
    await una.start_with(name, "vic", title="Book club")
    await una.say("Chapter three is up to you two")
    tim = await guests.meet(name, width=375, height=760, dark=dark)
    await tim.page.goto(tim.url)
    await accessible(tim.page)
    await tim.log_in()
    await expect(tim.badge("Book club")).to_have_text("1 unread")
    await accessible(tim.page)
    await tim.open("Book club")
    await tim.say("On it, see https://example.com/notes")
    await una.body.press_sequentially("Good")
    await expect(tim.page.locator("#typing")).to_be_visible()
    await accessible(tim.page)
    options = seq(tim, 2).get_by_role("button", name="Message options")
    await options.focus()
    await tim.page.keyboard.press("Enter")
    await expect(tim.page.get_by_role("button", name="React with 👍")).to_be_focused()
    await accessible(tim.page)
    await tim.page.keyboard.press("ArrowUp")
    await expect(tim.page.get_by_role("button", name="Delete")).to_be_focused()
    await tim.page.keyboard.press("Escape")
    await expect(options).to_be_focused()
    await expect(tim.title).to_have_text("Book club")
    await tim.page.keyboard.press("Enter")
    await tim.page.keyboard.press("Enter")
    await expect(seq(tim, 2).locator(".reactions button")).to_have_text("👍 1")
    await tim.body.press_sequentially("@")
    await expect(tim.page.get_by_role("option").first).to_be_visible()
    await accessible(tim.page)
    await tim.body.fill("")
    await tim.page.get_by_role("button", name="Back to the conversations").click()
    await tim.page.get_by_role("button", name="New conversation").click()
    await accessible(tim.page)
    await tim.page.keyboard.press("Escape")
    second = await guests.log_in(name, dark=dark)
    await tim.status("ended")
    await accessible(tim.page)
    await second.status("connected")


async def accessible(page: Page) -> None:
    """Nothing serious, and nothing wider than the screen."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))  # the page's policy allows no script of others in it
    await no_violations(page)
    await no_sideways(page)
