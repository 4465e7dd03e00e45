"""What no client should send: for every event and every field, a refusal that names the field, and nothing stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socketserver.wire.protocol import MAX_SAFE_INTEGER, ClientEvent
from typing import Any, Final

import pytest
from support import database as db
from support.node import INFINITY, NAN, UNDEFINED, Node, Transport, binary
from support.peer import NoAck
from support.servers import LocalServer, serving
from support.stage import Stage

NESTED: Final = json.loads('{"a":' * 30 + "1" + "}" * 30)
MANY_ERRORS: Final = 500


def _not_text(*, nullable: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = {
        "a number": 7,
        "zero": 0,
        "true": True,
        "false": False,
        "an array": ["text"],
        "an empty array": [],
        "an object": {"text": "text"},
        "an operator": {"$ne": None},
        "another operator": {"$gt": ""},
        "a nested object": NESTED,
        "binary": binary(b"text"),
        "a NUL": "te\0xt",
        "empty": "",
    }
    return values if nullable else values | {"null": None, "NaN": NAN, "Infinity": INFINITY}


def _text(most: int, *, nullable: bool = False) -> dict[str, Any]:
    return _not_text(nullable=nullable) | {"too long": "x" * (most + 1), "much too long": "x" * 30_000}


def _integer(least: int) -> dict[str, Any]:
    return {
        "null": None,
        "text": "1",
        "no text": "",
        "true": True,
        "false": False,
        "a fraction": 1.5,
        "below the least": least - 1,
        "far below": -MAX_SAFE_INTEGER,
        "not exact in JavaScript": 2**53,
        "huge": 1e300,
        "hugely negative": -1e300,
        "NaN": NAN,
        "Infinity": INFINITY,
        "an array": [1],
        "an object": {"n": 1},
        "an operator": {"$gte": 0},
        "a nested object": NESTED,
        "binary": binary(b"1"),
    }


def _boolean() -> dict[str, Any]:
    return {
        "null": None,
        "text": "true",
        "one": 1,
        "zero": 0,
        "an array": [True],
        "an object": {},
        "an operator": {"$ne": False},
        "NaN": NAN,
        "binary": binary(b"\x01"),
    }


_ID: Final = _text(64)
_KEY: Final = _text(128) | {"a space": "a b", "not ASCII": "schlüssel", "a newline at the end": "key\n"}
_LIMIT: Final = _integer(1) | {"too many": 201}
_BODY: Final = _text(4000) | {"blank": " \n\t ", "blank in Unicode": "\u2003\u3000"}
_METADATA: Final = {
    "text": "text",
    "a number": 1,
    "true": True,
    "an array": [{"a": 1}],
    "too large": {"a": "x" * 4096},
    "too large in UTF-8": {"a": "😀" * 1024},
    "too deep": NESTED,
    "arrays too deep": {"a": [[[[[[[[[1]]]]]]]]]},
    "a number not exact": {"a": 2**60},
    "a NUL": {"a": "\0"},
    "a NUL in a key": {"\0": 1},
    "binary": binary(b"{}"),
    "binary in it": {"a": [binary(b"x")]},
}
_MENTIONS: Final = {
    "null": None,
    "text": "ben",
    "a number": 1,
    "an object": {"0": "ben"},
    "a number in it": ["ben", 1],
    "nothing in it": [""],
    "an array in it": [["ben"]],
    "an operator in it": [{"$ne": None}],
    "a long one": ["x" * 129],
    "too many": [f"u{number}" for number in range(101)],
    "binary": binary(b"ben"),
}
_SEQS: Final = {
    "null": None,
    "text": "1",
    "a number": 1,
    "empty": [],
    "an object": {"0": 1},
    "text in it": ["1"],
    "zero in it": [0],
    "a fraction in it": [1.5],
    "too many": list(range(1, 52)),
}


@dataclass(frozen=True)
class Case:
    """An event with a payload that would be right, and per field the values that are not.

    Attributes:
        required: fields that may not be missing.
    """

    payload: Mapping[str, Any]
    fields: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]


CASES: Final[dict[ClientEvent, Case]] = {
    ClientEvent.AUTHENTICATE: Case({"token": "x.y.z"}, {"token": _text(8192)}, ("token",)),
    ClientEvent.CREATE_CONVERSATION: Case(
        {"participantIds": ["ben", "carl"], "title": "New", "idempotencyKey": "key"},
        {
            "participantIds": {
                "null": None,
                "text": "ben",
                "a number": 1,
                "an object": {"0": "ben"},
                "an operator": {"$in": ["ben"]},
                "empty": [],
                "an empty name": ["ben", ""],
                "a null": ["ben", None],
                "a number in it": ["ben", 7],
                "an array in it": ["ben", ["carl"]],
                "an operator in it": ["ben", {"$ne": None}],
                "a name too long": ["x" * 129],
                "a NUL": ["be\0n"],
                "binary": [binary(b"ben")],
                "NaN in it": [NAN],
                "too many": [f"user{n}" for n in range(1001)],
                "one too many": [f"user{n}" for n in range(1000)],
                "many wrong ones": list(range(MANY_ERRORS)),
                "oneself only": ["ana", "ana"],
                "nested": [NESTED],
            },
            "title": _text(200, nullable=True),
            "idempotencyKey": _KEY,
        },
        ("participantIds",),
    ),
    ClientEvent.LIST_CONVERSATIONS: Case(
        {"limit": 5},
        {
            "limit": _LIMIT,
            "before": _text(80)
            | {
                "no colon": "123",
                "no time": ":abc",
                "no id": "123:",
                "a negative time": "-1:abc",
                "a time too long": "1234567890123456:abc",
                "other digits": "١٢٣:abc",
                "an id too long": "1:" + "x" * 65,
            },
        },
        (),
    ),
    ClientEvent.JOIN_CONVERSATION: Case(
        {"conversationId": "CHAT"},
        {"conversationId": _ID, "after": _integer(0), "limit": _LIMIT, "visible": _boolean()},
        ("conversationId",),
    ),
    ClientEvent.LEAVE_CONVERSATION: Case({"conversationId": "CHAT"}, {"conversationId": _ID}, ("conversationId",)),
    ClientEvent.ADD_PARTICIPANTS: Case(
        {"conversationId": "CHAT", "userIds": ["cat"], "history": "all", "idempotencyKey": "key"},
        {
            "conversationId": _ID,
            "userIds": _MENTIONS | {"nobody": []},
            "role": _text(6) | {"another": "god", "an operator": "$ne", "null": None},
            "history": _text(4) | {"another": "some", "null": None},
            "idempotencyKey": _KEY,
        },
        ("conversationId", "userIds", "history", "idempotencyKey"),
    ),
    ClientEvent.REMOVE_PARTICIPANT: Case(
        {"conversationId": "CHAT", "userId": "ben"},
        {"conversationId": _ID, "userId": _text(128), "idempotencyKey": _KEY},
        ("conversationId", "userId"),
    ),
    ClientEvent.SET_ROLE: Case(
        {"conversationId": "CHAT", "userId": "ben", "role": "admin"},
        {"conversationId": _ID, "userId": _text(128), "role": _text(6) | {"another": "god"}},
        ("conversationId", "userId", "role"),
    ),
    ClientEvent.UPDATE_CONVERSATION: Case(
        {"conversationId": "CHAT", "title": "title"},
        {
            "conversationId": _ID,
            "title": _text(200, nullable=True) | {"blank": " \n"},
            "metadata": _METADATA,
            "idempotencyKey": _KEY,
        },
        ("conversationId",),
    ),
    ClientEvent.SEND_MESSAGE: Case(
        {"conversationId": "CHAT", "idempotencyKey": "key", "body": "text"},
        {
            "conversationId": _ID,
            "idempotencyKey": _KEY,
            "body": _BODY,
            "metadata": _METADATA,
            "replyTo": _integer(1),
            "mentions": _MENTIONS,
        },
        ("conversationId", "idempotencyKey", "body"),
    ),
    ClientEvent.EDIT_MESSAGE: Case(
        {"conversationId": "CHAT", "seq": 1, "idempotencyKey": "key", "body": "text"},
        {
            "conversationId": _ID,
            "seq": _integer(1),
            "idempotencyKey": _KEY,
            "body": _BODY,
            "metadata": _METADATA,
            "mentions": _MENTIONS,
            "ifChange": _integer(1),
        },
        ("conversationId", "seq", "idempotencyKey", "body"),
    ),
    ClientEvent.DELETE_MESSAGE: Case(
        {"conversationId": "CHAT", "seq": 1}, {"conversationId": _ID, "seq": _integer(1)}, ("conversationId", "seq")
    ),
    ClientEvent.SET_REACTION: Case(
        {"conversationId": "CHAT", "seq": 1, "reaction": "👍", "on": True},
        {
            "conversationId": _ID,
            "seq": _integer(1),
            "reaction": _text(32) | {"a space": "a b"},
            "on": _boolean(),
        },
        ("conversationId", "seq", "reaction", "on"),
    ),
    ClientEvent.FETCH_CHANGES: Case(
        {"conversationId": "CHAT", "after": 0},
        {"conversationId": _ID, "after": _integer(0), "limit": _LIMIT},
        ("conversationId", "after"),
    ),
    ClientEvent.FETCH_MESSAGES: Case(
        {"conversationId": "CHAT", "seqs": [1]}, {"conversationId": _ID, "seqs": _SEQS}, ("conversationId", "seqs")
    ),
    ClientEvent.MARK_READ: Case(
        {"conversationId": "CHAT", "seq": 1}, {"conversationId": _ID, "seq": _integer(0)}, ("conversationId", "seq")
    ),
    ClientEvent.UPDATE_SETTINGS: Case(
        {"conversationId": "CHAT", "muted": True},
        {"conversationId": _ID, **dict.fromkeys(("muted", "pinned", "archived", "markedUnread"), _boolean())},
        ("conversationId",),
    ),
    ClientEvent.FETCH_HISTORY: Case(
        {"conversationId": "CHAT"},
        {"conversationId": _ID, "beforeSeq": _integer(1), "afterSeq": _integer(0), "limit": _LIMIT},
        ("conversationId",),
    ),
    ClientEvent.LIST_PARTICIPANTS: Case(
        {"conversationId": "CHAT"},
        {"conversationId": _ID, "after": _text(128), "limit": _LIMIT},
        ("conversationId",),
    ),
    ClientEvent.SET_TYPING: Case(
        {"conversationId": "CHAT", "typing": True},
        {"conversationId": _ID, "typing": _boolean()},
        ("conversationId", "typing"),
    ),
    ClientEvent.SET_VISIBILITY: Case(
        {"conversationId": "CHAT", "visible": True},
        {"conversationId": _ID, "visible": _boolean()},
        ("conversationId", "visible"),
    ),
}

FIELDS: Final = [(event, field) for event, case in CASES.items() for field in case.fields]
TRANSPORTS: Final[tuple[Transport, ...]] = ("websocket", "polling")


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database) as server:
        yield server


class Victim:
    """A server with a conversation in it, and a client to send nonsense with."""

    def __init__(self, stage: Stage, server: LocalServer) -> None:
        self.stage = stage
        self.server = server

    async def begin(self, event: ClientEvent) -> None:
        self.ana, self.ben = await self.stage.people("ana", "ben")
        self.chat = await self.ana.create("ben")
        for person in (self.ana, self.ben):
            await person.join(self.chat)
        await self.ana.send(self.chat, "before", key="before")
        await self.ben.settle()
        self.sid = (await self.ana.client.state())["sid"]
        self.rows = db.dump(self.server.database)
        self.mark = self.ben.client.mark()
        self.payload = {name: self.chat if value == "CHAT" else value for name, value in CASES[event].payload.items()}

    async def refused(self, event: ClientEvent, *arguments: Any) -> dict[str, Any]:
        """Emit, and return error.fields of the refusal."""
        error = await self.ana.client.refused(event, *arguments)
        assert (error["code"], error["retryable"]) == ("invalid_payload", False), error
        assert error["message"]
        assert len(json.dumps(error)) < 5000, "an error much larger than a mistake deserves"
        fields = error["fields"]
        assert isinstance(fields, dict)
        assert fields
        return fields

    async def end(self) -> None:
        """The same socket is still up, nothing was stored, nobody was told of anything."""
        await self.ana.settle()
        await self.ben.settle()
        assert (await self.ana.client.state())["sid"] == self.sid
        assert db.dump(self.server.database) == self.rows
        assert self.ben.client.log[self.mark :] == []


@pytest.fixture
def victim(server: LocalServer, node: Node) -> Victim:
    return Victim(Stage(server, node), server)


def test_every_event_and_field_is_here() -> None:
    """A new event, or a new field of one, needs its row in the table."""
    from socketserver.settings import Settings
    from socketserver.wire.protocol import ClientEvent, Payloads

    payloads = Payloads(Settings())
    assert {event: set(case.fields) for event, case in CASES.items()} == {
        event: {field.data_key or name for name, field in payloads.schema(event).fields.items()}
        for event in ClientEvent
    }


@pytest.mark.parametrize(("event", "field"), FIELDS)
async def test_a_bad_field(victim: Victim, event: ClientEvent, field: str) -> None:
    """Each bad value is refused with an error that names its field, and only that."""
    await victim.begin(event)
    wrong = {}
    for label, value in CASES[event].fields[field].items():
        fields = await victim.refused(event, {**victim.payload, field: value})
        if set(fields) != {field}:
            wrong[label] = fields
    assert wrong == {}
    await victim.end()


@pytest.mark.parametrize("event", CASES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_bad_payload_as_a_whole(
    server: LocalServer, node: Node, event: ClientEvent, transport: Transport
) -> None:
    """No argument, several, what is no object, missing fields, extra ones, all wrong at once."""
    victim = Victim(Stage(server, node, transport=transport), server)
    await victim.begin(event)
    good = victim.payload
    wholes: list[list[Any]] = [
        [],
        [good, good],
        [good, None],
        [None],
        [UNDEFINED],
        [[good]],
        [[]],
        ["text"],
        [json.dumps(good)],
        [7],
        [True],
        [NAN],
        [binary(b"{}")],
        [None, None, None, None],
    ]
    for arguments in wholes:
        assert set(await victim.refused(event, *arguments)) == {"payload"}, arguments
    for field in CASES[event].required:
        payload = {name: value for name, value in good.items() if name != field}
        assert set(await victim.refused(event, payload)) == {field}
        assert set(await victim.refused(event, {**good, field: UNDEFINED})) == {field}
    extras: dict[str, Any] = {
        "extra": 1,
        "$where": "sleep(1000)",
        "senderId": "ben",
        "userId": "ben",
        "__proto__": {"admin": True},
        "constructor": 1,
        "toString": 1,
        "conversation_id": "x",
        "": 1,
        "💥": 1,
        "x" * 64: 1,
    }
    for name, value in extras.items():
        if name != "__proto__" and name not in good:  # which a JavaScript object takes for itself
            assert set(await victim.refused(event, {**good, name: value})) == {name}
    if CASES[event].required:
        assert set(await victim.refused(event, {})) == set(CASES[event].required)
    everything: dict[str, Any] = {name: {"$ne": {}} for name in (*CASES[event].fields, "extra")}
    if "metadata" in everything:
        everything["metadata"] = "text"  # an object it may be
    assert set(await victim.refused(event, everything)) == set(everything)
    await victim.refused(event, {f"extra{number}": number for number in range(MANY_ERRORS)})
    await victim.refused(event, NESTED)
    await victim.end()


@pytest.mark.parametrize("event", CASES)
async def test_a_key_that_is_like_a_prototype(victim: Victim, event: ClientEvent) -> None:
    """`__proto__` as a key of the frame's own is an extra key like any other."""
    await victim.begin(event)
    payload = json.dumps({**victim.payload, "__proto__": {"admin": True}})
    ack = await victim.ana.client.raw(f'2%ID%["{event}",{payload}]')
    assert ack["error"]["code"] == "invalid_payload"
    await victim.end()


