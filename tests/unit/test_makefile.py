"""What `make` installs, and when: the real Makefile, where pip, npm and the command only write down their calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from support.pages import ROOT

TIMEOUT_S: Final = 60
# What the Makefile itself calls, beside Python and npm.
TOOLS: Final = (
    "sh",
    "echo",
    "sed",
    "bash",
    "make",
    "touch",
    "mkdir",
    "dirname",
    "getconf",
    "rm",
    "mv",
    "cat",
    "chmod",
    "cp",
)

# It makes an environment with itself as Python and with a pip, and writes down what it is to run there.
PYTHON: Final = """#!/bin/sh
case "$1 $2" in
"-m venv")
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$HERE/command" "$3/bin/chat-socketserver" && touch "$3/bin/pip" ;;
"-m pip") for last; do :; done; echo "pip $last" >> "$HERE/calls" ;;
-m*) echo "$2" >> "$HERE/calls" ;;
*demo.py*) echo demo >> "$HERE/calls" ;;
esac
"""
# `npm ci` begins anew, as the real one does.
NPM: Final = """#!/bin/sh
echo "npm $*" | sed -e 's/ --no-audit.*error//' -e 's/ --silent//' >> "$HERE/calls"
[ -z "$NPM_FAILS" ] || exit 1
where=.
for last; do [ "$before" = --prefix ] && where=$last; before=$last; done
case "$*" in
*"run "*build*) mkdir -p "$where/dist" && touch "$where/dist/index.html" ;;
ci*) rm -rf "$where/node_modules" && mkdir -p "$where/node_modules" ;;
esac
"""
COMMAND: Final = """#!/bin/sh
echo "chat-socketserver $*" >> "$HERE/calls"
echo "half of it"
[ -z "$COMMAND_FAILS" ]
"""


class Checkout:
    """A directory with the Makefile and what it looks at."""

    def __init__(self, directory: Path, *, node: bool = True) -> None:
        self.directory = directory
        self._programs = directory / "programs"
        react = directory / "examples" / "react"
        react.mkdir(parents=True)
        self._programs.mkdir()
        for name in ("Makefile", "setup.cfg", "pyproject.toml", "package.json", "package-lock.json"):
            shutil.copy(ROOT / name, directory)
        for name in ("package.json", "package-lock.json", "demo.py"):
            shutil.copy(ROOT / "examples" / "react" / name, react)
        for tool in TOOLS:
            if path := shutil.which(tool):
                (self._programs / tool).symlink_to(path)
        self._write(self._programs / "python3", PYTHON)
        self._write(directory / "command", COMMAND)
        if node:
            self._write(self._programs / "npm", NPM)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def make(self, *arguments: str, status: int = 0, **variables: str) -> list[str]:
        """What was called, in its order."""
        calls = self.directory / "calls"
        calls.write_text("")
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.directory,
            env={"PATH": str(self._programs), "HERE": str(self.directory), **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        self.said = done.stdout + done.stderr
        assert done.returncode == status, self.said
        return calls.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


ALL: Final = ["pip .[test]", "npm ci", "npm ci --prefix examples/react"]


def test_run_installs_what_the_server_needs(checkout: Checkout) -> None:
    """It took 40 s: the tools of the tests and the 178 packages of the React example came first."""
    assert checkout.make("run") == ["pip .", "npm ci --omit=dev", "socketserver"]
    assert checkout.make("run") == ["socketserver"]


def test_the_tests_add_the_rest(checkout: Checkout) -> None:
    """After `make run`, and only once."""
    checkout.make("run")
    assert checkout.make("test") == [*ALL, "pytest", "pytest"]
    assert checkout.make("test") == ["pytest", "pytest"]
    assert checkout.make("run") == ["socketserver"]


def test_after_the_tests_everything_is_there(checkout: Checkout) -> None:
    """One pip and one npm for each place, not a smaller one first."""
    assert checkout.make("test") == [*ALL, "pytest", "pytest"]
    assert checkout.make("run") == ["socketserver"]
    assert checkout.make("setup") == []


def test_the_demo_needs_the_server_and_the_example(checkout: Checkout) -> None:
    """No tools of the tests, and no second look at the example's types."""
    assert checkout.make("demo") == [
        "pip .",
        "npm ci --prefix examples/react",
        "npm run --prefix examples/react build -- --logLevel warn",
        "demo",
    ]
    assert checkout.make("demo") == ["demo"]


def test_a_change_of_what_is_needed_is_noticed(checkout: Checkout) -> None:
    """By whoever needs it, when it is needed."""
    checkout.make("test")
    (checkout.directory / "setup.cfg").write_text("# other dependencies\n")
    (checkout.directory / "package.json").write_text("{}")
    assert checkout.make("run") == ["pip .", "npm ci --omit=dev", "socketserver"]
    assert checkout.make("setup") == ALL[:2]
    assert checkout.make("run") == ["socketserver"]


def test_the_server_runs_without_node(tmp_path: Path) -> None:
    """Its demo page takes the client library from a public CDN."""
    checkout = Checkout(tmp_path, node=False)
    assert checkout.make("run") == ["pip .", "socketserver"]
    assert "Node.js is not installed: going on without it" in checkout.said
    assert checkout.make("test") == ["pip .[test]", "pytest", "pytest"]


def test_the_server_runs_where_npm_can_fetch_nothing(checkout: Checkout) -> None:
    """`make run` failed, for the sake of the demo page; later it tries again."""
    assert checkout.make("run", NPM_FAILS="1") == ["pip .", "npm ci --omit=dev", "socketserver"]
    assert "the page takes it from a CDN" in checkout.said
    assert checkout.make("run") == ["npm ci --omit=dev", "socketserver"]


def test_an_environment_made_in_part_is_made_again(checkout: Checkout) -> None:
    """Debian's Python without python3-venv leaves one without pip."""
    checkout.make("run")
    (checkout.directory / ".venv" / "bin" / "pip").unlink()
    (checkout.directory / ".venv" / ".ready").unlink()
    assert checkout.make("run") == ["pip .", "socketserver"]
    assert "-m venv" in checkout.said


def test_types_are_written_whole_or_not_at_all(checkout: Checkout) -> None:
    """A command that fails left an empty file in place of the declarations."""
    target = checkout.directory / "events.ts"
    assert checkout.make("types", "TO=events.ts") == ["pip .", "chat-socketserver types"]
    assert target.read_text() == "half of it\n"
    target.write_text("whole\n")
    checkout.make("types", "TO=events.ts", status=2, COMMAND_FAILS="1")
    assert target.read_text() == "whole\n"
    assert not (checkout.directory / "events.ts.new").exists()


def test_a_server_is_checked(checkout: Checkout) -> None:
    """With further options; without an address there is a sentence."""
    url = "http://localhost:3001"
    wanted = f"chat-socketserver check {url} --json"
    assert checkout.make("check-url", f"URL={url}", "CHECK=--json") == ["pip .", wanted]
    assert checkout.make("check-url", status=2) == []
    assert "make check-url URL=" in checkout.said
