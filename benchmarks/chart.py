"""The chart: small multiples of bars as SVG, written by hand, for light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 920
MARGIN: Final = 28
GUTTER: Final = 36
COLUMNS: Final = 2
HEAD: Final = 92
PANEL_HEAD: Final = 52
ROW: Final = 40
BAR: Final = 12
PANEL_GAP: Final = 26
# Room at the right of the longest bar for its figure.
FIGURE: Final = 158

_STYLE: Final = """
  svg { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
  .page { fill: #ffffff; } .ink { fill: #1f2328; } .soft { fill: #59636e; }
  .title { font-size: 19px; font-weight: 600; } .head { font-size: 15px; font-weight: 600; }
  .small { font-size: 12px; } .number { font-variant-numeric: tabular-nums; }
  .track { fill: #f0f2f5; } .bar { fill: #9aa7b5; } .ours { fill: #1f6feb; }
  .spread { stroke: #1f2328; stroke-width: 1.5; } .strong { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } .ink { fill: #f0f6fc; } .soft { fill: #9198a1; }
    .track { fill: #1b212a; } .bar { fill: #5b6774; } .ours { fill: #4493f8; }
    .spread { stroke: #f0f6fc; }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One server's figure: its spread over the turns, how it reads, and its ratio to the reference."""

    title: str
    least: float
    median: float
    most: float
    text: str
    ratio: str
    ours: bool


@dataclass(frozen=True)
class Panel:
    """One load with a bar per server."""

    title: str
    subtitle: str
    bars: Sequence[Bar]


def draw(panels: Sequence[Panel], machine: str) -> str:
    """The chart as an SVG document.

    Args:
        machine: one line about where it was measured.
    """
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GUTTER) / COLUMNS
    parts: list[str] = []
    top = float(HEAD)
    for at in range(0, len(panels), COLUMNS):
        row = panels[at : at + COLUMNS]
        for column, panel in enumerate(row):
            parts += _panel(panel, MARGIN + column * (width + GUTTER), top, width)
        top += PANEL_HEAD + ROW * max(len(panel.bars) for panel in row) + PANEL_GAP
    height = round(top)
    label = "; ".join(
        f"{panel.title}, {panel.subtitle}: " + ", ".join(f"{bar.title} {bar.text}" for bar in panel.bars)
        for panel in panels
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-label="{escape(label)}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
            _text(MARGIN, 38, "One server on one core, the same load for each", "ink title"),
            _text(MARGIN, 60, "Bar: median of the turns; line: smallest to largest; × ratio to Node", "soft small"),
            _text(MARGIN, 77, machine, "soft small"),
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(panel: Panel, left: float, top: float, width: float) -> list[str]:
    parts = [_text(left, top + 16, panel.title, "ink head"), _text(left, top + 34, panel.subtitle, "soft small")]
    longest = max(bar.most for bar in panel.bars) or 1.0
    scale = (width - FIGURE) / longest
    for number, bar in enumerate(panel.bars):
        y = top + PANEL_HEAD + number * ROW
        middle = y + 16 + BAR / 2
        parts += [
            _text(left, y + 10, bar.title, "ink small strong" if bar.ours else "ink small"),
            f'<rect class="track" x="{left:.1f}" y="{y + 16}" width="{width - FIGURE:.1f}" height="{BAR}" rx="3"/>',
            f'<rect class="{"ours" if bar.ours else "bar"}" x="{left:.1f}" y="{y + 16}" '
            f'width="{max(2.0, bar.median * scale):.1f}" height="{BAR}" rx="3"/>',
            f'<line class="spread" x1="{left + bar.least * scale:.1f}" x2="{left + bar.most * scale:.1f}" '
            f'y1="{middle}" y2="{middle}"/>',
            _text(left + width - FIGURE + 10, y + 26, bar.text, "ink small number strong" if bar.ours else "ink small"),
            _text(left + width, y + 26, bar.ratio, "soft small number", anchor="end"),
        ]
    return parts


def _text(x: float, y: float, text: str, classes: str, anchor: str = "start") -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
