"""What a load is: how much of it, what it brings, and what this server has promised to reach under it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from .measure import Usage
from .peers import Server


@dataclass(frozen=True)
class Plan:
    """How much of it.

    Attributes:
        seconds: length of a measured window, s.
        warm_up_s: load before the window, s; it lasts until every sender has had an ack.
        scale: what the numbers of clients are multiplied with; 1 except for trying out.
        rate: messages per second that `latency` sends.
        rest_s: how long connections and their traces settle before memory or CPU time is read, s.
    """

    seconds: float
    warm_up_s: float
    scale: float = 1.0
    rate: float = 0.0
    rest_s: float = 2.0

    def of(self, number: int) -> int:
        """A number of clients or conversations, scaled; at least 2."""
        return max(2, round(number * self.scale))


@dataclass
class Measured:
    """What one run brought.

    Attributes:
        figures: name → value; the unit is the end of the name.
        server_share, generator_share: CPU time per wall-clock time in the window; 1.0 is a whole core.
        problems: what makes the figures worth nothing; empty if all went well.
    """

    figures: dict[str, float] = field(default_factory=dict)
    server_share: float = 0.0
    generator_share: float = 0.0
    problems: list[str] = field(default_factory=list)

    def share(self, before: Usage, after: Usage) -> None:
        wall_s = after.at_s - before.at_s
        self.server_share = (after.server_s - before.server_s) / wall_s
        self.generator_share = (after.generator_s - before.generator_s) / wall_s


@dataclass(frozen=True)
class Target:
    """What this server promises, as an upper or a lower bound.

    Attributes:
        peer: whose median `bound` is multiplied with; None if it is a figure in the unit of the load.
    """

    peer: str | None
    bound: float


@dataclass(frozen=True)
class Shape:
    """A load.

    Attributes:
        figure: the name of its main figure.
        unit: the figure's unit.
        more_is_better: what the figure says.
        targets: what this server must reach.
        run: puts the load on a server that has just started.
        peers: which servers it is for.
        reference: the one that the others are compared with.
        ours: the one that the targets are for.
    """

    name: str
    title: str
    figure: str
    label: str
    unit: str
    run: Callable[[Server, Plan], Awaitable[Measured]]
    targets: Sequence[Target]
    more_is_better: bool = False
    peers: Sequence[str] = ("socketserver", "realtime", "stock", "node", "bun")
    reference: str = "node"
    ours: str = "socketserver"
