"""The Dockerfile's steps, followed in an empty folder and an empty virtual environment as another user; then its CMD
serves a real client. dockerfile.py says what stands for what."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from deploy.dockerfile import Build, Ignored, Image
from support import database as db
from support.node import Node
from support.stage import next_key
from support.waiting import eventually

ROOT: Final = Path(__file__).resolve().parents[2]
SECRET: Final = "a secret that only this test and its server know"
DEADLINE_S: Final = 60.0

# pip installs what the image has, within the time of the first test.
pytestmark = [pytest.mark.timeout(600), pytest.mark.thorough]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image. Not in pytest's folder, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Build(ROOT, folder).run()


@contextlib.asynccontextmanager
async def container(image: Image, log: Path, **environment: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], int]]:
    """The image's CMD with its own settings and a free port. Yields the process and the port."""
    process = image.start(image.command, log, WEBSOCKET_PORT="0", **environment)
    try:

        def port() -> int:
            text = log.read_text(encoding="utf-8")
            assert process.poll() is None, text
            found = re.search(r"listens on http://\S+:(\d+)", text)
            return int(found[1]) if found else 0

        yield process, await eventually("the server listens", port, deadline_s=DEADLINE_S)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_ignored() -> None:
    """The patterns of .dockerignore as Docker reads them."""
    ignored = Ignored("# only these\n*\n!setup.cfg\n!pack/\n**/__pycache__\n**/*.py[co]\n")
    kept = ["setup.cfg", "pack", "pack/a.py", "pack/deep/b.html"]
    left = [
        "README.md",
        ".venv/bin/python",
        "tests/setup.cfg",
        "pack/__pycache__",
        "pack/deep/__pycache__/c",
        "pack/a.pyc",
    ]
    assert [path for path in kept + left if not ignored(path)] == kept


def test_the_image_holds_the_package_and_nothing_else(image: Image) -> None:
    """The package's files and the licence; no tests, examples, repository or secrets that lie in the folder."""
    app = image.workdir
    files = {path.relative_to(app) for path in app.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    package = (
        path for path in (ROOT / "socketserver").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    assert files == {Path("LICENSE"), *(path.relative_to(ROOT) for path in package)}
    assert list(app.rglob("*.pyc")), "it is compiled beforehand"


def test_the_image_has_no_tools(image: Image) -> None:
    """What serves is installed, what is for tests and builds is not."""
    installed = {
        path.name.split("-")[0].lower() for path in (image.root / "venv").glob("lib/python*/site-packages/*.dist-info")
    }
    assert {"aiohttp", "motor", "python_socketio", "orjson"} <= installed
    assert not installed & {
        "pip",
        "setuptools",
        "pytest",
        "mypy",
        "ruff",
        "playwright",
        "secantusdb",
        "pyyaml",
        "coverage",
    }


def test_it_refuses_to_start_without_login(image: Image) -> None:
    """Reachable from everywhere and without a way to check tokens it says what is missing, in one line, and ends."""
    done = image.run(image.command)
    assert done.returncode == 2
    [line] = (done.stdout + done.stderr).splitlines()
    assert line.startswith("socketserver: WEBSOCKET_HOST=0.0.0.0 would let anybody on the network log in as anybody")
    assert "WEBSOCKET_JWT_SECRET" in line


async def test_it_serves_and_stops(image: Image, node: Node, tmp_path: Path) -> None:
    """Clients talk, it counts as healthy; SIGTERM ends it with status 0, then it is not healthy, and what was acked is
    there when it starts again."""
    log = tmp_path / "log"
    secrets = {"WEBSOCKET_JWT_SECRET": SECRET}
    tokens = {}
    for user in ("ana", "ben"):
        done = image.run([*image.command, "token", user], **secrets)
        assert done.returncode == 0, done.stderr
        tokens[user] = {"token": done.stdout.strip()}

    async with container(image, log, **secrets) as (process, port):
        url = f"http://127.0.0.1:{port}"
        ana = await node.open(url, auth=tokens["ana"])
        ben = await node.open(url, auth=tokens["ben"], transport="polling")
        for client in (ana, ben):
            await client.wait("welcome", deadline_s=DEADLINE_S)
        chat = (await ana.ok("create_conversation", {"participantIds": ["ben"]}))["conversation"]["id"]
        await ben.ok("join_conversation", {"conversationId": chat})
        await ana.ok("send_message", {"conversationId": chat, "idempotencyKey": next_key(), "body": "hello"})
        assert (await ben.wait("message_created"))["message"]["body"] == "hello"

        health = image.run(image.health, WEBSOCKET_PORT=str(port))
        assert health.returncode == 0, health.stderr
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        assert re.findall(r"^Uid:\t(\d+)", status, flags=re.M) == [str(image.user.uid or os.geteuid())]

        process.terminate()
        await eventually("it has stopped", lambda: process.poll() is not None, deadline_s=DEADLINE_S)
        text = log.read_text(encoding="utf-8")
        assert process.returncode == 0, text
        assert "Traceback" not in text
        assert image.run(image.health, WEBSOCKET_PORT=str(port)).returncode != 0

    assert [row.body for row in db.messages(image.root / "data" / "chat.db")] == ["hello"]
    async with container(image, log, **secrets) as (_, port):
        ben = await node.open(f"http://127.0.0.1:{port}", auth=tokens["ben"])
        await ben.wait("welcome", deadline_s=DEADLINE_S)
        joined = await ben.ok("join_conversation", {"conversationId": chat})
        assert [message["body"] for message in joined["messages"]] == ["hello"]


def test_its_user_writes_to_data_only(image: Image) -> None:
    """Nothing else of the image may be written by the user that it runs as."""
    if image.user.uid is None:
        pytest.skip("only root can become another user; without it the image is the tests' own")
    find = shutil.which("find")
    assert find is not None
    done = image.run([find, str(image.root), str(image.base), "-not", "-type", "l", "-writable", "-print"])
    writable = [Path(line) for line in done.stdout.splitlines()]
    data = image.root / "data"
    assert data in writable
    assert [path for path in writable if not path.is_relative_to(data)] == []
    assert data.stat().st_mode & 0o077 == 0
