"""The monitoring page's routes on a real server: who may ask, what is told, and what a disconnect does."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socketserver.app import HISTORY
from socketserver.ops.history import MAX_ROWS, STEP_S
from socketserver.ops.memory import resident_bytes
from typing import Any

import aiohttp
import pytest
from support.servers import LocalServer, serving, token
from support.waiting import eventually
from support.wire import Wire, wire_to

ADMIN = "admin-token-0123456789-0123456789"
PATHS = ["/monitor", "/monitor/monitor.js", "/monitor/monitor.css", "/monitor/data", "/monitor/users"]


class Desk:
    """Somebody who looks after a server."""

    def __init__(self, server: LocalServer, wire: Wire, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.wire = wire
        self._http = http

    async def get(self, path: str, *, status: int = 200, **headers: str) -> dict[str, Any]:
        async with self._http.get(self.server.url + path, headers=headers) as response:
            assert response.status == status, await response.text()
            answer: dict[str, Any] = await response.json()
            assert answer["ok"] == (status == 200)
            return answer

    async def disconnect(self, body: object, *, status: int = 200, **headers: str) -> dict[str, Any]:
        """Ask as the page does."""
        headers = {"Origin": self.server.url, "Content-Type": "application/json", **headers}
        data = body if isinstance(body, str) else json.dumps(body)
        async with self._http.post(f"{self.server.url}/monitor/disconnect", data=data, headers=headers) as response:
            assert response.status == status, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def take_point(self) -> None:
        """Let a step pass."""
        history = self.server.app[HISTORY]
        before = history.newest
        self.server.clock.advance(STEP_S)
        await eventually("the next point", lambda: history.newest > before)


@asynccontextmanager
async def desk(tmp_path: Path, **options: Any) -> AsyncIterator[Desk]:
    async with (
        serving(tmp_path / "chat.db", **options) as server,
        wire_to(server.url) as wire,
        aiohttp.ClientSession() as http,
    ):
        await eventually("the first point", lambda: len(server.app[HISTORY]))
        server.clock.hold()
        yield Desk(server, wire, http)


@pytest.mark.parametrize("path", PATHS)
async def test_only_this_machine_or_the_token(tmp_path: Path, path: str) -> None:
    """A proxy's requests are not this machine's; with a token, the token counts and nothing else."""
    async with desk(tmp_path) as desk_, aiohttp.ClientSession() as http:
        url = desk_.server.url + path
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            async with http.get(url, headers={header: "127.0.0.1"}) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (403, "admin_required")
        async with http.get(url, headers={"Host": "chat.example.com"}) as response:
            assert response.status == 403
        async with http.get(url) as response:
            assert response.status == 200
    async with desk(tmp_path, admin_token=ADMIN) as desk_, aiohttp.ClientSession() as http:
        url = desk_.server.url + path
        async with http.get(url) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic "), "which makes a browser ask"
        async with http.get(url, headers={"Authorization": "Bearer another-token-0123456789-0123456789"}) as response:
            assert response.status == 401
        async with http.get(url, headers={"Authorization": f"Bearer {ADMIN}"}) as response:
            assert response.status == 200
        async with http.get(url, headers={"Authorization": aiohttp.encode_basic_auth("me", ADMIN)}) as response:
            assert response.status == 200


async def test_the_page_runs_nothing_but_its_own_files(tmp_path: Path) -> None:
    """A strict Content-Security-Policy, and a page that keeps to it; every file that it names is there."""
    async with desk(tmp_path) as desk_, aiohttp.ClientSession() as http:
        async with http.get(f"{desk_.server.url}/monitor") as response:
            assert response.content_type == "text/html"
            policy = response.headers["Content-Security-Policy"]
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            page = await response.text()
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://", page)
        named = re.findall(r'(?:href|src)="([^"#]+)"', page)
        assert len(named) == 3
        for name in [*named, "monitor/charts.js"]:
            async with http.get(f"{desk_.server.url}/{name}") as response:
                assert response.status == 200, name
                assert response.headers["X-Content-Type-Options"] == "nosniff"
        async with http.get(f"{desk_.server.url}/monitor/../monitor.py") as response:
            assert response.status == 404
        async with http.get(f"{desk_.server.url}/monitor/%2e%2e/monitor.py") as response:
            assert response.status == 404


async def test_the_history_tells_what_happened(tmp_path: Path) -> None:
    """Users, connects, messages with their latency, ends; the next answer has only what is newer."""
    async with desk(tmp_path) as desk_:
        ann, bob = await desk_.wire.people("ann", "bob")
        chat = await ann.create("bob")
        for number in range(3):
            await ann.send(chat, f"hello {number}")
        again = await desk_.wire.person("bob")  # takes the place of the first
        await bob.client.wait("session_ended")
        await eventually("bob's first connection is gone", lambda: len(desk_.server.sio.eio.sessions) == 2)
        await desk_.take_point()
        first = await desk_.get("/monitor/data")
        points = first["points"]
        assert {len(column) for column in points.values()} == {2}
        newest = {name: column[-1] for name, column in points.items()}
        assert (newest["users"], newest["sockets"], newest["messages"]) == (2, 2, 3)
        assert (newest["connects"], newest["reconnects"], newest["ends"]) == (3, 1, {"replaced": 1})
        assert 0 < newest["ackP50Ms"] <= newest["ackP95Ms"]
        assert newest["fanoutP95Ms"] > 0
        assert newest["memoryBytes"] == pytest.approx(resident_bytes(), rel=0.5)
        assert newest["at"] <= first["now"]
        assert newest["spanMs"] == pytest.approx(STEP_S * 1000, abs=2000)
        assert first["stepMs"] == STEP_S * 1000

        nothing = await desk_.get(f"/monitor/data?cursor={first['cursor']}")
        assert nothing["points"]["at"] == []
        await desk_.take_point()
        second = await desk_.get(f"/monitor/data?cursor={first['cursor']}")
        assert len(second["points"]["at"]) == 1
        assert second["points"]["messages"] == [0]
        assert second["points"]["ackP50Ms"] == [None]
        assert second["points"]["at"][0] > points["at"][-1]
        run = first["server"]["startedAt"]
        for unknown in ("", "1-2", "x", f"{run}-", f"{run}-²", f"{run}-x"):
            everything = await desk_.get(f"/monitor/data?cursor={unknown}")
            assert len(everything["points"]["at"]) == 3, "a cursor of another process means all"
        await again.settle()


async def test_the_server_tells_of_itself_and_no_secret(tmp_path: Path) -> None:
    """Version, start, kind of store, settings; neither the secrets nor where the store is."""
    secret = "0123456789abcdef0123456789abcdef"
    async with desk(tmp_path, jwt_secret=secret, session_secret=secret, sockets_per_user=3) as desk_:
        answer = await desk_.get("/monitor/data")
        server = answer["server"]
        assert server["store"] == "sqlite"
        assert server["startedAt"] <= answer["now"]
        assert {"name": "WEBSOCKET_SOCKETS_PER_USER", "value": 3, "unit": "sockets"} in server["settings"]
        assert {"name": "WEBSOCKET_PING_INTERVAL_S", "value": 25.0, "unit": "s"} in server["settings"]
        told = json.dumps(answer)
        assert secret not in told
        assert str(tmp_path) not in told


async def test_the_list_of_users(tmp_path: Path) -> None:
    """Each socket with its user, transport, age and unread outbox; searched, sorted and bounded as asked for."""
    async with desk(tmp_path, sockets_per_user=2) as desk_:
        await desk_.wire.people("ann", "bob", "bob", "carol")
        desk_.server.clock.advance(90)
        await desk_.wire.open()  # has not said who it is
        everybody = await eventually("five sockets", lambda: len(desk_.server.sessions) == 5 or None)
        assert everybody
        listing = await desk_.get("/monitor/users")
        assert [row["userId"] for row in listing["sockets"]] == ["ann", "bob", "bob", "carol", None]
        assert [row["userSockets"] for row in listing["sockets"]] == [1, 2, 2, 1, 1]
        assert {row["transport"] for row in listing["sockets"]} == {"websocket"}
        assert {row["address"] for row in listing["sockets"]} == {"127.0.0.1"}
        assert all(row["unreadBytes"] == 0 for row in listing["sockets"])
        ages = [row["ageMs"] for row in listing["sockets"]]
        assert min(ages[:4]) >= 90_000 > ages[4]
        assert (listing["matching"], listing["totalSockets"], listing["totalUsers"]) == (5, 5, 3)

        found = await desk_.get("/monitor/users?search=BO")
        assert [row["userId"] for row in found["sockets"]] == ["bob", "bob"]
        assert (found["matching"], found["totalSockets"]) == (2, 5)
        few = await desk_.get("/monitor/users?sort=age&order=asc&limit=1")
        assert [row["userId"] for row in few["sockets"]] == [None]
        assert few["matching"] == 5
        assert len((await desk_.get("/monitor/users?limit=999999999"))["sockets"]) == 5 < MAX_ROWS
        for wrong in ("sort=colour", "order=up", "limit=-1", "limit=²", "limit=9999999999"):
            answer = await desk_.get(f"/monitor/users?{wrong}", status=400)
            assert answer["error"]["code"] == "invalid_payload"


async def test_a_disconnect_ends_the_socket_for_good(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With `kicked`, told before; the others stay; the log has who asked."""
    caplog.set_level(logging.INFO)
    async with desk(tmp_path) as desk_:
        ann, bob = await desk_.wire.people("ann", "bob")
        sid = ann.client.seen("connect")[0]
        assert (await desk_.disconnect({"sid": sid}))["ended"] == 1
        ended = await ann.client.wait("session_ended")
        assert (ended["code"], ended["reconnect"]) == ("kicked", False)
        assert await ann.client.wait("disconnect") == "io server disconnect"
        assert f"kicked connection_id={sid} user_id=ann by_address=127.0.0.1" in caplog.messages
        await bob.settle()
        await eventually("ann is gone", lambda: len(desk_.server.sessions) == 1)
        assert (await desk_.disconnect({"sid": sid}))["ended"] == 0
        await desk_.take_point()
        assert (await desk_.get("/monitor/data"))["points"]["ends"][-1] == {"kicked": 1}


