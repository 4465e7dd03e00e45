"""A cluster in a single thread and in simulated time: nodes made of the package's pure parts, a store, clients, and a
bus that misbehaves. A seed decides everything; `run` checks what must hold whatever happens.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from socketserver.chat.domain import ConversationId, UserId
from socketserver.cluster.broker import BEAT
from socketserver.cluster.directory import Claim, Directory, Effects, Stamp, Stamps
from socketserver.cluster.frames import Event
from socketserver.cluster.gates import CHECK_S, Gates
from socketserver.cluster.members import Members
from typing import Any, Final

from .memory_bus import Engine, MemoryBroker

CONVERSATIONS = [ConversationId("c1"), ConversationId("c2")]
USERS = [UserId(f"u{n}") for n in range(4)]
KNOWN = dict.fromkeys(["message", "here", "gone", "list", "list_wanted", "hello", "bye"], 1)
QUIET_S = 12.0  # how long after the last fault everything has to be right again
START_MS = 1_700_000_000_000


class Broken(AssertionError):
    """A history in which something that must hold did not."""


@dataclass(slots=True)
class Row:
    """A message: `change` is its newest number."""

    seq: int
    key: str
    change: int


@dataclass(slots=True)
class Log:
    rows: list[Row] = field(default_factory=list)
    by_key: dict[str, Row] = field(default_factory=dict)
    change: int = 0


class SimStore:
    """The truth. `down`: it answers nobody."""

    def __init__(self) -> None:
        self.logs: defaultdict[ConversationId, Log] = defaultdict(Log)
        self.down = False

    def append(self, conversation_id: ConversationId, key: str) -> tuple[Row, bool]:
        log = self.logs[conversation_id]
        known = log.by_key.get(key)
        if known is not None:
            return known, True
        log.change += 1
        row = log.by_key[key] = Row(len(log.rows) + 1, key, log.change)
        log.rows.append(row)
        return row, False

    def edit(self, conversation_id: ConversationId, seq: int) -> Row:
        log = self.logs[conversation_id]
        log.change += 1
        row = log.rows[seq - 1]
        row.change = log.change
        return row

    def after(self, conversation_id: ConversationId, change: int, limit: int) -> tuple[list[int], int, bool]:
        """The present changes after that one, up to where they are all, and whether there are more."""
        log = self.logs[conversation_id]
        found = sorted(row.change for row in log.rows if row.change > change)
        if len(found) > limit:
            return found[:limit], found[limit - 1], True
        return found, max(change, log.change), False


@dataclass(slots=True)
class Client:
    """Somebody with one device.

    Attributes:
        last: per conversation the newest change that was seen.
        early: what came before the answer to a join.
        wanted: what is being sent, to be sent again until it is acked: (conversation, key).
        stays_away: was replaced, by another device of the same user.
    """

    user_id: UserId
    node: SimNode | None = None
    sid: str = ""
    last: dict[ConversationId, int] = field(default_factory=dict)
    early: dict[ConversationId, list[int]] = field(default_factory=dict)
    wanted: tuple[ConversationId, str] | None = None
    stays_away: bool = False

    def see(self, store: SimStore, conversation_id: ConversationId, change: int) -> None:
        if conversation_id in self.early:
            self.early[conversation_id].append(change)
            return
        last = self.last.get(conversation_id)
        if last is None or change <= last:
            return
        missing = [row.change for row in store.logs[conversation_id].rows if last < row.change < change]
        if missing:
            raise Broken(f"{self.user_id} saw {change} of {conversation_id} after {last}, without {missing}")
        self.last[conversation_id] = change

    def answer(self, store: SimStore, conversation_id: ConversationId, change: int) -> None:
        early = self.early.pop(conversation_id, [])
        self.last[conversation_id] = max(change, self.last.get(conversation_id, 0))
        for each in early:
            self.see(store, conversation_id, each)


@dataclass(slots=True)
class Join:
    """A join under way: `snapshot` once the store was read."""

    client: Client
    sid: str
    conversation_id: ConversationId
    number: int
    snapshot: int | None = None


class SimNode:
    """A server: the pure parts, tied together as simply as can be."""

    def __init__(self, world: World, name: str, gates: Gates[int]) -> None:
        self.world = world
        self.name = name
        self.gates = gates
        self.broker = world.make_broker()
        self.members = Members(name, world.now_s)
        self.directory = Directory(name, 1)
        self.stamps = Stamps(name)
        self.sockets: dict[str, Client] = {}
        self.rooms: defaultdict[ConversationId, dict[str, Client]] = defaultdict(dict)
        self.joins: list[Join] = []
        self.frozen = False
        self.broker.begin(name, self)
        self.broker.publish(None, {"e": "hello"})

    # What clients do

    def connect(self, client: Client, sid: str) -> None:
        client.node, client.sid = self, sid
        self.sockets[sid] = client
        claim = Claim(client.user_id, sid, self.stamps.next(self.world.now_ms))
        self.tell_all({"e": "here", **dump(claim)})
        self.follow(self.directory.here(claim))
        for conversation_id in CONVERSATIONS:
            if client.node is self:
                self.rooms[conversation_id][sid] = client
                client.early[conversation_id] = []
                number = self.gates.join(conversation_id, self.world.now_s)
                self.joins.append(Join(client, sid, conversation_id, number))

    def disconnect(self, client: Client) -> None:
        sid = client.sid
        self.sockets.pop(sid, None)
        for conversation_id, room in self.rooms.items():
            if room.pop(sid, None) and not room:
                self.gates.close(conversation_id)
        client.node, client.early = None, {}
        self.tell_all({"e": "gone", "sid": sid})
        self.directory.gone(self.name, sid)

    def send(self, client: Client, conversation_id: ConversationId, key: str) -> None:
        """Store, publish and ack; the node may die in between, or not be told of what was stored."""
        world = self.world
        if world.store.down:
            return
        row, duplicate = world.store.append(conversation_id, key)
        if world.happens("ghost") and not duplicate:
            client.wanted = None  # "the store did not answer", and whoever sent it leaves it at that
            world.ghosts.add(conversation_id)
            return
        if world.happens("dies"):
            world.kill(self)
            return
        self.announce(conversation_id, row.change)
        client.wanted = None
        world.acked[key] = row.seq

    def edit(self, conversation_id: ConversationId, seq: int) -> None:
        if not self.world.store.down:
            self.announce(conversation_id, self.world.store.edit(conversation_id, seq).change)

    def announce(self, conversation_id: ConversationId, change: int) -> None:
        for node in self.directory.elsewhere(USERS):
            head = {"e": "message", "c": conversation_id, "n": change}
            if not self.broker.publish(node, head):
                self.broker.skip(node)
        self.show(conversation_id, self.gates.offer(conversation_id, change, change, self.world.now_s))

    def show(self, conversation_id: ConversationId, changes: Iterable[int]) -> None:
        for change in changes:
            for client in list(self.rooms[conversation_id].values()):
                client.see(self.world.store, conversation_id, change)

    # What the bus tells

    def received(self, sender: str, event: Event) -> None:
        if sender == self.name:
            for dead in self.members.own_beat(self.world.now_s):
                self.lose(dead)
            return
        head = event.head
        if event.name == "bye":
            self.members.bye(sender)
            self.lose(sender)
            return
        if self.members.heard(sender):
            self.broker.publish(sender, {"e": "list_wanted"})
        if event.name == "message":
            conversation_id = ConversationId(head["c"])
            self.show(conversation_id, self.gates.offer(conversation_id, head["n"], head["n"], self.world.now_s))
        elif event.name == "here":
            claim = load(head, sender)
            self.stamps.seen(claim.stamp, self.world.now_ms)
            self.follow(self.directory.here(claim))
        elif event.name == "gone":
            self.follow(self.directory.gone(sender, head["sid"]))
        elif event.name == "list_wanted":
            claims = [dump(claim) for claim in self.directory.list_of(self.name)]
            self.broker.publish(sender, {"e": "list", "claims": claims})
        elif event.name == "list":
            before = self.directory.digest(sender)
            self.follow(self.directory.replace(sender, [load(each, sender) for each in head["claims"]]))
            self.members.listed(sender)
            if self.directory.digest(sender) != before:
                self.late(sender)
        elif event.name == BEAT and tuple(head["d"]) != self.directory.digest(sender):
            self.broker.publish(sender, {"e": "list_wanted"})

    def late(self, node: str | None) -> None:
        """Who is there was learned late, so that node was not told of everything: it has to look for itself."""
        if self.world.tells_when_late:
            self.broker.skip(node)

    def missed(self, sender: str | None) -> None:
        self.gates.check_all()

    def connected(self, up: bool) -> None:
        self.gates.away(not up, self.world.now_s)
        if up:
            self.late(None)

    def beating(self) -> Mapping[str, Any]:
        return {"d": self.directory.digest(self.name)}

    def tell_all(self, head: Mapping[str, Any]) -> None:
        if not self.broker.publish(None, head):
            self.broker.skip(None)

    def lose(self, node: str) -> None:
        self.follow(self.directory.forget(node))
        self.broker.forget(node)
        self.gates.check_all()

    def follow(self, effects: Effects) -> None:
        for claim in effects.surplus:
            client = self.sockets.get(claim.sid)
            if client is not None:
                self.disconnect(client)
                client.stays_away = True

    # What happens with time

    def turn(self) -> None:
        if not self.frozen:
            self.broker.turn(self.world.now_s)
            self.heal()

    def heal(self) -> None:
        """What gates ask of the store, and the joins' snapshots."""
        world = self.world
        ids = self.gates.checks(world.now_s)
        if world.store.down:
            self.gates.unchecked(ids, world.now_s)
        elif ids:
            self.gates.positions({each: world.store.logs[each].change for each in ids}, world.now_s)
        for conversation_id, after in self.gates.due(world.now_s):
            if world.store.down:
                self.gates.failed(conversation_id, world.now_s)
                continue
            found, through, more = world.store.after(conversation_id, after, 3)
            items = [(change, change) for change in found]
            self.show(conversation_id, self.gates.healed(conversation_id, items, through, world.now_s, more=more))
        for join in list(self.joins):
            self.go_on(join)

    def go_on(self, join: Join) -> None:
        world = self.world
        if world.chance.random() < 0.3 or world.store.down:
            return
        if join.snapshot is None:
            join.snapshot = world.store.logs[join.conversation_id].change
            return
        self.joins.remove(join)
        if join.client.sid != join.sid or join.client.node is not self:
            self.show(join.conversation_id, self.gates.not_joined(join.conversation_id, join.number, world.now_s))
            return
        join.client.answer(world.store, join.conversation_id, join.snapshot)
        passed = self.gates.joined(join.conversation_id, join.number, join.snapshot, world.now_s)
        self.show(join.conversation_id, passed)


