"""TypeScript declarations of the wire, which `socketserver types` prints; for socket.io-client's `Socket` type.

Nothing is written down twice: payloads come from the schemas and the shapes of protocol.py, acks from protocol_acks.py,
codes from errors.py.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

from ..chat.domain import ConversationKind
from ..errors import ENDS, ChatError
from ..settings import Settings
from . import fields as protocol_fields
from . import protocol
from .acks import ACKS, PAYLOADS
from .protocol import ClientEvent, Payloads

_HEAD: Final = """\
// The wire of the chat server, as TypeScript. Generated: do not edit, run `python -m socketserver types > events.ts`.
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
    protocol_fields.Text: "string",
    protocol_fields.Shown: "string",
    protocol_fields.Cursor: "string",
    protocol_fields.Int: "number",
    protocol_fields.Bool: "boolean",
    protocol_fields.Metadata: "Record<string, unknown>",
    protocol_fields.ListOfUserIds: "string[]",
}
# Where TypeScript can say more than a TypedDict does: (name of the shape, key) → type.
_NARROWER: Final[Mapping[tuple[str, str], str]] = {
    ("Conversation", "kind"): " | ".join(f'"{kind}"' for kind in get_args(ConversationKind)),
    ("ErrorDetails", "code"): "ErrorCode",
    ("Failure", "ok"): "false",
    ("SessionEnded", "code"): "EndCode",
}
# A TypedDict does not remember what it inherits from (Python 3.11).
_BASES: Final[Mapping[type, type]] = {protocol.ConversationSummaryWire: protocol.ConversationWire}
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
    for shape in (protocol.FailureWire, *PAYLOADS.values(), *ACKS.values()):
        _collect(shape, seen)
    for shape in seen:
        base = _BASES.get(shape)
        inherited = _hints(base) if base else {}
        members = [_member(shape, key, hint) for key, hint in _hints(shape).items() if key not in inherited]
        yield _interface(f"{_name(shape)} extends {_name(base)}" if base else _name(shape), members)


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
            kind = _FIELDS[type(field)] + (" | null" if field.allow_none else "")
            members.append(f"{field.data_key or name}{'' if field.required else '?'}: {kind};")
        yield _interface(_request_name(event), members)


def _maps() -> Iterator[str]:
    yield _interface(
        "ClientToServerEvents",
        [
            f"{event}: (payload: {_request_name(event)}, ack: (answer: Answer<{_name(ack)}>) => void) => void;"
            for event, ack in ACKS.items()
        ],
    )
    yield _interface(
        "ServerToClientEvents", [f"{event}: (payload: {_name(shape)}) => void;" for event, shape in PAYLOADS.items()]
    )
    yield "/** The same by name, for a function that sends any request. */\n" + _interface(
        "Requests",
        [f"{event}: {{ payload: {_request_name(event)}; ack: {_name(ack)} }};" for event, ack in ACKS.items()],
    )


def _interface(name: str, members: list[str]) -> str:
    if not members:
        return f"export type {name} = object;\n"
    return "\n".join([f"export interface {name} {{", *(f"  {member}" for member in members), "}\n"])


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
