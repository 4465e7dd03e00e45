"""The attacks that say most, shortened: the bystander's messages are all acked, and the attacker gets nowhere.

`make attack` runs all of them in full and prints a table. Here no wall time is asserted, only CPU time of the server,
which a busy machine makes less of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from chaos.attacks.catalogue import ATTACKS
from chaos.attacks.outcome import BEGIN, END, Acks, Outcome, publish, row
from chaos.attacks.scene import Attack, Size, play

from benchmarks.measure import raise_open_files

SHORT: Final = Size(seconds=1.0, scale=0.1, quiet_s=0.3)
# What one hostile connection may use of a core: in full it is a tenth, here the window is short.
CORE_SHARE: Final = 0.25
# Bodies that no client of ours sends, and that a server has to unpack to know what they are.
NEVER_TAKEN: Final = ("gzip-packets", "gzip-bombs", "deflate-packets")
CHOSEN: Final = (
    "gzip-packets",
    "gzip-bombs",
    "deflate-packets",
    "posts-41",
    "ws-ping",
    "ws-noop",
    "ws-ack",
    "ws-pieces",
    "ws-surrogates",
    "deflate-event",
    "heads-websocket",
    "unfinished-300",
    "pipeline-health",
    "handshakes",
    "made-up-origins",
    "cookies-many",
    "inbox-hanging",
    "readyz-locked",
    "groups-list",
    "invalid-bursts",
)
# These have to get through a lot in their second, for which they need the processor.
FAST: Final = ("gzip-bombs", "made-up-origins")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.alone if name in FAST else ()) for name in CHOSEN]
)
async def test_a_bystander_does_not_notice_an_attack(name: str, tmp_path: Path) -> None:
    """Every message is acked, nobody is kept out, memory holds, and the attacker is refused, ended or held back."""
    raise_open_files(4096)

    outcome = await play(ATTACKS[name], tmp_path / "attack", SHORT)

    print("\n" + row(outcome.as_dict()))
    assert outcome.harm() == []
    assert outcome.acks.sent > 0
    assert outcome.tally["sent_bytes"] > 0
    assert outcome.stopped, outcome.answer()
    assert outcome.share_per_connection <= CORE_SHARE, outcome.answer()
    assert outcome.notes == []
    if name in NEVER_TAKEN:
        assert "200" not in outcome.tally["statuses"]


def test_the_catalogue_is_whole() -> None:
    """A name says what is done, once."""
    assert len({attack.title for attack in ATTACKS.values()}) == len(ATTACKS)
    assert {attack.family for attack in ATTACKS.values()} == {"bodies", "frames", "heads", "doors", "store"}
    assert all(isinstance(attack, Attack) for attack in ATTACKS.values())
    assert set(CHOSEN) <= ATTACKS.keys()


def outcome(**changes: Any) -> Outcome:
    tally = {
        "sent_bytes": 10, "seconds": 1.0, "statuses": {"200": 5}, "ends": {}, "open": 1, "paused_share": 0.0
    }  # fmt: skip
    acks = Acks.of([[0.0, 3.0, "ok"], [0.1, 5.0, "ok"]])
    fields: dict[str, Any] = {
        "name": "x", "family": "heads", "title": "an attack", "mode": "direct", "loop": "uvloop", "hostile": 1,
        "quiet": acks, "acks": acks, "visits": 2, "visits_refused": 0, "visit_worst_ms": 1.0, "core_share": 0.05,
        "quiet_share": 0.02, "waited_share": 0.0, "rss_mib": (70.0, 80.0, 75.0), "tally": tally,
    }  # fmt: skip
    return Outcome(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"acks": Acks.of([[0.0, None, ""], [0.1, 5.0, "ok"]])}, ["1 of 2 messages of the bystander were not acked"]),
        ({"acks": Acks.of([[0.0, 1.0, "rate_limited"]])}, ["1 messages of the bystander were refused"]),
        ({"acks": Acks.of([[0.0, 900.0, "ok"]])}, ["worst ack 900 ms"]),
        ({"visits_refused": 1}, ["1 of 2 visitors did not get in"]),
        ({"rss_mib": (70.0, 300.0, 80.0)}, ["300 MiB"]),
        ({"core_share": 0.5}, ["48% of a core for one connection"]),
        ({"core_share": 0.5, "hostile": 10}, []),
        ({"ends": ["bystander1: close 1006"]}, ["a bystander was ended: bystander1: close 1006"]),
    ],
)
def test_a_missed_target_is_said(changes: dict[str, Any], said: list[str]) -> None:
    """An instrument that says nothing would make every server look well."""
    assert outcome(**changes).missed() == said


def test_an_attacker_who_gets_rid_of_everything_was_not_stopped() -> None:
    """Nothing refused, nobody ended, and everything taken: then the server does not defend itself."""
    taken = dict(outcome().tally) | {"sent_bytes": 20_000_000}

    assert outcome().stopped
    assert not outcome(tally=taken).stopped
    assert outcome(tally=taken | {"ends": {"1008": 1}}).stopped
    assert outcome(tally=taken | {"statuses": {"429": 1}}).stopped


def test_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    """What missed a target in either run has a line; the rest is counted."""
    page = tmp_path / "reliability.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    slow = outcome(acks=Acks.of([[0.0, 6100.0, "ok"]]))

    publish(page, [slow.as_dict(), outcome(name="y").as_dict()], [outcome().as_dict()])

    text = page.read_text(encoding="utf-8")
    assert "| an attack | 6 100 ms; 0 of 1; 5%; 80 MiB | 5 ms; 0 of 2; 5%; 80 MiB |" in text
    assert "1 others of the 2" in text
    assert "old" not in text
