"""socketserver.values: one table of inputs per value, whichever door it comes in by."""

from __future__ import annotations

import math
from socketserver.values import (
    MAX_AVATAR_CHARS,
    MAX_NAME_CHARS,
    MAX_SAFE_INTEGER,
    MAX_USER_ID_CHARS,
    check_avatar,
    check_name,
    check_user_id,
    shows_something,
    whole_number,
    whole_number_in,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

CONTROL = "must have no control characters"
LENGTH = "must have 1 to 128 characters"
NOTHING = "must have something to see"
ENDS = "must not begin or end with white space"
INVISIBLE = "must have no invisible characters"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "must be a string"),
        (42, "must be a string"),
        (True, "must be a string"),
        (["alice"], "must be a string"),
        (b"alice", "must be a string"),
        ("", LENGTH),
        ("x" * (MAX_USER_ID_CHARS + 1), LENGTH),
        ("é" * (MAX_USER_ID_CHARS + 1), LENGTH),
        # In normalization form C it has three characters for each.
        ("\U0001d160" * 60, "must have 1 to 128 characters in normalization form C"),
        (" ", NOTHING),
        ("\u00a0", NOTHING),
        ("\u3000\u2003", NOTHING),
        ("\u2800", NOTHING),
        ("\u0301\u0302", NOTHING),
        ("\t", CONTROL),
        ("\n", CONTROL),
        ("bob\x07", CONTROL),
        ("bob\x00", CONTROL),
        ("bob\x7f", CONTROL),
        ("bób\x9b", CONTROL),
        ("bob\u2028", CONTROL),
        ("\ud800", CONTROL),
        ("bob\udfff", CONTROL),
        (" bob", ENDS),
        ("bob ", ENDS),
        ("bób\u00a0", ENDS),
        ("bob\u200b", INVISIBLE),
        ("b\u00adob", INVISIBLE),
        ("\ufeffbob", INVISIBLE),
        ("bob\u200e", INVISIBLE),
        ("\u202ebob", INVISIBLE),
        ("bob\u2060", INVISIBLE),
        ("bob\u3164", INVISIBLE),
        ("bob\u115f", INVISIBLE),
        ("bob\ufe0f", INVISIBLE),
        ("bob\u200d", INVISIBLE),
        ("bo\u200db", INVISIBLE),
        ("\u200dبو", INVISIBLE),
        ("بو\u200c", INVISIBLE),
        ("bob\U000e0041", INVISIBLE),
        ("bob\u034f", INVISIBLE),
    ],
)
def test_user_ids_that_are_refused(value: object, why: str) -> None:
    """`" "`, `"\\t"` and `"bob\\u0007"` were participants that no token could ever be for."""
    with pytest.raises(ValueError, match=why):
        check_user_id(value)


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "alice",
        "auth0|5f7c",
        "Alice Smith",
        "ünï@example.com",
        "x" * MAX_USER_ID_CHARS,
        "😀" * MAX_USER_ID_CHARS,
        "👩\u200d💻",
        "❤\ufe0f",
        "❤\ufe0f\u200d🔥",
        "#\ufe0f\u20e3",
        "می\u200cخواهم",
        "क्\u200dष",
        "constructor",
        "__proto__",
        "$ne",
        "a.b",
        "-",
    ],
)
def test_user_ids_that_are_taken(value: str) -> None:
    """Whatever an issuer uses as sub, in any script, kept as it is."""
    assert check_user_id(value) == value


