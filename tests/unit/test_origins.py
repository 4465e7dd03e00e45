"""Origins: which pages may talk to the server, and whose cookies are believed."""

from __future__ import annotations

from socketserver.door.origins import Origins, wrong_host
from socketserver.settings import Settings
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

SECRET = "0123456789abcdef0123456789abcdef"


def origins(*allowed: str, development: bool = False) -> Origins:
    secret: dict[str, Any] = {} if development else {"jwt_secret": SECRET}
    return Origins(Settings(allowed_origins=allowed, **secret))


def request(*headers: tuple[str, str], host: str = "chat.example.com") -> web.Request:
    return make_mocked_request("GET", "/socket.io/", CIMultiDict([("Host", host), *headers]))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("http://localhost:3000", True),
        ("http://app.example.com", False),
        ("https://app.example.com:444", False),
        ("https://app.example.com.evil.com", False),
        ("https://evil.com/https://app.example.com", False),
        ("https://APP.example.com", True),
        ("https://app.example.com/", True),
        ("https://app.example.com:443", True),
        ("https://app.example.com.", True),
        ("wss://app.example.com", True),
        ("wss://app.example.com:443/", True),
        ("ws://app.example.com", False),
        ("ws://localhost:3000", True),
        ("wss://localhost:3000", False),
        ("https://app.example.com//", False),
        ("https://app.example.com/x", False),
        ("https://user@app.example.com", False),
        ("https://@app.example.com", False),
        ("https://app.example.com?", False),
        ("https://app.example.com#", False),
        ("https://app.example.com\\", False),
        ("https://app.\texample.com", False),
        (" https://app.example.com", False),
        ("https:app.example.com", False),
        ("capacitor://localhost", False),
        ("file://", False),
        ("https://app.example.com,https://evil.com", False),
        ("http://localhost:3001", False),
        ("null", False),
        ("", False),
        ("*", False),
    ],
)
def test_the_list_is_compared_exactly(origin: str, allowed: bool) -> None:
    """In the form in which browsers write origins, whatever a native client adds; nothing that only resembles an
    allowed one."""
    listed = origins("https://app.example.com", "http://localhost:3000")
    assert listed.allows(origin, scheme="https", host="chat.example.com") is allowed


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "allowed"),
    [
        ("http://chat.example.com", "http", "chat.example.com", True),
        ("http://chat.example.com", "http", "chat.example.com:80", True),
        ("http://chat.example.com:8080", "http", "chat.example.com:8080", True),
        ("http://chat.example.com", "http", "Chat.Example.COM", True),
        ("https://chat.example.com", "https", "chat.example.com", True),
        ("https://chat.example.com", "https", "chat.example.com:443", True),
        ("http://[::1]:3001", "http", "[::1]:3001", True),
        # a proxy ends TLS in front of the server
        ("https://chat.example.com", "http", "chat.example.com", True),
        # the other way round, the page may have been forged on its way
        ("http://chat.example.com", "https", "chat.example.com", False),
        ("http://chat.example.com:8080", "http", "chat.example.com", False),
        ("http://other.example.com", "http", "chat.example.com", False),
        ("null", "http", "null", False),
        ("http://", "http", "", False),
    ],
)
def test_the_servers_own_origin(origin: str, scheme: str, host: str, allowed: bool) -> None:
    """Scheme and Host of the request, and https where a proxy may have ended it; no list needed."""
    assert origins().allows(origin, scheme=scheme, host=host) is allowed


@pytest.mark.parametrize(
    "origin", ["capacitor://localhost", "ionic://localhost", "tauri://localhost", "chrome-extension://abc", "file://"]
)
def test_origins_of_applications_may_be_listed(origin: str) -> None:
    """Capacitor, Tauri and extensions could not be let in at all. Listed exactly; all others stay refused."""
    listed = origins(origin)
    assert listed.allows(origin, scheme="https", host="chat.example.com")
    for other in (
        "capacitor://other",
        "app://localhost",
        "chrome-extension://def",
        "null",
        "file:///x",
        "https://localhost",
    ):
        assert not listed.allows(other, scheme="https", host="chat.example.com")
    assert not origins().allows(origin, scheme="https", host="localhost")


