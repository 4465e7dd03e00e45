"""Who may see the server's insides: every way in, and every way that only looks like one."""

from __future__ import annotations

import base64
import json
from socketserver.door.connects import Guards
from socketserver.door.origins import Origins
from socketserver.door.proxies import Proxies
from socketserver.ops.admin_access import AdminAccess
from socketserver.settings import Settings
from typing import Any
from unittest import mock

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from support.clock import FakeClock

TOKEN = "admin-token-0123456789-0123456789-é"
SECRET = "0123456789abcdef0123456789abcdef"
LOCAL = "localhost:3001"
CHAT = "chat.example.com"
WITH_JSON = ("Content-Type", "application/json")


def access(*, clock: FakeClock | None = None, **values: Any) -> AdminAccess:
    settings = Settings(**values)
    origins = Origins(settings)
    return AdminAccess(
        settings, origins, Guards(settings, Proxies(settings.trusted_proxies), origins, clock or FakeClock())
    )


def request(
    *headers: tuple[str, str], peer: str = "127.0.0.1", host: str = LOCAL, version: HttpVersion = HttpVersion11
) -> web.Request:
    transport = mock.Mock()
    transport.get_extra_info = lambda name, default=None: (peer, 4711) if name == "peername" else default
    lines = CIMultiDict([("Host", host), *headers])
    return make_mocked_request("POST", "/monitor", lines, transport=transport, version=version)


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def basic(text: str) -> tuple[str, str]:
    return "Authorization", f"Basic {base64.b64encode(text.encode()).decode()}"


def error_of(response: web.Response | None) -> dict[str, Any]:
    assert response is not None, "it was let through"
    body = json.loads(response.body or b"")  # type: ignore[arg-type]  # bytes, as json_response makes them
    assert body["ok"] is False
    assert body["error"]["retryable"] == (response.status == 429)
    error: dict[str, Any] = body["error"]
    return error


# Without a token


@pytest.mark.parametrize("secret", [None, SECRET], ids=["development login", "tokens"])
@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("127.0.0.1", "localhost:3001"),
        ("127.0.0.1", "127.0.0.1:3001"),
        ("127.8.9.1", "chat.localhost"),
        ("::1", "[::1]:3001"),
        ("::ffff:127.0.0.1", "LOCALHOST"),
    ],
)
def test_this_machine_is_let_in(secret: str | None, peer: str, host: str) -> None:
    """A loopback peer under a loopback name, whatever the login is."""
    assert access(jwt_secret=secret).refuse(request(peer=peer, host=host)) is None


@pytest.mark.parametrize(
    ("peer", "host", "version"),
    [
        ("198.51.100.7", LOCAL, HttpVersion11),
        ("10.0.0.1", LOCAL, HttpVersion11),
        ("", LOCAL, HttpVersion11),  # a Unix socket's peer: a proxy
        ("127.0.0.1", CHAT, HttpVersion11),
        ("127.0.0.1", "localhost.evil.example", HttpVersion11),
        ("127.0.0.1", "127.0.0.1.evil.example", HttpVersion11),
        ("127.0.0.1", "app.example.com", HttpVersion11),  # an allowed origin's: a proxy serves it
        ("127.0.0.1", "[::1", HttpVersion11),
        ("127.0.0.1", "", HttpVersion11),
        ("127.0.0.1", LOCAL, HttpVersion10),  # nginx, without proxy_http_version
    ],
)
def test_others_are_told_which_setting_lets_them_in(peer: str, host: str, version: HttpVersion) -> None:
    """From elsewhere, under another name, or through a proxy: 403."""
    answer = access(jwt_secret=SECRET, allowed_origins="https://app.example.com").refuse(
        request(peer=peer, host=host, version=version)
    )
    error = error_of(answer)
    assert answer is not None
    assert (answer.status, error["code"]) == (403, "admin_required")
    assert "WEBSOCKET_ADMIN_TOKEN" in error["message"]


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "cf-connecting-ip"],
)
def test_a_proxy_on_this_machine_is_not_this_machine(header: str) -> None:
    """Everybody who comes through it has a loopback address; an empty header of its is one too."""
    for value in ("127.0.0.1", ""):
        assert error_of(access(jwt_secret=SECRET).refuse(request((header, value))))["code"] == "admin_required"


def test_a_trusted_proxy_is_not_this_machine() -> None:
    """Not even for a request in which it names nobody else."""
    assert error_of(access(jwt_secret=SECRET, trusted_proxies="127.0.0.0/8").refuse(request()))


def test_a_token_that_is_not_configured_opens_nothing() -> None:
    """There is none to compare with."""
    for token in ("", "None", TOKEN):
        assert error_of(access(jwt_secret=SECRET).refuse(request(bearer(token), peer="198.51.100.7")))


# With a token


