"""The chat's live parts over a recorder, wired once for all unit tests: no socket, no server, a clock that is moved."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from socketserver.chat.conversations import CreateConversation
from socketserver.chat.domain import Conversation, UserId
from socketserver.chat.identity import Identity, Profile
from socketserver.chat.messages import SendMessage
from socketserver.chat.profiles import People
from socketserver.chat.service import make_chat
from socketserver.door.connects import Guards
from socketserver.door.origins import Origins
from socketserver.door.proxies import Proxies
from socketserver.door.rates import Rates
from socketserver.door.visits import NOBODY, Guest, Visit
from socketserver.housekeeping import Housekeeping
from socketserver.live.auto_read import AutoRead
from socketserver.live.connections import Connection, Sessions
from socketserver.live.fanout import Fanout
from socketserver.live.left import Left
from socketserver.live.lifecycle import Lifecycle
from socketserver.live.presence import Presence
from socketserver.live.read_marks import ReadMarks
from socketserver.live.typing_indicator import TypingIndicator
from socketserver.live.watching import Part, Watching
from socketserver.settings import Settings
from socketserver.store import Store, open_store
from socketserver.wire import protocol

from aiohttp.test_utils import make_mocked_request
from unit.recorder import Recorder

from .clock import FakeClock

_KEYS = itertools.count(1)


class Parts:
    """Everything that knows who is here, over what a test gives.

    Attributes:
        left: who is gone, and why.
        proofs: whom the lifecycle has told of.
        people: how users are shown, as Watching is told.
        stored: who has written or read where, as the store tells Watching; `asked` are its questions.

    Args:
        store: to be opened and closed by the test, if it is used.
        sweeps: called beside those of the rates.
        options: settings.
    """

    def __init__(self, store: Store | None = None, *sweeps: Callable[[float], None], **options: object) -> None:
        self.settings = settings = Settings.model_validate(options)
        self.clock = FakeClock()
        self.sio = Recorder()
        self.sessions = Sessions(settings.sockets_per_user)
        self.presence = Presence(settings.presence_grace_s)
        self.typing = TypingIndicator(settings.typing_ttl_s)
        self.auto_read = AutoRead(settings.read_delay_ms / 1000)
        self.rates = Rates(settings)
        self.left: list[tuple[str, Left]] = []
        self.proofs: list[Identity] = []
        self.stored: set[Part] = set()
        self.asked: list[Sequence[Part]] = []
        self.people: dict[UserId, Profile | None] = {}
        self.fanout = Fanout(
            self.sio,
            self.sessions,
            self.auto_read,
            self.clock,
            small_conversation=settings.small_conversation,
            outbox_bytes=settings.outbox_bytes,
        )
        self.watching = Watching(
            self.sessions,
            self.presence,
            self.fanout,
            readers=self._readers,
            people=self._people,
            most=settings.watched_per_socket,
        )
        self.lifecycle = Lifecycle(
            self.sio,
            self.sessions,
            self.presence,
            self.typing,
            self.fanout,
            self.clock,
            welcome=lambda identity, sid: protocol.dump_welcome(identity, sid, self.clock.now_ms(), settings),
            on_proof=self.proofs.append,
            on_gone=lambda connection, left: self.left.append((connection.sid, left)),
            max_event_bytes=settings.max_event_bytes,
        )
        self.chat = make_chat(
            store or open_store("sqlite:///:memory:"),
            self.fanout,
            self.clock,
            max_participants=settings.max_participants,
            messages=self.rates.messages,
            conversations=self.rates.conversations,
            cached_conversations=settings.cached_conversations,
        )
        self.guards = Guards(settings, Proxies(()), Origins(settings), self.clock)
        self.read_marks = ReadMarks(self.auto_read, self.fanout, self.chat.reading.mark, self.clock)
        self.housekeeping = Housekeeping(
            self.lifecycle,
            self.read_marks,
            self.guards,
            [*self.rates.sweeps(), *sweeps],
            list,
            self.clock,
            auth_timeout_s=settings.auth_timeout_s,
            sweep_s=settings.sweep_s,
        )

    async def _readers(self, parts: Sequence[Part]) -> Collection[Part]:
        self.asked.append(parts)
        return self.stored.intersection(parts)

    async def _people(self, user_ids: Iterable[UserId]) -> People:
        return {user_id: self.people[user_id] for user_id in user_ids if user_id in self.people}

    def visit(self, sid: str, guest: Guest = NOBODY) -> Visit:
        return Visit(sid, guest, make_mocked_request("GET", "/socket.io/"), self.clock.monotonic_s())

    async def arrive(self, sid: str, identity: Identity | None = None) -> Connection:
        """A client is let in."""
        return await self.lifecycle.arrive(self.visit(sid), identity)

    def connection(self, sid: str) -> Connection:
        connection = self.sessions.known(sid)
        assert connection is not None
        return connection

    def connect(self, sid: str, user_id: UserId) -> Connection:
        """A user's connection in the registry, and nowhere else."""
        connection = self.sessions.add(sid, self.clock.monotonic_s())
        self.sessions.authenticate(connection, Identity(user_id, user_id))
        return connection

    async def conversation(self, *users: UserId, messages: int = 0) -> Conversation:
        """A new conversation, with messages of its first participant."""
        first, *others = users
        key = f"conversation {next(_KEYS)}"
        created = await self.chat.conversations.create(first, CreateConversation(tuple(others), idempotency_key=key))
        for number in range(messages):
            await self.chat.messages.send(first, SendMessage(created.conversation.id, str(number), "hi"))
        self.sio.take()
        return created.conversation
