"""The HTTP routes on a real server: login cookies, origins, the demo page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from socketserver.chat.domain import SystemClock
from socketserver.chat.identity import Identity
from socketserver.door.auth import COOKIE_MAX_AGE_S, COOKIE_NAME, Authenticator, setup_sessions
from socketserver.door.origins import Origins
from socketserver.errors import AuthUnavailable
from socketserver.handlers.routes import setup_routes
from socketserver.settings import Settings
from socketserver.values import MAX_AVATAR_CHARS
from socketserver.wire import answers
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp_session import new_session

SECRET = "0123456789abcdef0123456789abcdef"
COOKIE_SECRET = "cookies cookies cookies cookies!"
APP = "http://localhost:3000"
EVIL = "https://evil.example"


class Clock(SystemClock):
    """The machine's clock, and a hand on it: aiohttp-session has only the machine's."""

    ahead_s = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + int(self.ahead_s * 1000)


class Server:
    """A server on a port of its own, and a client without a memory for cookies."""

    def __init__(self, url: str, client: aiohttp.ClientSession, authenticator: Authenticator, clock: Clock) -> None:
        self.url = url
        self.authenticator = authenticator
        self.clock = clock
        self._client = client

    async def request(
        self, method: str, path: str, *, cookie: str | None = None, origin: str | None = APP, **options: Any
    ) -> Answer:
        headers = {**options.pop("headers", {})}
        if origin is not None:
            headers["Origin"] = origin
        if cookie is not None:
            headers["Cookie"] = f"{COOKIE_NAME}={cookie}"
        async with self._client.request(method, self.url + path, headers=headers, **options) as response:
            return Answer(response, await response.read())

    async def login(self, user: str = "alice", **options: Any) -> Answer:
        """POST /session with a token of this server."""
        token = self.authenticator.issue_token(user, lifetime_s=options.pop("lifetime_s", 3600))
        return await self.request("POST", "/session", headers={"Authorization": f"Bearer {token}"}, **options)


class Answer:
    """What came back, read to the end."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code; the answer is an error in the agreed shape."""
        answer = self.json
        assert answer.keys() == {"ok", "error"}
        assert answer["ok"] is False
        assert answer["error"].keys() >= {"code", "message", "retryable"}
        assert self.headers["Content-Type"].startswith("application/json")
        return str(answer["error"]["code"])

    @property
    def morsel(self) -> Morsel[str]:
        """The login cookie that is set."""
        cookie = SimpleCookie(self.headers["Set-Cookie"])
        return cookie[COOKIE_NAME]

    @property
    def cookie(self) -> str:
        return self.morsel.value


Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers; the settings are given by name."""
    async with AsyncExitStack() as stack:

        async def starter(
            *,
            demo_dir: Path | None = None,
            client_dir: Path | None = None,
            shared_dir: Path | None = None,
            client_bundle: Path | None = None,
            **values: Any,
        ) -> Server:
            settings, clock = Settings(**values), Clock()
            authenticator, origins = Authenticator(settings, clock), Origins(settings)
            app = web.Application()
            setup_sessions(app, settings)
            setup_routes(
                app,
                authenticator=authenticator,
                origins=origins,
                settings=settings,
                demo_dir=demo_dir,
                client_dir=client_dir,
                shared_dir=shared_dir,
                client_bundle=client_bundle,
            )

            async def who(request: web.Request) -> web.StreamResponse:
                identity = await authenticator.from_request(request)
                return web.json_response(None if identity is None else identity.user_id)

            app.router.add_get("/who", who)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
            return Server(f"http://127.0.0.1:{runner.addresses[0][1]}", client, authenticator, clock)

        yield starter


@pytest.fixture
async def server(start: Start) -> Server:
    """A server as in production: tokens checked with a secret."""
    return await start(jwt_secret=SECRET, session_secret=COOKIE_SECRET)


@pytest.fixture
async def development(start: Start) -> Server:
    """A server with nothing configured."""
    return await start()


# Logging in and out


async def test_a_token_becomes_a_cookie(server: Server) -> None:
    """POST sets it, GET knows the user by it, DELETE takes it away."""
    answer = await server.login("alice")
    assert answer.status == 200
    assert answer.json == {"ok": True, "user": {"id": "alice", "name": "alice"}}
    shown = await server.request("GET", "/session", cookie=answer.cookie)
    assert (shown.status, shown.json) == (200, answer.json)
    gone = await server.request("DELETE", "/session", cookie=answer.cookie)
    assert (gone.status, gone.json) == (200, {"ok": True})
    assert gone.cookie == ""
    assert gone.morsel["max-age"] == "0"


async def test_the_cookie_is_kept_from_scripts_and_other_sites(server: Server) -> None:
    """Encrypted, HttpOnly, SameSite=Lax, for every path; the same when it is taken away."""
    answer = await server.login("alice-in-the-cookie")
    assert "alice" not in answer.headers["Set-Cookie"]
    gone = await server.request("DELETE", "/session", cookie=answer.cookie)
    for morsel in (answer.morsel, gone.morsel):
        assert morsel["httponly"]
        assert morsel["samesite"] == "Lax"
        assert morsel["path"] == "/"
        assert not morsel["domain"]
        assert not morsel["secure"]


async def test_the_cookie_is_secure_behind_tls(start: Start) -> None:
    """A page that came over https cannot use a cookie on plain http: a proxy ended TLS in between."""
    server = await start(jwt_secret=SECRET, allowed_origins="https://app.example.com")
    answer = await server.login(origin="https://app.example.com")
    assert answer.status == 200
    assert answer.morsel["secure"]
    gone = await server.request("DELETE", "/session", cookie=answer.cookie, origin="https://app.example.com")
    assert gone.morsel["secure"]


@pytest.mark.parametrize(("lifetime_s", "most_s"), [(60, 60), (30 * 24 * 3600, COOKIE_MAX_AGE_S)])
async def test_the_cookie_never_outlives_the_token(server: Server, lifetime_s: int, most_s: int) -> None:
    """Nor a week."""
    answer = await server.login(lifetime_s=lifetime_s)
    assert most_s - 10 <= int(answer.morsel["max-age"]) <= most_s
    server.clock.ahead_s = most_s - 10
    assert (await server.request("GET", "/session", cookie=answer.cookie)).status == 200
    server.clock.ahead_s = most_s + 10
    assert (await server.request("GET", "/session", cookie=answer.cookie)).code == "auth_required"


async def test_the_longest_names_fit_into_a_cookie(server: Server) -> None:
    """Browsers drop a cookie of more than 4096 bytes, without a word."""
    picture = f"https://example.com/{'x' * (MAX_AVATAR_CHARS - 20)}"
    token = server.authenticator.issue_token("👩" * 128, "🧑" * 128, picture, lifetime_s=3600)
    answer = await server.request("POST", "/session", headers={"Authorization": f"Bearer {token}"})
    assert len(answer.headers["Set-Cookie"]) < 4096
    shown = await server.request("GET", "/session", cookie=answer.cookie)
    assert shown.json["user"] == {"id": "👩" * 128, "name": "🧑" * 128, "avatar": picture}


async def test_a_new_login_replaces_the_old_one(server: Server) -> None:
    """Whoever sends alice's cookie with bob's token is bob afterwards."""
    alice = await server.login("alice")
    bob = await server.login("bob", cookie=alice.cookie)
    shown = await server.request("GET", "/session", cookie=bob.cookie)
    assert shown.json["user"]["id"] == "bob"


async def test_without_a_login(server: Server) -> None:
    """401, with the way in; logging out twice is no mistake."""
    answer = await server.request("GET", "/session")
    assert (answer.status, answer.code) == (401, "auth_required")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    for _ in range(2):
        gone = await server.request("DELETE", "/session")
        assert (gone.status, gone.json) == (200, {"ok": True})
        assert "Set-Cookie" not in gone.headers


GARBLED = ["x", "", "gAAAAA", '"', "a=b=c", "%00", "é", "\udcff\udcfe", "x" * 4000, "gAAAAABk" + "A" * 100]


@pytest.mark.parametrize("cookie", GARBLED)
async def test_a_garbled_cookie_is_none(server: Server, cookie: str) -> None:
    """Bytes that are no UTF-8, other servers' cookies, cut ones: no login, no error, and it can be thrown away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    try:
        for method, status in (("GET", b"401"), ("DELETE", b"200")):
            head = f"{method} /session HTTP/1.1\r\nHost: x\r\nOrigin: {APP}\r\nCookie: {COOKIE_NAME}={cookie}\r\n\r\n"
            writer.write(head.encode("utf-8", "surrogateescape"))
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 " + status)
            length = re.search(rb"Content-Length: (\d+)", answer)
            assert length is not None
            await reader.readexactly(int(length[1]))
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_changed_cookie_is_none(server: Server) -> None:
    """Every byte of it is authenticated."""
    cookie = (await server.login()).cookie
    for place in range(0, len(cookie), 7):
        changed = cookie[:place] + ("A" if cookie[place] != "A" else "B") + cookie[place + 1 :]
        assert (await server.request("GET", "/session", cookie=changed)).status == 401


