"""A real server's acks and events have the shapes that the TypeScript declarations are made from, key by key."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from socketserver.wire.protocol import ClientEvent, ErrorWire, ServerEvent
from typing import Any, get_args, get_origin, get_type_hints

from support.servers import serving, token
from support.wire import WirePerson, wire_to


def check(value: Any, hint: Any, where: str) -> None:
    """Fail if a JSON value does not have the type that a TypedDict says."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.NotRequired:
        check(value, arguments[0], where)
    elif typing.is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        required = {key for key, inner in hints.items() if get_origin(inner) is not typing.NotRequired}
        assert required <= set(value) <= set(hints), f"{where}: {sorted(value)}"
        for key, item in value.items():
            check(item, hints[key], f"{where}.{key}")
    elif origin is list:
        assert type(value) is list, where
        for item in value:
            check(item, arguments[0], f"{where}[]")
    elif origin in {types.UnionType, typing.Union}:
        if value is not None:
            (inner,) = [each for each in arguments if each is not type(None)]
            check(value, inner, where)
        assert value is not None or type(None) in arguments, where
    elif origin in {dict, Mapping}:
        assert isinstance(value, dict), where
    elif hint is float:
        assert type(value) in {int, float}, where
    else:
        assert type(value) is hint, f"{where}: {value!r}"


def check_ack(event: ClientEvent, ack: dict[str, Any]) -> None:
    assert ack.pop("ok") is True, ack
    check(ack, event.row.ack, event)


async def test_acks_and_events_have_their_declared_shapes(tmp_path: Path) -> None:
    """Every client event once, and whatever the server sends meanwhile; a resume with a gap, and a refusal, too."""
    async with serving(tmp_path / "chat.db", messages_per_second=0) as server, wire_to(server.url) as wire:
        ana, ben = await wire.people("ana", "ben")
        asked: set[ClientEvent] = set()

        async def ask(person: WirePerson, event: ClientEvent, payload: dict[str, Any]) -> dict[str, Any]:
            ack: dict[str, Any] = await person.client.ok(event, payload)
            asked.add(event)
            check_ack(event, dict(ack))
            return ack

        await ask(ana, ClientEvent.AUTHENTICATE, {"token": token("ana")})
        created = await ask(ana, ClientEvent.CREATE_CONVERSATION, {"participantIds": ["ben"]})
        where = {"conversationId": created["conversation"]["id"]}
        await ask(ana, ClientEvent.LIST_CONVERSATIONS, {})
        await ask(ana, ClientEvent.JOIN_CONVERSATION, where)
        for key, metadata in (("1", None), ("2", {"a": [1, {"b": None}]}), ("3", None)):
            message = {**where, "idempotencyKey": key, "body": f"message {key}", "metadata": metadata}
            await ask(ana, ClientEvent.SEND_MESSAGE, message)
        here = {**where, "seq": 2}
        edit = {**here, "idempotencyKey": "e", "body": "other"}
        await ask(ana, ClientEvent.EDIT_MESSAGE, edit)
        await ask(ana, ClientEvent.SET_REACTION, {**here, "reaction": "+", "on": True})
        await ask(ana, ClientEvent.FETCH_CHANGES, {**where, "after": 0})
        await ask(ana, ClientEvent.FETCH_MESSAGES, {**where, "seqs": [2]})
        conflict = await ana.client.emit(ClientEvent.EDIT_MESSAGE, {**edit, "idempotencyKey": "f", "ifChange": 1})
        assert conflict["error"]["code"] == "version_conflict"
        check(conflict["error"], ErrorWire, "error")
        await ask(ana, ClientEvent.DELETE_MESSAGE, {**where, "seq": 1})
        reply = {**where, "idempotencyKey": "4", "body": "message 4", "replyTo": 2, "mentions": ["ben"]}
        await ask(ana, ClientEvent.SEND_MESSAGE, reply)
        resumed = await ask(ben, ClientEvent.JOIN_CONVERSATION, {**where, "after": 1, "limit": 1, "visible": True})
        assert "gap" in resumed
        await ask(ben, ClientEvent.LIST_CONVERSATIONS, {"limit": 1})
        await ask(ben, ClientEvent.MARK_READ, {**where, "seq": 3})
        await ask(ben, ClientEvent.FETCH_HISTORY, {**where, "limit": 2})
        await ask(ben, ClientEvent.LIST_PARTICIPANTS, {**where, "limit": 1})
        await ask(ben, ClientEvent.SET_TYPING, {**where, "typing": True})
        await ask(ben, ClientEvent.SET_VISIBILITY, {**where, "visible": False})
        await ask(ben, ClientEvent.UPDATE_SETTINGS, {**where, "pinned": True})
        group = await ask(ana, ClientEvent.CREATE_CONVERSATION, {"participantIds": ["ben"], "title": "plans"})
        there = {"conversationId": group["conversation"]["id"]}
        await ask(ana, ClientEvent.JOIN_CONVERSATION, there)
        people = {"userIds": ["cat", "dan"], "history": "none", "idempotencyKey": "k", "role": "admin"}
        await ask(ana, ClientEvent.ADD_PARTICIPANTS, {**there, **people})
        await ask(ana, ClientEvent.SET_ROLE, {**there, "userId": "cat", "role": "owner"})
        await ask(ana, ClientEvent.UPDATE_CONVERSATION, {**there, "title": None, "metadata": {"a": 1}})
        await ask(ana, ClientEvent.UPDATE_CONVERSATION, {**there, "metadata": None})
        for _ in range(2):
            await ask(ana, ClientEvent.REMOVE_PARTICIPANT, {**there, "userId": "ben"})
        await ask(ana, ClientEvent.FETCH_HISTORY, there)
        await ask(ben, ClientEvent.LEAVE_CONVERSATION, where)
        assert asked == set(ClientEvent)

        for refusal in (
            await ana.client.emit(ClientEvent.MARK_READ, {"conversationId": "nowhere", "seq": -1}),
            await ana.client.emit(ClientEvent.MARK_READ, {"conversationId": "nowhere", "seq": 1}),
        ):
            assert refusal.pop("ok") is False
            check(refusal["error"], ErrorWire, "error")

        # Ben takes his place on another socket: his first one is ended, and Ana hears that he was away.
        await wire.people("ben")
        await ben.client.wait(ServerEvent.SESSION_ENDED)
        await ana.settle()
        seen = [*ana.client.log, *ben.client.log]
        for each in seen:
            if each.event in set(ServerEvent):
                check(each.payload, ServerEvent[each.event.upper()].row.payload, each.event)
        missing = set(ServerEvent) - {each.event for each in seen} - {ServerEvent.PRESENCE_CHANGED}
        assert not missing
