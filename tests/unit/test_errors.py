"""The error tree: its table is true, its codes are stable words, its texts are for developers."""

from __future__ import annotations

import re
from socketserver import errors
from socketserver.errors import ENDS, ChatError, End

import pytest

CLASSES = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ChatError)),
    key=lambda kind: kind.__name__,
)
ERRORS = [kind for kind in CLASSES if kind is not ChatError]
TABLE_ROW = re.compile(r"^ {4}[│ ]*[├└]── (\w+) +(\w+) +(yes|no)\b", re.MULTILINE)


def test_the_table_is_the_tree() -> None:
    """The docstring names every class with its code and whether it is retryable, and nothing else."""
    table = {name: (code, retryable == "yes") for name, code, retryable in TABLE_ROW.findall(errors.__doc__ or "")}
    assert table == {kind.__name__: (kind.code, kind.retryable) for kind in ERRORS}


def test_the_table_shows_who_is_whose_child() -> None:
    """A row that is further in is a subclass of the row above it."""
    above: list[tuple[int, type[ChatError]]] = [(0, ChatError)]
    for line in (errors.__doc__ or "").splitlines():
        if row := TABLE_ROW.match(line):
            depth, kind = line.index("──"), getattr(errors, row[1])
            while above[-1][0] >= depth:
                above.pop()
            assert kind.__bases__ == (above[-1][1],), kind
            above.append((depth, kind))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_well_formed(kind: type[ChatError]) -> None:
    """A lower_snake code that is the class's name, a sentence, a docstring, and sensible defaults."""
    assert kind.code == re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    assert kind.default_message[0].isupper()
    assert kind.default_message.endswith(".")
    assert kind.__doc__
    error = kind()
    assert (error.message, str(error)) == (kind.default_message, kind.default_message)
    assert error.retry_after_ms is None
    assert error.fields is None


def test_an_error_carries_what_it_is_given() -> None:
    """A sentence of its own, the time to wait, the fields."""
    error = errors.InvalidPayload("No.", retry_after_ms=500, fields={"body": ["Missing."]})
    assert (error.message, str(error)) == ("No.", "No.")
    assert (error.retry_after_ms, error.fields) == (500, {"body": ["Missing."]})


def test_codes_are_used_once() -> None:
    """Applications compare codes: no two errors share one, and no end of a connection has an error's by accident."""
    codes = [kind.code for kind in ERRORS]
    assert len(set(codes)) == len(codes)


def test_every_end_is_listed_under_its_code() -> None:
    """ENDS is all of them: the documentation and the tests of the wire go by it."""
    ends = {end.code: end for end in vars(errors).values() if isinstance(end, End)}
    assert ends == ENDS
    for code, end in ENDS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        for text in (end.message, end.advice):
            assert text[0].isupper()
            assert text.endswith(".")
