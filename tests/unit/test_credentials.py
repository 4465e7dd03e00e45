"""socketserver.door.credentials: where a proof is read, where it is only spoken of, and of several cookies which."""

from __future__ import annotations

import logging
import sys
from socketserver.door.credentials import COOKIE_NAME, MisplacedTokens, bearer, login_cookies, misplaced

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def request(*headers: tuple[str, str], query: str = "EIO=4&transport=polling") -> web.Request:
    return make_mocked_request("GET", f"/socket.io/?{query}", CIMultiDict(headers))


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        (" Bearer abc", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic YWxpY2U6eA==", None),
        ("abc", None),
        ("", None),
    ],
)
def test_bearer(value: str, token: str | None) -> None:
    """The scheme is written in any case; a proxy's own Basic login is none of ours."""
    assert bearer(request(("Authorization", value))) == token


def test_no_header_is_no_token() -> None:
    """Most clients pass auth.token."""
    assert bearer(request()) is None
    assert misplaced(request()) is None
    assert login_cookies(request()) == []


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (f"{COOKIE_NAME}=a", ["a"]),
        (f"{COOKIE_NAME}=a; {COOKIE_NAME}=b", ["a", "b"]),
        (f"x=1;{COOKIE_NAME}=a;y=2; {COOKIE_NAME}=b", ["a", "b"]),
        (f'{COOKIE_NAME}="a"', ["a"]),
        (f"{COOKIE_NAME}=a=b", ["a=b"]),
        (f"{COOKIE_NAME}", [""]),
        (f"not_{COOKIE_NAME}=a; {COOKIE_NAME}x=b", []),
        # What makes a stricter parser give up in front of it.
        (f'a"b{{c}}=1; {COOKIE_NAME}=a', ["a"]),
        (f"{COOKIE_NAME}=a; " * 1000, ["a"] * 10),
        ("a=; " * 8_000 + f"{COOKIE_NAME} = a", ["a"]),
        (f"{COOKIE_NAME};x", [""]),
        (f"x {COOKIE_NAME}=a", []),
    ],
)
def test_login_cookies(header: str, values: list[str]) -> None:
    """All of one name in the order in which the browser sends them, and not more than somebody would have."""
    assert login_cookies(request(("Cookie", header))) == values


@pytest.mark.parametrize("cookies", ["a=;", "a;", f"a{COOKIE_NAME};", f"{COOKIE_NAME}  ", ";"])
def test_many_tiny_cookies_cost_little(cookies: str) -> None:
    """A head of 32 KiB of tiny cookies took a millisecond, twice per connect: each of them was cut out and looked at.

    What is counted is calls: one for each time that the name of a login cookie occurs, none for any other cookie.
    """
    line = (cookies * 32_768)[:32_768]
    asked = request(("Cookie", line))
    calls = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        login_cookies(asked)
    finally:
        sys.setprofile(None)
    assert calls <= 20 + 6 * line.count(COOKIE_NAME)


def test_cookies_in_several_headers() -> None:
    """HTTP/2 splits the header, and not every proxy joins it again."""
    assert login_cookies(request(("Cookie", f"{COOKIE_NAME}=a"), ("Cookie", f"{COOKIE_NAME}=b"))) == ["a", "b"]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        (f"token={JWT}", 'the query ("token")'),
        ("token=opaque", 'the query ("token")'),
        ("Access_Token=x", 'the query ("Access_Token")'),
        ("auth_token=x", 'the query ("auth_token")'),
        ("jwt=x", 'the query ("jwt")'),
        (f"t={JWT}", "the query"),
        (f"auth%5Btoken%5D={JWT}", "the query"),
        (f"token=Bearer%20{JWT}", 'the query ("token")'),
        ("token=", None),
        ("t=PkVY8Ab&sid=abc", None),
        ("EIO=4", None),
    ],
)
def test_tokens_in_the_query(query: str, place: str | None) -> None:
    """By its usual names, or because it looks like one; the sentence never has the token."""
    hint = misplaced(request(query=query))
    if place is None:
        assert hint is None
        return
    assert hint is not None
    assert hint.startswith(f"A token in {place} is not read")
    assert "auth: { token }" in hint
    assert "eyJ" not in hint
    assert "opaque" not in hint


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Authorization", JWT, "without the word Bearer"),
        ("X-Auth-Token", "x", "in the header X-Auth-Token"),
        ("Token", JWT, "in the header Token"),
        ("Authorization", "Basic YWxpY2U6eA==", None),
        ("Authorization", "Negotiate YII", None),
    ],
)
def test_tokens_in_other_headers(name: str, value: str, said: str | None) -> None:
    """`extraHeaders: { token }` was ignored without a word too."""
    hint = misplaced(request((name, value)))
    assert (said is None and hint is None) or (said is not None and hint is not None and said in hint)
    assert hint is None or JWT not in hint


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"accessToken": "x"}, True),
        ({"jwt": JWT}, True),
        (JWT, True),
        ({}, False),
        (None, False),
        ({"pid": "x", "offset": "y"}, False),
        ([1], False),
    ],
)
def test_tokens_in_auth_under_another_name(auth: object, said: bool) -> None:
    """`auth: { accessToken }` and `auth: token` were ignored without a word too."""
    hint = misplaced(request(), auth)
    assert (hint is not None) is said
    assert JWT not in str(hint)


def test_the_log_has_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """At once, then once a minute with the number of those in between."""
    misplaced_tokens = MisplacedTokens()
    with caplog.at_level(logging.WARNING):
        for at_s in (0, 1, 2, 59, 60, 61):
            misplaced_tokens.say("A hint.", "192.0.2.8", at_s)
    assert len(caplog.records) == 2
    assert "token_misplaced" in caplog.text
    assert caplog.text.count("192.0.2.8") == 2
    assert "'repeats': 3" in caplog.text or "repeats=3" in caplog.text