async def test_cookies_survive_a_restart_with_the_same_secret(start: Start, server: Server) -> None:
    """And end with the process without one; with another secret they are worth nothing."""
    cookie = (await server.login()).cookie
    again = await start(jwt_secret=SECRET, session_secret=COOKIE_SECRET)
    assert (await again.request("GET", "/session", cookie=cookie)).status == 200
    for values in ({}, {"session_secret": SECRET}):
        other = await start(jwt_secret=SECRET, **values)
        assert (await other.request("GET", "/session", cookie=cookie)).status == 401


async def test_development_cookies_end_at_the_door_of_production(start: Start, server: Server) -> None:
    """Anybody could have made one, with the very same secret for cookies."""
    development = await start(session_secret=COOKIE_SECRET)
    cookie = (await development.request("POST", "/session", json={"user": "root"})).cookie
    assert (await development.request("GET", "/session", cookie=cookie)).status == 200
    assert (await server.request("GET", "/session", cookie=cookie)).status == 401


async def test_a_cookie_of_another_version_is_none(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decrypted well, but without what this version looks for."""

    async def log_in(request: web.Request, identity: Identity) -> None:
        session = await new_session(request)
        session["uid"] = identity.user_id

    monkeypatch.setattr(server.authenticator, "log_in", log_in)
    cookie = (await server.login()).cookie
    assert (await server.request("GET", "/session", cookie=cookie)).status == 401


# Tokens that are not good


async def test_bad_tokens_are_told_apart(server: Server) -> None:
    """Expired ones too; no cookie is set."""
    expired = jwt.encode({"sub": "alice", "exp": 1}, SECRET, algorithm="HS256")
    for token, code in (("nonsense", "invalid_token"), (expired, "token_expired")):
        answer = await server.request("POST", "/session", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.code) == (401, code)
        assert "Set-Cookie" not in answer.headers
        assert token not in answer.body.decode()


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic YTpi", "token", "Bearer\t"])
async def test_other_ways_to_say_who_one_is(server: Server, development: Server, authorization: str) -> None:
    """Only Bearer is understood; in development a body does not make up for another scheme."""
    headers = {"Authorization": authorization}
    answer = await server.request("POST", "/session", headers=headers, json={"user": "alice"})
    assert (answer.status, answer.code) == (401, "auth_required")
    if authorization.strip():
        answer = await development.request("POST", "/session", headers=headers, json={"user": "alice"})
        assert (answer.status, answer.code) == (401, "auth_required")


async def test_a_name_is_no_proof_in_production(server: Server) -> None:
    """The development login's body logs nobody in where tokens are checked."""
    answer = await server.request("POST", "/session", json={"user": "alice"})
    assert (answer.status, answer.code) == (401, "auth_required")
    assert "Set-Cookie" not in answer.headers


async def test_the_key_server_is_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, with the time to wait in both places where clients look."""

    async def away(token: str) -> Identity:
        raise AuthUnavailable(retry_after_ms=4200)

    monkeypatch.setattr(server.authenticator, "from_token", away)
    answer = await server.login()
    assert (answer.status, answer.code) == (503, "auth_unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert answer.json["error"]["retryAfterMs"] == 4200
    assert answer.json["error"]["retryable"] is True


async def test_a_bug_is_an_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """internal_error, readable for the page, and a traceback in the log."""

    async def bug(token: str) -> Identity:
        raise ZeroDivisionError("the secret of the bug")

    monkeypatch.setattr(server.authenticator, "from_token", bug)
    answer = await server.login()
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "secret of the bug" not in answer.body.decode()
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert "ZeroDivisionError" in caplog.text


# The development login


async def test_a_name_is_enough_in_development(development: Server) -> None:
    """The answer has a token beside, so that each tab can be somebody else."""
    answer = await development.request("POST", "/session", json={"user": "  Zoe\u0308 "})
    assert answer.status == 200
    assert answer.json["user"] == {"id": "Zoë", "name": "Zoë"}
    assert (await development.authenticator.from_token(answer.json["token"])).user_id == "Zoë"
    shown = await development.request("GET", "/session", cookie=answer.cookie)
    assert shown.json == {"ok": True, "user": {"id": "Zoë", "name": "Zoë"}}


async def test_a_name_for_display_and_a_picture_in_development(development: Server) -> None:
    """What is left empty in a form is as if it were not there."""
    picture = "https://example.com/zoe.png"
    chosen = {"user": "zoe", "name": " Zoë  Z. ", "picture": picture}
    answer = await development.request("POST", "/session", json=chosen)
    assert answer.json["user"] == {"id": "zoe", "name": "Zoë Z.", "avatar": picture}
    assert (await development.authenticator.from_token(answer.json["token"])).avatar == picture
    shown = await development.request("GET", "/session", cookie=answer.cookie)
    assert shown.json["user"] == answer.json["user"]
    answer = await development.request("POST", "/session", json={"user": "zoe", "name": " ", "picture": None})
    assert answer.json["user"] == {"id": "zoe", "name": "zoe"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", 7), ("name", "\u200b"), ("picture", "javascript:alert(1)"), ("picture", ["https://example.com"])],
)
async def test_names_and_pictures_that_are_refused(development: Server, field: str, value: object) -> None:
    """With the field, like a user id."""
    answer = await development.request("POST", "/session", json={"user": "zoe", field: value})
    assert (answer.status, answer.code) == (400, "invalid_payload")
    assert list(answer.json["error"]["fields"]) == [field]


async def test_a_token_works_in_development_too(development: Server) -> None:
    """`socketserver token alice` for programs; what was sent comes back."""
    answer = await development.login("alice")
    assert answer.json["user"]["id"] == "alice"
    assert (await development.authenticator.from_token(answer.json["token"])).user_id == "alice"


@pytest.mark.parametrize(
    "user", [None, "", "   ", 7, True, ["a"], {"$ne": None}, "x" * 129, "a\x00b", "a\nb", "\ud800"]
)
async def test_names_that_are_refused(development: Server, user: object) -> None:
    """The field is named, as in every error about a payload."""
    answer = await development.request("POST", "/session", json={"user": user})
    assert (answer.status, answer.code) == (400, "invalid_payload")
    [sentence] = answer.json["error"]["fields"]["user"]
    assert sentence.startswith("It must ")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"alice"', b"\xff", b"[" * 4000, b'{"user": "' + b"x" * 5000 + b'"}', b"{}"]
)
async def test_bodies_that_are_refused(development: Server, body: bytes) -> None:
    """Not JSON, no object, nested beyond reason, too large."""
    headers = {"Content-Type": "application/json"}
    answer = await development.request("POST", "/session", data=body, headers=headers)
    assert (answer.status, answer.code) == (400, "invalid_payload")


async def test_a_large_body_is_not_read_to_its_end(development: Server) -> None:
    """Chunked, without a length to refuse it by: the answer comes after 4 KiB of a body that has no end."""
    going_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1024
        await going_on.wait()

    headers = {"Content-Type": "application/json"}
    async with asyncio.timeout(5):
        answer = await development.request("POST", "/session", data=body(), headers=headers)
    assert (answer.status, answer.code) == (400, "invalid_payload")


async def test_a_body_that_does_not_come(development: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that promises a body and sends none is not waited for."""
    monkeypatch.setattr(answers, "BODY_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(development.url.rpartition(":")[2]))
    try:
        writer.write(b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 100\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
async def test_a_form_logs_nobody_in(development: Server, content_type: str | None) -> None:
    """What a page may send without asking first (CORS) is not taken for JSON."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await development.request("POST", "/session", data=b'{"user": "alice"}', headers=headers, origin=None)
    assert (answer.status, answer.code) == (400, "invalid_payload")


@pytest.mark.parametrize("path", ["/session", "/", "/demo/index.html", "/healthz", "/who"])
async def test_foreign_names_of_this_machine_are_refused(development: Server, server: Server, path: str) -> None:
    """DNS rebinding: evil.example leads to 127.0.0.1, and the browser takes its page for ours. No route answers;
    where tokens are checked any name will do."""
    for origin in (None, "http://evil.example:3001"):
        answer = await development.request("GET", path, headers={"Host": "evil.example:3001"}, origin=origin)
        assert (answer.status, answer.code) == (403, "origin_not_allowed")
    assert (await server.request("GET", "/healthz", headers={"Host": "chat.example.com"})).status == 200


# Foreign pages


@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", "http://localhost:3999"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_a_foreign_page_gets_nothing(server: Server, method: str, origin: str) -> None:
    """Neither done nor readable: refused, no CORS header, no cookie, with and without a login."""
    cookie = (await server.login()).cookie
    for sent in (cookie, None):
        answer = await server.request(method, "/session", cookie=sent, origin=origin)
        assert (answer.status, answer.code) == (403, "origin_not_allowed")
        assert "Set-Cookie" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert answer.headers["Vary"] == "Origin"
    login = await server.login(origin=origin)
    assert (login.status, login.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_cookie_without_an_origin_changes_nothing(server: Server, method: str) -> None:
    """A browser would have sent one: who holds back the origin is up to something, or can send it."""
    cookie = (await server.login()).cookie
    answer = await server.request(method, "/session", cookie=cookie, origin=None)
    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    assert "Set-Cookie" not in answer.headers


async def test_programs_need_no_origin(server: Server) -> None:
    """With a token and without a cookie there is nothing that a foreign page could abuse."""
    answer = await server.login(origin=None)
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert (await server.request("DELETE", "/session", origin=None)).status == 200


@pytest.mark.parametrize(
    ("origin", "headers", "user"),
    [
        (APP, {}, "alice"),
        (EVIL, {}, None),
        ("null", {}, None),
        (None, {}, None),
        (None, {"Sec-Fetch-Site": "same-origin"}, "alice"),
        (None, {"Sec-Fetch-Site": "cross-site"}, None),
    ],
)
async def test_whose_cookie_is_believed(
    server: Server, origin: str | None, headers: dict[str, str], user: str | None
) -> None:
    """A handshake with a cookie counts only where no foreign page can have caused it."""
    cookie = (await server.login()).cookie
    assert (await server.request("GET", "/who", cookie=cookie, origin=origin, headers=headers)).json == user


async def test_a_websocket_handshake_can_carry_the_cookie(start: Start, server: Server) -> None:
    """The cookie is read from the request that a socket begins with, and nothing is set over it."""
    cookie = (await server.login()).cookie
    url = server.url + "/session"
    async with aiohttp.ClientSession() as client:
        headers = {"Cookie": f"{COOKIE_NAME}={cookie}", "Origin": APP, "Upgrade": "websocket", "Connection": "Upgrade"}
        async with client.get(url, headers=headers) as response:
            assert response.status == 200
            assert "Set-Cookie" not in response.headers


async def test_our_own_pages_are_allowed(server: Server) -> None:
    """The server's own origin needs no entry in the list."""
    answer = await server.login(origin=server.url)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == server.url


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_allowed_pages_can_read_every_answer(server: Server, method: str) -> None:
    """Errors too, with credentials; caches keep nothing and know that the origin matters."""
    for answer in (
        await server.request(method, "/session"),
        await server.request(method, "/session", headers={"Authorization": "Bearer x"}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Vary"] == "Origin"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_preflight_is_answered(server: Server) -> None:
    """Which methods and headers a page may use; no login is needed to ask."""
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = await server.request("OPTIONS", "/session", headers=headers)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert {"GET", "POST", "DELETE"} == set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]


# The other routes


async def test_healthz(server: Server) -> None:
    """Alive, for whoever asks."""
    answer = await server.request("GET", "/healthz", origin=None)
    assert (answer.status, answer.json) == (200, {"ok": True})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/demo/", "/demo/index.html", "/demo/socket.io.min.js", "/nothing"])
async def test_there_is_no_page_in_production(start: Start, demo: Path, path: str) -> None:
    """A 404 in JSON, whatever lies in the directory."""
    server = await start(jwt_secret=SECRET, demo_dir=demo, client_bundle=demo / "style.css")
    answer = await server.request("GET", path)
    assert (answer.status, answer.code) == (404, "not_found")


async def test_other_methods(server: Server) -> None:
    """405 in JSON, with the methods that there are."""
    for method, path, allow in (
        ("PUT", "/session", "GET, POST, DELETE, OPTIONS"),
        ("PATCH", "/session", "GET, POST, DELETE, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD"),
    ):
        answer = await server.request(method, path)
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == allow


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A demo page, secrets beside it, and links that lead to them."""
    root = tmp_path / "demo"
    (root / "parts").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / "index.html").write_text("<!doctype html><title>Chat</title>")
    (root / "style.css").write_text("body {}")
    (root / "app.js").write_text("export {}")
    (root / "parts" / "list.js").write_text("export const list = 1")
    (root / ".hidden" / "key").write_text("hunter2")
    (root / ".env").write_text("hunter2")
    (tmp_path / "secret.txt").write_text("hunter2")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    return root


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/demo/", "text/html"),
        ("/demo/index.html", "text/html"),
        ("/demo/style.css", "text/css"),
        ("/demo/app.js", "text/javascript"),
        ("/demo/parts/list.js", "text/javascript"),
    ],
)
async def test_the_demo_page_is_served(start: Start, demo: Path, path: str, content_type: str) -> None:
    """With headers that keep foreign scripts and frames out of it."""
    server = await start(demo_dir=demo)
    answer = await server.request("GET", path, origin=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"].replace("application/java", "text/java").startswith(content_type)
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self' https://cdn.socket.io;" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_the_page_may_say_where_its_modules_are(start: Start, demo: Path, tmp_path: Path) -> None:
    """An import map stands in the page, so the policy names it by its content, which has the prefix in it."""
    (demo / "index.html").write_text('<script type="importmap">{"imports": {"a": "/demo/a.js"}}</script>')
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "chat.js").write_text("export const chat = 1")
    server = await start(demo_dir=demo, client_dir=tmp_path / "client", path_prefix="/chat")
    page = await server.request("GET", "/chat/", origin=None)
    assert b'{"imports": {"a": "/chat/demo/a.js"}}' in page.body
    digest = base64.b64encode(hashlib.sha256(b'{"imports": {"a": "/chat/demo/a.js"}}').digest()).decode()
    assert f"script-src 'self' https://cdn.socket.io 'sha256-{digest}';" in page.headers["Content-Security-Policy"]
    module = await server.request("GET", "/chat/demo/client/chat.js", origin=None)
    assert module.body == b"export const chat = 1"
    assert "sha256" not in module.headers["Content-Security-Policy"]


async def test_files_are_compressed_and_not_sent_twice(start: Start, demo: Path) -> None:
    """154 kB went out where 46 would do, and again with every reload."""
    (demo / "app.js").write_text("export const many = 1;\n" * 1000)
    server = await start(demo_dir=demo)
    for path in ("/", "/demo/app.js", "/demo/all.js"):
        plain = await server.request("GET", path, headers={"Accept-Encoding": "br, gzip;q=0"})
        assert "Content-Encoding" not in plain.headers
        packed = await server.request("GET", path, headers={"Accept-Encoding": "br, gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.body == plain.body
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        etag = plain.headers["ETag"]
        assert packed.headers["ETag"] == etag
        again = await server.request("GET", path, headers={"If-None-Match": f'"x", {etag}'})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["Content-Security-Policy"] == plain.headers["Content-Security-Policy"]
    assert int((await server.request("HEAD", "/demo/app.js")).headers["Content-Length"]) < 1000
    (demo / "app.js").write_text("export const few = 1;\n")
    changed = await server.request("GET", "/demo/all.js", headers={"If-None-Match": etag})
    assert changed.status == 200
    assert b"few" in changed.body


async def test_all_modules_in_one(start: Start, demo: Path, tmp_path: Path) -> None:
    """Fifty files in a chain take seconds on a slow line; where they cannot be joined, the page has them one by one."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "names.js").write_text("export const name = 1;\n")
    (demo / "app.js").write_text('import { name } from "./shared/names.js";\nexport const again = name;\n')
    server = await start(demo_dir=demo, shared_dir=tmp_path / "shared")
    joined = await server.request("GET", "/demo/all.js")
    assert joined.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert b"const { name: name } = module0;" in joined.body
    assert (await server.request("GET", "/demo/shared/names.js")).status == 200
    (demo / "app.js").write_text("export default 1;\n")
    assert (await server.request("GET", "/demo/all.js")).body == b'import "./app.js";\n'


async def test_the_page_can_be_edited_while_it_is_served(start: Start, demo: Path) -> None:
    """No build step, no restart."""
    server = await start(demo_dir=demo)
    (demo / "app.js").write_text("export const edited = true")
    assert b"edited" in (await server.request("GET", "/demo/app.js")).body


@pytest.mark.parametrize(
    "path",
    [
        "/demo/../secret.txt",
        "/demo/..%2fsecret.txt",
        "/demo/%2e%2e/secret.txt",
        "/demo/%2e%2e%2fsecret.txt",
        "/demo/..%5csecret.txt",
        "/demo//etc/passwd",
        "/demo/parts/../../secret.txt",
        "/demo/.env",
        "/demo/.hidden/key",
        "/demo/link.txt",
        "/demo/up/secret.txt",
        "/demo/parts",
        "/demo/parts/",
        "/demo/app.js%00.html",
        "/demo/app.js/",
        "/demo",
        "/secret.txt",
    ],
)
async def test_no_path_leads_out_of_the_demo(start: Start, demo: Path, path: str) -> None:
    """Written raw, as no browser would: nothing but the listed files is ever opened."""
    server = await start(demo_dir=demo)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    assert answer.split(b" ", 2)[1] in {b"404", b"400"}
    assert b"hunter2" not in answer


async def test_the_client_bundle_is_optional(start: Start, demo: Path, tmp_path: Path) -> None:
    """From the npm package where it is installed; else 404, and the page asks the CDN."""
    bundle = tmp_path / "socket.io.min.js"
    without = await start(demo_dir=demo, client_bundle=bundle)
    assert (await without.request("GET", "/demo/socket.io.min.js")).code == "not_found"
    bundle.write_text("io = 1")
    served = await start(demo_dir=demo, client_bundle=bundle)
    assert (await served.request("GET", "/demo/socket.io.min.js")).body == b"io = 1"


async def test_a_server_without_examples_says_so(development: Server) -> None:
    """Installed from a wheel there is no demo page; / is no mystery."""
    answer = await development.request("GET", "/")
    assert (answer.status, answer.code) == (404, "not_found")
    assert "demo" in answer.json["error"]["message"]
