"""What was measured, as text: a table for the terminal, and the same for docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .chart import Bar, Panel, draw
from .peers import PEERS
from .plan import Shape, Target
from .shapes import SHAPES

OURS: Final = "socketserver"
# From here on a core counts as fully used.
BUSY: Final = 0.95

_BEGIN: Final = "<!-- figures: written by `python -m benchmarks --publish` -->"
_END: Final = "<!-- end of figures -->"


@dataclass
class Result:
    """One peer under one load, once; see shapes.Measured for the last four."""

    shape: str
    peer: str
    turn: int
    figures: dict[str, float] = field(default_factory=dict)
    server_share: float = 0.0
    generator_share: float = 0.0
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        """For following a run."""
        shape = SHAPES[self.shape]
        value = self.figures.get(shape.figure)
        shown = "—" if value is None else f"{_number(value)} {shape.unit}"
        cores = f"core used by the server {self.server_share:.0%}, by the generator {self.generator_share:.0%}"
        text = f"{self.shape:8} {self.turn} {self.peer:12} {shown:>16}  {cores}"
        return text + "".join(f"\n    ! {problem[:500]}" for problem in self.problems[:5])


@dataclass(frozen=True)
class Spread:
    """A figure over the turns, in its unit; and the mean shares of the two cores."""

    least: float
    median: float
    most: float
    turns: int
    server_share: float
    generator_share: float


def spread(results: Sequence[Result], shape: Shape, peer: str) -> Spread | None:
    """The shape's figure for a peer, from the turns without problems; None if there are none."""
    good = [result for result in results if (result.shape, result.peer) == (shape.name, peer) and not result.problems]
    if not good:
        return None
    values = [result.figures[shape.figure] for result in good]
    return Spread(
        min(values),
        statistics.median(values),
        max(values),
        len(values),
        statistics.fmean(result.server_share for result in good),
        statistics.fmean(result.generator_share for result in good),
    )


def table(results: Sequence[Result]) -> str:
    """Everything, for a terminal."""
    return "\n".join(line for shape in _measured(results) for line in [*_rows(results, shape), ""]).rstrip()


def _measured(results: Sequence[Result]) -> list[Shape]:
    return [shape for shape in SHAPES.values() if any(result.shape == shape.name for result in results)]


def _rows(results: Sequence[Result], shape: Shape) -> Iterator[str]:
    better = "more" if shape.more_is_better else "less"
    yield f"{shape.title}: {shape.label}, {shape.unit} ({better} is better)"
    yield f"  {'':14}{'min':>10}{'median':>10}{'max':>10}{'ratio':>9}{'turns':>7}{'server':>8}{'generator':>11}"
    reference = spread(results, shape, shape.reference)
    for peer in PEERS:
        if not any((result.shape, result.peer) == (shape.name, peer) for result in results):
            continue
        figure = spread(results, shape, peer)
        if figure is None:
            yield f"  {peer:14}{'not measured: ' + _first_problem(results, shape, peer)}"
            continue
        ratio = f"{figure.median / reference.median:.2f}" if reference else ""
        yield (
            f"  {peer:14}{_number(figure.least):>10}{_number(figure.median):>10}{_number(figure.most):>10}{ratio:>9}"
            f"{figure.turns:>7}{figure.server_share:>8.0%}{figure.generator_share:>11.0%}{_remark(shape, figure)}"
        )
    for target in shape.targets:
        if verdict := _verdict(results, shape, target):
            yield f"  target: {verdict}"


def _first_problem(results: Sequence[Result], shape: Shape, peer: str) -> str:
    problems = [p for r in results if (r.shape, r.peer) == (shape.name, peer) for p in r.problems]
    return problems[0].splitlines()[0][:120] if problems else "no turn"


def _remark(shape: Shape, figure: Spread) -> str:
    if shape.name in ("idle", "latency", "acks") or figure.server_share > BUSY:
        return ""
    return " (generator is the bottleneck)" if figure.generator_share > BUSY else " (neither core was full)"


