"""socketserver.cli, as somebody at a terminal meets it"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import __version__, cli
from socketserver.chat.domain import SystemClock, UserId
from socketserver.chat.identity import ProfileUpdate
from socketserver.cli import _banner, main
from socketserver.door.auth import Authenticator
from socketserver.settings import Settings, flag
from typing import Any

import pytest
from pydantic import SecretStr

ROOT = Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef0123456789abcdef"
DEADLINE_S = 30
Run = Callable[..., tuple[int, str, list[str]]]


class Terminal:
    """Runs the command line in an environment without settings, on a database of its own."""

    def __init__(self, directory: Path) -> None:
        ours = re.compile(r"WEBSOCKET_(?!TEST_)|MONGODB_URI\Z|NEXT_PUBLIC_APP_URL\Z|PORT\Z")
        self.environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
        self.environment["WEBSOCKET_STORE_URL"] = f"sqlite:///{directory / 'chat.db'}"
        self.environment["WEBSOCKET_PORT"] = "0"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "socketserver", *arguments],
            cwd=ROOT,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, list[str]]:
        """Exit status, standard output and the lines of standard error of a command that ends by itself."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert "Traceback" not in err
        return process.returncode, out, err.splitlines()

    def stop_all(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.stop_all()


@pytest.fixture
def run(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Like Terminal.run, in this process: a second faster, for what ends before a server starts."""

    def run(*arguments: str, **variables: str) -> tuple[int, str, list[str]]:
        for name in set(os.environ) - set(terminal.environment):
            monkeypatch.delenv(name)
        for name, value in (terminal.environment | variables).items():
            monkeypatch.setenv(name, value)
        try:
            status = main(arguments)
        except SystemExit as end:  # argparse
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return run


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    """Exit status and standard error of a server that is told to stop."""
    process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_is_the_default(terminal: Terminal, tmp_path: Path, number: signal.Signals) -> None:
    """Without a command the server starts, says its address, store and login, and ends with status 0 on a signal."""
    process = terminal.start()
    address, store, login, demo = read_lines(process, 4)
    match = re.fullmatch(rf"socketserver {re.escape(__version__)} listens on (http://127\.0\.0\.1:\d+)", address)
    assert match
    assert store == f"  store  sqlite:///{tmp_path / 'chat.db'}"
    assert login == "  login  development: from this machine anybody may log in under any name"
    assert demo == f"  demo   {match.group(1)}/"
    with urllib.request.urlopen(f"{match.group(1)}/healthz", timeout=DEADLINE_S) as response:
        assert response.status == 200
    status, err = stop(process, number)
    assert status == 0
    assert "Traceback" not in err
    assert not (tmp_path / "chat.db-wal").exists()  # the store was closed in order


def test_login_line_with_a_secret(terminal: Terminal) -> None:
    """With a secret the login line names its variable and no demo page is offered; the secret is printed nowhere."""
    process = terminal.start("serve", WEBSOCKET_JWT_SECRET=SECRET)
    lines = read_lines(process, 3)
    assert lines[2] == "  login  tokens checked with WEBSOCKET_JWT_SECRET"
    status, err = stop(process)
    assert status == 0
    assert SECRET not in err + "".join(lines)


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"WEBSOCKET_PORT": "x"}, r"socketserver: WEBSOCKET_PORT: .*integer.* \(got 'x'\)"),
        ({"WEBSOCKET_PORT": "70000"}, r"socketserver: WEBSOCKET_PORT: .*65535.*"),
        ({"WEBSOCKET_PING_INTERVAL_S": "inf"}, r"socketserver: WEBSOCKET_PING_INTERVAL_S: .*finite.*"),
        ({"WEBSOCKET_ALLOWED_ORIGINS": "*"}, r"socketserver: WEBSOCKET_ALLOWED_ORIGINS: .*not an origin.*"),
        ({"WEBSOCKET_STORE_URL": "oracle://x"}, r"socketserver: WEBSOCKET_STORE_URL: .*must start with sqlite.*"),
        ({"WEBSOCKET_JWT_PUBLIC_KEY": "/no/such.pem"}, r"socketserver: WEBSOCKET_JWT_PUBLIC_KEY: .*readable file.*"),
        ({"WEBSOCKET_JWT_SECRET": "hunter2"}, r"socketserver: WEBSOCKET_JWT_SECRET: too short.*"),
        (
            {"WEBSOCKET_JWT_SECRET": SECRET, "WEBSOCKET_JWT_JWKS_URL": "https://x"},
            r"socketserver: set only one of WEBSOCKET_JWT_SECRET and WEBSOCKET_JWT_JWKS_URL",
        ),
        ({"WEBSOCKET_HOST": "0.0.0.0"}, r"socketserver: WEBSOCKET_HOST=0\.0\.0\.0 would let anybody .*"),
        ({"WEBSOCKET_HOST": "::"}, r"socketserver: WEBSOCKET_HOST=:: would let anybody .*"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_used(
    run: Run,
    variables: dict[str, str],
    line: str,
) -> None:
    """A bad value or an unsafe combination stops the start with one line and status 2, and no secret is repeated."""
    status, out, err = run(**variables)
    assert (status, out) == (2, "")
    (only,) = err
    assert re.fullmatch(line, only)
    assert "hunter2" not in only
    assert SECRET not in only


@pytest.mark.parametrize("variables", [{"WEBSOCKET_PORT": "x"}, {"WEBSOCKET_HOST": "0.0.0.0"}], ids=["value", "unsafe"])
def test_one_line_and_no_traceback(terminal: Terminal, variables: dict[str, str]) -> None:
    """A bad value and an unsafe host, as the shell sees them: one line on standard error, status 2."""
    status, out, err = terminal.run(**variables)
    assert (status, out, len(err)) == (2, "", 1)
    assert next(iter(variables)) in err[0]


def test_several_mistakes(run: Run) -> None:
    """Each mistake has a line of its own."""
    status, _, err = run(WEBSOCKET_PORT="x", WEBSOCKET_SWEEP_S="0")
    assert status == 2
    assert [line.split(":")[1] for line in err] == [" WEBSOCKET_PORT", " WEBSOCKET_SWEEP_S"]


def test_unknown_variable(terminal: Terminal) -> None:
    """A misspelt variable is warned of by name, and the server starts; variables of the tests are not."""
    process = terminal.start(WEBSOCKET_PROT="4000", WEBSOCKET_TEST_ANYTHING="1")
    read_lines(process, 4)
    status, err = stop(process)
    assert status == 0
    (warning,) = [line for line in map(json.loads, err.splitlines()) if line["level"] == "warning"]
    assert (warning["event"], warning["variable"]) == ("unknown_variable", "WEBSOCKET_PROT")


def test_a_flag_wins(terminal: Terminal) -> None:
    """A flag wins over a variable; without `serve` too."""
    process = terminal.start("--port", "0", "--messages-burst", "7", WEBSOCKET_PORT="x", WEBSOCKET_MESSAGES_BURST="0")
    assert read_lines(process, 1)[0].startswith("socketserver ")
    assert stop(process)[0] == 0


def test_port_in_use(terminal: Terminal) -> None:
    """A port that is taken: one line that names it and the variable, status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = terminal.run("--port", str(port))
    assert (status, out) == (1, "")
    (line,) = [line for line in err if line.startswith("socketserver: ")]
    assert f"127.0.0.1 port {port}" in line
    assert "WEBSOCKET_PORT" in line
    assert not [other for other in err if other != line and '"error"' in other]


def test_store_that_cannot_be_opened(terminal: Terminal, tmp_path: Path) -> None:
    """A store that cannot be opened: one line, status 1."""
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE bills (amount INTEGER)")
    other.close()
    for url in (f"sqlite:///{tmp_path}/no/such/directory/chat.db", f"sqlite:///{tmp_path / 'other.db'}"):
        status, out, err = terminal.run("--store-url", url)
        assert (status, out) == (1, "")
        assert len([line for line in err if line.startswith("socketserver: ")]) == 1


async def test_token(terminal: Terminal) -> None:
    """`token USER` prints a token that a server with the same settings accepts, and nothing else."""
    more = ["--picture", "https://example.com/a.png", "--lifetime-s", "60"]
    status, out, err = terminal.run("token", "ann", "--name", "Ann", *more, WEBSOCKET_JWT_SECRET=SECRET)
    assert (status, err) == (0, [])
    (token,) = out.splitlines()
    settings = Settings(jwt_secret=SecretStr(SECRET))
    identity = await Authenticator(settings, SystemClock()).from_token(token)
    assert (identity.user_id, identity.name, identity.avatar) == ("ann", "Ann", "https://example.com/a.png")
    status, out, _ = terminal.run("token", "ann")
    assert status == 0
    assert (await Authenticator(Settings(), SystemClock()).from_token(out.strip())).told == ProfileUpdate(UserId("ann"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", ""],
        ["token", "a\nb"],
        ["token", "ann", "--lifetime-s", "0"],
        ["token", "ann", "--jwt-jwks-url", "https://x"],
    ],
)
def test_token_that_cannot_be_made(run: Run, arguments: list[str]) -> None:
    """A token that nobody could use is refused with one line and status 2."""
    status, out, err = run(*arguments)
    assert (status, out, len(err)) == (2, "", 1)
    assert err[0].startswith("socketserver: ")


def test_version(terminal: Terminal) -> None:
    """--version prints the version."""
    assert terminal.run("--version") == (0, f"socketserver {__version__}\n", [])


def test_help_lists_every_setting(run: Run) -> None:
    """`serve --help` has every flag with its default."""
    status, out, _ = run("serve", "--help", COLUMNS="500")
    assert status == 0
    for name in Settings.model_fields:
        assert flag(name) in out.split()
    assert "(sqlite:///socketserver.db)" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["sevre"],
        ["--prot", "1"],
        ["serve", "extra"],
        ["token"],
        ["--po", "1"],
        ["check"],
        ["check", "localhost:3001"],
        ["check", "http://localhost:3001", "--timeout-s", "soon"],
    ],
)
def test_wrong_arguments(run: Run, arguments: list[str]) -> None:
    """A command or flag that does not exist, or is cut short, is refused with status 2."""
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err[-1].startswith(("socketserver: ", "chat-socketserver"))


