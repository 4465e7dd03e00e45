"""Real `socket.io-client`s in a Node process, driven from Python; the other half is tests/js/driver.js.

The process outlives a test and its event loop; a test attaches to it, and its clients are gone when it detaches.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from .peer import NoAck, Peer, Seen
from .waiting import DEADLINE_S

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_DRIVER: Final = ROOT / "tests" / "js" / "driver.js"

Version = Literal["4.8", "4.0", "3.1"]
Transport = Literal["websocket", "polling", "upgrade"]
VERSIONS: Final[tuple[Version, ...]] = ("4.8", "4.0", "3.1")
# What tests' parameters call the older ones.
OLDER: Final = frozenset({"4.0", "3.1", "socket.io-client-4.0", "socket.io-client-3"})
TRANSPORTS: Final[tuple[Transport, ...]] = ("websocket", "polling", "upgrade")
_TRANSPORT_OPTION: Final[Mapping[Transport, list[str]]] = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
}

_IDS: Final = itertools.count(1)

# What JSON does not have, for the arguments of emits.
UNDEFINED: Final = {"$js": "undefined"}
NAN: Final = {"$js": "NaN"}
INFINITY: Final = {"$js": "Infinity"}


def binary(data: bytes) -> dict[str, str]:
    """A Buffer, for the arguments of emits."""
    return {"$bytes": base64.b64encode(data).decode()}


def require(missing: str | None) -> None:
    """Skip the test for what the machine lacks; fail it where nothing may be lacking."""
    if missing is not None:
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(f"REQUIRE_ALL is set, and {missing}")
        pytest.skip(missing)


def missing_node() -> str | None:
    """What is lacking for JavaScript clients, as a sentence; None if nothing is."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    if not (ROOT / "node_modules" / "socket.io-client").is_dir():
        return "the npm packages are not installed; run make setup"
    return None


class Client(Peer):
    """One socket.io client."""

    def __init__(self, node: Node, name: str) -> None:
        super().__init__(name)
        self._node = node

    async def emit(self, event: str, *args: Any, deadline_s: float = DEADLINE_S) -> Any:
        """Emit and return the ack's argument.

        Raises: NoAck.
        """
        answer = await self._command("emit", event=event, args=args, timeoutMs=int(deadline_s * 1000))
        return self._ack(event, answer)

    async def burst(
        self, emits: Iterable[Sequence[Any]], *, deadline_s: float = DEADLINE_S
    ) -> tuple[list[Any], list[int]]:
        """Emit [event, *arguments] after [event, *arguments] within one tick of Node's event loop.

        Returns: the acks in the order of the emits, None for one that did not come; and in which order they came.
        """
        answer = await self._command("burst", emits=list(emits), timeoutMs=int(deadline_s * 1000))
        acks = [item["ack"][0] if "ack" in item else None for item in answer["answers"]]
        return acks, [int(index) for index in answer["order"]]

    async def forget(self, event: str, *args: Any) -> None:
        """Emit without asking for an ack."""
        await self._command("forget", event=event, args=args)

    async def raw(self, text: str, *, deadline_s: float = DEADLINE_S) -> Any:
        """Send a Socket.IO packet as text, and return the ack to the id that stands in it as %ID%.

        Raises: NoAck.
        """
        return self._ack(text[:80], await self._command("raw", text=text, timeoutMs=int(deadline_s * 1000)))

    def _ack(self, what: str, answer: Mapping[str, Any]) -> Any:
        if "ack" not in answer:
            raise NoAck(f"{what}: {answer['error']}")
        (ack,) = answer["ack"]
        return ack

    async def connect(self) -> None:
        """What an application does to come back."""
        await self._command("connect")

    async def disconnect(self) -> None:
        """What an application does to leave for good."""
        await self._command("disconnect")

    async def cut(self) -> None:
        """Cut the connection without a word."""
        await self._command("cut")

    async def close_engine(self) -> None:
        """Close the connection so that the client comes back by itself."""
        await self._command("close_engine")

    async def state(self) -> dict[str, Any]:
        """connected, active (whether it will come back by itself), sid, transport."""
        return await self._command("state")

    async def _command(self, op: str, **arguments: Any) -> dict[str, Any]:
        return await self._node.command(op, client=self._name, **arguments)


class Node:
    """A test's hold of the Node process."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._clients: dict[str, Client] = {}

    async def command(self, op: str, **arguments: Any) -> dict[str, Any]:
        command_id = next(_IDS)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = future
        self._writer.write(json.dumps({"id": command_id, "op": op, **arguments}).encode() + b"\n")
        await self._writer.drain()
        answer = await future
        assert answer["ok"], answer["error"]
        return answer

    async def open(
        self,
        url: str,
        *,
        version: Version = "4.8",
        transport: Transport = "websocket",
        auth: object = None,
        auths: Sequence[object] | None = None,
        headers: Mapping[str, str] | None = None,
        quiet: Sequence[str] = (),
        **options: Any,
    ) -> Client:
        """Create a client, which begins to connect.

        Args:
            auth: the handshake's auth; `auths` for a function that gives one after the other.
            headers: extra ones, as a browser would send with its cookies.
            quiet: events that are not to be logged.
            options: further options of the client; it reconnects quickly by default.
        """
        name = f"c{len(self._clients) + 1}"
        settings: dict[str, Any] = {
            "transports": _TRANSPORT_OPTION[transport],
            "reconnectionDelay": 50,
            "reconnectionDelayMax": 200,
            "randomizationFactor": 0,
            **options,
        }
        if auth is not None:
            settings["auth"] = auth
        if headers:
            settings["extraHeaders"] = dict(headers)
        client = self._clients[name] = Client(self, name)
        await self.command(
            "open", client=name, version=version, url=url, options=settings, auths=auths, quiet=list(quiet)
        )
        return client

    def take(self, line: bytes) -> None:
        """Take in a line that Node wrote."""
        message = json.loads(line)
        if "id" in message:
            future = self._waiting.pop(message["id"], None)
            if future is not None and not future.done():
                future.set_result(message)
        elif (client := self._clients.get(message["client"])) is not None:
            client.note(Seen(message["event"], message["args"]))

    def fail(self) -> None:
        """The process is gone."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(AssertionError("the Node process ended"))


class NodeProcess:
    """The process. One for a whole test run."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def freeze(self) -> None:
        """Stop it as a browser stops a tab, in the middle of whatever it does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def attach(self) -> AsyncIterator[Node]:
        """Use the process within the running event loop."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                ["node", str(_DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**26)
        # Copies, because a loop closes what it was given.
        output = os.fdopen(os.dup(self._process.stdout.fileno()), "rb", buffering=0)
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), output)
        stdin = os.fdopen(os.dup(self._process.stdin.fileno()), "wb", buffering=0)
        writing, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, stdin)
        node = Node(asyncio.StreamWriter(writing, protocol, None, loop))
        task = asyncio.create_task(self._read(reader, node))
        try:
            yield node
        finally:
            with contextlib.suppress(AssertionError, TimeoutError):
                async with asyncio.timeout(DEADLINE_S):
                    await node.command("reset")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            reading.close()
            writing.close()
            await asyncio.sleep(0)  # the loop closes them in its next turn

    async def _read(self, reader: asyncio.StreamReader, node: Node) -> None:
        while line := await reader.readline():
            node.take(line)
        node.fail()

    def stop(self) -> None:
        """End it. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            self._process = None
