"""Next.js: the example, in production and in development, and an application of one's own, made from the blocks of
docs/react.md and the README."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import jwt
import pytest
from browser.conftest import StartServer
from browser.demokit import Server
from browser.test_react import no_violations
from browser.visitors import RECONNECT_MS, WAIT_MS
from playwright.async_api import Browser, Page, expect
from support.applications import (
    BUILD_S,
    EXAMPLE,
    MODULES,
    NEXT,
    application,
    install,
    missing_next,
    run,
    serving,
    started,
    types_hold,
)
from support.node import ROOT, require
from support.ports import held_port
from support.servers import token
from support.waiting import DEADLINE_S, eventually
from support.wire import WirePerson, wire_to

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(3 * BUILD_S), pytest.mark.thorough]

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE: Final = (ROOT / "docs" / "react.md").read_text(encoding="utf-8")
REWRITTEN: Final = (ROOT / "tests" / "browser" / "next" / "page.jsx").read_text(encoding="utf-8")
SECRET: Final = "a secret of the chat's and the application's"
# In development the first visit of a page compiles it.
COMPILE_MS: Final = 1000 * BUILD_S
USERS: Final = {"alice": "Alice Martin", "bob": "Bob Durand"}


def blocks(page: str, kind: str) -> dict[str, str]:
    """The code under comments of that kind, by what else the comment says."""
    found = re.findall(rf"<!-- {kind} ?(\S*) -->\n+ *```\w+\n(.*?)```", page, flags=re.S)
    return {str(name): str(code) for name, code in found}


def with_rewrite(server_url: str) -> str:
    """next.config.ts, with the rewrite of the guide."""
    rewrite = blocks(GUIDE, "rewrite")[""].replace("http://127.0.0.1:3001", server_url)
    once = "experimental: { turbopackFileSystemCacheForDev: false },"  # it does not start a second time
    return f"export default {{\nturbopack: {{ root: {json.dumps(str(ROOT))} }},\n{once}\n{rewrite}}};\n"


def example() -> dict[str, str]:
    """The files of the example that make it."""
    paths = [
        path for folder in ("app", "components", "lib") for path in (EXAMPLE / folder).rglob("*") if path.is_file()
    ]
    paths += [EXAMPLE / name for name in (".env", "package.json", "tsconfig.json")]
    return {path.relative_to(EXAMPLE).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def for_tests(files: dict[str, str]) -> dict[str, str]:
    """Without the dependencies, which are there already."""
    package = json.loads(files["package.json"])
    return {**files, "package.json": json.dumps({"private": True, "scripts": package["scripts"]})}


@asynccontextmanager
async def visitor(chromium: Browser, faults: list[str], **options: object) -> AsyncIterator[Page]:
    """Somebody in a browser of their own, whose page asks nobody outside."""
    context = await chromium.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: _outside(request.url, faults))
    try:
        yield page
    finally:
        await context.close()


def _outside(url: str, faults: list[str]) -> None:
    if urlsplit(url).hostname not in ("127.0.0.1", "localhost", None):
        faults.append(url)


async def log_in(page: Page, url: str, name: str, label: str = "Your name") -> None:
    """Into the example, by its own page."""
    await page.goto(url, timeout=COMPILE_MS)
    await page.get_by_label(label).fill(name)
    await page.get_by_label(label).press("Enter")
    await page.wait_for_url("**/messages", timeout=COMPILE_MS)
    await expect(page.locator(".bar")).to_have_attribute("data-state", "connected", timeout=COMPILE_MS)


async def write(page: Page, text: str) -> None:
    body = page.get_by_role("textbox", name="Message")
    await body.fill(text)
    await body.press("Enter")
    await expect(body).to_have_value("")


async def meet(alice: Page, bob: Page, url: str, labels: tuple[str, str] = ("Your name", "Your name")) -> None:
    """Both log in, Alice writes, and Bob opens what she has written."""
    await log_in(alice, url, USERS["alice"], labels[0])
    await log_in(bob, url, USERS["bob"], labels[1])
    with_whom = alice.get_by_label("New conversation with")
    await with_whom.fill(USERS["bob"])
    await with_whom.press("Enter")
    await alice.wait_for_url("**/messages/*", timeout=COMPILE_MS)
    await write(alice, "Hello Bob")
    item = bob.get_by_role("navigation").get_by_role("link", name=USERS["alice"])
    await expect(item.locator(".badge")).to_have_text("1", timeout=RECONNECT_MS)
    await expect(bob).to_have_title("(1) Messages")
    await item.click()
    await bob.wait_for_url("**/messages/*", timeout=COMPILE_MS)
    await says(bob, "Hello Bob")
    await expect(item.locator(".badge")).to_have_count(0)
    await expect(bob).to_have_title("Messages")


async def says(page: Page, *texts: str, timeout_ms: float = WAIT_MS) -> None:
    """The conversation that is open consists of these messages, in this order, all of them stored."""
    await expect(page.locator("li[data-state] .body")).to_have_text(list(texts), timeout=timeout_ms)
    await expect(page.locator("li[data-state=sending]")).to_have_count(0, timeout=timeout_ms)


# An application's own: it knows its people, by ids that are no names. Whom to log in it takes from the example's page.
SESSION: Final = """
import { cookies } from "next/headers";
const PEOPLE = [{ id: "alice martin", name: "Alice Martin" }, { id: "bob durand", name: "Bob Durand" }];
export async function currentUser() {
  const id = (await cookies()).get("session")?.value;
  return PEOPLE.find((person) => person.id === id) ?? null;
}
export async function remember(name: string) {
  const person = PEOPLE.find((each) => each.name === name);
  if (person) (await cookies()).set("session", person.id, { httpOnly: true, sameSite: "lax" });
}
export async function forget() {
  (await cookies()).delete("session");
}
export const idOf = (name: string) => name;
"""


# Not the example's, in one application with it.
OTHERS: Final = ["app/own", "app/readme", "app/rewritten", "app/api/chat-token", "auth.ts"]


def everything(server_url: str, development_url: str) -> dict[str, str]:
    """One application, so that it is built once: the example, the lines of the guide, and those of the README."""
    files = for_tests(example()) | {"lib/session.ts": SESSION, "auth.ts": AUTH}
    files |= {name.replace("app/messages", "app/own"): code for name, code in blocks(GUIDE, "file").items()}
    files |= {
        "app/readme/token.js": blocks(README, "token")[""].replace("http://localhost:3001", development_url),
        "app/readme/App.jsx": blocks(README, "app")[""].replace("http://localhost:3001", development_url),
        "app/readme/page.tsx": blocks(README, "page")[""],
        "app/rewritten/page.jsx": REWRITTEN,
        ".env.local": f"NEXT_PUBLIC_WEBSOCKET_URL={server_url.replace('http', 'ws')}\nWEBSOCKET_JWT_SECRET={SECRET}\n",
        "next.config.ts": with_rewrite(server_url).replace("{", "{ typescript: { ignoreBuildErrors: true },", 1),
        "example.json": json.dumps(json.loads(files["tsconfig.json"]) | {"exclude": ["node_modules", *OTHERS]}),
        "tsconfig.json": json.dumps({"compilerOptions": TSCONFIG, "include": INCLUDE, "exclude": ["node_modules"]}),
    }
    return files


async def test_in_production(chromium: Browser, start_server: StartServer, tmp_path: Path) -> None:
    """The example with an application's own session in it; beside it the guide's application, and the README's.

    The README named neither the origin nor whose token it is, and its files read `location`, which a server has not.
    """
    require(missing_next())
    faults: list[str] = []
    with held_port() as port:
        origins = "--allowed-origins", f"http://127.0.0.1:{port}"
        (tmp_path / "open").mkdir()
        development = Server(tmp_path / "open", *origins)
        await development.start()
        try:
            server = await start_server(*origins, "--jwt-secret", SECRET)
            directory = application("production", everything(server.url, development.url))
            await install(directory, MODULES)
            await run(directory, *NEXT, "build")
            await types_hold(directory, "tsconfig.json", "example.json")
            async with serving(directory, "start", port) as url:
                await example_in_production(chromium, server, url, faults)
                async with visitor(chromium, faults) as alice, visitor(chromium, faults) as bob:
                    await own_application(alice, bob, url)
                    await readme_application(alice, bob, f"{url}/readme")
                ways = itertools.product(("polling", "websocket", "polling-websocket"), ("yes", "no"))
                await rewritten(chromium, f"{url}/rewritten", server.url, SECRET, ways)
        finally:
            await development.stop()
    assert not faults


async def example_in_production(chromium: Browser, server: Server, url: str, faults: list[str]) -> None:
    """Two people write, reload, and outlast a restart, with tokens that are signed with the server's secret.

    It has nothing from outside, is accessible, French to a French browser, and one screen after the other on a phone.
    What needs a login has one.
    """
    async with (
        visitor(chromium, faults, locale="en-GB", color_scheme="light") as alice,
        visitor(chromium, faults, locale="fr-FR", color_scheme="dark", viewport={"width": 375, "height": 740}) as bob,
    ):
        await alice.goto(f"{url}/messages")
        await expect(alice.get_by_label("Your name")).to_be_visible()
        assert (await alice.request.get(f"{url}/api/token")).status == 401
        await no_violations(alice)
        await meet(alice, bob, url, ("Your name", "Votre nom"))
        await expect(alice.locator("li[data-state=read]")).to_have_count(1)
        await write(bob, "Salut Alice")
        await expect(alice.get_by_role("log")).to_have_text("Bob Durand: Salut Alice")
        for page in (alice, bob):
            await says(page, "Hello Bob", "Salut Alice")
            await no_violations(page)
        await expect(bob.locator("html")).to_have_attribute("lang", "fr")
        await expect(bob.get_by_role("button", name="Envoyer")).to_be_visible()
        await expect(bob.get_by_role("navigation")).to_be_hidden()
        for page in (alice, bob):
            await page.reload()
            await says(page, "Hello Bob", "Salut Alice")

        await server.stop()
        await expect(alice.get_by_role("status").first).to_contain_text("The server restarts.")
        await write(alice, "Written meanwhile")
        await expect(alice.locator("li[data-state=sending] .body")).to_have_text("Written meanwhile")
        await server.start()
        for page in (alice, bob):
            await says(page, "Hello Bob", "Salut Alice", "Written meanwhile", timeout_ms=RECONNECT_MS)
        await bob.get_by_role("link", name="Retour aux conversations").click()
        await expect(bob.get_by_role("navigation").get_by_role("link")).to_contain_text("Written meanwhile")
        await bob.get_by_role("button", name="Se déconnecter").click()
        await bob.wait_for_url(f"{url}/")
        assert (await bob.request.get(f"{url}/api/token")).status == 401


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_in_development(chromium: Browser) -> None:
    """`npm run dev:full` starts the example and the server, without a secret; two people write; Ctrl-C ends both."""
    require(missing_next())
    faults: list[str] = []
    with held_port() as port, held_port() as server_port:
        url = f"http://localhost:{port}"
        server_url = f"http://localhost:{server_port}"
        files = for_tests(example()) | {"app/rewritten/page.jsx": REWRITTEN}
        files["next.config.ts"] = with_rewrite(server_url)
        directory = application("development", files)
        await install(directory, MODULES)
        variables = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PORT": str(port),
            "WEBSOCKET_PORT": str(server_port),
            "NEXT_PUBLIC_WEBSOCKET_URL": server_url,
            "NEXT_PUBLIC_APP_URL": url,
        }
        async with (
            started(directory, ["npm", "run", "dev:full"], "Ready in", "listens on", **variables) as process,
            visitor(chromium, faults, locale="en-GB") as alice,
            visitor(chromium, faults, locale="en-GB") as bob,
        ):
            said = await run(directory, "npm", "run", "test:websocket", **variables)
            assert "No step failed." in said
            await meet(alice, bob, url)
            await write(bob, "Hello Alice")
            for page in (alice, bob):
                await says(page, "Hello Bob", "Hello Alice")
            await rewritten(
                chromium,
                f"{url}/rewritten",
                server_url,
                None,
                [("polling", "yes"), ("websocket", "no"), ("polling-websocket", "yes")],
            )
            os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to everybody in it
            async with asyncio.timeout(DEADLINE_S):
                await process.wait()
            await eventually("both have ended", lambda: refuses(port) and refuses(server_port))
    assert not faults


# As create-next-app has it.
TSCONFIG: Final = {
    "target": "ES2017",
    "lib": ["dom", "dom.iterable", "esnext"],
    "allowJs": True,
    "skipLibCheck": True,
    "strict": True,
    "noEmit": True,
    "esModuleInterop": True,
    "module": "esnext",
    "moduleResolution": "bundler",
    "resolveJsonModule": True,
    "isolatedModules": True,
    "jsx": "react-jsx",
    "incremental": True,
    "plugins": [{"name": "next"}],
    "paths": {"@/*": ["./*"]},
}
INCLUDE: Final = ["next-env.d.ts", "**/*.ts", "**/*.tsx", ".next/types/**/*.ts", ".next/dev/types/**/*.ts"]
AUTH: Final = """
import { cookies } from "next/headers";
export async function auth() {
  const id = (await cookies()).get("user")?.value;
  return id ? { user: { id, name: id.toUpperCase() } } : null;
}
"""


async def own_application(alice: Page, bob: Page, url: str) -> None:
    for page, user in ((alice, "alice"), (bob, "bob")):
        await page.context.add_cookies([{"name": "user", "value": user, "url": url}])
        await page.goto(f"{url}/own", timeout=COMPILE_MS)
        await expect(page.get_by_role("status")).to_have_text("connected", timeout=COMPILE_MS)
    with_whom = alice.get_by_label("New conversation with")
    await with_whom.fill("bob")
    await with_whom.press("Enter")
    await alice.get_by_label("Message").fill("hello")
    await alice.get_by_label("Message").press("Enter")
    await bob.get_by_role("button", name=re.compile(r"ALICE.*\(1\)")).click()
    await bob.get_by_label("Message").fill("hello back")
    await bob.get_by_label("Message").press("Enter")
    await alice.reload()
    await alice.get_by_role("button", name=re.compile("BOB")).click()
    for page in (alice, bob):
        await expect(page.locator("form p")).to_have_text(["ALICE: hello", "BOB: hello back"])


async def readme_application(alice: Page, bob: Page, url: str) -> None:
    for page, query in ((alice, ""), (bob, "?user=bob")):
        await page.goto(url + query, timeout=COMPILE_MS)
    for writer, reader, user in ((alice, bob, "alice"), (bob, alice, "bob")):
        await expect(writer.get_by_text(f"{user}: connected")).to_be_visible(timeout=COMPILE_MS)
        await writer.get_by_label("Message").fill(f"from {user}")
        await writer.get_by_label("Message").press("Enter")
        await expect(reader.get_by_text(f"{user}: from {user}", exact=True)).to_have_count(1, timeout=2 * WAIT_MS)


async def rewritten(
    chromium: Browser, url: str, server_url: str, secret: str | None, ways: Iterable[tuple[str, str]]
) -> None:
    """Next.js passes `/socket.io` on without its last slash, which the server answered with 404.

    A page connects over each transport, with or without `addTrailingSlash`, joins, sends, and hears of others too.
    """
    async with wire_to(server_url) as wire:
        client = await wire.open({"token": signed("ben", secret)})
        await client.wait("welcome")
        ben = WirePerson("ben", client)

        async def visit(transports: str, slash: str) -> None:
            user = f"{transports}-{slash}"
            address = f"{url}#token={signed(user, secret)}&transports={transports}&slash={slash}"
            page = await chromium.new_page()
            try:
                await page.goto(address, timeout=COMPILE_MS)
                main = page.locator("main")
                await expect(main).to_have_attribute("data-status", "joined", timeout=4 * WAIT_MS)
                await expect(main).to_have_attribute("data-transport", transports.split("-")[-1], timeout=2 * WAIT_MS)
                await expect(page.locator("li")).to_have_text(["from Next.js"])
                conversation = await main.get_attribute("data-conversation")
                assert conversation is not None
                await ben.send(conversation, "from ben")
                await expect(page.locator("li")).to_have_text(["from Next.js", "from ben"])
            finally:
                await page.close()

        await asyncio.gather(*(visit(*way) for way in ways))


def signed(user: str, secret: str | None) -> str:
    """A token; without a secret one of the development login."""
    return token(user) if secret is None else jwt.encode({"sub": user, "exp": int(time.time()) + 3600}, secret)
