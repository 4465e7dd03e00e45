"""What people are told to run is `chat-socketserver`.

Outside of a checkout `python -m socketserver` is the standard library's module: it does nothing and ends with status 0.
"""

from __future__ import annotations

import re
import subprocess
from socketserver.cli import main
from typing import Final

import pytest
from support.pages import ROOT, section

MODULE: Final = re.compile(r"python3? -m socketserver")
# Whoever reads these works in the checkout, or the image, or is told about the name.
PLACES: Final = {
    "README.md": 1,
    "docs/decisions/0001-the-name.md": 3,
    "docs/operations.md": 1,  # docker exec
    "Dockerfile": 1,
    "deploy/socketserver.service": 1,
    "socketserver/__main__.py": 1,
}


def told() -> dict[str, int]:
    """How often each file that people read or are shown names the module; tests' own words apart."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    counts = {}
    for name in files:
        if name.startswith("tests/") or not name.endswith(
            (".md", ".py", ".ts", ".tsx", ".js", ".mjs", ".html", ".yaml", ".yml", ".service", "file")
        ):
            continue
        if count := len(MODULE.findall((ROOT / name).read_text(encoding="utf-8"))):
            counts[name] = count
    return counts


def test_nobody_is_sent_to_the_standard_library() -> None:
    """`python -m socketserver types > events.ts`, as the pages had it, wrote an empty file and ended with status 0."""
    assert told() == PLACES
    commands = section(ROOT / "README.md", "Two commands")
    assert "`.venv/bin/chat-socketserver`" in commands
    assert "In the checkout `python -m socketserver` is the same" in commands


@pytest.mark.parametrize("command", [(), ("serve",), ("check",), ("token",), ("types",), ("copy",)])
def test_the_help_says_the_name(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It said `usage: socketserver`, a command that there is not."""
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert capsys.readouterr().out.startswith(" ".join(("usage: chat-socketserver", *command)))
