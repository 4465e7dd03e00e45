"""socketserver.logs"""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from socketserver import logs
from socketserver.stdio import Outlet
from typing import Any, TextIO, cast

import pytest

ROOT = Path(__file__).resolve().parents[2]
log = logs.get_logger("socketserver.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was before."""
    root, package = logging.getLogger(), logging.getLogger("socketserver")
    before = root.handlers[:], root.level, package.level
    root.handlers = []  # configure would close them
    yield
    root.handlers[:], root.level = before[:2]
    package.setLevel(before[2])
    root.setLevel(before[1])


def written(format: logs.Format, event: str = "connected", **fields: Any) -> str:
    """What one line looks like."""
    stream = io.StringIO()
    logs.configure("debug", format, stream)
    log.info(event, **fields)
    return stream.getvalue()


def test_json() -> None:
    """One object per line: time in UTC, level, event, the fields in their order, the logger; nothing that is None."""
    line = written("json", connection_id="c1", user_id=None, ms=3.5, duplicate=False)
    assert list(json.loads(line)) == ["time", "level", "event", "connection_id", "ms", "duplicate", "logger"]
    assert line.count("\n") == 1
    value = json.loads(line)
    assert value.pop("time").endswith("Z")
    assert value == {
        "level": "info",
        "event": "connected",
        "connection_id": "c1",
        "ms": 3.5,
        "duplicate": False,
        "logger": "socketserver.test",
    }


def test_console() -> None:
    """Time, level, event, fields, logger; a value with spaces or signs is quoted."""
    line = written("console", connection_id="c1", user_id="Ann B", why='a="b"', nothing=None, empty="")
    assert line.split(" ", 1)[1] == (
        'info    connected connection_id=c1 user_id="Ann B" why="a=\\"b\\"" empty="" (socketserver.test)\n'
    )


@pytest.mark.parametrize(
    ("format", "stream", "is_json", "coloured"),
    [
        ("auto", io.StringIO, True, False),
        ("auto", Terminal, False, True),
        ("json", Terminal, True, False),
        ("console", io.StringIO, False, False),
    ],
)
def test_the_form_fits_the_reader(
    format: logs.Format, stream: type[io.StringIO], is_json: bool, coloured: bool
) -> None:
    """Readable and coloured on a terminal, JSON elsewhere, and as the setting says."""
    out = stream()
    logs.configure("info", format, out)
    log.info("connected")
    assert out.getvalue().startswith("{") is is_json
    assert ("\x1b[" in out.getvalue()) is coloured


@pytest.mark.parametrize("format", ["console", "json"])
@pytest.mark.parametrize(
    "text",
    [
        "x\n2026-01-01T00:00:00.000Z info    authenticated user_id=root",
        'x\r\n{"event": "authenticated"}',
        "\x1b[2J\x1b[31mred",
        "\x9b31mred",
        "one\u2028two\u2029three\x85four\x0bfive",
        "\u202egnp.exe",
        "\x00\x07\x08",
        "\ud800",
        "x" * 10_000,
    ],
)
def test_no_line_can_be_forged(format: logs.Format, text: str) -> None:
    """Whatever a client chose for a name or an origin: one line, no terminal codes, no end."""
    for line in (written(format, user_id=text), written(format, text), written(format, why=[text])):
        assert line.endswith("\n")
        assert line[:-1].isprintable()
        assert len(line.splitlines()) == 1
        assert len(line) < 2_000 or "[" in line
    other = io.StringIO()
    logs.configure("info", format, other)
    logging.getLogger("other").warning("of another library: %s", text)
    assert other.getvalue()[:-1].isprintable()


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_traceback(format: logs.Format) -> None:
    """It follows its line, and none of its lines can pass for one of the log."""
    stream = io.StringIO()
    logs.configure("info", format, stream)
    try:
        raise ValueError("a\n2026-01-01T00:00:00.000Z info    authenticated \x1b[31m")
    except ValueError:
        log.exception("request_failed", request="send_message")
    first, *rest = stream.getvalue().splitlines()
    assert "request_failed" in first
    assert "Traceback" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert all(line.startswith("    ") for line in rest)
    assert bool(rest) is (format == "console")


def test_levels() -> None:
    """Lines of other libraries begin at warning: at debug the database driver would write whole documents."""
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    logging.getLogger("pymongo.command").debug("a document")
    log.debug("of ours")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["of ours"]
    logs.configure("warning", "json", stream := io.StringIO())
    log.info("connected")
    logging.getLogger("other").info("connected")
    log.warning("swept")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["swept"]


def test_as_text_for_other_handlers(caplog: pytest.LogCaptureFixture) -> None:
    """An application that configures logging itself gets the fields as text."""
    logging.getLogger().addHandler(caplog.handler)
    logging.getLogger("socketserver").setLevel(logging.INFO)
    log.info("connected", connection_id="c1", origin="a b\n", user_id=None)
    assert [record.getMessage() for record in caplog.records] == ['connected connection_id=c1 origin="a b\\n"']


@pytest.mark.parametrize(
    ("format", "line"),
    [
        (
            "json",
            r'\{"time": "[^"]+", "level": "warning", "event": "log_lines_dropped", "lines": 7, "why": "[^"]+", .*\}',
        ),
        ("console", r"\S+ warning log_lines_dropped lines=7 why=.* \(socketserver\.logs\)"),
    ],
)
def test_the_line_for_those_that_were_dropped(format: logs.Format, line: str) -> None:
    """It looks like any other, and the level does not leave it out."""
    reading, writing = os.pipe()
    outlet = Outlet(writing, 1000)
    logs.configure("error", format, cast("TextIO", outlet))
    assert re.fullmatch(line + "\n", outlet.notice(7))
    os.close(reading)


def test_a_sample() -> None:
    """So many within a second, the next second as many again; what was left out is counted once."""
    logs.configure("info", "json", io.StringIO())
    sample = logs.Sample(log, 2)
    assert [sample.take(now_s) for now_s in (10.0, 10.1, 10.2, 10.9)] == [True, True, False, False]
    assert sample.take(11.0)
    assert sample.skipped() == {"skipped": 2}
    assert sample.skipped() == {}
    assert all(logs.Sample(log, 0).take(10.0) for _ in range(100))


def test_a_sample_of_lines_that_would_not_be_written() -> None:
    """Nothing is taken while the level leaves them out."""
    logs.configure("warning", "json", io.StringIO())
    for sample in (logs.Sample(log, 2), logs.Sample(log, 0)):
        assert not any(sample.take(now_s) for now_s in (10.0, 10.1, 11.5, 12.5))


def test_every_event_is_documented() -> None:
    """The table in docs/operations.md has the events that the source has, and no others."""
    call = re.compile(r"\blog\.(?:debug|info|warning|error|exception|log)\(\s*(?:level,\s*)?\"([a-z_]+)\"")
    say = re.compile(r"\.say\(.*?\"([a-z]+_refused)\"", re.DOTALL)  # what goes on and on, at the door
    hole = re.compile(r"_Line\(event=\"([a-z_]+)\"")  # the line in the place of those that were dropped
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "socketserver").rglob("*.py")]
    events = {event for source in sources for found in (call, say, hole) for event in found.findall(source)}
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page.partition("| Event | Level | When |\n|---|---|---|\n")[2].partition("\n\n")[0]
    documented = {event for row in table.splitlines() for event in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert documented == events
