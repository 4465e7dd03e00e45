"""marshmallow fields for JSON from strangers, of which events.py builds its payloads.

marshmallow's own fields convert: b"x" and 1 become text, "yes" becomes true, "1" an integer. These do not, and let
nothing in that a store could not keep or a JavaScript client could not read back. What is asked at other doors too has
its rule in values/.

marshmallow takes 15 to 30 µs for a small payload, as much as all else that a message costs. So a field that is part of
frequent events can also say quickly that a value is good as it is (`Quick`); marshmallow judges all others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

import orjson
from marshmallow import ValidationError, fields, validate

from ..values import MAX_SAFE_INTEGER, check_user_id, shows_something, whole_number

MAX_ID_CHARS: Final = 64
MAX_REACTION_CHARS: Final = 32
MAX_METADATA_DEPTH: Final = 8


@runtime_checkable
class Quick(Protocol):
    """A field that knows good values."""

    def good(self, value: Any) -> bool:
        """Whether marshmallow would let the value through unchanged. False where only marshmallow can tell."""


def encodable(text: str) -> bool:
    """Whether a string can be written as UTF-8: not if it has half of a surrogate pair."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


class Text(fields.Field[str]):
    """A string that any store and any client can hold: no NUL, no half of a surrogate pair."""

    def __init__(self, *, least: int = 1, most: int, pattern: str | None = None, **options: Any) -> None:
        validators: list[Callable[[Any], Any]] = [validate.Length(least, most)]
        if pattern:
            validators.append(validate.Regexp(pattern, error="Has characters that are not allowed here."))
        super().__init__(validate=validators, **options)
        self._least = least
        self._most = most
        self._matches = re.compile(pattern).match if pattern else None

    def good(self, value: Any) -> bool:
        return (
            type(value) is str
            and self._least <= len(value) <= self._most
            and "\0" not in value
            and encodable(value)
            and (self._matches is None or self._matches(value) is not None)
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        if "\0" in value or not encodable(value):
            raise ValidationError("Has a NUL or half of a surrogate pair.")
        return value


class Int(fields.Field[int]):
    """A whole number of JSON's; 1.0 is one, true is none."""

    def __init__(self, *, least: int = 0, most: int = MAX_SAFE_INTEGER, **options: Any) -> None:
        super().__init__(validate=validate.Range(least, most), **options)
        self._least = least
        self._most = most

    def good(self, value: Any) -> bool:
        return type(value) is int and self._least <= value <= self._most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValidationError("Not an integer.")
        try:
            return whole_number(value)
        except ValueError:
            raise ValidationError(f"Not an integer of at most {MAX_SAFE_INTEGER}.") from None


class Bool(fields.Field[bool]):
    """true or false, and nothing that resembles them."""

    def good(self, value: Any) -> bool:
        return type(value) is bool

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError("Not a boolean.")
        return value


class Choice(fields.Field[str]):
    """One of a few words.

    Attributes:
        words: those.
    """

    def __init__(self, *words: str, **options: Any) -> None:
        super().__init__(validate=validate.OneOf(words, error=f"Not one of {', '.join(words)}."), **options)
        self.words = words

    def good(self, value: Any) -> bool:
        return type(value) is str and value in self.words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        return value


class Metadata(fields.Field[dict[str, Any]]):
    """A JSON object that every client can read back: bounded in size and depth, numbers exact in JavaScript."""

    def __init__(self, *, most_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._most_bytes = most_bytes

    def good(self, value: Any) -> bool:
        return value is None and self.allow_none

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ValidationError("Not an object.")
        self._check(value, 1)
        size = len(orjson.dumps(value))
        if size > self._most_bytes:
            raise ValidationError(f"Is {size} bytes as JSON; at most {self._most_bytes} are allowed.")
        return value

    def _check(self, value: Any, depth: int) -> None:
        if depth > MAX_METADATA_DEPTH:
            raise ValidationError(f"Is nested deeper than {MAX_METADATA_DEPTH} levels.")
        if isinstance(value, dict):
            for key, item in value.items():
                self._check(key, depth)
                self._check(item, depth + 1 if isinstance(item, dict | list) else depth)
        elif isinstance(value, list):
            for item in value:
                self._check(item, depth + 1 if isinstance(item, dict | list) else depth)
        elif isinstance(value, str):
            if "\0" in value or not encodable(value):
                raise ValidationError("Has a NUL or half of a surrogate pair.")
        elif isinstance(value, bool) or value is None:
            pass
        elif isinstance(value, int):
            if abs(value) > MAX_SAFE_INTEGER:
                raise ValidationError("Has an integer that JavaScript cannot hold exactly.")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValidationError("Has a number that is not finite.")
        else:
            raise ValidationError("Has a value that is not JSON.")


class Shown(Text):
    """A text that people read: it has something to see, and is kept as it is."""

    def good(self, value: Any) -> bool:
        return super().good(value) and shows_something(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not shows_something(text):
            raise ValidationError("Is blank.")
        return text


class Cursor(Text):
    """A place in a list of conversations, `activity:id`, read as a pair of milliseconds and id."""

    def __init__(self, **options: Any) -> None:
        super().__init__(most=16 + MAX_ID_CHARS, **options)
        self.validators = []  # they would measure the pair; a cursor that is too long is found out below

    def good(self, value: Any) -> bool:
        return False  # it does not come out as it went in

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        at, colon, conversation_id = super()._deserialize(value, attr, data, **kwargs).partition(":")
        if not (colon and at.isascii() and at.isdigit() and len(at) <= 15 and 0 < len(conversation_id) <= MAX_ID_CHARS):
            raise ValidationError("Not a cursor; pass nextBefore of the page before.")
        return int(at), conversation_id


class UserId(fields.Field[str]):
    """A user's id, in normalization form C whatever form it came in."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        try:
            return check_user_id(value)
        except ValueError as error:
            raise ValidationError(f"It {error}.") from None


class ListOfSeqs(fields.Field[Any]):
    """A JSON list of 1 to `most` positions; read as a tuple."""

    def __init__(self, *, most: int, **options: Any) -> None:
        super().__init__(**options)
        self._most = most
        self._seq = Int(least=1)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is not list:
            raise ValidationError("Not a list.")
        if not 0 < len(value) <= self._most:
            raise ValidationError(f"Not 1 to {self._most} of them.")
        return tuple(self._seq.deserialize(each) for each in value)


class ListOfUserIds(fields.List[str]):
    """A JSON list of at most `most` user ids; read as a tuple."""

    def __init__(self, *, most: int, **options: Any) -> None:
        super().__init__(UserId(), **options)
        self._most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is not list:
            raise ValidationError("Not a list.")
        if len(value) > self._most:  # before each of a million entries gets an error of its own
            raise ValidationError(f"Longer than {self._most}.")
        return tuple(super()._deserialize(value, attr, data, **kwargs))