RAW: Final = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "overflow": "1e999",
    "an integer of 400 digits": "9" * 400,
    "an integer of 5000 digits": "9" * 5000,
    "half an emoji": '"\\ud83d"',
    "a raw control character": '"\x01"',
    "nested 200 deep": "[" * 200 + "]" * 200,
    "nested 20 000 deep": "[" * 20_000 + "]" * 20_000,
}
# Half an emoji may become the replacement character, which text may hold.
_TEXT_FIELDS: Final = frozenset(
    {"body", "reaction", "title", "token", "participantIds", "userId", "idempotencyKey", "before"}
)


def is_text(event: ClientEvent, field: str) -> bool:
    """Whether any text may stand there; `after` is a number in one event and a user's id in another."""
    return field in _TEXT_FIELDS or (event, field) == (ClientEvent.LIST_PARTICIPANTS, "after")


@pytest.mark.parametrize("label", RAW)
@pytest.mark.parametrize("event", CASES)
async def test_raw_frames(victim: Victim, event: ClientEvent, label: str) -> None:
    """What a stock client would not write: it is refused by name, or the client is disconnected; never is it stored,
    and never does it hurt another client."""
    await victim.begin(event)
    for field in CASES[event].fields:
        if label == "half an emoji" and is_text(event, field):
            continue
        others = json.dumps({name: value for name, value in victim.payload.items() if name != field})[1:]
        comma = ", " if others != "}" else ""
        mark = victim.ana.client.mark()
        try:
            ack = await victim.ana.client.raw(f'2%ID%["{event}",{{"{field}":{RAW[label]}{comma}{others}]', deadline_s=5)
        except NoAck:
            await victim.ana.client.wait("disconnect", after=mark)
            break
        assert ack["ok"] is False
        assert ack["error"]["code"] in {"invalid_payload", "conversation_not_found"}
        if ack["error"]["code"] == "invalid_payload":
            assert set(ack["error"]["fields"]) <= {field, "payload"}  # the whole, if it cannot be read
            assert ack["error"]["fields"]
    await victim.ben.settle()
    assert db.dump(victim.server.database) == victim.rows
    assert [seen.event for seen in victim.ben.client.log[victim.mark :] if seen.event != "presence_changed"] == []
