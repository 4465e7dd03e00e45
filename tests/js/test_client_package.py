"""The JavaScript client, clients/js: its own tests, in Node, on a server of this checkout."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from socketserver.settings import Settings
from socketserver.wire import typescript
from typing import Final

import pytest
from support.node import ROOT, missing_node, require

PACKAGE: Final = ROOT / "clients" / "js"
DEADLINE_S: Final = 300
SUITES: Final = sorted((PACKAGE / "test").glob("*.test.js"))


def missing_tools() -> str | None:
    """What is lacking for the package's tests, as a sentence; None if nothing is."""
    if (missing := missing_node()) is not None:
        return missing
    if not (ROOT / "node_modules" / "fast-check").is_dir():
        return "the npm packages for development are not installed; run make setup"
    return None


@pytest.mark.timeout(DEADLINE_S + 30)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.removesuffix(".test.js"))
async def test_the_client(suite: Path) -> None:
    """Each of its suites passes."""
    require(missing_tools())
    process = await asyncio.create_subprocess_exec(
        *("node", "--test", "--test-reporter=spec", str(suite)),
        cwd=PACKAGE,
        env={**os.environ, "PYTHON": sys.executable},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()


def test_all_suites_are_found() -> None:
    """A folder that was moved would pass without a test."""
    assert {suite.name for suite in SUITES} >= {"chat.test.js", "connection.test.js", "conversation.test.js"}


def test_the_client_has_the_present_events() -> None:
    """wire.d.ts is what the command prints: `chat-socketserver types` renews it."""
    assert (PACKAGE / "src" / "wire.d.ts").read_text() == typescript.declarations(Settings())
