"""Whole numbers, as JSON and queries bring them. Pure."""

from __future__ import annotations

from typing import Final

MAX_SAFE_INTEGER: Final = 2**53 - 1  # above it a JavaScript number loses digits


def whole_number(value: object) -> int:
    """A JSON number as an integer: 1.0 is 1, as some languages know only floats; true is none, and neither is "1".

    Raises: ValueError for all else, and beyond ±MAX_SAFE_INTEGER, where two integers may be the same float.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) > MAX_SAFE_INTEGER:
        raise ValueError("must be a whole number")
    return value


def whole_number_in(text: str) -> int:
    """`whole_number` of a text, as it stands in a query: decimal digits, maybe with a sign, maybe with `.0`.

    Raises: ValueError.
    """
    whole, _, fraction = text.strip().partition(".")
    digits = whole[1:] if whole[:1] in {"+", "-"} else whole
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16) or fraction.strip("0"):
        raise ValueError("must be a whole number")
    return whole_number(int(whole))
