"""socketserver.check: arguments, what answers mean, and how a step looks. The real thing is in tests/integration."""

from __future__ import annotations

import argparse
import asyncio
import errno
import io
import re
from pathlib import Path
from socketserver import check, settings
from socketserver.check import causes, network, transports
from socketserver.check.course import Course, Step
from socketserver.check.steps import Options
from socketserver.settings import Settings, SettingsError

import pytest

PACKAGE = Path(check.__file__).parent


def options(*arguments: str) -> Options:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.options_of(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://chat.example.com", "https://chat.example.com"),
        ("https://chat.example.com:443/", "https://chat.example.com"),
        ("wss://chat.example.com", "https://chat.example.com"),
        ("ws://localhost:3001", "http://localhost:3001"),
        ("http://[::1]:3001", "http://[::1]:3001"),
        ("https://Bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_addresses(url: str, base: str) -> None:
    """The schemes of pages and of sockets, with the port that belongs to them."""
    assert options(url).base == base


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's token, the page at the address itself, no idle wait."""
    monkeypatch.delenv(settings.CHECK_TOKEN, raising=False)
    assert options("http://localhost:3001") == Options("http", "localhost", 3001)
    assert options("http://localhost:3001", "--thorough").idle_s == 0
    assert options("http://h", "--path", "chat/socket.io").path == "/chat/socket.io/"
    assert options("http://h", "--origin", "https://App.example.com/").origin == "https://app.example.com"
    assert options("http://h", "--origin", "capacitor://localhost").origin == "capacitor://localhost"
    assert options("http://stra\u00dfe.example").host == "xn--strae-oqa.example"


def test_the_token_s_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag wins over it, and the server does not take it for a misspelt setting."""
    monkeypatch.setenv(settings.CHECK_TOKEN, "from-the-variable")
    assert options("http://h").token == "from-the-variable"
    assert options("http://h", "--token", "from-the-flag").token == "from-the-flag"
    assert settings.CHECK_TOKEN not in settings.unknown_variables()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["chat.example.com"], "URL"),
        (["chat.example.com:3001"], "URL"),
        (["ftp://chat.example.com"], "URL"),
        (["http://"], "URL"),
        (["http://h:99999"], "URL"),
        (["http://[::1"], "URL"),
        (["http://a b"], "URL"),
        (["http://me:hunter2@h"], "login"),
        (["http://h/chat"], "--path"),
        (["http://h/?a=1"], "--path"),
        (["http://h", "--path", "/a?b"], "--path"),
        (["http://h", "--path", "/é"], "--path"),
        (["http://h", "--origin", "app.example.com"], "--origin"),
        (["http://h", "--origin", "https://app.example.com/page"], "--origin"),
        (["http://h", "--origin", "https://app\n.example.com"], "--origin"),
        (["http://h", "--timeout-s", "0"], "--timeout-s"),
        (["http://h", "--timeout-s", "inf"], "--timeout-s"),
        (["http://h", "--timeout-s", "nan"], "--timeout-s"),
        (["http://h", "--token", ""], "--token"),
        (["http://h", "--token", "hunter2\n"], "--token"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: list[str], word: str) -> None:
    """One line that names the argument, and repeats nothing that may be secret."""
    with pytest.raises(SettingsError) as caught:
        options(*arguments)
    (line,) = caught.value.lines
    assert word in line
    assert "hunter2" not in line


def test_every_cause_can_be_met() -> None:
    """Each cause is the diagnosis of something: its code stands in the package's code beside the table."""
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.glob("*.py")))
    for code in causes.CAUSES:
        assert source.count(f'"{code}"') >= 2, code
    met = set(re.findall(r'Fault\(\s*"(\w+)"', source))
    assert met <= set(causes.CAUSES)


@pytest.mark.parametrize("code", causes.CAUSES)
def test_settings_that_are_named_exist(code: str) -> None:
    """A remedy names only settings that there are."""
    cause = causes.CAUSES[code]
    named = set(re.findall(r"WEBSOCKET_[A-Z_]+", f"{cause.likely} {cause.remedy}"))
    assert named <= {settings.variable(name) for name in Settings.model_fields}
    assert cause.likely.endswith(".")
    assert cause.remedy.endswith(".")


