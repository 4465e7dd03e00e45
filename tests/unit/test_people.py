"""socketserver.chat.people"""

from __future__ import annotations

from socketserver.chat.changes import Outcome
from socketserver.chat.domain import Conversation, ConversationId, Entry, MessageId, Role, UserId
from socketserver.chat.people import (
    Action,
    AddPeople,
    ConversationChange,
    PeopleRules,
    RemovePerson,
    decide,
    may,
    system_key,
)
from socketserver.errors import InvalidPayload
from socketserver.settings import Settings
from socketserver.wire.protocol import ClientEvent, Payloads
from typing import Any, get_args

import pytest
from support.stores import ANN, BOB, CAT, NOW_MS

DAN, EVE = UserId("dan"), UserId("eve")
HERE = ConversationId("c")
ROLES: tuple[Role, ...] = get_args(Role)


def group(**roles: Role) -> Conversation:
    people = {UserId(name): role for name, role in roles.items()}
    more: dict[UserId, Role] = {user_id: role for user_id, role in people.items() if role != "member"}
    return Conversation(HERE, "group", "plans", ANN, tuple(sorted(people)), NOW_MS, roles=more)


def act(by: UserId) -> dict[str, Any]:
    return {"conversation_id": HERE, "user_id": by, "key": "~ k", "message_id": MessageId("m"), "at_ms": NOW_MS}


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        (Action.ADD, ["owner", "admin"]),
        (Action.SET_ROLE, ["owner"]),
        (Action.UPDATE, ["owner", "admin"]),
        (Action.DELETE, ["owner", "admin"]),
    ],
)
def test_what_a_role_allows(action: Action, allowed: list[Role]) -> None:
    assert [role for role in ROLES if may(role, action)] == allowed


def test_members_add_people_if_the_rules_say_so_and_do_nothing_else() -> None:
    rules = PeopleRules(members_add=True)
    assert [action for action in Action if may("member", action, rules=rules)] == [Action.ADD]


def test_who_removes_whom() -> None:
    removes = {role: [other for other in ROLES if may(role, Action.REMOVE, of=other)] for role in ROLES}
    assert removes == {"owner": ["owner", "admin", "member"], "admin": ["member"], "member": []}


def test_an_owner_who_leaves_hands_over_to_who_has_been_there_longest() -> None:
    """Those who were there from the start before those who came later; of those who came together the first by id."""
    there = group(ann="owner", bob="member", cat="member", dan="admin", eve="admin")
    assert decide(there, RemovePerson(**act(ANN), person=ANN), 9).roles == {DAN: "owner"}
    later = Conversation(
        HERE,
        "group",
        None,
        ANN,
        (ANN, BOB, CAT, DAN),
        NOW_MS,
        roles={ANN: "owner"},
        entries={BOB: Entry(7, 7), CAT: Entry(3, 1), DAN: Entry(3, 3)},
    )
    decision = decide(later, RemovePerson(**act(ANN), person=ANN), 9)
    assert decision.roles == {CAT: "owner"}
    assert decision.conversation.entries == {BOB: Entry(7, 7), CAT: Entry(3, 1), DAN: Entry(3, 3)}


def test_an_owner_removed_by_another_leaves_that_one() -> None:
    there = group(ann="owner", bob="owner", cat="admin")
    decision = decide(there, RemovePerson(**act(ANN), person=BOB), 9)
    assert (decision.roles, decision.conversation.roles) == ({}, {ANN: "owner", CAT: "admin"})


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, "u0"), (2, "u0 and u1"), (3, "u0, u1 and u2"), (4, "u0, u1 and 2 others"), (100, "u0, u1 and 98 others")],
)
def test_a_message_names_a_few(count: int, names: str) -> None:
    people = tuple(UserId(f"u{number}") for number in range(count))
    decision = decide(group(ann="owner"), AddPeople(**act(ANN), user_ids=people), 0)
    assert decision.draft
    assert decision.draft.body == f"ann added {names}."
    assert decision.draft.system
    assert decision.draft.system.user_ids == tuple(sorted(people))


def test_who_takes_no_part_does_nothing() -> None:
    changes: list[ConversationChange] = [AddPeople(**act(EVE), user_ids=(DAN,)), RemovePerson(**act(EVE), person=EVE)]
    for change in changes:
        assert decide(group(ann="owner"), change, 0).outcome is Outcome.NOT_FOUND


def test_no_client_s_key_is_in_the_way_of_a_system_message() -> None:
    """A client could send a message whose key was that of the message that says that somebody was removed; it could not
    be stored then, and whoever read the conversation tried again."""
    payloads = Payloads(Settings())
    for key in (system_key("k", MessageId("m")), system_key(None, MessageId("m"))):
        with pytest.raises(InvalidPayload):
            payloads.load(ClientEvent.SEND_MESSAGE, [{"conversationId": "c", "idempotencyKey": key, "body": "x"}])
    assert system_key("m ", MessageId("m")) != system_key(None, MessageId("m"))
