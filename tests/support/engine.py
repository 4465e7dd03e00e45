"""A real server on port 0 for the delivery engine's tests, raw clients, and the JS clients under Node."""

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from socketserver.realtime import AsyncServer
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from .stopping import stop

ROOT = Path(__file__).parent.parent.parent
UNIT_S = 20.0
"""The deadline of everything that a test waits for."""
PATIENT: dict[str, Any] = {"ping_interval": 25, "ping_timeout": 20}
"""Times at which no ping comes between what a test sends, however busy the machine is."""


async def until(condition: Callable[[], Any], what: str = "condition") -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + UNIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {UNIT_S} s: {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(sio: AsyncServer, port: int = 0) -> AsyncIterator[str]:
    """Serve `sio` and yield its address, "http://127.0.0.1:port"; afterwards nothing of it may be left."""
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
    await site.start()
    assert runner.addresses
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await stop(runner)
        left = {name: size for name, size in sio.stats().items() if size}
        assert not left, f"left after shutdown: {left}"


def echo_server(**options: Any) -> AsyncServer:
    """Return the server of the public conformance suites, at their ping of 0.3 s."""
    sio = AsyncServer(
        **{
            "ping_interval": 0.3,
            "ping_timeout": 0.2,
            "max_http_buffer_size": 1_000_000,
            "cors_allowed_origins": "*",
            **options,
        }
    )

    def register(namespace: str) -> None:
        @sio.on("connect", namespace=namespace)
        async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
            await sio.emit("auth", auth or {}, to=sid, namespace=namespace)

        @sio.on("message", namespace=namespace)
        async def message(sid: str, *args: Any) -> None:
            await sio.emit("message-back", args, to=sid, namespace=namespace)

        @sio.on("message-with-ack", namespace=namespace)
        async def message_with_ack(sid: str, *args: Any) -> tuple[Any, ...]:
            return args

    register("/")
    register("/custom")
    return sio


class Raw:
    """A raw websocket that skips the server's pings unless told otherwise."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, answer_pings: bool = True) -> None:
        self.socket = socket
        self.answer_pings = answer_pings

    async def send(self, *packets: str | bytes) -> None:
        for packet in packets:
            await (self.socket.send_str(packet) if isinstance(packet, str) else self.socket.send_bytes(packet))

    async def frame(self) -> Any:
        """Return the next frame's data: str, bytes, or the close code as int."""
        message = await asyncio.wait_for(self.socket.receive(), UNIT_S)
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.release()
            return message.data  # not `close_code`: it is 1006 if this side could not answer any more
        if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
            self.release()
            return self.socket.close_code or 1006
        if message.type is aiohttp.WSMsgType.ERROR:
            self.release()
            return 1006
        return message.data

    def release(self) -> None:
        """Free the connection; aiohttp's client does not, where it was lost rather than closed."""
        self.socket._response.close()

    async def next(self) -> Any:
        """As `frame`, leaving out pings."""
        while (data := await self.frame()) == "2":
            if self.answer_pings:
                await self.socket.send_str("3")
        return data

    async def cut(self) -> None:
        """Cut the connection without a word, as a dead network does, and free this side's half of it."""
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        await self.socket.close()
        self.release()

    async def closed(self) -> int:
        """Return the close code, whatever comes before it."""
        while not isinstance(data := await self.frame(), int):
            pass
        return data


class Stubborn:
    """A websocket on a bare socket, which reads only when told to. Its frames are masked with zeros (RFC 6455 5.3)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.writing = asyncio.Lock()

    @classmethod
    async def connect(cls, url: str, receive_buffer: int = 8192, auth: Any = None) -> "Stubborn":
        target = urlsplit(url)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (target.hostname, target.port))
        client = cls(sock)
        await client.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            b"Host: " + target.netloc.encode() + b"\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        while b"maxPayload" not in client.buffer:
            await client.read()
        client.buffer = b""
        await client.send("40" + (json.dumps(auth) if auth else ""))
        while b'"sid"' not in client.buffer:
            await client.read()
        return client

    @property
    def sid(self) -> str:
        at = self.buffer.index(b"40{")
        return str(json.loads(self.buffer[at + 2 :].split(b"}")[0] + b"}")["sid"])

    async def write(self, data: bytes) -> None:
        async with self.writing:  # a frame is written in parts when the buffers are full
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def send(self, text: str) -> None:
        await self.write(masked(text))

    async def read(self, size: int = 65536) -> bytes:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, size), UNIT_S)
        self.buffer += data
        return data

    def close(self) -> None:
        self.sock.close()


def masked(text: str) -> bytes:
    """Return a client's text frame."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + data


class Http:
    """Raw Engine.IO requests to one server."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = f"{url}/socket.io/"
        self.session = session

    async def request(self, method: str, query: str, **options: Any) -> tuple[int, str]:
        async with self.session.request(method, f"{self.url}?{query}", **options) as response:
            return response.status, await response.text()

    async def handshake(self) -> str:
        """Open a session over polling and return its id."""
        status, text = await self.request("GET", "EIO=4&transport=polling")
        assert status == 200
        assert text[0] == "0"
        return str(json.loads(text[1:])["sid"])

    async def poll(self, sid: str) -> tuple[int, str]:
        return await self.request("GET", f"EIO=4&transport=polling&sid={sid}")

    async def post(self, sid: str, body: Any) -> tuple[int, str]:
        return await self.request("POST", f"EIO=4&transport=polling&sid={sid}", data=body)

    async def websocket(self, query: str = "", **options: Any) -> Raw:
        """Open a websocket; without a `query` a new session, whose OPEN packet has been read."""
        socket = await self.session.ws_connect(
            f"{self.url}?EIO=4&transport=websocket{query}", max_msg_size=0, autoping=True, **options
        )
        raw = Raw(socket)
        if not query:
            assert (await raw.frame())[0] == "0"
        return raw

    async def connected(self, namespace: str = "/") -> tuple[Raw, str]:
        """Open a websocket that is connected to a namespace; returns it and the sid."""
        raw = await self.websocket()
        prefix = "40" if namespace == "/" else f"40{namespace},"
        await raw.send(prefix)
        answer = await raw.next()
        assert str(answer).startswith(prefix), answer
        return raw, json.loads(answer[len(prefix) :])["sid"]


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Http]:
    """Yield raw access to the server at `url`."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Http(url, session)


async def node(script: str, *arguments: str, deadline_s: float = 60) -> dict[str, Any]:
    """Run tests/js/<script> under Node and return the JSON object that it prints last."""
    executable = shutil.which("node")
    if executable is None or not (ROOT / "node_modules/socket.io-client").is_dir():
        if os.environ.get("REQUIRE_ALL"):
            pytest.fail("Node and its packages are required")
        pytest.skip("Node or its packages are not installed")
    process = await asyncio.create_subprocess_exec(
        executable,
        str(ROOT / "tests/js" / script),
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), deadline_s)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"{script} {arguments} took too long:\n{out.decode()}\n{err.decode()}")
    assert process.returncode == 0, f"{script} {arguments}:\n{out.decode()}\n{err.decode()}"
    result: dict[str, Any] = json.loads(out.decode().strip().splitlines()[-1])
    return result
