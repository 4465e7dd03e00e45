"""TypeScript declarations of the wire, which `chat-socketserver types` prints; for socket.io-client's `Socket` type.

Nothing is written down twice: events, payloads and acks come from the table of events.py, codes from errors.py, and
the comments from the docstrings of the shapes.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

from ..chat.domain import ConversationKind, Role, SystemType
from ..errors import ENDS, ChatError
from ..settings import Settings
from . import fields, shapes
from .announcements import ServerEvent
from .events import ClientEvent
from .loading import Payloads

_HEAD: Final = """\
// The wire of the chat server, as TypeScript. Generated: do not edit, run `chat-socketserver types > events.ts`.
// Times are UTC in milliseconds. docs/protocol.md says what the events mean.
"""
_TAIL: Final = """\
/** What every request is answered with. */
export type Answer<Ack> = ({ ok: true } & Ack) | Failure;

/** What `auth` sends at the handshake; without a token the login cookie counts. */
export interface Auth {
  token?: string;
}
"""


def _words(words: Iterable[str]) -> str:
    return " | ".join(f'"{word}"' for word in words)


_SCALARS: Final[Mapping[object, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    object: "unknown",
    Any: "unknown",
}
_FIELDS: Final[Mapping[type, str]] = {
    fields.Text: "string",
    fields.Shown: "string",
    fields.Cursor: "string",
    fields.Int: "number",
    fields.Bool: "boolean",
    fields.Metadata: "Record<string, unknown>",
    fields.UserId: "string",
    fields.ListOfUserIds: "string[]",
    fields.ListOfSeqs: "number[]",
}
# Where TypeScript can say more than a TypedDict does: (name of the shape, key) → type.
_NARROWER: Final[Mapping[tuple[str, str], str]] = {
    ("Conversation", "kind"): _words(get_args(ConversationKind)),
    ("Message", "kind"): _words(["system"]),
    ("System", "type"): _words(get_args(SystemType)),
    ("System", "role"): _words(get_args(Role)),
    ("Participant", "role"): _words(get_args(Role)),
    ("ParticipantRole", "role"): _words(get_args(Role)),
    ("JoinConversationAck", "role"): _words(get_args(Role)),
    ("ConversationRemoved", "reason"): _words(["removed", "left", "deleted"]),
    ("ErrorDetails", "code"): "ErrorCode",
    ("Failure", "ok"): "false",
    ("SessionEnded", "code"): "EndCode",
}
# A TypedDict does not remember what it inherits from (Python 3.11).
_BASES: Final[Mapping[type, type]] = {shapes.ConversationSummaryWire: shapes.ConversationWire}
# Names that would hide what TypeScript brings along.
_NAMES: Final[Mapping[str, str]] = {"Error": "ErrorDetails"}


def declarations(settings: Settings) -> str:
    """The text of events.ts."""
    return "\n".join(
        [_HEAD, *_codes(), *_shapes(), *_requests(Payloads(settings)), *_maps(), _TAIL],
    )


def _codes() -> Iterator[str]:
    errors = [(error.code, " ".join((error.__doc__ or "").split())) for error in _every_error(ChatError)]
    ends = [(end.code, end.message) for end in ENDS.values()]
    for name, codes in (("ErrorCode", errors), ("EndCode", ends)):
        lines = [f"export type {name} ="]
        for code, text in codes:
            lines += [f"  /** {text} */", f'  | "{code}"']
        yield "\n".join(lines) + ";\n"


def _every_error(root: type[ChatError]) -> Iterator[type[ChatError]]:
    for error in root.__subclasses__():
        # Only this package's own: an application, or a test, may have made more.
        if error.__module__ == root.__module__:
            yield error
            yield from _every_error(error)


def _shapes() -> Iterator[str]:
    """Every TypedDict that an ack or a server event needs, each before the first that uses it."""
    seen: dict[type, None] = {}
    payloads = [event.row.payload for event in ServerEvent]
    acks = [event.row.ack for event in ClientEvent]
    for shape in (shapes.FailureWire, *payloads, *acks):
        _collect(shape, seen)
    for shape in seen:
        base = _BASES.get(shape)
        inherited = _hints(base) if base else {}
        about = attributes(shape)
        members = [
            f"/** {about[key]} */\n{_member(shape, key, hint)}"
            for key, hint in _hints(shape).items()
            if key not in inherited
        ]
        name = f"{_name(shape)} extends {_name(base)}" if base else _name(shape)
        yield _interface(name, members, _summary(shape))


def attributes(shape: type) -> dict[str, str]:
    """What a shape's docstring says under `Attributes`: key → its sentences, on one line."""
    _, _, section = inspect.cleandoc(shape.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^(\w+): (.*(?:\n .*)*)", textwrap.dedent(section), re.M)
    return {key: " ".join(text.split()) for key, text in found}


def _summary(shape: type) -> str:
    return inspect.cleandoc(shape.__doc__ or "").partition("\n")[0]


def _collect(hint: Any, seen: dict[type, None]) -> None:
    if typing.is_typeddict(hint):
        for inner in _hints(hint).values():
            _collect(inner, seen)
        seen.setdefault(hint)
    for inner in get_args(hint):
        _collect(inner, seen)


def _hints(shape: type) -> dict[str, Any]:
    return get_type_hints(shape, include_extras=True)


def _member(shape: type, key: str, hint: Any) -> str:
    optional = get_origin(hint) is typing.NotRequired
    if optional:
        (hint,) = get_args(hint)
    return f"{key}{'?' if optional else ''}: {_NARROWER.get((_name(shape), key)) or _type(hint)};"


def _requests(payloads: Payloads) -> Iterator[str]:
    """What clients send, by the schemas that check it."""
    for event in ClientEvent:
        members = []
        for name, field in payloads.schema(event).fields.items():
            kind = _words(field.words) if isinstance(field, fields.Choice) else _FIELDS[type(field)]
            kind += " | null" if field.allow_none else ""
            members.append(f"{field.data_key or name}{'' if field.required else '?'}: {kind};")
        yield _interface(_request_name(event), members, event.row.doc)


def _maps() -> Iterator[str]:
    requests = [(event, _request_name(event), _name(event.row.ack), f"/** {event.row.doc} */") for event in ClientEvent]
    yield _interface(
        "ClientToServerEvents",
        [
            f"{doc}\n{event}: (payload: {payload}, ack: (answer: Answer<{ack}>) => void) => void;"
            for event, payload, ack, doc in requests
        ],
    )
    yield _interface(
        "ServerToClientEvents",
        [f"/** {event.row.doc} */\n{event}: (payload: {_name(event.row.payload)}) => void;" for event in ServerEvent],
    )
    yield _interface(
        "Requests",
        [f"{event}: {{ payload: {payload}; ack: {ack} }};" for event, payload, ack, _ in requests],
        "The same by name, for a function that sends any request.",
    )


def _interface(name: str, members: list[str], doc: str = "") -> str:
    comment = [f"/** {doc} */"] if doc else []
    if not members:
        return "\n".join([*comment, f"export type {name} = object;\n"])
    return "\n".join(
        [*comment, f"export interface {name} {{", *(textwrap.indent(each, "  ") for each in members), "}\n"]
    )


def _name(shape: type) -> str:
    name = shape.__name__.removesuffix("Wire")
    return _NAMES.get(name, name)


def _request_name(event: ClientEvent) -> str:
    return "".join(word.title() for word in event.split("_"))


def _type(hint: Any) -> str:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.is_typeddict(hint):
        return _name(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return " | ".join(_type(argument) for argument in arguments)
    if origin is list:
        return f"{_type(arguments[0])}[]"
    if origin in {dict, Mapping}:
        return f"Record<{_type(arguments[0])}, {_type(arguments[1])}>"
    raise TypeError(f"there is no TypeScript for {hint}")