def _verdict(results: Sequence[Result], shape: Shape, target: Target) -> str | None:
    ours = spread(results, shape, shape.ours)
    theirs = spread(results, shape, target.peer) if target.peer else None
    if ours is None or (target.peer and theirs is None):
        return None
    value = ours.median / theirs.median if theirs else ours.median
    met = value >= target.bound if shape.more_is_better else value <= target.bound
    bound = f"{'≥' if shape.more_is_better else '≤'} {target.bound:g} "
    bound += f"× {target.peer}" if target.peer else shape.unit
    return f"{bound}: {_number(value)}, {'met' if met else 'missed'}"


def _number(value: float) -> str:
    """Three digits that count, with thin groups."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def publish(results: Sequence[Result], facts: Mapping[str, Any], docs: Path) -> None:
    """Write the chart, and the tables into docs/performance.md between its two marks."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    (docs / "images" / "performance.svg").write_text(draw(_panels(results), _machine(facts)), encoding="utf-8")
    page = docs / "performance.md"
    head, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    tail = rest.partition(_END)[2]
    page.write_text(f"{head}{_BEGIN}\n\n{markdown(results, facts)}\n\n{_END}{tail}", encoding="utf-8")


def _panels(results: Sequence[Result]) -> list[Panel]:
    panels = []
    for shape in _measured(results):
        bars = []
        reference = spread(results, shape, shape.reference)
        for name, peer in PEERS.items():
            figure = spread(results, shape, name)
            if figure is not None:
                ratio = f"{_number(figure.median / reference.median)} ×" if reference else ""
                text = f"{_number(figure.median)} {shape.unit}"
                bars.append(
                    Bar(peer.title, figure.least, figure.median, figure.most, text, ratio, ours=name.startswith(OURS))
                )
        if bars:
            better = "more is better" if shape.more_is_better else "less is better"
            panels.append(Panel(shape.title, f"{shape.label} — {better}", bars))
    return panels


def markdown(results: Sequence[Result], facts: Mapping[str, Any]) -> str:
    """The figures for the documentation."""
    parts = [f"Measured on {facts['takenAt']}, commit {facts['commit']}: {_machine(facts)}.", _versions(facts)]
    targets = ["| load | target | measured | |", "|---|---|---|---|"]
    for shape in _measured(results):
        for target in shape.targets:
            if verdict := _verdict(results, shape, target):
                bound, _, outcome = verdict.partition(": ")
                ratio, _, word = outcome.partition(", ")
                targets.append(f"| {shape.title}: {shape.label} | {bound} | {ratio} | {word} |")
    parts.append("\n".join(targets))
    for shape in _measured(results):
        better = "more" if shape.more_is_better else "less"
        lines = [
            f"**{shape.title}**: {shape.label}, {shape.unit}; {better} is better.",
            "",
            "| server | min | median | max | ratio | core used: server, generator |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        reference = spread(results, shape, shape.reference)
        for name, peer in PEERS.items():
            figure = spread(results, shape, name)
            if figure is None:
                if any((result.shape, result.peer) == (shape.name, name) for result in results):
                    lines.append(f"| {peer.title} | {_first_problem(results, shape, name)} | | | | |")
                continue
            ratio = f"{figure.median / reference.median:.2f}" if reference else ""
            lines.append(
                f"| {peer.title} | {_number(figure.least)} | {_number(figure.median)} | {_number(figure.most)} "
                f"| {ratio} | {figure.server_share:.0%}, {figure.generator_share:.0%}{_remark(shape, figure)} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _machine(facts: Mapping[str, Any]) -> str:
    pinned = "server and load generator on a core each" if facts["pinned"]["server"] is not None else "not pinned"
    return f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {pinned}"


def _versions(facts: Mapping[str, Any]) -> str:
    named = {"Python": facts["python"], "SQLite": facts["sqlite"], "Node": facts["node"]}
    named |= facts["packages"] | facts["npm"]
    return "Versions: " + ", ".join(f"{name} {version or 'not installed'}" for name, version in named.items()) + "."
