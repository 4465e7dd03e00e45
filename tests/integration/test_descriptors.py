"""A server process that has no file descriptors left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SERVER = """
import resource, sys
if sys.argv[1] == "asyncio":
    sys.modules["uvloop"] = None
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from socketserver.cli import main
sys.exit(main(["--port", "0", "--store-url", "sqlite:///:memory:", "--log-format", "json"]))
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_no_descriptors_left(loop: str) -> None:
    """Clients were reset, and not one line of the log said why: now one does, and what to do."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, loop, cwd=ROOT, env=dict(os.environ), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    held: list[asyncio.StreamWriter] = []
    try:
        async with asyncio.timeout(30):
            port = int((await process.stdout.readline()).decode().strip().rpartition(":")[2])
            for _ in range(80):
                with contextlib.suppress(OSError):
                    held.append((await asyncio.open_connection("127.0.0.1", port))[1])
            lines = [await process.stderr.readline()]
            while b"out_of_descriptors" not in lines[-1]:
                assert lines[-1], "the process has ended"
                lines.append(await process.stderr.readline())
        assert b'"limit": 64' in lines[-1]
        assert b"LimitNOFILE" in lines[-1]
    finally:
        for writer in held:
            writer.close()
        process.kill()
        await process.communicate()
