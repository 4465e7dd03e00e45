"""The application of the README, made from its blocks as a fresh Vite application, with two people in two tabs."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Final

import pytest
from browser.conftest import StartServer
from browser.reactkit import BUILD_S, EXAMPLE, BuiltApp, missing_build_tools
from browser.visitors import WAIT_MS
from playwright.async_api import Browser, Page, expect
from support.applications import install, missing_packer, types_hold
from support.node import require
from support.pages import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
# What `npm create vite` makes, as far as it matters.
TEMPLATE: Final = {
    "package.json": '{"private": true, "type": "module"}',
    "index.html": '<div id="root"></div><script type="module" src="/src/main.jsx"></script>',
    "vite.config.js": 'import react from "@vitejs/plugin-react";\nexport default { plugins: [react()] };',
    "src/main.jsx": """import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import App from "./App.jsx";
createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
""",
}


def block(name: str) -> str:
    [found] = re.findall(rf"<!-- {name} -->\n+```jsx?\n(.*?)```", README, flags=re.S)
    return str(found)


async def build(directory: Path, server_url: str) -> None:
    """Write the application, for a server on another port, and build it with React's checks in it."""
    blocks = {"token.js": block("token"), "App.jsx": block("app")}
    files = TEMPLATE | {
        f"src/{name}": text.replace("http://localhost:3001", server_url) for name, text in blocks.items()
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    await install(directory, EXAMPLE / "node_modules")
    process = await asyncio.create_subprocess_exec(
        *("node", "node_modules/vite/bin/vite.js", "build", "--mode", "development", "--logLevel", "warn"),
        cwd=directory,
        env={**os.environ, "NODE_ENV": "development"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(BUILD_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_it_runs_as_written(chromium: Browser, start_server: StartServer, tmp_path: Path) -> None:
    """The README named neither Vite's origin, which the server refuses, nor whose token it is without a backend."""
    require(missing_build_tools() or missing_packer())
    assert "WEBSOCKET_ALLOWED_ORIGINS=http://localhost:5173 make run" in README
    dist = tmp_path / "chat" / "dist"
    dist.mkdir(parents=True)
    app = BuiltApp(dist, 0)
    await app.serve()
    faults: list[str] = []
    try:
        server = await start_server("--allowed-origins", app.url)
        await build(tmp_path / "chat", server.url)

        async def come(query: str = "") -> Page:
            page = await (await chromium.new_context()).new_page()
            page.set_default_timeout(WAIT_MS)
            page.on("pageerror", lambda error: faults.append(str(error)))
            await page.goto(f"{app.url}/{query}")
            return page

        alice, bob = await come(), await come("?user=bob")
        await expect(alice.get_by_text("alice: connected")).to_be_visible(timeout=2 * WAIT_MS)
        await expect(bob.get_by_text("bob: connected")).to_be_visible(timeout=2 * WAIT_MS)
        for writer, reader, line in ((alice, bob, "alice: hello"), (bob, alice, "bob: hello back")):
            body = writer.get_by_label("Message")
            await body.fill(line.partition(": ")[2])
            await body.press("Enter")
            await expect(reader.get_by_text(line, exact=True)).to_have_count(1, timeout=2 * WAIT_MS)
            await expect(body).to_have_value("")
        await bob.reload()
        await expect(bob.get_by_text("alice: hello", exact=True)).to_have_count(1, timeout=2 * WAIT_MS)
        for page in (alice, bob):
            await page.context.close()
    finally:
        await app.stop()
    assert not faults


# What `npm create vite -- --template react-ts` makes, as far as it matters.
TSCONFIG: Final = """{
  "compilerOptions": {
    "target": "es2023",
    "lib": ["ES2023", "DOM"],
    "module": "esnext",
    "types": ["vite/client"],
    "allowArbitraryExtensions": true,
    "skipLibCheck": true,
    "moduleResolution": "bundler",
    "allowImportingTsExtensions": true,
    "verbatimModuleSyntax": true,
    "moduleDetection": "force",
    "noEmit": true,
    "jsx": "react-jsx",
    "noUnusedLocals": true,
    "noUnusedParameters": true,
    "erasableSyntaxOnly": true,
    "noFallthroughCasesInSwitch": true
  },
  "include": ["src"]
}
"""


@pytest.mark.thorough
async def test_its_types(tmp_path: Path) -> None:
    """A page in TypeScript, the guide's for Next.js, compiles in a Vite application too."""
    require(missing_build_tools() or missing_packer())
    guide = (ROOT / "docs" / "react.md").read_text(encoding="utf-8")
    [page] = re.findall(r"<!-- file app/messages/page.tsx -->\n+```tsx\n(.*?)```", guide, flags=re.S)
    (tmp_path / "src").mkdir()
    (tmp_path / "package.json").write_text(TEMPLATE["package.json"])
    (tmp_path / "tsconfig.json").write_text(TSCONFIG)
    (tmp_path / "src" / "Page.tsx").write_text(
        page.replace("process.env.NEXT_PUBLIC_WEBSOCKET_URL", "String(import.meta.env.VITE_WEBSOCKET_URL)")
    )
    await install(tmp_path, EXAMPLE / "node_modules")
    await types_hold(tmp_path, "tsconfig.json", folder="src")
