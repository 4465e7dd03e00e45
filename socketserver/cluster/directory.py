"""Who is connected where: every node's sockets, as each node holds them. Serves routing, presence and the rule of one
socket per user.

Pure: no I/O, and the time is passed in. A socket is a claim with a stamp; of a user's claims the newest win, on every
node alike, so nobody has to be asked. There is no lease that could be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from ..chat.domain import UserId

# How far ahead of one's own clock another node's stamp may be, ms; beyond, its clock is wrong and is not followed.
MOST_AHEAD_MS = 60_000


class Stamp(NamedTuple):
    """When a socket was given its user, comparable across nodes: no two are the same.

    Attributes:
        ms: UTC milliseconds, never less than in any stamp that the node had seen.
        tick: tells apart what happened in the same millisecond.
        node: of the socket.
    """

    ms: int
    tick: int
    node: str


class Stamps:
    """A node's stamps: a hybrid logical clock. Who has seen a claim and makes another makes a newer one, also where the
    nodes' clocks differ, by up to MOST_AHEAD_MS."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._last = (0, 0)

    def next(self, now_ms: int) -> Stamp:
        """A stamp that is newer than all that this node has made or followed."""
        ms, tick = self._last
        self._last = (now_ms, 0) if now_ms > ms else (ms, tick + 1)
        return Stamp(*self._last, self._node)

    def seen(self, stamp: Stamp, now_ms: int) -> None:
        """Another node's stamp has come."""
        if stamp.ms <= now_ms + MOST_AHEAD_MS:
            self._last = max(self._last, (stamp.ms, stamp.tick))


class Claim(NamedTuple):
    """A user's socket: `stamp.node` is where it is."""

    user_id: UserId
    sid: str
    stamp: Stamp


@dataclass(slots=True)
class Effects:
    """What follows from something that was learned.

    Attributes:
        surplus: this node's own sockets that have to make room for newer ones.
        came: users who have a socket now, and had none anywhere.
        left: users who have none any more.
    """

    surplus: list[Claim] = field(default_factory=list)
    came: list[UserId] = field(default_factory=list)
    left: list[UserId] = field(default_factory=list)

    def settled(self) -> Effects:
        """Without what cancels out: users who went from one socket to another, and sockets told twice."""
        both = set(self.came) & set(self.left)
        return Effects(
            list(dict.fromkeys(self.surplus)),
            [each for each in self.came if each not in both],
            [each for each in self.left if each not in both],
        )


class Directory:
    """All nodes' sockets.

    Args:
        node: one's own id.
        sockets_per_user: how many a user may have in the cluster; 0 for any number.
    """

    def __init__(self, node: str, sockets_per_user: int) -> None:
        self._node = node
        self._sockets_per_user = sockets_per_user
        self._by_user: dict[UserId, dict[str, Claim]] = {}
        self._by_node: dict[str, dict[str, Claim]] = {}
        self._digests: dict[str, int] = {}

    def here(self, claim: Claim) -> Effects:
        """A socket has a user, on whatever node. A claim that is known already changes nothing."""
        effects = Effects()
        own = self._by_node.setdefault(claim.stamp.node, {})
        known = own.get(claim.sid)
        if known == claim:
            return effects
        if known is not None:
            self._remove(known, effects)
        claims = self._by_user.setdefault(claim.user_id, {})
        if not claims:
            effects.came.append(claim.user_id)
        self._by_node.setdefault(claim.stamp.node, {})[claim.sid] = claims[claim.sid] = claim
        self._turn(claim)
        effects.surplus = self._surplus(claims)
        return effects.settled()

    def gone(self, node: str, sid: str) -> Effects:
        """A socket of that node is gone. A late end removes nothing but its own socket."""
        effects = Effects()
        claim = self._by_node.get(node, {}).get(sid)
        if claim is not None:
            self._remove(claim, effects)
        return effects

    def replace(self, node: str, claims: Iterable[Claim]) -> Effects:
        """The list of a node's sockets, as the node itself has told it: what was missed or too much is mended."""
        listed = {each.sid: each for each in claims if each.stamp.node == node}
        total = Effects()
        for sid in [sid for sid, claim in self._by_node.get(node, {}).items() if listed.get(sid) != claim]:
            total.left += self.gone(node, sid).left
        for claim in listed.values():
            effects = self.here(claim)
            total.came += effects.came
            total.surplus += effects.surplus
        return total.settled()

    def forget(self, node: str) -> Effects:
        """A node is dead, or has said bye: its sockets are gone."""
        return self.replace(node, ())

    def list_of(self, node: str) -> list[Claim]:
        """A node's sockets."""
        return list(self._by_node.get(node, {}).values())

    def digest(self, node: str) -> tuple[int, int]:
        """How many sockets of a node are known, and a number that is the same wherever the same ones are.

        Whoever gets another digest in a beat than it has itself asks for the list."""
        return len(self._by_node.get(node, {})), self._digests.get(node, 0)

    def is_online(self, user_id: UserId) -> bool:
        """Whether the user has a socket on any node."""
        return user_id in self._by_user

    def claims_of(self, user_id: UserId) -> list[Claim]:
        """The user's sockets, oldest first."""
        return sorted(self._by_user.get(user_id, {}).values(), key=lambda claim: claim.stamp)

    def elsewhere(self, user_ids: Iterable[UserId]) -> Mapping[str, list[UserId]]:
        """The other nodes on which any of these users have sockets, and which users each has. Asked at each message."""
        found: dict[str, list[UserId]] = {}
        by_user, own = self._by_user, self._node
        for user_id in user_ids:
            claims = by_user.get(user_id)
            if claims:
                for node in {claim.stamp.node for claim in claims.values()}:
                    if node != own:
                        found.setdefault(node, []).append(user_id)
        return found

    @property
    def users(self) -> int:
        """How many users have a socket anywhere."""
        return len(self._by_user)

    @property
    def sockets(self) -> int:
        """How many sockets with a user there are anywhere."""
        return sum(map(len, self._by_node.values()))

    def _surplus(self, claims: Mapping[str, Claim]) -> list[Claim]:
        if not self._sockets_per_user or len(claims) <= self._sockets_per_user:
            return []
        newest_first = sorted(claims.values(), key=lambda claim: claim.stamp, reverse=True)
        return [each for each in newest_first[self._sockets_per_user :] if each.stamp.node == self._node]

    def _remove(self, claim: Claim, effects: Effects) -> None:
        node = claim.stamp.node
        del self._by_node[node][claim.sid]
        if not self._by_node[node]:
            del self._by_node[node]
        self._turn(claim)
        claims = self._by_user[claim.user_id]
        if claims.get(claim.sid) == claim:
            del claims[claim.sid]
        if not claims:
            del self._by_user[claim.user_id]
            effects.left.append(claim.user_id)

    def _turn(self, claim: Claim) -> None:
        """Put a claim into its node's digest, or take it out: the same thing."""
        node = claim.stamp.node
        text = f"{claim.user_id}\0{claim.sid}\0{claim.stamp.ms}\0{claim.stamp.tick}"
        value = self._digests.get(node, 0) ^ int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        if value:
            self._digests[node] = value
        else:
            self._digests.pop(node, None)