@pytest.mark.parametrize(
    "origin", ["wss://chat.example.com", "https://chat.example.com:443/", "HTTPS://Chat.example.com."]
)
def test_the_own_origin_as_native_clients_write_it(origin: str) -> None:
    """The Swift client says `wss://host`, React Native adds port and slash: they were refused at their own server."""
    assert origins().allows(origin, scheme="https", host="chat.example.com")
    assert origins().trusts_cookie(request(("Origin", origin)))
    assert not origins().allows(origin, scheme="https", host="chat.example.com:444")


def test_a_wrong_host_is_told_which_setting() -> None:
    """The Android emulator's 10.0.2.2 was refused in the development login without a word on what to do."""
    local = origins(development=True)
    assert not local.trusts_host("10.0.2.2:3001")
    assert "add http://10.0.2.2:3001 to WEBSOCKET_ALLOWED_ORIGINS" in wrong_host("10.0.2.2:3001").message
    assert origins("http://10.0.2.2:3001", development=True).trusts_host("10.0.2.2:3001")
    assert "\n" not in wrong_host('a\n"b').message
    # An application's origin is no name of this machine's.
    assert not origins("app://evil.com", development=True).trusts_host("evil.com")


def test_no_origin_is_no_browser() -> None:
    """Programs with tokens send none and are served."""
    assert origins().allows(None, scheme="http", host="chat.example.com")
    assert origins().allows_request(request())


def test_two_origins_are_refused() -> None:
    """Which one a proxy looked at, nobody knows."""
    twice = request(("Origin", "https://chat.example.com"), ("Origin", "https://evil.com"))
    assert not origins().allows_request(twice)


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("localhost", True),
        ("localhost:3001", True),
        ("LOCALHOST:3001", True),
        ("127.0.0.1:3001", True),
        ("127.5.5.5", True),
        ("[::1]:3001", True),
        ("chat.localhost:3001", True),
        ("chat.test:3001", True),
        ("evil.com", False),
        ("evil.com:3001", False),
        ("localhost.:3001", True),
        ("evil.com@localhost", False),
        ("localhost.evil.com", False),
        ("127.0.0.1.evil.com", False),
        ("evillocalhost", False),
        ("user@localhost.evil.com", False),
        ("0.0.0.0:3001", False),
        ("192.168.1.2", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_the_development_login_answers_to_local_names_only(host: str, trusted: bool) -> None:
    """Against DNS rebinding: a foreign name that leads to 127.0.0.1 has no origin of its own here, whether or not the
    browser sends an Origin. A server that checks tokens answers to any name."""
    local = origins("http://chat.test:3000", development=True)
    assert local.trusts_host(host) is trusted
    assert local.allows(f"http://{host.lower()}", scheme="http", host=host) is trusted
    assert local.allows(None, scheme="http", host=host) is trusted
    assert origins().trusts_host(host)


@pytest.mark.parametrize(
    ("headers", "trusted"),
    [
        ([("Origin", "https://app.example.com")], True),
        ([("Origin", "http://chat.example.com")], True),
        ([("Origin", "https://evil.com")], False),
        ([("Origin", "null")], False),
        ([("Origin", "https://evil.com"), ("Sec-Fetch-Site", "same-origin")], False),
        ([], False),
        ([("Sec-Fetch-Site", "same-origin")], True),
        ([("Sec-Fetch-Site", "same-site")], False),
        ([("Sec-Fetch-Site", "cross-site")], False),
        ([("Sec-Fetch-Site", "none")], False),
    ],
)
def test_cookies_are_believed_from_allowed_pages(headers: list[tuple[str, str]], trusted: bool) -> None:
    """With an allowed Origin, or where the browser says that the page is the server's own; else a foreign page may
    have sent them along."""
    assert origins("https://app.example.com").trusts_cookie(request(*headers)) is trusted
