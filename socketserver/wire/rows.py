"""The columns of the table in events.py: what is declared of an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import fields

from ..chat.service import Chat
from ..errors import ChatError
from ..settings import Settings

Fields = dict[str, fields.Field[Any]]
UseCase = Callable[[Any, Any], Awaitable[Any]]  # of a user id and the command; each knows its own types


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An event that clients send.

    Attributes:
        name: on the wire.
        doc: what it asks for, in one sentence.
        command: what a payload becomes: a class whose arguments are the fields' names.
        fields: the payload's fields, by the command's names, within the limits of the settings.
        ack: the TypedDict of what is answered beside `ok`.
        errors: what it can be refused with, beside what every event can.
        exclusive: two fields of which at most one may be given.
        use_case: the use case behind it; None where it concerns only the socket.
        dump: the ack from the use case's result. An event that has it needs no handler.
    """

    name: str
    doc: str
    command: type
    fields: Callable[[Settings], Fields]
    ack: type
    errors: tuple[type[ChatError], ...]
    exclusive: tuple[str, str] | None = None
    use_case: Callable[[Chat], UseCase] | None = None
    dump: Callable[[Any, Settings], Mapping[str, object]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An event that the server sends.

    Attributes:
        name: on the wire.
        doc: what it says, in one sentence.
        payload: its TypedDict.
        snapshot: where to find what it announces, for whoever did not hear it: a request's name → the key of its ack.
            None: it announces no state. docs/decisions/0019-what-is-announced-is-in-an-answer-too.md
    """

    name: str
    doc: str
    payload: type
    snapshot: Mapping[str, str] | None
