"""Who may do what in a conversation, and what becomes of its people and title: changes as values, one rule for each.

Pure. A store asks `decide` with the conversation as it is stored, and stores what comes out, with the message that says
so, as one; nothing else may change a conversation. `may` is the only place that knows what a role allows.
Source: docs/decisions/0024-people-and-title.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Literal

from .changes import Outcome
from .domain import (
    FROM_THE_START,
    Conversation,
    ConversationId,
    Entry,
    Message,
    MessageDraft,
    MessageId,
    Role,
    System,
    UserId,
)
from .repeats import same_json

_NAMED: Final = 3  # people whom the text of a message names


class Action(Enum):
    """What a role may allow."""

    ADD = "add"
    REMOVE = "remove"
    SET_ROLE = "set_role"
    UPDATE = "update"
    DELETE = "delete"  # messages of others


@dataclass(frozen=True, slots=True)
class PeopleRules:
    """Attributes: members_add: whether members, too, add people. most: how many take part; 0: any number."""

    members_add: bool = False
    most: int = 0


def may(role: Role, action: Action, *, of: Role = "member", rules: PeopleRules = PeopleRules()) -> bool:
    """Whether somebody with this role in a group may do that.

    Everybody may leave, and do with their own messages what is theirs to do; nobody edits what another wrote. In a
    direct conversation, where nobody has a role, nobody may do any of this.

    Args:
        of: the role of the person to whom it is to be done.
    """
    if role == "owner":
        return True
    if action is Action.SET_ROLE:
        return False
    if role == "admin":
        return action is not Action.REMOVE or of == "member"
    return action is Action.ADD and rules.members_add


class Unset(Enum):
    """What is not given, where None is a value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class _Act:
    """What every change of a conversation has.

    Attributes:
        user_id: who does it.
        key: that user's name for it, which its message has: made by `system_key`.
        message_id: of that message.
        at_ms, activity_at_ms: when, and the conversation's place in lists from then on.
    """

    conversation_id: ConversationId
    user_id: UserId
    key: str
    message_id: MessageId
    at_ms: int
    activity_at_ms: int | None = field(default=None, compare=False)
    rules: PeopleRules = PeopleRules()

    def draft(self, system: System, body: str) -> MessageDraft:
        """The message that says what was done."""
        return MessageDraft(
            self.message_id,
            self.conversation_id,
            self.user_id,
            self.key,
            body,
            None,
            self.at_ms,
            self.activity_at_ms,
            system=system,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPeople(_Act):
    """Attributes: history: whether they see what was written before; "all" is as much as who adds them sees."""

    user_ids: tuple[UserId, ...]
    role: Role = "member"
    history: Literal["all", "none"] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePerson(_Act):
    """Attributes: person: who is to go; who does it themselves leaves for good."""

    person: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRole(_Act):
    """Attributes: person: who gets the role."""

    person: UserId
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(_Act):
    """Attributes: title, metadata: the new ones; None for none, UNSET where it stays."""

    title: str | Unset | None = UNSET
    metadata: dict[str, Any] | Unset | None = UNSET


ConversationChange = AddPeople | RemovePerson | SetRole | Update


@dataclass(frozen=True, slots=True)
class Decision:
    """What comes of a change.

    Attributes:
        outcome: DONE, UNCHANGED (it is so already), FORBIDDEN, TOO_MANY, STRANGER, or NOT_FOUND: who does it takes no
            part.
        conversation: as it is then.
        draft: the message that says so; None for one that nobody needs to be told of in a message.
        added, removed: who has come, and gone.
        roles: who has got another role by it, and which.
    """

    outcome: Outcome
    conversation: Conversation
    draft: MessageDraft | None = None
    added: tuple[UserId, ...] = ()
    removed: tuple[UserId, ...] = ()
    roles: Mapping[UserId, Role] = field(default_factory=dict)


def system_key(idempotency_key: str | None, message_id: MessageId) -> str:
    """The key of a change's message: the client's, or one of its own. With a space, which no key from a client has: no
    message that a client sends can be in its way."""
    return f"~ {idempotency_key}" if idempotency_key is not None else f"~{message_id} "


def decide(conversation: Conversation, change: ConversationChange, last_seq: int) -> Decision:
    """What comes of a change of a conversation whose newest message is `last_seq`."""
    if not conversation.has(change.user_id):
        return Decision(Outcome.NOT_FOUND, conversation)
    match change:
        case AddPeople():
            decision = _add(conversation, change, last_seq)
        case RemovePerson():
            decision = _remove(conversation, change)
        case SetRole():
            decision = _set_role(conversation, change)
        case Update():
            decision = _update(conversation, change)
    if decision.outcome is Outcome.DONE:
        changed = replace(decision.conversation, rev=conversation.rev + 1)
        decision = replace(decision, conversation=changed)
    return decision


def same_request(message: Message, change: ConversationChange) -> bool:
    """Whether a message that has a change's key tells of the same change, as far as it says."""
    system = message.system
    if system is None:
        return False
    match change:
        case AddPeople():
            same_role = (system.role or "member") == change.role
            return system.type == "added" and same_role and set(system.user_ids) <= set(change.user_ids)
        case RemovePerson():
            return system.type in {"removed", "left"} and system.user_ids == (change.person,)
        case SetRole():
            return (system.type, system.user_ids, system.role) == ("role", (change.person,), change.role)
        case Update():
            return system.type == "title" and change.title is not UNSET and system.title == change.title


def _add(conversation: Conversation, add: AddPeople, last_seq: int) -> Decision:
    role = conversation.role(add.user_id)
    allowed = may(role, Action.ADD, rules=add.rules) and (add.role == "member" or may(role, Action.SET_ROLE))
    if conversation.kind == "direct" or not allowed:
        return Decision(Outcome.FORBIDDEN, conversation)
    added = tuple(sorted({user_id for user_id in add.user_ids if not conversation.has(user_id)}))
    if not added:
        return Decision(Outcome.UNCHANGED, conversation)
    if 0 < add.rules.most < conversation.participant_count + len(added):
        return Decision(Outcome.TOO_MANY, conversation)
    first_seq = last_seq + 1 if add.history == "none" else conversation.entry(add.user_id).first_seq
    entry = Entry(last_seq + 1, first_seq)
    roles = dict.fromkeys(added, add.role)
    changed = replace(
        _with_people(conversation, [*conversation.participant_ids, *added]),
        roles={**conversation.roles, **({} if add.role == "member" else roles)},
        entries={**conversation.entries, **({} if entry == FROM_THE_START else dict.fromkeys(added, entry))},
    )
    body = f"{add.user_id} added {_names(added)}" + ("." if add.role == "member" else f" as {_a(add.role)}.")
    system = System("added", added, None if add.role == "member" else add.role)
    return Decision(Outcome.DONE, changed, add.draft(system, body), added=added, roles=roles)


def _remove(conversation: Conversation, remove: RemovePerson) -> Decision:
    person, leaves = remove.person, remove.person == remove.user_id
    allowed = leaves or may(conversation.role(remove.user_id), Action.REMOVE, of=conversation.role(person))
    if conversation.kind == "direct" or not allowed:
        return Decision(Outcome.FORBIDDEN, conversation)
    if not conversation.has(person):
        return Decision(Outcome.UNCHANGED, conversation)
    left = [user_id for user_id in conversation.participant_ids if user_id != person]
    roles = {user_id: role for user_id, role in conversation.roles.items() if user_id != person}
    heir = None
    if left and "owner" not in roles.values():
        heir = _oldest(conversation, [user_id for user_id in left if user_id in roles] or left)
        roles[heir] = "owner"
    entries = {user_id: entry for user_id, entry in conversation.entries.items() if user_id != person}
    changed = replace(_with_people(conversation, left), roles=roles, entries=entries)
    body = f"{person} left." if leaves else f"{remove.user_id} removed {person}."
    if heir is not None:
        body += f" {heir} is the owner now."
    system = System("left" if leaves else "removed", (person,))
    told: dict[UserId, Role] = {} if heir is None else {heir: "owner"}
    return Decision(Outcome.DONE, changed, remove.draft(system, body), removed=(person,), roles=told)


def _set_role(conversation: Conversation, change: SetRole) -> Decision:
    if conversation.kind == "direct" or not may(conversation.role(change.user_id), Action.SET_ROLE):
        return Decision(Outcome.FORBIDDEN, conversation)
    if not conversation.has(change.person):
        return Decision(Outcome.STRANGER, conversation)
    if conversation.role(change.person) == change.role:
        return Decision(Outcome.UNCHANGED, conversation)
    roles = {**conversation.roles, change.person: change.role}
    if change.role == "member":
        del roles[change.person]
    if "owner" not in roles.values():
        return Decision(Outcome.FORBIDDEN, conversation)  # somebody else has to be one first
    body = f"{change.user_id} made {change.person} {_a(change.role)}."
    draft = change.draft(System("role", (change.person,), change.role), body)
    return Decision(Outcome.DONE, replace(conversation, roles=roles), draft, roles={change.person: change.role})


def _update(conversation: Conversation, update: Update) -> Decision:
    title = conversation.title if update.title is UNSET else update.title
    metadata = conversation.metadata if update.metadata is UNSET else update.metadata
    if conversation.kind == "direct":
        allowed = update.title is UNSET  # nobody is above the other, and it is found by having no title
    else:
        allowed = may(conversation.role(update.user_id), Action.UPDATE)
    if not allowed:
        return Decision(Outcome.FORBIDDEN, conversation)
    renamed = title != conversation.title
    if not renamed and same_json(metadata, conversation.metadata):
        return Decision(Outcome.UNCHANGED, conversation)
    changed = replace(conversation, title=title, metadata=metadata)
    if not renamed:
        return Decision(Outcome.DONE, changed)
    body = f"{update.user_id} took the title away." if title is None else f"{update.user_id} changed the title: {title}"
    return Decision(Outcome.DONE, changed, update.draft(System("title", title=title), body))


def _with_people(conversation: Conversation, user_ids: Sequence[UserId]) -> Conversation:
    return replace(conversation, participant_ids=tuple(sorted(user_ids)), participant_count=len(user_ids))


def _oldest(conversation: Conversation, user_ids: Sequence[UserId]) -> UserId:
    return min(user_ids, key=lambda user_id: (conversation.entry(user_id).since, user_id))


def _names(user_ids: Sequence[UserId]) -> str:
    named = list(user_ids) if len(user_ids) <= _NAMED else list(user_ids[: _NAMED - 1])
    if len(named) < len(user_ids):
        return f"{', '.join(named)} and {len(user_ids) - len(named)} others"
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _a(role: Role) -> str:
    return f"{'a' if role == 'member' else 'an'} {role}"
