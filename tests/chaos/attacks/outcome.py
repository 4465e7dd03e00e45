"""What an attack came to, and whether that is within what the server promises."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

# What nobody's neighbour may notice: the worst ack of a bystander, the server's memory with 500 hostile connections,
# the share of a core that one hostile connection gets, the CPU time of a request that is refused.
WORST_ACK_MS: Final = 250.0
# The store's own deadline and what stands around it: how long an answer may take while the store is held up.
HELD_UP_MS: Final = 3000.0
RSS_MIB: Final = 256.0
CORE_SHARE: Final = 0.10
REFUSAL_MS: Final = 1.0
# What one connection may get rid of in the long run, several times what an honest one sends.
TAKEN_BYTES_PER_S: Final = 1e6
# What it gets rid of at once: the kernel keeps some MB at both ends, and the server forgives a burst.
AT_ONCE_BYTES: Final = 8e6
# Share of the time, from which on a sender that can send no more counts as held back: within a second the kernel's
# buffers take more than the server does.
HELD_BACK_SHARE: Final = 0.5
# Shorter windows have too few CPU ticks and refusals to divide.
FEW_REFUSALS: Final = 200


@dataclass(frozen=True)
class Acks:
    """A bystander's messages in a window. Times in ms; 0 where there was none."""

    sent: int
    acked: int
    refused: int
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @classmethod
    def of(cls, sent: Sequence[Sequence[Any]]) -> Acks:
        """Of entries as the bystander prints them: when, how long, what it said."""
        took = sorted(entry[1] for entry in sent if entry[1] is not None)
        refused = sum(1 for entry in sent if entry[2] not in ("ok", ""))
        if not took:
            return cls(len(sent), 0, refused, 0.0, 0.0, 0.0)
        p99_ms = took[min(len(took) - 1, round(0.99 * (len(took) - 1)))]
        return cls(len(sent), len(took), refused, statistics.median(took), p99_ms, took[-1])


@dataclass
class Outcome:
    """One attack in one mode.

    Attributes:
        mode: direct, nginx or caddy.
        loop: uvloop or asyncio.
        quiet, acks: the bystander before and during the attack.
        visits, visits_refused: new users who came meanwhile, and how many of them did not get in.
        core_share, quiet_share: of a core, used by the server during the attack and before.
        waited_share: how long the server's main thread could have run but got no core: how busy the machine was.
        rss_mib: before, at most, after.
        tally: the attacker's (hostile.Tally).
        ends: of bystanders, which are never to be.
        waits: whether the store is held up, so that an honest answer may be that it is unavailable.
        errors: of the server: a traceback, a start or stop that failed.
    """

    name: str
    family: str
    title: str
    mode: str
    loop: str
    hostile: int
    quiet: Acks
    acks: Acks
    visits: int
    visits_refused: int
    visit_worst_ms: float
    core_share: float
    quiet_share: float
    waited_share: float
    rss_mib: tuple[float, float, float]
    tally: Mapping[str, Any]
    ends: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waits: bool = False

    @property
    def lost(self) -> int:
        return self.acks.sent - self.acks.acked

    @property
    def stopped(self) -> bool:
        """Whether the server did something about the attacker: refused, ended, or did not take all that it sent."""
        beyond = max(0.0, self.tally["sent_bytes"] / max(1, self.hostile) - AT_ONCE_BYTES)
        taken = beyond / max(0.001, self.tally["seconds"])
        held_back = self.tally["paused_share"] >= HELD_BACK_SHARE
        return bool(self.refused or self.tally["ends"]) or held_back or taken < TAKEN_BYTES_PER_S

    @property
    def refused(self) -> int:
        """Requests of the attacker's that were answered with a refusal."""
        return sum(count for status, count in self.tally["statuses"].items() if status.startswith(("4", "5")))

    @property
    def share_per_connection(self) -> float:
        return max(0.0, self.core_share - self.quiet_share) / max(1, self.hostile)

    @property
    def refusal_ms(self) -> float | None:
        """CPU time of a refused request; None where not all were refused, or too few to tell."""
        if self.refused < FEW_REFUSALS or self.refused < 0.9 * sum(self.tally["statuses"].values()):
            return None
        return max(0.0, self.core_share - self.quiet_share) * float(self.tally["seconds"]) * 1000 / self.refused

    def harm(self) -> list[str]:
        """What may never be, on whatever machine: lost messages, ended bystanders, memory, errors."""
        found = list(self.errors)
        if self.lost:
            found.append(f"{self.lost} of {self.acks.sent} messages of the bystander were not acked")
        if self.acks.refused and not self.waits:
            found.append(f"{self.acks.refused} messages of the bystander were refused")
        found += [f"a bystander was ended: {end}" for end in self.ends[:3]]
        if self.visits_refused:
            found.append(f"{self.visits_refused} of {self.visits} visitors did not get in")
        if self.rss_mib[1] > RSS_MIB:
            found.append(f"{self.rss_mib[1]:.0f} MiB")
        return found

    def missed(self) -> list[str]:
        """Every target that was missed, times included; worth something on a quiet machine only."""
        found = self.harm()
        if self.acks.worst_ms > (HELD_UP_MS if self.waits else WORST_ACK_MS):
            found.append(f"worst ack {self.acks.worst_ms:.0f} ms")
        if self.share_per_connection > CORE_SHARE:
            found.append(f"{self.share_per_connection:.0%} of a core for one connection")
        if self.refusal_ms is not None and self.refusal_ms > REFUSAL_MS:
            found.append(f"{self.refusal_ms:.1f} ms for a refused request")
        return found

    def answer(self) -> str:
        """What the server did with the attacker, in a few words."""
        statuses = self.tally["statuses"].items()
        parts = [f"{count} × {status}" for status, count in sorted(statuses, key=lambda item: -item[1])[:4]]
        ends = sorted(self.tally["ends"].items(), key=lambda item: -item[1])[:3]
        parts += [f"{count} ended ({code})" for code, count in ends]
        if self.tally["open"]:
            parts.append(f"{self.tally['open']} left open")
        if self.tally["paused_share"] >= 0.1:
            parts.append(f"held back {self.tally['paused_share']:.0%} of the time")
        return ", ".join([*parts, *self.notes]) or "nothing"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"missed": self.missed(), "answer": self.answer(), "refusal_ms": self.refusal_ms}