def dump(claim: Claim) -> dict[str, Any]:
    return {"user": claim.user_id, "sid": claim.sid, "ms": claim.stamp.ms, "tick": claim.stamp.tick}


def load(head: Mapping[str, Any], node: str) -> Claim:
    return Claim(UserId(head["user"]), head["sid"], Stamp(head["ms"], head["tick"], node))


class World:
    """One history.

    Args:
        make_gates: the gates of a node; a mutant's have something taken out.
        make_broker: likewise.
        tells_when_late: as it has to be; False for a mutant.
    """

    LIKELY: Final = {"dies": 0.02, "ghost": 0.01}

    def __init__(
        self,
        seed: int,
        *,
        make_gates: Callable[[], Gates[int]] = Gates,
        broker: type[MemoryBroker] = MemoryBroker,
        tells_when_late: bool = True,
    ) -> None:
        self.chance = random.Random(seed)
        self.now_s = 100.0
        self.store = SimStore()
        self.engine = Engine(self.chance)
        self.tells_when_late = tells_when_late
        self.acked: dict[str, int] = {}
        self.ghosts: set[ConversationId] = set()
        self.quiet = False
        self.clients = [Client(user_id) for user_id in USERS]
        self.nodes: list[SimNode] = []
        self._make_gates = make_gates
        self._broker = broker
        self._started = 0
        self._sids = 0
        self._keys = 0
        for _ in range(self.chance.choice([2, 3, 3])):
            self.start()

    @property
    def now_ms(self) -> int:
        return START_MS + int(self.now_s * 1000) + self.chance.choice([0, 0, -300, 200])

    def make_broker(self) -> MemoryBroker:
        return self._broker(self.engine, KNOWN, queue_bytes=700)

    def happens(self, what: str) -> bool:
        return not self.quiet and self.chance.random() < self.LIKELY[what]

    def start(self) -> None:
        self._started += 1
        self.nodes.append(SimNode(self, f"n{self._started}", self._make_gates()))

    def kill(self, node: SimNode) -> None:
        self.nodes.remove(node)
        self.engine.cut.discard(node.name)
        for client in list(node.sockets.values()):
            client.node, client.early = None, {}
        if len(self.nodes) < 2:
            self.start()

    def stop(self, node: SimNode) -> None:
        """As a deploy does it."""
        if len(self.nodes) > 1 and not node.frozen:
            for client in list(node.sockets.values()):
                node.disconnect(client)
            node.broker.publish(None, {"e": "bye"})
            node.broker.turn(self.now_s)
            self.nodes.remove(node)
            self.engine.cut.discard(node.name)
            self.start()

    def come(self, client: Client, node: SimNode) -> None:
        if not node.frozen:
            self._sids += 1
            node.connect(client, f"s{self._sids}")

    def act(self, client: Client) -> None:
        node, chance = client.node, self.chance
        if node is None:
            if not client.stays_away:
                self.come(client, chance.choice(self.nodes))
        elif node.frozen:
            return
        elif client.wanted is not None:
            node.send(client, *client.wanted)
        elif chance.random() < 0.15:
            node.disconnect(client)
        elif chance.random() < 0.25:
            conversation_id = chance.choice(CONVERSATIONS)
            rows = self.store.logs[conversation_id].rows
            if rows:
                node.edit(conversation_id, chance.randrange(len(rows)) + 1)
        else:
            self._keys += 1
            client.wanted = (chance.choice(CONVERSATIONS), f"k{self._keys}")
            node.send(client, *client.wanted)

    def second_device(self) -> None:
        """A user comes on another device, maybe in a race with the first."""
        user_id = self.chance.choice(USERS)
        client = Client(user_id)
        self.clients.append(client)
        self.come(client, self.chance.choice(self.nodes))

    def fault(self) -> None:
        chance, engine = self.chance, self.engine
        kind = chance.choice(
            ["lose", "delay", "freeze", "cut", "kill", "stop", "store", "empty", "stall", "heal", "heal"]
        )
        node = chance.choice(self.nodes)
        if kind == "lose":
            engine.lost = chance.choice([0.1, 0.4])
        elif kind == "delay":
            engine.delay_s = chance.choice([0.05, 0.5, 3.0])
        elif kind == "freeze":
            engine.frozen = True
        elif kind == "cut":
            engine.cut.add(node.name)
        elif kind == "kill":
            self.kill(node)
        elif kind == "stop":
            self.stop(node)
        elif kind == "store":
            self.store.down = True
        elif kind == "empty":
            engine.restart()
        elif kind == "stall":
            node.frozen = True
        else:
            self.heal()

    def heal(self) -> None:
        self.engine.lost = self.engine.delay_s = 0.0
        self.engine.frozen = False
        self.engine.cut.clear()
        self.store.down = False
        for node in self.nodes:
            node.frozen = False

    def turn(self, seconds: float) -> None:
        self.now_s += seconds
        for node in self.chance.sample(self.nodes, len(self.nodes)):
            if node in self.nodes:
                node.turn()

    def run(self, steps: int = 40) -> None:
        """Live through the history. Raises: Broken."""
        chance = self.chance
        for _ in range(steps):
            if chance.random() < 0.2:
                self.fault()
            if chance.random() < 0.05:
                self.second_device()
            for client in chance.sample(self.clients, min(2, len(self.clients))):
                self.act(client)
            self.turn(chance.choice([0.0, 0.01, 0.05, 0.2, 0.5, 2.0]))
        self.heal()
        self.quiet = True
        for client in list(self.clients):
            if client.wanted is not None and client.node is not None:
                client.node.send(client, *client.wanted)
        calm_s = self.now_s + QUIET_S
        while self.now_s < calm_s:
            self.turn(0.5)
        self._settle()
        self.check(but=self.ghosts)
        if chance.random() < 0.3:  # a node whose store did not answer, though it has stored, and then nothing else
            self.store.append(chance.choice(CONVERSATIONS), "late")
        for _ in range(2):  # the slow sweep finds what nobody could tell
            self.now_s += CHECK_S
            for _ in range(8):
                self.now_s += 0.2
                for node in self.nodes:
                    node.heal()
        self.check()

    def _settle(self) -> None:
        """Long holes are read page by page."""
        for _ in range(30):
            if not any(node.gates.late for node in self.nodes):
                return
            self.turn(0.2)

    def check(self, but: Iterable[ConversationId] = ()) -> None:
        """What must hold when all is quiet. Raises: Broken."""
        for key, seq in self.acked.items():
            found = [row.seq for log in self.store.logs.values() for row in log.rows if row.key == key]
            if found != [seq]:
                raise Broken(f"{key} was acked as {seq}, and is stored as {found}")
        for node in self.nodes:
            for client in node.sockets.values():
                for conversation_id in set(CONVERSATIONS) - set(but):
                    seen, newest = client.last.get(conversation_id), self.store.logs[conversation_id].change
                    if seen != newest:
                        raise Broken(f"{client.user_id} on {node.name} saw {conversation_id} up to {seen} of {newest}")
        self._check_sockets()

    def _check_sockets(self) -> None:
        users: defaultdict[UserId, list[str]] = defaultdict(list)
        truth = {node.name: set(node.sockets) for node in self.nodes}
        for node in self.nodes:
            for client in node.sockets.values():
                users[client.user_id].append(client.sid)
            for other, sids in truth.items():
                known = {claim.sid for claim in node.directory.list_of(other)}
                if known != sids:
                    raise Broken(f"{node.name} knows {known} on {other}, where {sids} are")
            if node.directory.sockets != sum(map(len, truth.values())):
                raise Broken(f"{node.name} knows sockets of nodes that are no more")
        twice = {user_id: sids for user_id, sids in users.items() if len(sids) > 1}
        if twice:
            raise Broken(f"more than one socket: {twice}")