@pytest.mark.parametrize(
    ("value", "known_as"),
    [
        ("Zoe\u0308", "Zoë"),
        ("e\u0301" * MAX_USER_ID_CHARS, None),
        ("e\u0301" * (MAX_USER_ID_CHARS // 2), "é" * (MAX_USER_ID_CHARS // 2)),
        ("\u212b", "Å"),
        ("\u1112\u1161\u11ab", "한"),
        ("ﬁn", "ﬁn"),
    ],
)
def test_two_ways_to_write_an_id_are_one_user(value: str, known_as: str | None) -> None:
    """The development login composed é and participantIds did not: messages went to nobody."""
    if known_as is None:
        with pytest.raises(ValueError, match=LENGTH):
            check_user_id(value)
    else:
        assert check_user_id(value) == known_as
        assert check_user_id(known_as) == known_as


@given(st.text(st.characters(), max_size=140))
def test_a_user_id_stays_what_it_is(text: str) -> None:
    """What passes once passes again unchanged, and every store can hold it."""
    try:
        user_id = check_user_id(text)
    except ValueError:
        return
    assert check_user_id(user_id) == user_id
    assert len(user_id) <= MAX_USER_ID_CHARS
    assert len(user_id.encode()) <= 4 * MAX_USER_ID_CHARS


INVISIBLE_TEXTS = [
    "",
    " ",
    "\t\r\n\v\f",
    "\x1c\x1f\x85",
    "\x00\x07\x7f",
    "\u00a0\u1680\u2000\u200a\u202f\u205f\u3000",
    "\u2028\u2029",
    "\u200b",
    "\u2800",
    "\u3164",
    "\u115f",
    "\u1160",
    "\uffa0",
    "\u00ad",
    "\ufeff",
    "\u2060",
    "\u200e\u200f",
    "\u202a\u202e\u2066\u2069",
    "\u061c",
    "\u034f",
    "\u17b4\u17b5",
    "\u180b\u180e",
    "\u200c\u200d",
    "\ufe00\ufe0e\ufe0f",
    "\U000e0100\U000e01ef",
    "\U000e0001\U000e0041\U000e007f",
    "\U000e0fff",
    "\u2061\u2064\u2065\u206f",
    "\ufff0\ufff9\ufffb",
    "\U0001d159",
    "\U0001d173\U0001d17a",
    "\U0001bca0",
    "\u0301",
    "\u20dd\u20e3",
    "\u0903",
    "\ufdd0\uffff\U0010ffff",
    "\ud800",
    " \u200b\u00a0\ufe0f\u0301\n",
    "\u200b" * 4000,
]


@pytest.mark.parametrize("text", INVISIBLE_TEXTS)
def test_texts_that_show_nothing(text: str) -> None:
    """U+200B, U+2800, U+3164 and their like were stored as messages that nobody could see."""
    assert not shows_something(text)


@pytest.mark.parametrize(
    "text", [".", "a", "-", "0", "한", "ع", "क", "👍", "🏽", "🇩", "€", "\ue000", "\u0600", "\U0001fae8"]
)
def test_texts_that_show_something(text: str) -> None:
    """One character with ink is enough, also one that is newer than this Python; what stands around it is kept."""
    assert shows_something(text)
    for around in INVISIBLE_TEXTS:
        assert shows_something(around + text + around)


@pytest.mark.parametrize(
    "text", ["👨‍👩‍👧", "می‌خواهم", "🏴\U000e0067\U000e0062\U000e007f", "❤️", "👍🏽", "🇩🇪", "#️⃣", "e\u0301", "क्‍ष"]
)
def test_real_text_with_joiners_and_selectors(text: str) -> None:
    """Emoji sequences, flags, keycaps, Persian and Hindi hold invisible characters that belong there."""
    assert shows_something(text)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (1, 1),
        (1.0, 1),
        (-0.0, 0),
        (-3.0, -3),
        (MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
        (float(MAX_SAFE_INTEGER), MAX_SAFE_INTEGER),
        (MAX_SAFE_INTEGER + 1, None),
        (2.0**53, None),
        (-(2**53), None),
        (10**400, None),
        (1.5, None),
        (1e300, None),
        (math.inf, None),
        (-math.inf, None),
        (math.nan, None),
        (True, None),
        (False, None),
        ("1", None),
        (None, None),
        ([1], None),
    ],
)
def test_whole_numbers(value: object, number: int | None) -> None:
    """`1.0` is 1; what is not whole, or not exact in JavaScript, is no number at all."""
    if number is None:
        with pytest.raises(ValueError, match="must be a whole number"):
            whole_number(value)
    else:
        assert whole_number(value) == number
        assert type(whole_number(value)) is int


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("10", 10),
        (" 7 ", 7),
        ("+7", 7),
        ("-7", -7),
        ("10.0", 10),
        ("10.", 10),
        ("010", 10),
        (str(MAX_SAFE_INTEGER), MAX_SAFE_INTEGER),
        (str(MAX_SAFE_INTEGER + 1), None),
        ("9" * 5000, None),
        ("1.5", None),
        ("1e3", None),
        ("0x10", None),
        ("1_000", None),
        ("²", None),
        ("٣", None),
        ("NaN", None),
        ("true", None),
        ("", None),
        (".0", None),
        ("--1", None),
    ],
)
def test_whole_numbers_in_texts(text: str, number: int | None) -> None:
    """The same for a query's numbers, however many digits somebody sends."""
    if number is None:
        with pytest.raises(ValueError, match="must be a whole number"):
            whole_number_in(text)
    else:
        assert whole_number_in(text) == number


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Zoë", "Zoë"),
        ("  Alice\n\tA.\u00a0B. ", "Alice A. B."),
        ("zero\x00\x1bwidth", "zero width"),
        ("x" * 500, "x" * MAX_NAME_CHARS),
        ("x" * (MAX_NAME_CHARS - 1) + " y", "x" * (MAX_NAME_CHARS - 1)),
        ("👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
        ("\u200fعلي\u200c", "\u200fعلي\u200c"),
        ("\u202eevil\u202c", "evil"),
        ("a\u2066b\u2069", "ab"),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_names_that_are_taken(value: str, name: str) -> None:
    """In one line, cut to size, and without what would turn the text around it."""
    assert check_name(value) == name
    assert check_name(name) == name


@pytest.mark.parametrize("value", [None, 42, ["a"], b"a", "", " ", "\n", "\u200b", "\u202e\u202e", "\x00", "\u0301"])
def test_names_that_are_refused(value: object) -> None:
    """What is no text, and what nobody would see."""
    with pytest.raises(ValueError, match=r"^must (be a string|have something to see)$"):
        check_name(value)


@given(st.text(max_size=300))
def test_any_name_is_fit_or_refused(text: str) -> None:
    """A name that is taken has its size, one line, no white space at its ends, and is taken again as it is."""
    try:
        name = check_name(text)
    except ValueError:
        return
    assert 1 <= len(name) <= MAX_NAME_CHARS
    assert name == name.strip()
    assert len(name.splitlines()) == 1
    assert shows_something(name)
    assert check_name(name) == name


@pytest.mark.parametrize(
    "value",
    [
        "https://example.com/a.png",
        "http://localhost:3000/a?s=64&d=mp#x",
        "HTTPS://Example.COM",
        "https://[2001:db8::1]:8443/a",
        "https://lh3.googleusercontent.com/a/ACg8ocK=s96-c",
        "https://example.com/%C3%A9/(1)/a,b;c=d/~u!*'$@:",
        "https://example.com/" + "x" * (MAX_AVATAR_CHARS - 20),
    ],
)
def test_pictures_that_are_taken(value: str) -> None:
    """As they are."""
    assert check_avatar(value) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        42,
        ["https://example.com"],
        "",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)//https://example.com",
        "data:image/png;base64,AAAA",
        "blob:https://example.com/1",
        "file:///etc/passwd",
        "//example.com/a.png",
        "/a.png",
        "a.png",
        "https:",
        "https://",
        "https:///a.png",
        "https:example.com",
        "http:\\\\example.com",
        "https://user:pass@example.com/",
        "https://user@example.com/",
        " https://example.com/",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com/\x00",
        'https://example.com/"onerror="alert(1)',
        "https://example.com/<script>",
        "https://example.com/é",
        "https://exampl\u212a.com/",
        "http\u017f://example.com/",
        "https://example.com:123456/",
        "https://example.com/`",
        "https://example.com/" + "x" * (MAX_AVATAR_CHARS - 19),
    ],
)
def test_pictures_that_are_refused(value: object) -> None:
    """Another scheme than http or https, no host, a password, or what could leave the attribute that it stands in."""
    with pytest.raises(ValueError, match=r"^must (be a string|be an address|have at most 1024 characters)"):
        check_avatar(value)