_COLUMNS: Final = (
    "attack", "mode", "sent", "bystander's acks: p50, p99, worst", "lost", "visitors refused",
    "core: used, waited for", "RSS before, most, after", "what the server did", "missed",
)  # fmt: skip
HEAD: Final = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"


def row(outcome: Mapping[str, Any]) -> str:
    """A line of the table, from `as_dict` or from a file that was written of it."""
    acks, tally = outcome["acks"], outcome["tally"]
    cells = (
        f"`{outcome['name']}`",
        outcome["mode"] + ("" if outcome["loop"] == "uvloop" else f", {outcome['loop']}"),
        f"{tally['sent_bytes'] / max(0.001, tally['seconds']) / 1e6:.3g} MB/s",
        f"{acks['p50_ms']:.0f}, {acks['p99_ms']:.0f}, {acks['worst_ms']:.0f} ms",
        f"{acks['sent'] - acks['acked']} of {acks['sent']}",
        f"{outcome['visits_refused']} of {outcome['visits']}",
        f"{outcome['core_share']:.0%}, {outcome['waited_share']:.0%}",
        ", ".join(f"{size:.0f}" for size in outcome["rss_mib"]) + " MiB",
        outcome["answer"],
        "; ".join(outcome["missed"]) or "—",
    )
    return f"| {' | '.join(cells)} |"


def side_by_side(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> str:
    """Two runs by attack and mode, for docs/reliability.md: all that missed a target in either, and how many did not.

    Args:
        after: none, before there is such a run.
    """
    runs = [{(one["name"], one["mode"], one["loop"]): one for one in run} for run in (before, after)]
    keys = list(dict.fromkeys([*runs[0], *runs[1]]))
    shown = [key for key in keys if any(run.get(key, {}).get("missed") for run in runs)]
    lines = [
        "| Attack | Before: bystander's worst ack; lost; core; most memory | After | What the server does now |",
        "|---|---|---|---|",
    ]
    for key in shown:
        one = runs[1].get(key) or runs[0][key]
        mode = {("direct", "uvloop"): "", ("direct", "asyncio"): ", without uvloop"}.get(key[1:], f", through {key[1]}")
        now = runs[1].get(key)
        answer = f"{now['answer']}{'; **missed**: ' + '; '.join(now['missed']) if now['missed'] else ''}" if now else ""
        lines.append(f"| {one['title']}{mode} | {_short(runs[0].get(key))} | {_short(now)} | {answer} |")
    quiet = len(keys) - len(shown)
    return "\n".join([*lines, "", f"{quiet} others of the {len(keys)} kept to the targets all along."])


def _short(outcome: Mapping[str, Any] | None) -> str:
    if outcome is None:
        return ""
    acks = outcome["acks"]
    parts = [
        f"{acks['worst_ms']:,.0f} ms".replace(",", " "),
        f"{acks['sent'] - acks['acked']} of {acks['sent']}",
        f"{outcome['core_share']:.0%}",
        f"{outcome['rss_mib'][1]:.0f} MiB",
    ]
    if outcome["visits_refused"]:
        parts.append(f"{outcome['visits_refused']} of {outcome['visits']} visitors kept out")
    return "; ".join(parts)


BEGIN: Final = "<!-- attacks: written by `python -m chaos.attacks --publish` -->"
END: Final = "<!-- end of attacks -->"


def publish(page: Path, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> None:
    """Write the table between its two marks."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    page.write_text(f"{head}{BEGIN}\n\n{side_by_side(before, after)}\n\n{END}{tail}", encoding="utf-8")
