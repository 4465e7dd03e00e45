"""What the tests of applications with the packed JavaScript client use, those with Next.js above all.

Such a folder lies in build/, so that it and the packages of examples/next, which all of them share, have one root.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from .keyboard import heeding_the_keyboard
from .node import ROOT
from .waiting import eventually

EXAMPLE: Final = ROOT / "examples" / "next"
MODULES: Final = EXAMPLE / "node_modules"
NEXT: Final = ("node", "node_modules/next/dist/bin/next")
CLIENT: Final = "chat-socketserver-client"
CLIENT_FOLDER: Final = ROOT / "clients" / "js"
TYPES: Final = ROOT / "tests" / "support" / "types.cjs"
BUILD_S: Final = 300.0
# Variables that would change what the programs do.
_OURS: Final = ("WEBSOCKET_", "NEXT_", "MONGODB_URI", "PORT", "NODE_ENV", "npm_")


def missing_packer() -> str | None:
    """What is lacking to pack the client, as a sentence; None if nothing is."""
    if shutil.which("npm") is None:
        return "Node.js is not installed"
    if not (ROOT / "node_modules" / "typescript").is_dir():
        return "the npm packages for development are not installed; run make setup"
    return None


def missing_next() -> str | None:
    """What is lacking for Next.js, as a sentence; None if nothing is."""
    if (missing := missing_packer()) is not None:
        return missing
    return (
        None if (MODULES / "next").is_dir() else "Next.js is not installed; run make examples/next/node_modules/.ready"
    )


def environment(**variables: str) -> dict[str, str]:
    """The tests' own, without what would change the programs' doing."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**others, "NEXT_TELEMETRY_DISABLED": "1", **variables}


async def run(directory: Path, *arguments: str, **variables: str) -> str:
    """Run a program there, and see that it ends well. Returns: what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=directory,
        env=environment(**variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(BUILD_S):
            output, _ = await process.communicate()
    except BaseException:
        _kill(process)
        raise
    assert process.returncode == 0, output.decode()
    return output.decode()


@contextlib.asynccontextmanager
async def started(
    directory: Path, command: Sequence[str], *lines: str, **variables: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program there until the end, from the moment at which it has written these."""
    log = directory / "output.log"
    with log.open("wb") as output, heeding_the_keyboard():
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=environment(**variables),
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await eventually(
            f"it writes {lines}: see {log}",
            lambda: process.returncode is not None or all(line in log.read_text() for line in lines),
            deadline_s=BUILD_S,
        )
        assert process.returncode is None, log.read_text()
        yield process
    finally:
        _kill(process)
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    """It, and whom it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def serving(directory: Path, mode: str, port: int, **variables: str) -> AsyncIterator[str]:
    """Run Next.js, in the mode dev or start. Yields: its address."""
    command = [*NEXT, mode, "--port", str(port), "--hostname", "127.0.0.1"]
    async with started(directory, command, "Ready in", **variables):
        yield f"http://127.0.0.1:{port}"


def application(name: str, files: Mapping[str, str]) -> Path:
    """A folder with these files and nothing else."""
    directory = ROOT / "build" / "applications" / name
    shutil.rmtree(directory, ignore_errors=True)
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    return directory


async def packed_client() -> Path:
    """What `npm pack` makes of the client, types and all: made once, by whichever test comes first."""
    sources = [CLIENT_FOLDER / name for name in ("package.json", "tsconfig.json", "README.md", "LICENSE")]
    sources += sorted((CLIENT_FOLDER / "src").iterdir())
    digest = hashlib.sha256(b"".join(f"{path}\n".encode() + path.read_bytes() for path in sources))
    packed = ROOT / "build" / "packed" / f"{digest.hexdigest()}.tgz"
    if not packed.exists():
        packed.parent.mkdir(parents=True, exist_ok=True)
        # In a copy, so that no test beside this one sees types that are half made.
        with tempfile.TemporaryDirectory(dir=packed.parent) as temporary:
            copy = Path(temporary) / CLIENT
            for path in sources:
                (copy / path.relative_to(CLIENT_FOLDER)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy / path.relative_to(CLIENT_FOLDER))
            await run(copy, "npm", "pack", "--silent", "--pack-destination", temporary)
            [made] = Path(temporary).glob("*.tgz")
            made.replace(packed)
    return packed


async def install(directory: Path, modules: Path) -> None:
    """Install the packed client as npm does, and give the application the packages of another one beside it."""
    packed = str(await packed_client())
    await run(directory, "npm", "install", "--offline", "--legacy-peer-deps", "--no-audit", "--no-fund", packed)
    installed = directory / "node_modules"
    for package in modules.iterdir():
        if not package.name.startswith(".") and package.name != CLIENT:
            (installed / package.name).symlink_to(package)
    (installed / ".bin").symlink_to(modules / ".bin")


async def types_hold(directory: Path, *configurations: str, folder: str = ".") -> None:
    """The compiler finds nothing in the application, with `strict` and without; but it knows the package's types.

    Args:
        configurations: tsconfig.json, or others beside it.
        folder: one of which the first configuration takes in all files.
    """
    wrong = """import { useStatus } from "chat-socketserver-client/react";
export const wrong: number = useStatus().state;
"""
    (directory / folder / "wrong.ts").write_text(wrong, encoding="utf-8")
    found = await run(directory, "node", str(TYPES), *configurations)
    (directory / folder / "wrong.ts").unlink()
    lines = found.splitlines()
    expected = {f"{name} {mode}" for name in configurations for mode in ("strict", "loose")}
    assert {line.partition(":")[0] for line in lines if "wrong.ts:2 TS2322 " in line} == expected, found
    assert len(lines) == len(expected), found
