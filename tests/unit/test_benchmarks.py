"""The benchmark itself: that each load runs and is checked, and that its report says what was measured."""

from __future__ import annotations

import asyncio
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from socketserver.settings import Settings

import pytest
import uvloop
from support.node import require

from benchmarks import client as client_module
from benchmarks import peers
from benchmarks.__main__ import main, measure
from benchmarks.client import MARK, Client
from benchmarks.lifted import KEPT, lifted
from benchmarks.measure import Cores
from benchmarks.peers import PEERS, PeerError
from benchmarks.plan import Plan
from benchmarks.report import Result, publish, spread, table
from benchmarks.shapes import SHAPES, STORM

TINY = Plan(seconds=0.5, warm_up_s=0.1, scale=0.01, rate=50, rest_s=0.1)


RUNS = [
    pytest.param(shape.name, peer, marks=[] if peer == "socketserver" else pytest.mark.thorough)
    for shape in SHAPES.values()
    for peer in shape.peers
]


def run_once(shape: str, peer: str, plan: Plan) -> Result:
    try:
        return measure(shape, peer, 1, plan, Cores(None, None))
    except PeerError as error:
        require(str(error))
        raise


@pytest.mark.parametrize(("shape", "peer"), RUNS)
def test_every_load_runs_against_every_peer_that_it_is_for(shape: str, peer: str) -> None:
    """What is run only once in a while is broken when it is needed: `storm` had been for weeks."""
    result = run_once(shape, peer, TINY)

    assert result.problems == []
    assert result.figures[SHAPES[shape].figure] > 0
    assert result.server_share > 0


def test_a_storm_meets_no_limit_of_the_server() -> None:
    """The storm of 1 000 was refused by the rate of new conversations, which is met from 100 conversations on."""
    burst = Settings.model_fields["conversations_burst"].default
    plan = Plan(seconds=0.1, warm_up_s=0.1, scale=2.2 * burst / STORM, rest_s=0.1)

    assert run_once("storm", "socketserver", plan).problems == []


def test_a_room_with_more_people_than_a_join_tells_of() -> None:
    """There messages come with how their senders are shown, which the generator took for a broken frame."""
    share = 1.2 * Settings.model_fields["joined_participants"].default / 500
    plan = Plan(seconds=0.2, warm_up_s=0.1, scale=share, rest_s=0.1)

    assert run_once("bigroom", "socketserver", plan).problems == []


def test_every_limit_on_what_comes_in_is_lifted() -> None:
    """A limit that a later version brings would end a load, or be what is measured."""
    settings = Settings(**lifted())  # type: ignore[arg-type]  # texts, as from a command line
    per_time = re.compile(r"/(s|min|h)$")
    left = [
        name
        for name, field in Settings.model_fields.items()
        if per_time.search(dict(field.json_schema_extra or {}).get("unit", "")) and getattr(settings, name)  # type: ignore[arg-type]
    ]

    assert left == ["log_messages_per_second"]
    assert settings.max_connections_address == settings.max_connections_origin == 0
    assert settings.outbox_bytes == Settings.model_fields["outbox_bytes"].default
    assert Settings.model_fields.keys() >= KEPT.keys()


