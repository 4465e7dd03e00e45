"""`chat-socketserver check URL`: tries what a client does, step by step, and says of what fails how to mend it.

`network` goes up to TLS, `fetching` speaks HTTP, `transports` Engine.IO, `client` Socket.IO; `steps` has what is tried
in which order, `course` goes through it, `causes` knows what failures mean. This module is the command: its arguments,
its output, its exit status. None of them imports the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import textwrap
from dataclasses import asdict
from typing import Any, Final, TextIO
from urllib.parse import urlsplit

from ..settings import CHECK_TOKEN, SettingsError, check_token
from ..values.web_names import origin_form, split_host
from .course import Step
from .steps import IDLE_S, Inspection, Options

WIDTH: Final = 100
MAX_TIMEOUT_S: Final = 600.0
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_MARKS: Final = {"ok": "✓", "failed": "✗", "skipped": "–"}
_ASCII_MARKS: Final = {"ok": "ok  ", "failed": "FAIL", "skipped": "skip"}
_INTERRUPTED: Final = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the command's parser its arguments."""
    parser.add_argument("url", metavar="URL", help="the server's address as clients have it: https://chat.example.com")
    parser.add_argument(
        "--token",
        help=f"a token of a user who is not connected now; better in the variable {CHECK_TOKEN}, which the list of "
        "processes does not show (default: the development login, else none)",
    )
    parser.add_argument("--origin", help="origin of the page that will connect (default: the address itself)")
    parser.add_argument("--path", default="/socket.io/", help="Socket.IO's path (default: %(default)s)")
    parser.add_argument(
        "--timeout-s", type=float, default=10.0, metavar="S", help="how long a step may wait (default: %(default)g)"
    )
    parser.add_argument(
        "--thorough", action="store_true", help=f"leave the connection idle for longer than proxies do, {IDLE_S:g} s"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(arguments: argparse.Namespace) -> int:
    """Check. Returns: the exit status: 0 if no step failed, else 1; 130 if it was interrupted.

    Raises: SettingsError for arguments that cannot be used.
    """
    options = options_of(arguments)
    try:
        return _check(options, as_json=arguments.json)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # as of `| head`; what is left to write at the exit must not raise once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _check(options: Options, *, as_json: bool) -> int:
    steps: list[Step] = []
    out = sys.stdout
    marks = _MARKS if _can_show(out, "".join(_MARKS.values())) else _ASCII_MARKS

    def on_step(step: Step) -> None:
        steps.append(step)
        if not as_json:
            _write(out, lines(step, marks))

    if not as_json:
        _write(out, f"Checking {options.base}{' (more than a minute)' if options.idle_s is not None else ''}\n")
    asyncio.run(Inspection(options, on_step).run())
    failed = [step.name for step in steps if step.status == "failed"]
    if as_json:
        _write(out, json.dumps(report(options, steps), indent=2) + "\n")
    else:
        _write(out, f"Failed: {', '.join(failed)}.\n" if failed else "No step failed.\n")
    return 1 if failed else 0


def options_of(arguments: argparse.Namespace) -> Options:
    """The arguments as options.

    Raises: SettingsError, with a line that never repeats a token or a password.
    """
    try:
        parts = urlsplit(arguments.url)
        scheme, host, port = _SCHEMES.get(parts.scheme), parts.hostname, parts.port
        if host and not host.isascii():
            host = (split_host(host) or (None,))[0]
    except ValueError:
        scheme = host = port = None
    if scheme is None or not host or any(character.isspace() for character in host):
        raise SettingsError(["the URL is no server's address; write it as https://chat.example.com"])
    if "@" in parts.netloc:
        raise SettingsError(["the URL must not hold a login"])
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise SettingsError(["the URL must have no path; Socket.IO's own is given with --path"])
    path = f"/{arguments.path.strip('/')}/"
    if not path.isascii() or not path.isprintable() or any(character in path for character in " ?#%\\"):
        raise SettingsError(["--path is no path; write it as /socket.io/"])
    if not math.isfinite(arguments.timeout_s) or not 0 < arguments.timeout_s <= MAX_TIMEOUT_S:
        raise SettingsError([f"--timeout-s must be more than 0 and at most {MAX_TIMEOUT_S:g}"])
    token = arguments.token if arguments.token is not None else check_token()
    if token is not None and (not token or not token.isascii() or not token.isprintable()):
        raise SettingsError([f"the token (--token, {CHECK_TOKEN}) is empty, or has characters that no token has"])
    return Options(
        scheme=scheme,
        host=host,
        port=port if port is not None else {"http": 80, "https": 443}[scheme],
        path="/" if path == "//" else path,
        token=token,
        origin=_origin(arguments.origin),
        timeout_s=arguments.timeout_s,
        idle_s=0.0 if arguments.thorough else None,
    )


def report(options: Options, steps: list[Step]) -> dict[str, Any]:
    """The check as a JSON object; see docs/operations.md#for-programs."""
    return {
        "ok": not any(step.status == "failed" for step in steps),
        "url": options.base,
        "steps": [asdict(step) for step in steps],
    }


def lines(step: Step, marks: dict[str, str] = _MARKS) -> str:
    """A step as text: one line, and of a failed one what to do about it."""
    took = f" ({step.ms} ms)" if step.ms is not None else ""
    text = f"{marks[step.status]} {step.name:<15} {step.seen}{took}\n"
    if step.cause is not None:
        for title, words in (("cause", f"{step.likely} [{step.cause}]"), ("remedy", step.remedy or "")):
            start = f"    {title:<8}"
            indent = " " * len(start)
            text += textwrap.fill(words, WIDTH, initial_indent=start, subsequent_indent=indent) + "\n"
    return text


def _origin(value: str | None) -> str | None:
    """The origin as a browser, or the application whose it is, sends it."""
    origin = None if value is None else origin_form(value)
    if value is not None and origin is None:
        raise SettingsError(["--origin is no origin; write it as https://app.example.com"])
    return origin


def _can_show(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(out: TextIO, text: str) -> None:
    """Write at once, with `?` for what the terminal cannot show."""
    encoding = out.encoding or "utf-8"
    out.write(text.encode(encoding, "replace").decode(encoding))
    out.flush()