@pytest.mark.parametrize("peer", ["198.51.100.7", "127.0.0.1"])
@pytest.mark.parametrize(
    "header",
    [bearer(TOKEN), ("Authorization", f"bearer   {TOKEN}"), basic(f"anybody:{TOKEN}"), basic(f":{TOKEN}")],
)
def test_the_token_opens_from_everywhere(peer: str, header: tuple[str, str]) -> None:
    """As Bearer or as the password of Basic, through proxies too."""
    admin = access(jwt_secret=SECRET, admin_token=TOKEN)
    assert admin.refuse(request(header, ("X-Forwarded-For", "203.0.113.9"), peer=peer, host=CHAT)) is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        ("Authorization", ""),
        ("Authorization", "Bearer"),
        ("Authorization", TOKEN),
        ("Authorization", f"Digest {TOKEN}"),
        ("Authorization", f"Basic {TOKEN}"),
        ("Authorization", "Basic ====="),
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "x"),
        bearer(TOKEN.upper()),
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        basic(f"admin:{TOKEN} "),
    ],
)
def test_without_the_token_nobody_is_let_in(header: tuple[str, str] | None) -> None:
    """Not this machine either; a browser is made to ask for it."""
    answer = access(admin_token=TOKEN).refuse(request(*([header] if header else [])))
    error = error_of(answer)
    assert answer is not None
    assert (answer.status, error["code"]) == (401, "admin_required")
    assert "WEBSOCKET_ADMIN_TOKEN" in error["message"]
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert TOKEN not in json.dumps(error, ensure_ascii=False)


def test_guessing_is_limited() -> None:
    """Wrong admin tokens locked out the right one of the same address. Now only more wrong ones are refused."""
    clock = FakeClock()
    admin = access(clock=clock, admin_token=TOKEN, failed_connects_per_minute_address=3, jwt_secret=SECRET)
    for _ in range(3):
        assert error_of(admin.refuse(request(bearer("wrong"))))["code"] == "admin_required"
    answer = admin.refuse(request(bearer("wrong")))
    error = error_of(answer)
    assert answer is not None
    assert (answer.status, error["code"]) == (429, "too_many_connects")
    assert int(answer.headers["Retry-After"]) * 1000 >= error["retryAfterMs"] > 0
    assert admin.refuse(request(bearer(TOKEN))) is None
    assert error_of(admin.refuse(request(bearer("wrong"), peer="198.51.100.7")))["code"] == "admin_required"
    assert error_of(admin.refuse(request()))["code"] == "admin_required", "no token is no try"
    clock.advance(66)
    assert error_of(admin.refuse(request(bearer("wrong"))))["code"] == "admin_required"


# Actions


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:3001", LOCAL, True),
        ("http://localhost:3000", LOCAL, False),  # the application's page: allowed to chat, no operator
        ("http://evil.example", LOCAL, False),
        ("null", LOCAL, False),
        (None, LOCAL, False),
    ],
)
def test_an_action_needs_the_servers_own_page(origin: str | None, host: str, allowed: bool) -> None:
    """On this machine nothing but the Origin tells the operator's page from a foreign one."""
    headers = [WITH_JSON, *([("Origin", origin)] if origin else [])]
    answer = access(allowed_origins="http://localhost:3000").refuse(request(*headers, host=host), action=True)
    assert (answer is None) == allowed
    if answer is not None:
        assert answer.status == 403


@pytest.mark.parametrize(
    ("header", "origin", "allowed"),
    [
        (bearer(TOKEN), None, True),  # a program; no browser sends a Bearer token by itself
        (bearer(TOKEN), "https://evil.example", False),
        (basic(f"x:{TOKEN}"), None, False),
        (basic(f"x:{TOKEN}"), "https://evil.example", False),
        (basic(f"x:{TOKEN}"), f"https://{CHAT}", True),  # through a proxy that ends TLS
        (bearer("wrong"), f"https://{CHAT}", False),
    ],
)
def test_an_action_with_a_token(header: tuple[str, str], origin: str | None, allowed: bool) -> None:
    """What a browser adds by itself is no proof of who asks."""
    headers = [header, WITH_JSON, *([("Origin", origin)] if origin else [])]
    admin = access(jwt_secret=SECRET, admin_token=TOKEN)
    assert (admin.refuse(request(*headers, host=CHAT), action=True) is None) == allowed


def test_an_action_is_json() -> None:
    """A form of any page can send text, but not this type without being asked."""
    answer = access().refuse(request(("Origin", "http://localhost:3001"), ("Content-Type", "text/plain")), action=True)
    assert error_of(answer)
    assert answer is not None
    assert answer.status == 415


@pytest.mark.parametrize("length", [31, 32])
def test_a_short_token_stops_the_start(length: int) -> None:
    """At least 32 characters; it is not shown."""
    if length < 32:
        with pytest.raises(ValueError, match="at least 32"):
            access(admin_token="x" * length)
    else:
        assert access(admin_token="x" * length)
