"""Reads the documentation: headings, sections, tables, anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

Row = dict[str, str]


def headings(text: str) -> Iterator[tuple[int, str, int]]:
    """(level, title, position) of every heading outside code."""
    plain = re.sub(r"```.*?```", lambda code: re.sub(r"[^\n]", " ", code.group()), text, flags=re.S)
    for match in re.finditer(r"^(#+) +(.+)$", plain, flags=re.M):
        yield len(match.group(1)), match.group(2).strip(), match.start()


def section(page: Path, title: str) -> str:
    """The text under a heading, up to the next one of its level."""
    text = page.read_text(encoding="utf-8")
    found = list(headings(text))
    level, _, start = next(heading for heading in found if heading[1] == title)
    end = next((at for other, _, at in found if at > start and other <= level), len(text))
    return text[start:end]


def subsections(page: Path, title: str) -> list[str]:
    """The titles one level below a heading."""
    level = next(level for level, name, _ in headings(page.read_text(encoding="utf-8")) if name == title)
    return [name for below, name, _ in headings(section(page, title)) if below == level + 1]


def tables(text: str) -> list[list[Row]]:
    """Every table, as rows by column title."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M):
        lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        found.append([dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]])
    return found


def table(text: str, first_column: str, *, second_column: str | None = None) -> list[Row]:
    """The rows of the tables with these columns."""
    return [
        row
        for rows in tables(text)
        for row in rows
        if next(iter(row)) == first_column and (second_column is None or second_column in row)
    ]


def code(cell: str) -> str:
    """What stands between the backquotes of a cell."""
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"{cell!r} should be one word in backquotes"
    return match.group(1)


def plain(cell: str) -> str:
    """A cell without the addresses of its links."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell)


def slug(title: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", plain(title).lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(title) for _, title, _ in headings(page.read_text(encoding="utf-8"))}
