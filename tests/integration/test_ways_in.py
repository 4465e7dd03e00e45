"""How a server is reached: over several addresses, a platform's port, a Unix socket, under a prefix of a proxy's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver.chat.domain import SystemClock
from socketserver.door.auth import Authenticator
from socketserver.settings import Settings
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from support.guarded import chatting, enter, http
from support.probing import check
from support.servers import ROOT
from support.waiting import DEADLINE_S

SECRET = "0123456789abcdef0123456789abcdef"


@dataclass
class Started:
    """A server in a process of its own, and what it has printed."""

    banner: str
    process: asyncio.subprocess.Process

    @property
    def ports(self) -> set[int]:
        return {int(port) for port in re.findall(r"http://\S+:(\d+)", self.banner)}


@asynccontextmanager
async def started(directory: Path, *flags: str, **variables: str) -> AsyncIterator[Started]:
    """`python -m socketserver` with these variables, none of the machine's."""
    ours = re.compile(r"WEBSOCKET_(?!TEST_)|MONGODB_URI\Z|NEXT_PUBLIC_APP_URL\Z|PORT\Z")
    environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
    environment |= {"WEBSOCKET_STORE_URL": f"sqlite:///{directory / 'chat.db'}", **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "socketserver",
        *flags,
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(2 * DEADLINE_S):
            banner = (await process.stdout.readline()).decode()
        yield Started(banner, process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2 * DEADLINE_S):
            assert await process.wait() == 0


async def healthy(url: str, connector: aiohttp.BaseConnector | None = None) -> bool:
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"{url}/healthz") as answer:
        return answer.status == 200


async def test_a_platforms_port_is_listened_on_from_outside(tmp_path: Path) -> None:
    """Heroku and others say in PORT where they look for the server, and reach it at no loopback address."""
    async with started(tmp_path, PORT="0", WEBSOCKET_JWT_SECRET=SECRET) as server:
        assert "0.0.0.0" in server.banner
        (port,) = server.ports
        assert await healthy(f"http://127.0.0.1:{port}")


async def test_the_development_login_stays_at_home_on_a_platform(tmp_path: Path) -> None:
    """PORT is on many developers' machines too."""
    async with started(tmp_path, PORT="0") as server:
        assert "listens on http://127.0.0.1:" in server.banner
        assert "0.0.0.0" not in server.banner


async def test_a_unix_socket_behind_a_proxy() -> None:
    """The peer has no address: the proxy's word for the client's counts, and each client by itself."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = f"{directory}/chat.sock"
        async with started(
            Path(directory), "--max-connections-address", "1", WEBSOCKET_UNIX_SOCKET=path, WEBSOCKET_JWT_SECRET=SECRET
        ) as server:
            assert f"listens on unix:{path}" in server.banner
            token = Authenticator(Settings(jwt_secret=SecretStr(SECRET)), SystemClock()).issue_token(
                "ann", lifetime_s=600
            )
            url = "http://chat.example.com/socket.io/?EIO=4&transport=websocket"
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:

                def headers(address: str) -> dict[str, str]:
                    return {
                        "X-Forwarded-For": address,
                        "X-Forwarded-Host": "chat.example.com, chat.example.com",
                        "X-Forwarded-Proto": "https",
                        "Origin": "https://chat.example.com",
                    }

                first = await session.ws_connect(url, headers=headers("203.0.113.1"))
                assert (await first.receive_str()).startswith("0")
                await first.send_str("40" + json.dumps({"token": token}))
                assert (await first.receive_str()).startswith("40")
                second = await session.ws_connect(url, headers=headers("203.0.113.2"))
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(url, headers=headers("203.0.113.1"))
                assert refused.value.status == 429
                for each in (first, second):
                    await each.close()
        assert not Path(path).exists()


@pytest.mark.parametrize("prefix", ["/chat", "chat/", "/a/b"])
async def test_everything_is_under_the_prefix(prefix: str) -> None:
    """A proxy that passes /chat/… on as it is found nothing but 404."""
    async with chatting(path_prefix=prefix) as chat, http() as session:
        root = f"/{prefix.strip('/')}"

        async def get(path: str) -> tuple[int, str]:
            async with session.get(f"{chat.url}{path}", allow_redirects=False) as answer:
                return answer.status, await answer.text()

        for path in (
            "/healthz",
            "/readyz",
            "/metrics",
            "/monitor",
            "/monitor/monitor.js",
            "/",
            "/demo/app.js",
            "/demo/all.js",
        ):
            assert (await get(root + path))[0] == 200, path
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await get(path))[0] == 200, path
        for path in ("/", "/demo/app.js", "/monitor", "/session", "/socket.io/?EIO=4&transport=polling"):
            assert (await get(path))[0] == 404, path
        status, text = await get("/nothing")
        assert (status, f"{root}/socket.io/" in text) == (404, True)
        assert (await get(root))[0] == 302
        _, page = await get(root + "/")
        assert f'src="{root}/demo/all.js"' in page
        assert '"/demo/' not in page
        async with session.post(f"{chat.url}{root}/session", json={"user": "ann"}) as answer:
            assert f"Path={root};" in answer.headers["Set-Cookie"] + ";"
            token = (await answer.json())["token"]
        url = f"{chat.url}{root}/socket.io/?EIO=4&transport=websocket"
        socket = await session.ws_connect(url)
        assert (await socket.receive_str()).startswith("0")
        await socket.send_str("40" + json.dumps({"token": token}))
        assert (await socket.receive_str()).startswith("40")
        await socket.close()


async def test_the_check_finds_what_is_under_a_prefix() -> None:
    """With Socket.IO's path it knows where /readyz and /session are."""
    async with chatting(path_prefix="/chat") as chat:
        outcome = await check(chat.url, "--path", "/chat/socket.io/")
        assert outcome.faults == {}
        assert outcome.skipped == {"name", "certificate"}


async def test_without_a_prefix_nothing_changes() -> None:
    """The cookie is for all paths, and the page is the file."""
    async with chatting() as chat, http() as session:
        async with session.post(f"{chat.url}/session", json={"user": "ann"}) as answer:
            assert "Path=/;" in answer.headers["Set-Cookie"] + ";"
        raw = await enter(session, chat, "ann")
        await raw.close()


async def test_the_wrong_host_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The Android emulator's 10.0.2.2 was refused without a line."""
    async with chatting() as chat, http() as session:
        for _ in range(3):
            async with session.get(f"{chat.url}/healthz", headers={"Host": "10.0.2.2:3001"}) as answer:
                assert answer.status == 403
                said: dict[str, Any] = await answer.json()
        assert "add http://10.0.2.2:3001 to WEBSOCKET_ALLOWED_ORIGINS" in said["error"]["message"]
        assert caplog.text.count("10.0.2.2:3001 to WEBSOCKET_ALLOWED_ORIGINS") == 1
    async with (
        chatting(allowed_origins="http://10.0.2.2:3001") as chat,
        http() as session,
        session.get(f"{chat.url}/healthz", headers={"Host": "10.0.2.2:3001"}) as answer,
    ):
        assert answer.status == 200


async def test_several_addresses_serve(tmp_path: Path) -> None:
    """One server at each address that it names."""
    async with started(tmp_path, "--host", "127.0.0.1,127.0.0.2", "--port", "0") as server:
        urls = re.findall(r"http://[\d.]+:\d+", server.banner)
        assert [url.rpartition(":")[0] for url in urls] == ["http://127.0.0.1", "http://127.0.0.2"]
        assert len(server.ports) == 1
        for url in urls:
            assert await healthy(url)
