"""The tap between a WebSocket connection and its parser: what it hands on, and what it drops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from socketserver.realtime.engine.intake import SLICE_BYTES, TURN_BYTES, Allowance, Intake, IntakeLimits
from socketserver.realtime.engine.tap import Tap
from socketserver.realtime.engine.wheel import Wheel
from typing import Any

import pytest


@dataclass
class Parser:
    """Counts what it is fed; after `closes_after` bytes its link is closing."""

    link: Any
    closes_after: int
    fed: int = 0

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.fed += len(data)
        if self.fed >= self.closes_after:
            self.link.closing = True
        return False, b""

    def feed_eof(self) -> None:
        pass


@dataclass
class Link:
    closing: bool = False
    plugged: bool = False
    transport: Any = None
    flooded_calls: list[None] = field(default_factory=list)

    def flooded(self) -> None:
        self.flooded_calls.append(None)


def tapped(link: Link, closes_after: int) -> tuple[Tap, Parser]:
    intake = Intake(IntakeLimits(user=Allowance(0, 1)), Wheel())
    parser = Parser(link, closes_after)
    return Tap(intake, intake.meter("group"), link, parser, None), parser


@pytest.mark.parametrize("piece", [SLICE_BYTES + 1, 60_000])
async def test_who_was_told_to_go_is_not_parsed_any_more(piece: int) -> None:
    """Whoever sent on after its close frame was parsed for a second more, at the speed of the line: four fifths of a
    core for one connection."""
    tap, parser = tapped(Link(closing=True), closes_after=1 << 40)
    for _ in range(100):
        assert tap.feed_data(b"\x89\x80\0\0\0\0" * (piece // 6 + 1)) == (False, b"")
    tap.feed_data(b"\x88\x80\0\0\0\0")
    assert parser.fed == 0


async def test_what_stands_behind_the_reason_to_close_is_dropped() -> None:
    """Of one large piece of which the first slice ended the client, the rest is not parsed."""
    tap, parser = tapped(Link(), closes_after=1)
    tap.feed_data(b"x" * SLICE_BYTES * 10)
    for _ in range(3):
        await asyncio.sleep(0)
    assert parser.fed == SLICE_BYTES
    assert not tap.gated


async def test_the_answer_to_a_close_frame_is_seen() -> None:
    """A client that goes as it should is not made to wait for the timer."""
    tap, parser = tapped(Link(closing=True), closes_after=1 << 40)
    tap.feed_data(b"\x88\x82\0\0\0\0\x03\xe8")
    assert parser.fed == 8


@pytest.mark.parametrize("known", [True, False])
async def test_a_user_s_first_piece_in_a_turn_that_is_used_up_is_taken(known: bool) -> None:
    """The second is held for another turn, and so is a stranger's first."""
    tap, parser = tapped(Link(), closes_after=1 << 40)
    intake, meter = tap._intake, tap._meter
    if known:
        intake.vouch(meter)
    intake.weight = TURN_BYTES + 1
    assert intake.look()
    tap.feed_data(b"x" * 10)
    assert parser.fed == (10 if known else 0)
    assert tap.gated is not known
    tap.feed_data(b"x" * 10)
    assert parser.fed == (10 if known else 0)
    assert tap.gated
    await asyncio.sleep(0)
    assert parser.fed == 20, "in the next turn"
