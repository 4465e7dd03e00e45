"""socketserver.wire.protocol"""

from __future__ import annotations

import json
from dataclasses import replace
from socketserver.chat import conversations, domain, history, members, messages, personal, reading
from socketserver.chat.domain import ConversationId, MessageId, UserId
from socketserver.chat.identity import Identity
from socketserver.chat.own_settings import OwnSettings
from socketserver.errors import ENDS, ChatError, InvalidPayload, RateLimited, UnknownEvent, VersionConflict
from socketserver.settings import Settings
from socketserver.wire import commands, protocol
from socketserver.wire.protocol import ClientEvent, Payloads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

PAYLOADS = Payloads(Settings())

SMALLEST: dict[ClientEvent, tuple[dict[str, Any], Any]] = {
    ClientEvent.AUTHENTICATE: ({"token": "t"}, commands.Authenticate("t")),
    ClientEvent.CREATE_CONVERSATION: ({"participantIds": ["bob"]}, conversations.CreateConversation((UserId("bob"),))),
    ClientEvent.LIST_CONVERSATIONS: ({}, conversations.ListConversations(50)),
    ClientEvent.JOIN_CONVERSATION: ({"conversationId": "c"}, conversations.JoinConversation(ConversationId("c"), 50)),
    ClientEvent.LEAVE_CONVERSATION: ({"conversationId": "c"}, commands.LeaveConversation(ConversationId("c"))),
    ClientEvent.SEND_MESSAGE: (
        {"conversationId": "c", "idempotencyKey": "k", "body": "hi"},
        messages.SendMessage(ConversationId("c"), "k", "hi"),
    ),
    ClientEvent.EDIT_MESSAGE: (
        {"conversationId": "c", "seq": 2, "idempotencyKey": "k", "body": "hi"},
        messages.EditMessage(ConversationId("c"), 2, "k", "hi"),
    ),
    ClientEvent.DELETE_MESSAGE: (
        {"conversationId": "c", "seq": 2},
        messages.DeleteMessage(ConversationId("c"), 2),
    ),
    ClientEvent.SET_REACTION: (
        {"conversationId": "c", "seq": 2, "reaction": "👍", "on": True},
        messages.SetReaction(ConversationId("c"), 2, "👍", True),
    ),
    ClientEvent.FETCH_CHANGES: (
        {"conversationId": "c", "after": 0},
        history.FetchChanges(ConversationId("c"), 0, 50),
    ),
    ClientEvent.FETCH_MESSAGES: (
        {"conversationId": "c", "seqs": [3, 1]},
        history.FetchMessages(ConversationId("c"), (3, 1)),
    ),
    ClientEvent.MARK_READ: ({"conversationId": "c", "seq": 0}, reading.MarkRead(ConversationId("c"), 0)),
    ClientEvent.ADD_PARTICIPANTS: (
        {"conversationId": "c", "userIds": ["u"], "history": "none", "idempotencyKey": "k"},
        members.AddParticipants(ConversationId("c"), (UserId("u"),), "none", "k"),
    ),
    ClientEvent.REMOVE_PARTICIPANT: (
        {"conversationId": "c", "userId": "u"},
        members.RemoveParticipant(ConversationId("c"), UserId("u")),
    ),
    ClientEvent.SET_ROLE: (
        {"conversationId": "c", "userId": "u", "role": "admin"},
        members.SetParticipantRole(ConversationId("c"), UserId("u"), "admin"),
    ),
    ClientEvent.UPDATE_CONVERSATION: ({"conversationId": "c"}, members.UpdateConversation(ConversationId("c"))),
    ClientEvent.UPDATE_SETTINGS: ({"conversationId": "c"}, personal.UpdateSettings(ConversationId("c"))),
    ClientEvent.FETCH_HISTORY: ({"conversationId": "c"}, history.FetchHistory(ConversationId("c"), 50)),
    ClientEvent.LIST_PARTICIPANTS: ({"conversationId": "c"}, conversations.ListParticipants(ConversationId("c"), 50)),
    ClientEvent.SET_TYPING: ({"conversationId": "c", "typing": True}, commands.SetTyping(ConversationId("c"), True)),
    ClientEvent.SET_VISIBILITY: (
        {"conversationId": "c", "visible": False},
        commands.SetVisibility(ConversationId("c"), False),
    ),
}
EVERYTHING: dict[ClientEvent, tuple[dict[str, Any], Any]] = {
    ClientEvent.CREATE_CONVERSATION: (
        {"participantIds": ["bob", "cat"], "title": "T", "idempotencyKey": "k"},
        conversations.CreateConversation((UserId("bob"), UserId("cat")), "T", "k"),
    ),
    ClientEvent.LIST_CONVERSATIONS: (
        {"limit": 1, "before": "7:c"},
        conversations.ListConversations(1, (7, ConversationId("c"))),
    ),
    ClientEvent.JOIN_CONVERSATION: (
        {"conversationId": "c", "after": 3, "limit": 200, "visible": True},
        conversations.JoinConversation(ConversationId("c"), 200, 3, True),
    ),
    ClientEvent.ADD_PARTICIPANTS: (
        {"conversationId": "c", "userIds": ["u"], "history": "all", "idempotencyKey": "k", "role": "owner"},
        members.AddParticipants(ConversationId("c"), (UserId("u"),), "all", "k", "owner"),
    ),
    ClientEvent.REMOVE_PARTICIPANT: (
        {"conversationId": "c", "userId": "u", "idempotencyKey": "k"},
        members.RemoveParticipant(ConversationId("c"), UserId("u"), "k"),
    ),
    ClientEvent.UPDATE_CONVERSATION: (
        {"conversationId": "c", "title": None, "metadata": {"a": 1}, "idempotencyKey": "k"},
        members.UpdateConversation(ConversationId("c"), None, {"a": 1}, "k"),
    ),
    ClientEvent.SEND_MESSAGE: (
        {
            "conversationId": "c",
            "idempotencyKey": "k",
            "body": "hi",
            "metadata": {"a": [1]},
            "replyTo": 7,
            "mentions": ["bob"],
        },
        messages.SendMessage(ConversationId("c"), "k", "hi", {"a": [1]}, 7, (UserId("bob"),)),
    ),
    ClientEvent.EDIT_MESSAGE: (
        {
            "conversationId": "c",
            "seq": 2,
            "idempotencyKey": "k",
            "body": "hi",
            "metadata": {"a": [1]},
            "mentions": ["bob"],
            "ifChange": 9,
        },
        messages.EditMessage(ConversationId("c"), 2, "k", "hi", {"a": [1]}, (UserId("bob"),), 9),
    ),
    ClientEvent.FETCH_HISTORY: (
        {"conversationId": "c", "afterSeq": 0, "limit": 1},
        history.FetchHistory(ConversationId("c"), 1, None, 0),
    ),
    ClientEvent.LIST_PARTICIPANTS: (
        {"conversationId": "c", "after": "ann", "limit": 1},
        conversations.ListParticipants(ConversationId("c"), 1, UserId("ann")),
    ),
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


def errors_of(event: str, *arguments: object) -> dict[str, Any]:
    with pytest.raises(InvalidPayload) as caught:
        PAYLOADS.load(event, arguments)
    assert caught.value.fields is not None
    return json.loads(json.dumps(caught.value.fields))  # type: ignore[no-any-return]


def test_every_event_is_here() -> None:
    """The tables of these tests have all events."""
    assert set(SMALLEST) == set(ClientEvent)


@pytest.mark.parametrize("event", ClientEvent)
def test_smallest_payload(event: ClientEvent) -> None:
    """The required fields suffice; the others get their defaults."""
    payload, command = SMALLEST[event]
    assert PAYLOADS.load(event, [payload]) == command


@pytest.mark.parametrize("event", EVERYTHING)
def test_full_payload(event: ClientEvent) -> None:
    """Every field arrives in its command."""
    payload, command = EVERYTHING[event]
    assert PAYLOADS.load(event, [payload]) == command


@pytest.mark.parametrize("event", ClientEvent)
def test_missing_fields(event: ClientEvent) -> None:
    """A missing field is named, by its wire name."""
    payload, _ = SMALLEST[event]
    for field in payload:
        less = {name: value for name, value in payload.items() if name != field}
        assert list(errors_of(event, less)) == [field]


@pytest.mark.parametrize("event", ClientEvent)
@pytest.mark.parametrize("bad", [None, {"$ne": None}, [[]], float("nan"), 1e300, "\ud800", b"x", object()])
def test_wrong_values(event: ClientEvent, bad: object) -> None:
    """A value of the wrong kind is refused in each field, and the field is named."""
    payload = {**SMALLEST[event][0], **EVERYTHING.get(event, ({}, None))[0]}
    for field in payload:
        if bad is None and field in ("title", "metadata"):
            continue
        if field == "metadata" and bad == {"$ne": None}:
            continue  # an object like any other there
        assert list(errors_of(event, {**payload, field: bad})) == [field]


@pytest.mark.parametrize("event", ClientEvent)
def test_unknown_fields(event: ClientEvent) -> None:
    """A field that the event does not have is refused and named, cut short if it is long."""
    payload, _ = SMALLEST[event]
    assert list(errors_of(event, {**payload, "__proto__": {}})) == ["__proto__"]
    assert list(errors_of(event, {**payload, "x" * 1000: 1})) == ["x" * 64]
    assert list(errors_of(event, {**payload, "\ud800": 1})) == ["?"]


def test_error_list_is_bounded() -> None:
    """However many fields are wrong, the ack names at most 20."""
    assert len(errors_of("mark_read", {str(number): 1 for number in range(10_000)})) == 20


@pytest.mark.parametrize("event", ClientEvent)
@pytest.mark.parametrize("arguments", [[], [{}, {}], [None], ["x"], [[]], [5], [b"x"], [True]])
def test_arity(event: ClientEvent, arguments: list[object]) -> None:
    """An event takes one object: not none, not two, nothing else."""
    assert errors_of(event, *arguments) == {"payload": ["Send exactly one object."]}


@pytest.mark.parametrize("event", ["no_such_event", "connect", "x" * 10_000, "\ud800", "", "__class__"])
def test_unknown_event(event: str) -> None:
    """An unknown event is refused with a message that can be sent, and is not long."""
    with pytest.raises(UnknownEvent) as caught:
        PAYLOADS.load(event, [{}])
    assert len(caught.value.message.encode()) < 200


def test_history_has_one_direction() -> None:
    """beforeSeq and afterSeq exclude each other."""
    assert errors_of("fetch_history", {"conversationId": "c", "beforeSeq": 5, "afterSeq": 1}) == {
        "afterSeq": ["Give beforeSeq or afterSeq, not both."]
    }


def test_limits_follow_the_settings() -> None:
    """Bounds and the default page come from the settings."""
    payloads = Payloads(Settings(max_page=10, max_body_chars=3, max_participants=2, max_metadata_bytes=10))
    assert payloads.load("list_conversations", [{}]) == conversations.ListConversations(10)
    send = {"conversationId": "c", "idempotencyKey": "k", "body": "abc"}
    assert payloads.load("send_message", [send])
    for event, payload in (
        ("list_conversations", {"limit": 11}),
        ("send_message", {**send, "body": "abcd"}),
        ("send_message", {**send, "metadata": {"abcdef": 1}}),
        ("create_conversation", {"participantIds": ["a", "b", "c"]}),
    ):
        with pytest.raises(InvalidPayload):
            payloads.load(event, [payload])


def test_list_errors_name_the_entry() -> None:
    """An error in a list names the position."""
    assert errors_of("create_conversation", {"participantIds": ["bob", 5]}) == {
        "participantIds": {"1": ["Not a string."]}
    }


@given(st.sampled_from(ClientEvent), st.lists(ANYTHING | st.dictionaries(st.text(), ANYTHING), max_size=3))
def test_anything(event: ClientEvent, arguments: list[object]) -> None:
    """Whatever arrives becomes a command or an error that can be sent as JSON, and nothing else."""
    try:
        PAYLOADS.load(event, arguments)
    except ChatError as error:
        json.dumps(protocol.dump_failure(error), allow_nan=False).encode()


def test_failure() -> None:
    """A failed ack has code, message and retryable; the rest only when there is something to say."""
    assert protocol.dump_failure(UnknownEvent()) == {
        "ok": False,
        "error": {"code": "unknown_event", "message": "There is no such event.", "retryable": False},
    }
    assert protocol.dump_error(RateLimited("Slow down.", retry_after_ms=0)) == {
        "code": "rate_limited",
        "message": "Slow down.",
        "retryable": True,
        "retryAfterMs": 0,
    }
    assert protocol.dump_error(InvalidPayload(fields={"a": ["b"]}))["fields"] == {"a": ["b"]}
    assert protocol.dump_ok(a=1) == {"ok": True, "a": 1}


MESSAGE = domain.Message(MessageId("m"), ConversationId("c"), 2, 3, UserId("ann"), "k", "x" * 200, {"a": 1}, 5)
CONVERSATION = domain.Conversation(ConversationId("c"), "group", None, UserId("ann"), (UserId("ann"), UserId("bob")), 4)


def test_message() -> None:
    """A message on the wire has every field of the stored one."""
    assert protocol.dump_message(MESSAGE) == {
        "id": "m",
        "conversationId": "c",
        "seq": 2,
        "change": 3,
        "senderId": "ann",
        "idempotencyKey": "k",
        "body": "x" * 200,
        "metadata": {"a": 1},
        "createdAt": 5,
    }


def test_a_message_tells_what_happened_to_it_and_nothing_else() -> None:
    users = tuple(UserId(f"u{number}") for number in range(30))
    later = domain.Later(2, 7, "secret key", None, None, (domain.Reaction("👍", users),))
    message = replace(MESSAGE, reply_to=1, mentions=(UserId("bob"),), later=later)
    assert protocol.dump_message(message) == {
        **protocol.dump_message(MESSAGE),
        "replyTo": 1,
        "mentions": ["bob"],
        "editedAt": 7,
        "reactions": [{"reaction": "👍", "count": 30, "userIds": list(users[:20])}],
    }
    gone = replace(MESSAGE, body="", later=domain.Later(2, deleted_at_ms=8, deleted_by=UserId("ann")))
    assert protocol.dump_message(gone) == {
        **protocol.dump_message(MESSAGE),
        "body": "",
        "deletedAt": 8,
        "deletedBy": "ann",
    }


def test_a_version_conflict_shows_the_message_as_it_is() -> None:
    assert protocol.dump_error(VersionConflict(present=MESSAGE))["present"] == protocol.dump_message(MESSAGE)


@pytest.mark.parametrize("reaction", ["", "a b", " ", "x" * 33, "\u2028", "+\n"])
def test_a_reaction_is_short_and_has_no_white_space(reaction: str) -> None:
    payload = {"conversationId": "c", "seq": 2, "reaction": reaction, "on": True}
    assert list(errors_of("set_reaction", payload)) == ["reaction"]


@pytest.mark.parametrize("seqs", [[], [0], [1.5], list(range(1, 52)), "1"])
def test_places_are_a_short_list_of_numbers(seqs: object) -> None:
    assert list(errors_of("fetch_messages", {"conversationId": "c", "seqs": seqs})) == ["seqs"]


def test_a_message_in_which_the_conversation_tells_of_itself() -> None:
    """It is a message like any other to a client that knows only those."""
    for system, told in (
        (domain.System("title"), {"type": "title"}),
        (domain.System("title", title="x"), {"type": "title", "title": "x"}),
        (
            domain.System("role", (UserId("bob"),), "admin"),
            {"type": "role", "userIds": ["bob"], "role": "admin"},
        ),
    ):
        wire = protocol.dump_message(replace(MESSAGE, system=system))
        assert wire == {**protocol.dump_message(MESSAGE), "kind": "system", "system": told}


def test_activity_has_a_preview() -> None:
    """The activity of a long message carries its first 120 characters."""
    assert protocol.dump_activity(MESSAGE) == {
        "conversationId": "c",
        "seq": 2,
        "senderId": "ann",
        "preview": "x" * 120,
        "createdAt": 5,
    }


@pytest.mark.parametrize("last", [MESSAGE, None])
def test_summary(last: domain.Message | None) -> None:
    """A summary is the conversation with its newest message and the exact unread count."""
    settings = OwnSettings(pinned=True, marked_unread=True)
    summary = domain.ConversationSummary(CONVERSATION, last, 9, 10, 4, 77, 0, 2, settings)
    assert protocol.dump_summary(summary) == {
        "id": "c",
        "kind": "group",
        "title": None,
        "participantIds": ["ann", "bob"],
        "participantCount": 2,
        "createdBy": "ann",
        "createdAt": 4,
        "metadata": None,
        "lastMessage": protocol.dump_message(MESSAGE) if last else None,
        "lastSeq": 9,
        "change": 10,
        "readSeq": 4,
        "unreadCount": 5,
        "unreadMentions": 2,
        "settings": {"muted": False, "pinned": True, "archived": False, "markedUnread": True},
        "activityAt": 77,
    }


def test_cursor_round_trip() -> None:
    """A cursor that goes out comes back as the place it names."""
    summary = domain.ConversationSummary(CONVERSATION, None, 0, 0, 0, 1_700_000_000_000)
    command = PAYLOADS.load("list_conversations", [{"before": protocol.dump_cursor(summary)}])
    assert command == conversations.ListConversations(50, (1_700_000_000_000, CONVERSATION.id))


def test_welcome() -> None:
    """welcome tells who one is, the recommended options and the limits in force."""
    settings = Settings(max_page=7, messages_per_second=2.5, joined_per_socket=0)
    assert protocol.dump_welcome(Identity(UserId("ann"), "Ann"), "sid", 123, settings) == {
        "user": {"id": "ann", "name": "Ann"},
        "connectionId": "sid",
        "serverTime": 123,
        "reconnection": {"attempts": 3, "delayMs": 2000, "delayMaxMs": 10000},
        "limits": {
            "bodyChars": 4000,
            "metadataBytes": 4096,
            "eventBytes": 65536,
            "participants": 1000,
            "page": 7,
            "joinedConversations": 0,
            "messagesPerSecond": 2.5,
            "messagesBurst": 20,
            "editWindowS": 86_400,
            "deleteWindowS": -1,
            "mentions": 50,
            "reactions": 20,
            "reactionsPerUser": 5,
            "reactionsInAll": 1000,
            "reactionChars": 32,
        },
    }


def test_small_shapes() -> None:
    """Read marks, typing, presence, gaps and participants carry their values under the wire's names."""
    mark = domain.ReadMark(UserId("ann"), 3, 9)
    assert protocol.dump_messages_read(CONVERSATION.id, mark) == {
        "conversationId": "c",
        "userId": "ann",
        "readSeq": 3,
        "readAt": 9,
    }
    assert protocol.dump_participant(mark, "admin", online=False, last_seen_at_ms=8) == {
        "userId": "ann",
        "role": "admin",
        "readSeq": 3,
        "readAt": 9,
        "online": False,
        "lastSeenAt": 8,
    }
    assert protocol.dump_typing(CONVERSATION.id, UserId("ann"), True) == {
        "conversationId": "c",
        "userId": "ann",
        "typing": True,
    }
    assert protocol.dump_presence(UserId("ann"), True, None) == {"userId": "ann", "online": True, "lastSeenAt": None}
    assert protocol.dump_gap(domain.Gap(2, 5)) == {"fromSeq": 2, "toSeq": 5}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_session_ended(end: Any) -> None:
    """session_ended carries the end's code and whether to come back; when, only if that is known."""
    wire = {"code": end.code, "message": end.message, "reconnect": end.reconnect}
    assert protocol.dump_session_ended(end) == wire
    assert protocol.dump_session_ended(end, 700) == {**wire, "retryAfterMs": 700}
