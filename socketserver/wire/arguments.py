"""The fields that several requests have, with their limits; events.py builds its rows of them."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import fields, validate

from ..settings import Settings
from .fields import MAX_ID_CHARS, Choice, Int, ListOfUserIds, Metadata, Shown, Text, UserId

DEFAULT_PAGE: Final = 50
MAX_KEY_CHARS: Final = 128
MAX_TITLE_CHARS: Final = 200
MAX_TOKEN_CHARS: Final = 8_192
MAX_SEQS: Final = 50


def conversation_id() -> Text:
    return Text(most=MAX_ID_CHARS, required=True, data_key="conversationId")


def idempotency_key(**options: Any) -> Text:
    return Text(most=MAX_KEY_CHARS, pattern=r"\A[\x21-\x7e]+\Z", data_key="idempotencyKey", **options)


def page(limits: Settings) -> Int:
    return Int(least=1, most=limits.max_page, load_default=min(DEFAULT_PAGE, limits.max_page))


def user_ids(most: int, name: str) -> fields.Field[Any]:
    return ListOfUserIds(most=most, required=True, data_key=name, validate=validate.Length(1))


def user_id() -> UserId:
    return UserId(required=True, data_key="userId")


def role(**options: Any) -> Choice:
    return Choice("owner", "admin", "member", **options)


def title(**options: Any) -> Shown:
    return Shown(most=MAX_TITLE_CHARS, allow_none=True, **options)


def seq() -> Int:
    return Int(least=1, required=True)


def mentions(limits: Settings) -> fields.Field[Any]:
    return ListOfUserIds(most=limits.max_mentions)


def metadata(limits: Settings) -> Metadata:
    return Metadata(most_bytes=limits.max_metadata_bytes, allow_none=True)