@pytest.mark.parametrize(
    ("host", "store", "lines"),
    [
        (
            "::1",
            "mongodb://chat:hunter2@db.example.com/chat",
            ["http://[::1]:3001", "mongodb://chat:***@db.example.com/chat"],
        ),
        ("::1", "mongodb://chat:hunter2#3@db/chat", ["http://[::1]:3001", "mongodb://chat:***@db/chat"]),
        ("::1", "mongodb://chat:[hunter2]@db/chat", ["mongodb://chat:***@db/chat"]),
        ("::1", "mongodb+srv://db/chat?tlsCertificateKeyFilePassword=hunter2", ["store  mongodb+srv://db/chat\n"]),
        ("127.0.0.1", "sqlite:///a@b.db", ["http://127.0.0.1:3001", "sqlite:///a@b.db"]),
    ],
)
def test_banner(host: str, store: str, lines: list[str]) -> None:
    """The lines at the start have an address that can be clicked and no password."""
    address = f"http://[{host}]:3001" if ":" in host else f"http://{host}:3001"
    banner = "\n".join(_banner(Settings(host=host, store_url=store), [address]))
    for line in lines:
        assert line in banner
    assert "hunter2" not in banner


def test_an_interrupted_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is answered with a line that says how to go on; it was a traceback."""

    async def interrupted(*stores: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run_copy", interrupted)
    source = tmp_path / "a.db"
    source.touch()
    assert main(["copy", f"sqlite:///{source}", f"sqlite:///{tmp_path / 'b.db'}"]) == 130
    assert capsys.readouterr().err == "\nsocketserver: not complete: interrupted; start it again to go on\n"