@pytest.mark.parametrize("limit", ["conversations-burst", "connects-per-minute-address"])
def test_a_load_that_the_server_refuses_is_a_failure(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a load refused is half the CPU time, and looks like a faster server."""
    monkeypatch.setattr(peers, "flags", lambda: [f"--{limit}", "1"])

    result = run_once("storm", "socketserver", Plan(seconds=0.1, warm_up_s=0.1, scale=0.01, rest_s=0.1))

    assert result.problems
    assert result.figures == {}


def test_refusals_in_the_metrics_are_found() -> None:
    """A client of the load may not have noticed."""
    lines = [
        'socketserver_refusals_total{at="handshake",code="too_many_connects"} 3.0',
        'socketserver_events_total{event="join_conversation",outcome="rate_limited"} 1.0',
        'socketserver_events_total{event="join_conversation",outcome="ok"} 9.0',
        'socketserver_events_total{event="join_conversation",outcome="internal_error"} 0.0',
        "# HELP socketserver_refusals_total Connects and HTTP requests that were refused.",
        "socketserver_connects_total 3.0",
    ]

    assert [line for line in lines if peers.is_refusal(line)] == lines[:2]


def test_a_rate_that_the_server_cannot_carry_is_reported() -> None:
    plan = Plan(seconds=1.0, warm_up_s=1.0, scale=0.04, rate=20_000)

    result = measure("latency", "stock", 1, plan, Cores(None, None))

    assert result.figures == {}
    assert "20000 messages/s" in result.problems[0]


def feed(client: Client, data: bytes) -> None:
    client_module._INBOX[: len(data)] = data
    client.buffer_updated(len(data))


@pytest.mark.parametrize("size", [1, 2, 7, 17, 18, 19, 64, 10_000])
def test_counting_finds_every_message_however_reads_are_cut(size: int) -> None:
    async def count() -> int:
        client = Client("anna", "token")
        client.only_count()
        stream = (b"\x81\x7e\x01\x2c" + b'42["message_created",{"body":"' + MARK + b'1"}]') * 50
        for at in range(0, len(stream), size):
            feed(client, stream[at : at + size])
        return client.delivered

    assert uvloop.run(count()) == 50


@pytest.mark.parametrize("size", [1, 5, 2000])
def test_a_payload_is_masked_byte_by_byte_with_the_key(size: int) -> None:
    plain = (bytes(range(256)) * 8)[:size]

    async def masked() -> tuple[bytes, bytes]:
        client = Client("anna", "token")
        return client._key, client._masked(plain, size)

    key, got = asyncio.run(masked())

    assert got == bytes(byte ^ key[at % 4] for at, byte in enumerate(plain))


def results(shape: str, **values: list[float]) -> list[Result]:
    figure = SHAPES[shape].figure
    return [
        Result(shape, peer, turn, {figure: value}, 1.0, 0.5)
        for peer, given in values.items()
        for turn, value in enumerate(given, 1)
    ]


def test_the_table_has_the_spread_the_ratio_and_the_verdict() -> None:
    measured = results("pairs", socketserver=[30.0, 50.0, 40.0], node=[80.0, 80.0, 90.0])

    text = table(measured)

    assert "0.50" in text
    assert "≤ 1 × node: 0.50, met" in text
    found = spread(measured, SHAPES["pairs"], "socketserver")
    assert found is not None
    assert (found.least, found.median, found.most) == (30.0, 40.0, 50.0)


def test_a_missed_target_is_said() -> None:
    assert "≥ 6 × node: 2.00, missed" in table(results("bigroom", socketserver=[200.0], node=[100.0]))


def test_a_target_may_be_a_figure_of_its_own() -> None:
    assert "≤ 100 ms: 42.0, met" in table(results("acks", socketserver=[41.0, 42.0, 300.0]))


def test_turns_with_problems_do_not_count() -> None:
    measured = results("pairs", node=[80.0])
    measured.append(Result("pairs", "node", 2, {"cpu_us_per_sent": 1.0}, problems=["lost a message"]))

    found = spread(measured, SHAPES["pairs"], "node")

    assert found is not None
    assert (found.median, found.turns) == (80.0, 1)


def test_publishing_replaces_the_figures_and_draws_the_chart(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(
        "before\n<!-- figures: written by `python -m benchmarks --publish` -->\nold\n<!-- end of figures -->\nafter\n"
    )
    facts = {
        "takenAt": "2026-01-01 00:00 UTC",
        "commit": "abc",
        "cpu": "a <fast> one",
        "cores": 2,
        "kernel": "6.1",
        "pinned": {"server": 1, "generator": 0},
        "python": "3.11",
        "sqlite": "3.40",
        "node": "v20",
        "packages": {"uvloop": "0.22"},
        "npm": {"bufferutil": None},
    }

    publish(results("pairs", **{name: [50.0, 60.0] for name in PEERS}), facts, tmp_path)

    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "bufferutil not installed" in text
    ElementTree.fromstring((tmp_path / "images" / "performance.svg").read_text())


def test_a_failed_turn_is_said_at_the_end_and_by_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table alone hides a turn that failed beside others that did not."""
    good, bad = results("storm", socketserver=[900.0, 910.0])
    bad.problems.append("ClientError: create_conversation: rate_limited")
    record = tmp_path / "run.json"
    record.write_text(json.dumps({"facts": {}, "results": [vars(good), vars(bad)]}))

    assert main(["--render", str(record)]) == 1

    assert "1 of 2 turns failed" in capsys.readouterr().out


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--shapes", "triangle"])
    assert "triangle" in capsys.readouterr().err