async def test_all_sockets_of_a_user_end(tmp_path: Path) -> None:
    """And the user can come back, however often it happens: an administrator is no loop."""
    async with desk(tmp_path, sockets_per_user=3) as desk_:
        bob = await desk_.wire.person("bob")
        for _ in range(5):
            sockets = await desk_.wire.people("ann", "ann")
            assert (await desk_.disconnect({"userId": "ann"}))["ended"] == 2
            for ann in sockets:
                assert (await ann.client.wait("session_ended"))["code"] == "kicked"
        await bob.settle()
        assert (await desk_.disconnect({"userId": "nobody"}))["ended"] == 0


async def test_a_foreign_page_disconnects_nobody(tmp_path: Path) -> None:
    """Not with another Origin, nor without one, nor with a form's body, nor through a proxy."""
    async with desk(tmp_path) as desk_:
        ann = await desk_.wire.person("ann")
        foreign = {"Origin": "https://evil.example"}
        assert (await desk_.disconnect({"userId": "ann"}, status=403, **foreign))["error"]["code"] == "admin_required"
        await desk_.disconnect({"userId": "ann"}, status=403, Origin="null")
        await desk_.disconnect({"userId": "ann"}, status=403, Origin="http://localhost:3000")
        await desk_.disconnect({"userId": "ann"}, status=415, **{"Content-Type": "text/plain"})
        await desk_.disconnect({"userId": "ann"}, status=403, **{"X-Forwarded-For": "127.0.0.1"})
        async with aiohttp.ClientSession() as http:
            url = f"{desk_.server.url}/monitor/disconnect"
            async with http.post(url, json={"userId": "ann"}) as response:
                assert response.status == 403
            async with http.get(url) as response:
                assert response.status == 405
        await ann.settle()
        assert ann.client.seen("session_ended") == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '"ann"',
        "{}",
        '{"sid": 1}',
        '{"name": "ann"}',
        '{"sid": "a", "userId": "ann"}',
        "[" * 2000,
    ],
)
async def test_a_disconnect_says_whom(tmp_path: Path, body: str) -> None:
    """Anything else is refused with what to send."""
    async with desk(tmp_path) as desk_:
        assert (await desk_.disconnect(body, status=400))["error"]["code"] == "invalid_payload"


async def test_a_token_is_not_among_what_is_told(tmp_path: Path) -> None:
    """Nor a message, in any of the answers."""
    async with desk(tmp_path) as desk_:
        ann, bob = await desk_.wire.people("ann", "bob")
        chat = await ann.create("bob", title="A secret title")
        await ann.send(chat, "A secret body")
        await desk_.take_point()
        told = json.dumps([await desk_.get("/monitor/data"), await desk_.get("/monitor/users")])
        assert "secret" not in told.lower()
        assert token("ann").split(".")[1] not in told
        await bob.settle()
