"""The table "before and now" of the guides: its scripts run as they stand there, and its log lines are written."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from support.node import missing_node, require
from support.pages import ROOT, section, table
from support.waiting import DEADLINE_S, eventually

PAGES: Final = {
    "react.md": "Before and now",
    "troubleshooting.md": "Before and now",
    "depannage.md": "Avant et maintenant",
}
TIMEOUT_S: Final = 6 * DEADLINE_S


def text(page: str) -> str:
    return section(ROOT / "docs" / page, PAGES[page])


def scripts(page: str) -> dict[str, str]:
    [block] = re.findall(r"```json\n(.*?)```", text(page), flags=re.S)
    found: dict[str, str] = json.loads(f"{{{block}}}")["scripts"]
    return found


def test_the_pages_agree() -> None:
    """One table, and the same scripts; what concurrently is told to start is there."""
    assert table(text("react.md"), "Before") == table(text("troubleshooting.md"), "Before")
    assert len(table(text("depannage.md"), "Avant")) == len(table(text("react.md"), "Before")) == 12
    for page in PAGES:
        ours = scripts(page)
        assert ours == scripts("react.md")
        started = re.findall(r"npm:(\S+)", ours["dev:full"])
        assert started == ["dev", "dev:websocket"]
        assert set(started) < set(ours)


class Npm:
    """An application with the scripts of the page, whose server has another port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "server.log"
        ours = re.compile(r"WEBSOCKET_|MONGODB_URI\Z|NEXT_PUBLIC_|PORT\Z|npm_")
        programs = Path(sys.executable).parent
        self._environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
        self._environment |= {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "WEBSOCKET_PORT": "0",
            "WEBSOCKET_STORE_URL": f"sqlite:///{directory / 'chat.db'}",
            "NEXT_PUBLIC_APP_URL": "http://localhost:3000",
        }

    def write(self, port: int = 3001) -> None:
        ours = {name: line.replace(":3001", f":{port}") for name, line in scripts("react.md").items()}
        (self._directory / "package.json").write_text(json.dumps({"private": True, "scripts": ours}))

    async def run(self, script: str, **options: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("npm", "run", "--silent", script),
            cwd=self._directory,
            env=self._environment,
            start_new_session=True,
            **options,
        )

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @asynccontextmanager
    async def server(self) -> AsyncIterator[int]:
        """`npm run dev:websocket`. Yields: its port."""
        with self._log.open("wb") as output:
            process = await self.run("dev:websocket", stdout=output, stderr=output)
        try:
            found = await eventually(
                "it listens", lambda: re.search(r"listens on http://[\d.]+:(\d+)", self.log()), deadline_s=TIMEOUT_S
            )
            assert found is not None
            yield int(found[1])
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            async with asyncio.timeout(TIMEOUT_S):
                await process.wait()


async def test_the_old_scripts_and_log_lines(tmp_path: Path) -> None:
    """`npm run dev:websocket` starts it, `npm run test:websocket` checks it, and the log has its four lines."""
    require(missing_node())
    npm = Npm(tmp_path)
    npm.write()
    async with npm.server() as port:
        npm.write(port)
        process = await npm.run("test:websocket", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        async with asyncio.timeout(TIMEOUT_S):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        assert "No step failed." in said.decode()
        rows = {row["Before"]: row["Now"] for row in table(text("react.md"), "Before") if "log line" in row["Before"]}
        events = [re.findall(r"`(\w+)`", now)[0] for now in rows.values()]
        assert events == ["connected", "authenticated", "message_received", "message_sent"]

        def written() -> bool:
            lines = [json.loads(line)["event"] for line in npm.log().splitlines() if line.startswith("{")]
            return set(events) <= set(lines)

        await eventually("the lines are written", written)
