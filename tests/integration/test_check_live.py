"""`socketserver check` on servers that are well, and on such as are not: it names the fault and the setting."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.app import SHUTDOWN
from socketserver.check.course import Step
from socketserver.check.steps import Inspection, Options
from urllib.parse import urlsplit

import aiohttp
import pytest
from support import database as db
from support import unkind_proxies
from support.keyboard import heeding_the_keyboard
from support.ports import held_port
from support.probing import (
    HOST,
    STEPS,
    UPGRADE,
    Authority,
    assert_after,
    check,
    nginx,
    nothing,
    pretending,
    raw,
    read_and_close,
)
from support.servers import LocalServer, ServerProcess, running, serving, token
from support.tcp_proxy import proxy_to

ROOT = Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database) as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the check trusts."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def command(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """The command in a process of its own: exit status, standard output and error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKET_")}
    done = subprocess.run(
        [sys.executable, "-m", "socketserver", "check", *arguments],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


# A server that is well


async def test_healthy(database: Path) -> None:
    """Every step is ok, as lines and as JSON, and the exit status is 0; what is left behind is one conversation."""
    async with running(database) as server:
        status, out, err = await asyncio.to_thread(command, server.url.replace("127.0.0.1", "localhost"))
        assert (status, err) == (0, "")
        first, *steps, last = out.splitlines()
        assert first == f"Checking http://localhost:{server.port}"
        assert [line.split()[1] for line in steps] == STEPS
        assert [line[0] for line in steps] == ["–" if line.split()[1] == "certificate" else "✓" for line in steps]
        assert last == "No step failed."

        again = await check(server.url)
        assert again.status == 0
        assert list(again.steps) == STEPS
        assert again.skipped == {"name", "certificate"}
        assert all(isinstance(step["ms"], int) for step in again.steps.values() if step["status"] == "ok")
        assert "user check" in again.steps["authentication"]["seen"]
        assert "stored after" in again.steps["message"]["seen"]
    rows = db.messages(database)
    assert len(rows) == 2
    assert len({row.conversation_id for row in rows}) == 1


async def test_healthy_behind_nginx_with_tls(database: Path, tmp_path: Path, authority: Authority) -> None:
    """Every step is ok, the certificate's too; and an allowed page of another origin may read the answers."""
    certificate = authority.issue("localhost")
    async with (
        running(database, allowed_origins="https://app.example.com") as server,
        nginx(tmp_path / "nginx", server.url, server=certificate.nginx) as port,
    ):
        outcome = await check(f"https://localhost:{port}", "--origin", "https://app.example.com")
    assert (outcome.faults, outcome.skipped) == ({}, set())
    assert "29 more days" in outcome.steps["certificate"]["seen"]


async def test_thorough(database: Path) -> None:
    """The idle connection stays open and its pings are answered, over a websocket and over polling."""
    async with (
        running(database, ping_interval_s=0.3, sockets_per_user=2) as server,
        unkind_proxies.proxy(server.url, upgrades="kill") as killing,
    ):
        ports = [urlsplit(url).port or 0 for url in (server.url, killing.url)]
        steps: list[list[Step]] = [[], []]
        inspections = [
            Inspection(Options("http", "127.0.0.1", port, idle_s=5.0), seen.append)
            for port, seen in zip(ports, steps, strict=True)
        ]
        await asyncio.gather(*(inspection.run() for inspection in inspections))
        for seen, upgraded in zip(steps, (True, False), strict=True):
            done = {step.name: step for step in seen}
            assert (done["upgrade"].status == "ok") == upgraded
            assert done["ping"].status == "ok", done["ping"]
            assert re.search(r"[1-9]\d* pings answered", done["ping"].seen)
            assert (done["ping"].ms or 0) >= 5000


async def test_tokens_only(database: Path) -> None:
    """With a token all is tried, without one what needs a user is skipped, and nothing is wrong."""
    async with serving(database, jwt_secret=SECRET) as server:
        nobody = await check(server.url)
        assert nobody.status == 0
        assert nobody.skipped == {"name", "certificate", "authentication", "message", "ping"}
        assert "WEBSOCKET_CHECK_TOKEN" in nobody.steps["authentication"]["seen"]
        made = subprocess.run(
            [sys.executable, "-m", "socketserver", "token", "ann"],
            cwd=ROOT,
            env=os.environ | {"WEBSOCKET_JWT_SECRET": SECRET},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for outcome in (await check(server.url, token=made), await check(server.url, "--token", made)):
            assert outcome.faults == {}
            assert outcome.steps["authentication"]["seen"] == "welcome, user ann"
            assert made not in json.dumps(outcome.report)


# The ten broken set-ups


async def test_port_closed() -> None:
    """Nothing listens."""
    with held_port() as port:
        outcome = await check(f"http://localhost:{port}")
    assert outcome.faults == {"port": "port_closed"}
    assert "WEBSOCKET_PORT" in outcome.text
    assert_after(outcome, "port")


async def test_wrong_path(server: LocalServer) -> None:
    """The server is there, its Socket.IO under another path."""
    outcome = await check(server.url, "--path", "/chat/socket.io/")
    assert outcome.faults == {"handshake": "wrong_path"}
    assert "proxy_pass" in outcome.text
    assert_after(outcome, "handshake")


async def test_origin_refused(server: LocalServer) -> None:
    """The page's origin is not in the list; all else is as good as ever."""
    outcome = await check(server.url, "--origin", "https://app.example.com")
    assert outcome.faults == {"origin": "origin_not_allowed"}
    assert 'The origin "https://app.example.com" is not allowed' in outcome.text
    assert "WEBSOCKET_ALLOWED_ORIGINS" in outcome.text
    assert outcome.steps["message"]["status"] == "ok"


async def test_bad_token(database: Path) -> None:
    """A token of another server's, one that has expired, and something that is none."""
    async with serving(database, jwt_secret=SECRET) as server:
        foreign = await check(server.url, token=token("ann"))
        assert foreign.faults == {"authentication": "invalid_token"}
        assert "signature" in foreign.text
        assert "WEBSOCKET_JWT_SECRET" in foreign.text
        assert {"message", "ping"} <= foreign.skipped
        nonsense = await check(server.url, token="nonsense-that-is-no-token")
        assert nonsense.faults == {"authentication": "invalid_token"}
        assert "nonsense" not in json.dumps(nonsense.report)
    async with serving(database) as server:
        expired = await check(server.url, token=token("ann", ahead_s=-7200))
        assert expired.faults == {"authentication": "token_expired"}
        assert "clock" in expired.text


async def test_clock_off(server: LocalServer) -> None:
    """The server's clock is an hour ahead."""
    server.clock.advance(3600)
    outcome = await check(server.url)
    assert outcome.faults == {"clock": "clock_off"}
    assert "60 min ahead, by its welcome" in outcome.text
    assert "NTP" in outcome.text


@pytest.mark.parametrize("kind", ["nginx", "kill", "stall"])
async def test_proxy_that_does_not_upgrade(server: LocalServer, tmp_path: Path, kind: str) -> None:
    """Clients stay with long-polling, where all else works: by nginx's defaults, cut off, never answered."""
    if kind == "nginx":
        async with nginx(tmp_path / "nginx", server.url, location=HOST) as port:
            outcome = await check(f"http://127.0.0.1:{port}")
        assert outcome.steps["websocket"]["seen"].startswith("HTTP 400")
    else:
        async with unkind_proxies.proxy(server.url, upgrades=kind) as proxy:
            outcome = await check(proxy.url, "--timeout-s", "3")
    assert outcome.faults == {"websocket": "no_upgrade"}
    assert "proxy_set_header Upgrade $http_upgrade" in outcome.text
    assert outcome.steps["message"]["status"] == "ok"
    assert {"upgrade", "ping"} <= outcome.skipped


async def test_proxy_that_cuts_idle_sockets(server: LocalServer, tmp_path: Path) -> None:
    """nginx with a short read timeout, which the server's pings do not come up to."""
    async with nginx(tmp_path / "nginx", server.url, location=f"{UPGRADE} {HOST} proxy_read_timeout 3s;") as port:
        outcome = await check(f"http://127.0.0.1:{port}", "--thorough")
    assert outcome.faults == {"ping": "idle_cut"}
    assert "proxy_read_timeout" in outcome.text
    assert "WEBSOCKET_PING_INTERVAL_S" in outcome.text
    assert re.match(r"\d+\.\d s without messages, then the websocket was closed", outcome.steps["ping"]["seen"])


async def test_store_down(database: Path) -> None:
    """The server runs, its MongoDB does not; what needs no store is tried all the same."""
    with held_port() as port:
        url = f"mongodb://127.0.0.1:{port}/chat?serverSelectionTimeoutMS=500"
        async with running(database, store_url=url) as server:
            outcome = await check(server.url)
    assert outcome.faults == {"ready": "store_unavailable"}
    assert "WEBSOCKET_STORE_URL" in outcome.text
    assert "MONGODB_URI" in outcome.text
    assert outcome.steps["upgrade"]["status"] == "ok"
    assert "message" in outcome.skipped


async def test_certificate_name(authority: Authority) -> None:
    """The certificate is for other names, which are said."""
    certificate = authority.issue("chat.example.com", "www.example.com")
    async with pretending(nothing, context=certificate.context()) as url:
        outcome = await check(url)
    assert outcome.faults == {"certificate": "certificate_name"}
    assert "it is for chat.example.com, www.example.com, not for localhost" in outcome.text
    assert "server_name" in outcome.text
    assert_after(outcome, "certificate")


async def test_draining(server: LocalServer) -> None:
    """The server still listens, but takes nobody any more."""
    await server.app[SHUTDOWN].end_clients()
    outcome = await check(server.url)
    (step,) = outcome.faults
    assert outcome.faults[step] == "draining"
    assert "being stopped or restarted" in outcome.text
    assert_after(outcome, step)


# Other faults


async def test_name_unresolved() -> None:
    """A name that does not exist (RFC 2606), and one that cannot."""
    for host in ("no-such-name.invalid", f"{'x' * 64}.example.com"):
        outcome = await check(f"http://{host}:3001")
        assert outcome.faults == {"name": "name_unresolved"}
        assert_after(outcome, "name")


async def test_certificate_dates(authority: Authority) -> None:
    """One that has run out, and one that begins later."""
    for dates, cause in (((-9, -1), "certificate_expired"), ((1, 9), "certificate_not_yet_valid")):
        certificate = authority.issue("localhost", from_days=dates[0], to_days=dates[1])
        async with pretending(nothing, context=certificate.context()) as url:
            assert (await check(url)).faults == {"certificate": cause}


async def test_certificate_untrusted(tmp_path: Path) -> None:
    """An authority that nobody knows."""
    async with pretending(nothing, context=Authority(tmp_path).issue("localhost").context()) as url:
        outcome = await check(url)
    assert outcome.faults == {"certificate": "certificate_untrusted"}
    assert "SSL_CERT_FILE" in outcome.text


async def test_https_where_there_is_http(server: LocalServer) -> None:
    """The server itself speaks no TLS."""
    outcome = await check(server.url.replace("http", "https"))
    assert outcome.faults == {"certificate": "not_tls"}


async def test_http_where_there_is_https(server: LocalServer, tmp_path: Path, authority: Authority) -> None:
    """nginx says so itself."""
    certificate = authority.issue("localhost")
    async with nginx(tmp_path / "nginx", server.url, server=certificate.nginx) as port:
        outcome = await check(f"http://localhost:{port}")
    assert outcome.faults == {"handshake": "tls_expected"}


async def test_tls_that_breaks_off() -> None:
    """Somebody takes the connection and closes it."""
    async with raw(read_and_close) as url:
        assert (await check(url.replace("http", "https"))).faults == {"certificate": "tls_failed"}


async def test_proxy_without_its_server(tmp_path: Path) -> None:
    """nginx in front of nothing."""
    with held_port() as nobody:
        async with nginx(tmp_path / "nginx", f"127.0.0.1:{nobody}") as port:
            outcome = await check(f"http://127.0.0.1:{port}")
    assert outcome.faults == {"handshake": "proxy_error"}
    assert "HTTP 502 from nginx" in outcome.text
    assert "WEBSOCKET_PORT" in outcome.text


async def test_servers_without_stickiness(tmp_path: Path) -> None:
    """Two servers in turn: the second request meets one that does not know the session."""
    async with (
        serving(tmp_path / "one.db") as one,
        serving(tmp_path / "two.db") as two,
        nginx(tmp_path / "nginx", one.url, two.url) as port,
    ):
        outcome = await check(f"http://127.0.0.1:{port}")
    assert "session_unknown" in outcome.faults.values()
    assert "ip_hash" in outcome.text


async def test_development_login_under_a_public_name(server: LocalServer, tmp_path: Path) -> None:
    """Put on the network through a proxy, the development login does not answer."""
    async with nginx(tmp_path / "nginx", server.url, location=f"{UPGRADE} proxy_set_header Host c.example;") as port:
        outcome = await check(f"http://127.0.0.1:{port}")
    assert outcome.faults == {"ready": "development_login"}
    assert "WEBSOCKET_JWT_SECRET" in outcome.text
    assert_after(outcome, "ready")


async def test_proxy_that_changes_the_name(database: Path, tmp_path: Path) -> None:
    """The server does not know its own origin: a fault for a page that is served there, else nobody's business."""
    async with (
        serving(database, jwt_secret=SECRET) as server,
        nginx(tmp_path / "nginx", server.url, location=UPGRADE) as port,
    ):
        url = f"http://127.0.0.1:{port}"
        unasked, asked = await check(url), await check(url, "--origin", url)
    assert unasked.status == 0
    assert "--origin" in unasked.steps["origin"]["seen"]
    assert asked.faults == {"origin": "origin_not_allowed"}
    assert "proxy_set_header Host" in asked.text


async def test_proxy_that_adds_a_cors_header(database: Path, tmp_path: Path) -> None:
    """Twice is as bad as not at all for a browser."""
    location = f'{UPGRADE} {HOST} add_header Access-Control-Allow-Origin "*";'
    async with (
        serving(database, allowed_origins="https://app.example.com") as server,
        nginx(tmp_path / "nginx", server.url, location=location) as port,
    ):
        outcome = await check(f"http://127.0.0.1:{port}", "--origin", "https://app.example.com")
    assert outcome.faults == {"origin": "cors_headers"}
    assert "add_header" in outcome.text


async def test_too_many_connects_of_an_address(database: Path) -> None:
    """The test waited for a refusal of failed connects, which a good token has not met since they count per client.
    What refuses the check's handshake are others of its address, of which no user came."""
    async with serving(database, connects_per_minute_address=1) as server, aiohttp.ClientSession() as stranger:
        async with stranger.get(f"{server.url}/socket.io/?EIO=4&transport=polling") as answer:
            assert answer.status == 200
        outcome = await check(server.url)
    assert outcome.faults == {"handshake": "too_many_connects"}
    assert "WEBSOCKET_TRUSTED_PROXIES" in outcome.text


async def test_too_many_connects_of_a_user(database: Path) -> None:
    """The check's user may connect so often a minute, whatever its token; the next check says so where it logs in."""
    async with serving(database, connects_per_minute_user=1, failed_connects_per_minute_address=1) as server:
        assert (await check(server.url)).faults == {}
        outcome = await check(server.url)
    assert outcome.faults == {"authentication": "too_many_connects"}
    assert "WEBSOCKET_CONNECTS_PER_MINUTE_USER" in outcome.text


async def test_polling_that_fails(server: LocalServer) -> None:
    """A proxy that loses an answer to a POST: the websocket is used for the rest."""
    host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
    async with proxy_to(str(host), int(port or 0)) as proxy:
        proxy.swallow, proxy.swallow_times = b"POST /socket.io/", 1
        outcome = await check(f"http://127.0.0.1:{proxy.port}")
    assert outcome.faults == {"polling": "connection_closed"}
    assert "upgrade" in outcome.skipped
    assert outcome.steps["message"]["status"] == "ok"


# The command


async def test_lines_of_a_broken_run() -> None:
    """What failed, the likely cause with its code, the remedy; exit status 1; and marks that any terminal has."""
    for variables, mark in (({}, "✗"), ({"PYTHONIOENCODING": "ascii"}, "FAIL")):
        with held_port() as port:
            status, out, err = await asyncio.to_thread(command, f"http://127.0.0.1:{port}", **variables)
        assert (status, err) == (1, "")
        assert f"{mark} port " in out
        assert "    cause   Nothing listens there" in out
        assert "[port_closed]" in out
        assert "    remedy  Start the server" in out
        assert out.endswith("Failed: port.\n")


def test_a_reader_that_goes_away() -> None:
    """As in `check URL | head -1`: no traceback."""
    reading, writing = os.pipe()
    with (
        held_port() as port,
        subprocess.Popen(
            [sys.executable, "-m", "socketserver", "check", f"http://127.0.0.1:{port}"],
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        os.close(writing)
        os.close(reading)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")


async def test_an_interrupt() -> None:
    """Ctrl-C while a step waits: status 130, no traceback, and what was found so far."""
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):  # not the step port, which only knocks
            asked.set()
            await reader.read()

    async with raw(hang) as url:
        with heeding_the_keyboard():
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "socketserver", "check", url, "--timeout-s", "60"),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        try:
            async with asyncio.timeout(60):
                await asked.wait()
                process.send_signal(signal.SIGINT)
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
    assert (process.returncode, err) == (130, b"")
    assert b" port " in out


async def test_settings_do_not_matter() -> None:
    """A check looks at another server, so settings that the server would refuse are none of its business."""
    variables = {"WEBSOCKET_PORT": "x", "WEBSOCKET_CHECK_TOKEN": "from-elsewhere"}
    with held_port() as port:
        status, out, _ = await asyncio.to_thread(command, f"http://127.0.0.1:{port}", "--json", **variables)
    assert status == 1
    assert json.loads(out)["ok"] is False
    assert "from-elsewhere" not in out


async def test_a_server_does_not_mind_the_variable(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEBSOCKET_CHECK_TOKEN is no misspelt setting."""
    monkeypatch.setenv("WEBSOCKET_CHECK_TOKEN", "x")
    server = ServerProcess(database)
    await server.start()
    await server.stop()
    assert not any("CHECK_TOKEN" in line for line in server.output)
