"""Texts of people: user ids, names, addresses of pictures, and whether a text shows anything. Pure.

Source: for user ids RFC 8265 3.4 (case kept, normalization form C), less strict; for what cannot be seen
Default_Ignorable_Code_Point in DerivedCoreProperties.txt of Unicode 16.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from ..chat.domain import UserId

MAX_USER_ID_CHARS: Final = 128  # at most 512 bytes as UTF-8
MAX_NAME_CHARS: Final = 128
MAX_AVATAR_CHARS: Final = 1024  # with the longest id and name it leaves a login cookie under 4096 bytes

# Characters that software is told to draw nothing for, reserved ones included.
_IGNORABLE: Final = (
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_IGNORABLE_ANYWHERE: Final = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _IGNORABLE) + "]")
# What turns the direction of the text around it, behind its own end too.
_TURNING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
# RFC 3986, without user and password: what stands in it can stand between quotation marks in HTML and CSS.
_AVATAR: Final = re.compile(
    r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][a-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?",
    re.ASCII | re.IGNORECASE,
)
_BEGINNING: Final = 8
# Letters and symbols that have no ink: the blank Braille cell, the null notehead.
_BLANK: Final = frozenset("\u2800\U0001d159")
# Format characters that are drawn: signs that stand before Arabic, Syriac and Kaithi numbers.
_DRAWN: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
_JOINERS: Final = frozenset("\u200c\u200d")
_SELECTORS: Final = frozenset("\ufe0e\ufe0f")
_KEYCAP: Final = "\u20e3"


@lru_cache(maxsize=8192)
def _ignorable(char: str) -> bool:
    """Whether a character is drawn as nothing, and is no white space."""
    code = ord(char)
    if any(first <= code <= last for first, last in _IGNORABLE):
        return True
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} and char not in _DRAWN


@lru_cache(maxsize=8192)
def _shows(char: str) -> bool:
    """Whether a character has something to see when it stands alone: a mark has not, it needs what it marks.

    A character that this Python's Unicode does not know yet counts as one that shows.
    """
    if _ignorable(char) or char in _BLANK:
        return False
    code = ord(char)
    if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF:  # noncharacters
        return False
    return unicodedata.category(char)[0] not in "ZM"


def shows_something(text: str) -> bool:
    """Whether a text has anything to see: not if it is white space, marks and invisible characters only.

    Costs one look for nearly every text, as nearly every text begins with a letter; of all others each character is
    looked at once, however often it comes.
    """
    return any(map(_shows, text[:_BEGINNING])) or (len(text) > _BEGINNING and any(map(_shows, set(text))))


def check_user_id(value: object) -> UserId:
    """A value as a user id, in Unicode's normalization form C: two ways to write `é` are one user.

    A string of 1 to MAX_USER_ID_CHARS characters with something to see, without white space at its ends, and without
    characters that cannot be seen, as two ids that look the same would be two users. Joiners and variation selectors
    may stand after characters that are not ASCII: Persian and emoji are written with them.

    Raises: ValueError with the end of a sentence that begins with the value's name.
    """
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if not 1 <= len(value) <= MAX_USER_ID_CHARS:
        raise ValueError(f"must have 1 to {MAX_USER_ID_CHARS} characters")
    if value.isascii():
        if not value.isprintable():
            raise ValueError("must have no control characters")
    else:
        value = _check_beyond_ascii(value)
    if not shows_something(value):
        raise ValueError("must have something to see")
    if value[0].isspace() or value[-1].isspace():
        raise ValueError("must not begin or end with white space")
    return UserId(value)


def _check_beyond_ascii(value: str) -> str:
    if value.isprintable() and not _IGNORABLE_ANYWHERE.search(value):  # as most are, and without a look at each
        value = unicodedata.normalize("NFC", value)
        if len(value) <= MAX_USER_ID_CHARS:
            return value
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in value):
        raise ValueError("must have no control characters")
    value = unicodedata.normalize("NFC", value)
    if len(value) > MAX_USER_ID_CHARS:  # a few characters become two or three
        raise ValueError(f"must have 1 to {MAX_USER_ID_CHARS} characters in normalization form C")
    for place, char in enumerate(value):
        if _ignorable(char) and not _joins(value, place):
            raise ValueError(f"must have no invisible characters (it has U+{ord(char):04X})")
    return value


def _joins(text: str, place: int) -> bool:
    """Whether an invisible character changes how those beside it are drawn."""
    before, after = text[:place], text[place + 1 :]
    if text[place] in _JOINERS:
        # Also behind a selector: ❤️ and 🔥 joined are one heart on fire.
        before = before.rstrip("\ufe0e\ufe0f")
        # Behind a mark too: in Hindi it follows the virama.
        return bool(before and after) and not before[-1].isascii() and not _ignorable(before[-1]) and _shows(after[0])
    if text[place] in _SELECTORS and before:
        return after[:1] == _KEYCAP or (not before[-1].isascii() and _shows(before[-1]))
    return False


def check_name(value: object) -> str:
    """A value as a name for display: one line of at most MAX_NAME_CHARS characters with something to see.

    What is only untidy is no reason to go without a name: control characters and white space become single spaces, what
    would turn the text around it is left out, what is too long is cut.

    Raises: ValueError, as check_user_id, for what is no string and for a name that shows nothing.
    """
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if not value.isprintable():
        value = _TURNING.sub("", value)
        value = "".join(" " if unicodedata.category(char) in {"Cc", "Cs"} else char for char in value)
    name = " ".join(value.split())[:MAX_NAME_CHARS].strip()
    if not shows_something(name):
        raise ValueError("must have something to see")
    return name


def check_avatar(value: object) -> str:
    """A value as the address of a picture: http or https, at most MAX_AVATAR_CHARS characters of those that RFC 3986
    allows (all others are written with %), without user and password.

    Raises: ValueError, as check_user_id.
    """
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if len(value) > MAX_AVATAR_CHARS:
        raise ValueError(f"must have at most {MAX_AVATAR_CHARS} characters")
    if not _AVATAR.fullmatch(value):
        raise ValueError("must be an address that begins with http:// or https://")
    return value