@pytest.mark.parametrize(
    ("status", "body", "ours", "code"),
    [
        (403, '{"ok":false,"error":{"code":"origin_not_allowed","message":"no"}}', True, "origin_not_allowed"),
        (429, '{"ok":false,"error":{"code":"too_many_connections","message":"no"}}', True, "too_many_connections"),
        (404, '{"ok":false,"error":{"code":"not_found","message":"no"}}', True, "wrong_path"),
        (503, '{"code":3,"message":"Shutting down"}', True, "draining"),
        (400, '{"code":1,"message":"Session ID unknown"}', True, "session_unknown"),
        (400, '{"code":5,"message":"Unsupported protocol version"}', True, "protocol_version"),
        (400, '{"code":3,"message":"Bad request"}', True, "unexpected_answer"),
        (400, '{"code":[1],"message":{}}', True, "unexpected_answer"),
        (404, "Not found", True, "wrong_path"),
        (404, "Not found", False, "not_socketserver"),
        (504, "", True, "proxy_error"),
        (500, "[1", True, "unexpected_answer"),
    ],
)
def test_what_answers_mean(status: int, body: str, ours: bool, code: str) -> None:
    """An HTTP answer instead of an Engine.IO one."""
    assert causes.of_answer(status, {}, body, ours=ours).code == code


@pytest.mark.parametrize(
    ("packet", "good"),
    [
        ('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":60000}', True),
        ('0{"sid":"a","upgrades":[],"pingInterval":25000}', False),
        ('0{"sid":"a","upgrades":{},"pingInterval":1,"pingTimeout":1}', False),
        ('0{"sid":"a","upgrades":[],"pingInterval":"1","pingTimeout":1}', False),
        ('0{"sid":"a","upgrades":[],"pingInterval":1e999,"pingTimeout":1}', False),
        ('0{"sid":"a","upgrades":[],"pingInterval":NaN,"pingTimeout":1}', False),
        ('0{"sid":"a","upgrades":[],"pingInterval":-1,"pingTimeout":1}', False),
        ('0{"sid":"a&b","upgrades":[],"pingInterval":1,"pingTimeout":1}', False),
        ("40", False),
    ],
)
def test_handshakes(packet: str, good: bool) -> None:
    """Only what has all its parts, and times that can be waited for."""
    assert (transports.opened(packet) is not None) == good


def test_what_the_server_says_is_fit_for_a_terminal() -> None:
    """No control characters, no token, not too long."""
    course = Course(lambda step: None, "secret-token", timeout_s=1)
    assert course.clean("a\x1b[2Jb\nc") == "a?[2Jb?c"
    assert course.clean("x" * 500 + "secret-token").endswith("x…")
    assert course.clean("told: secret-token!") == "told: ***!"
    assert "secret" not in course.clean("y" * 195 + "secret-token")


async def test_of_several_addresses_one_has_to_answer() -> None:
    """A name often has an IPv6 address beside; the first address that answers is the one to go on with."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await network.connect(["127.0.0.2", "127.0.0.1"], port, each_s=10) == "127.0.0.1"


async def test_ports_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No way to the address, or no answer from it; of several addresses a refusal says most."""
    trouble: dict[str, OSError | None] = {
        "far": OSError(errno.EHOSTUNREACH, "No route"),
        "closed": ConnectionRefusedError(errno.ECONNREFUSED, "Refused"),
        "silent": None,
    }

    async def open_connection(host: str, port: int) -> None:
        error = trouble[host]
        if error is not None:
            raise error
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    for addresses, code in (
        (["far"], "port_unreachable"),
        (["silent"], "port_timeout"),
        (["far", "closed", "silent"], "port_closed"),
    ):
        with pytest.raises(causes.Fault) as caught:
            await network.connect(addresses, 1, each_s=0.01)
        assert caught.value.code == code


def test_lines() -> None:
    """One line for a step; of a failed one the cause with its code, and the remedy."""
    assert check.lines(Step("port", "ok", "answers", 3)) == "✓ port            answers (3 ms)\n"
    assert check.lines(Step("ping", "skipped", "only a user may")) == "– ping            only a user may\n"
    failed = Step("clock", "failed", "an hour", 0, "clock_off", "They differ.", "Use NTP.")
    assert check.lines(failed).splitlines()[1:] == ["    cause   They differ. [clock_off]", "    remedy  Use NTP."]


def test_terminals_without_unicode() -> None:
    """What they cannot show becomes a question mark, and nothing is raised."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    assert not check._can_show(out, "✓")
    check._write(out, "welcome, user Zoë\n")
    assert raw.getvalue() == b"welcome, user Zo?\n"
