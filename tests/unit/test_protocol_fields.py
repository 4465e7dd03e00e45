"""socketserver.wire.fields"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from socketserver.values import MAX_SAFE_INTEGER
from socketserver.wire.fields import (
    MAX_METADATA_DEPTH,
    Bool,
    Cursor,
    Int,
    ListOfUserIds,
    Metadata,
    Shown,
    Text,
    encodable,
)
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NESTED = 8


def refused(field: fields.Field[Any], value: object) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return True
    return False


def nested(levels: int, make: str) -> Any:
    """An object with `levels` levels, of objects or of lists."""
    value: Any = 1
    for _ in range(levels - 1):
        value = {"a": value} if make == "object" else [value]
    return {"a": value}


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, True, b"x", ["x"], {"$ne": None}, "", "x" * 11, "a\0b", "\ud800", "a\udfffb"]
)
def test_text_refuses(value: object) -> None:
    """A text is a string within its bounds, without NUL and half surrogate pairs; nothing is converted to one."""
    assert refused(Text(most=10), value)


@pytest.mark.parametrize("value", ["x", "x" * 10, "ä€😀", " ", "$ne", "'; DROP TABLE --", "\x01"])
def test_text_keeps(value: str) -> None:
    """A text comes out as it went in."""
    assert Text(most=10 + len(value)).deserialize(value) == value


def test_text_pattern() -> None:
    """A pattern has to fit the whole text, a line end at the end included."""
    field = Text(most=10, pattern=r"\A[\x21-\x7e]+\Z")
    assert field.deserialize("a-Z_9~") == "a-Z_9~"
    for value in ("a b", "a\n", "ä", "\x7f"):
        assert refused(field, value)


@pytest.mark.parametrize(
    "value",
    [None, "1", "1.0", True, [1], {}, -1, -1.0, MAX_SAFE_INTEGER + 1, 10**400, 1.5, 2.0**53, 1e300, math.inf, math.nan],
)
def test_int_refuses(value: object) -> None:
    """An integer is a whole JSON number in its range; true, 1.5 and '1' are none."""
    assert refused(Int(), value)


@pytest.mark.parametrize(("value", "whole"), [(1.0, 1), (0.0, 0), (-0.0, 0), (2.0**53 - 1, MAX_SAFE_INTEGER)])
def test_a_whole_float_is_an_integer(value: float, whole: int) -> None:
    """`seq: 1.0`, of a language that knows only floats, was "Not an integer."."""
    read = Int().deserialize(value)
    assert (read, type(read)) == (whole, int)


def test_int_keeps() -> None:
    """Both ends of the range are allowed."""
    assert [Int().deserialize(value) for value in (0, MAX_SAFE_INTEGER)] == [0, MAX_SAFE_INTEGER]
    assert refused(Int(least=1), 0)
    assert refused(Int(most=5), 6)


@pytest.mark.parametrize("value", [None, 0, 1, "true", "yes", [], 1.0])
def test_bool_refuses(value: object) -> None:
    """A boolean is true or false, and nothing that resembles them."""
    assert refused(Bool(), value)
    assert [Bool().deserialize(value) for value in (True, False)] == [True, False]


@pytest.mark.parametrize("value", ["", " ", "\n\t ", "\u2003", "\u200b", "\u3164 \ufeff", "x" * 11, None, 5])
def test_shown_refuses(value: object) -> None:
    """A text for people has something to see; values/texts.py says what that is."""
    assert refused(Shown(most=10), value)
    assert not Shown(most=10).good(value)


def test_shown_keeps() -> None:
    """A body is kept as it is: white space around it, line ends and joiners are the sender's."""
    for text in ("  a\r\n b ", "\u200b\u2060a\ufeff", "👩\u200d💻"):
        assert Shown(most=20).deserialize(text) == text
        assert Shown(most=20).good(text)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": MAX_SAFE_INTEGER + 1},
        {"a": -(10**400)},
        {"a": "\0"},
        {"a\0": 1},
        {"\ud800": 1},
        {"a": ["\udfff"]},
        {"a": b"bytes"},
        {"a": "x" * 100},
    ],
)
def test_metadata_refuses(value: object) -> None:
    """Metadata is a JSON object that a store can keep and a JavaScript client can read back."""
    assert refused(Metadata(most_bytes=100), value)


@pytest.mark.parametrize("make", ["object", "list"])
def test_metadata_depth(make: str) -> None:
    """Eight levels of objects and lists are allowed, the outermost counted, and nine are not."""
    assert MAX_METADATA_DEPTH == NESTED
    assert not refused(Metadata(most_bytes=1000), nested(NESTED, make))
    assert refused(Metadata(most_bytes=1000), nested(NESTED + 1, make))
    assert refused(Metadata(most_bytes=10**6), nested(900, make))


def test_metadata_size() -> None:
    """The size counts as JSON in UTF-8, to the byte."""
    value = {"a": "€"}  # {"a":"€"}: 8 characters, the euro of 3 bytes
    assert not refused(Metadata(most_bytes=11), value)
    assert refused(Metadata(most_bytes=10), value)


@given(JSON)
def test_metadata_that_passes_survives_json(value: object) -> None:
    """Whatever passes as metadata is the same after a round trip through strict JSON."""
    field = Metadata(most_bytes=10_000)
    if not refused(field, {"value": value}):
        encoded = orjson.dumps({"value": value})
        assert orjson.loads(encoded) == json.loads(encoded) == {"value": value}


@pytest.mark.parametrize(
    "value",
    [None, 5, "", ":", "5:", ":x", "5", "x:y", "-5:x", "5.0:x", "٥:x", "1" * 16 + ":x", "5:" + "x" * 65, "5:\0", {}],
)
def test_cursor_refuses(value: object) -> None:
    """A cursor that the server did not make is refused."""
    assert refused(Cursor(), value)


def test_cursor_reads() -> None:
    """A cursor is read as milliseconds and id, whatever the id is made of."""
    read: Callable[[str], Any] = Cursor().deserialize
    assert read("1700000000000:abc") == (1_700_000_000_000, "abc")
    assert read("0:a:b") == (0, "a:b")
    assert read("9" * 15 + ":" + "x" * 64) == (int("9" * 15), "x" * 64)


@pytest.mark.parametrize(
    "value",
    [None, "abc", {"0": "a"}, ("a",), ["a", 1], ["a", None], [["a"]], ["x" * 129], [""], list("abcd"), ["bob\x07"]],
)
def test_list_refuses(value: object) -> None:
    """A list of user ids is a JSON list of such strings within its bounds."""
    assert refused(ListOfUserIds(most=3), value)


def test_list_reads() -> None:
    """A list of user ids is read as a tuple, each in the form in which a token's sub is."""
    read: Callable[[list[str]], Any] = ListOfUserIds(most=3).deserialize
    assert read(["a", "e\u0301", "a"]) == ("a", "\u00e9", "a")


def test_a_wrong_user_id_is_named_by_its_place() -> None:
    """Of a thousand participants the wrong one is found by its number."""
    with pytest.raises(ValidationError) as caught:
        ListOfUserIds(most=3).deserialize(["a", "\t"])
    assert caught.value.messages == {1: ["It must have no control characters."]}


def test_long_list_has_one_error() -> None:
    """A list of a million wrong entries gives one error, not a million."""
    with pytest.raises(ValidationError) as caught:
        ListOfUserIds(most=3).deserialize([1] * 1_000_000)
    assert caught.value.messages == ["Longer than 3."]


@given(st.text(st.characters(), max_size=20))
def test_encodable(text: str) -> None:
    """A string counts as encodable exactly if Python can write it as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        assert not encodable(text)
    else:
        assert encodable(text)
    assert not encodable(text + "\ud912")
