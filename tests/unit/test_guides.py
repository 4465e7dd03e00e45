"""The two troubleshooting guides say the same, and what the code says: their words, lines and commands exist."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from socketserver import errors
from socketserver.chat.domain import SystemClock
from socketserver.check.causes import CAUSES
from socketserver.door.auth import Authenticator
from socketserver.door.credentials import misplaced
from socketserver.ops.metrics import Metrics
from socketserver.settings import Settings
from socketserver.wire.protocol import ClientEvent, ServerEvent
from typing import Final

import jwt
import pytest
from aiohttp.test_utils import make_mocked_request
from support.pages import headings, section, slug, table

ROOT: Final = Path(__file__).resolve().parents[2]
ENGLISH: Final = ROOT / "docs" / "troubleshooting.md"
FRENCH: Final = ROOT / "docs" / "depannage.md"
GUIDES: Final = (ENGLISH, FRENCH)
SOURCES: Final = {path: path.read_text(encoding="utf-8") for path in (ROOT / "socketserver").rglob("*.py")}
SECRET: Final = "0123456789abcdef0123456789abcdef"

ERRORS: Final = {
    error.code
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.ChatError) and error is not errors.ChatError
}
# Words of others: the client's events, the example's state, nginx's directives.
FOREIGN: Final = {"connect_error", "reconnect_failed", "ip_hash", "proxy_pass", "client_max_body_size"}
# Fields of log lines.
FIELDS: Final = {"user_id", "connection_id"}

each_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)


def titles(guide: Path) -> list[tuple[int, str]]:
    return [(level, title) for level, title, _ in headings(guide.read_text(encoding="utf-8"))]


def sections(guide: Path) -> list[str]:
    return [section(guide, title) for level, title in titles(guide) if level == 2]


def blocks(text: str) -> list[str]:
    """Code: fenced, and indented by four."""
    return [*re.findall(r"```.*?```", text, flags=re.S), *re.findall(r"(?:^ {4}.+\n)+", text, flags=re.M)]


def words(text: str) -> Counter[str]:
    """What stands between backquotes."""
    return Counter(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)))


def log_events() -> dict[str, set[str]]:
    """The events of the log, with all fields that their lines may have."""
    found: dict[str, set[str]] = {}
    for text in SOURCES.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                # As a logger's method has it, or as a line that is made by itself names its event.
                given = node.args if isinstance(node.func, ast.Attribute) else []
                given = [*given, *(keyword.value for keyword in node.keywords if keyword.arg == "event")]
                names = [argument.value for argument in given if isinstance(argument, ast.Constant)]
                for name in names:
                    if isinstance(name, str) and re.fullmatch(r"[a-z_]+", name):
                        fields = found.setdefault(name, set())
                        fields |= {str(keyword.arg) for keyword in node.keywords}
    return found


def test_the_guides_have_the_same_sections() -> None:
    """As many, of the same levels, each with a link to the same one in the other language."""
    english, french = titles(ENGLISH), titles(FRENCH)
    assert [level for level, _ in english] == [level for level, _ in french]
    for text, (_, title) in zip(sections(ENGLISH), french[1:], strict=True):
        assert f"*[En français](depannage.md#{slug(title)})*" in text
    for text, (_, title) in zip(sections(FRENCH), english[1:], strict=True):
        assert f"*[In English](troubleshooting.md#{slug(title)})*" in text


def test_the_guides_have_the_same_code() -> None:
    """The same transcripts and commands; and the same names, settings and codes, as often, section by section."""
    for english, french in zip(sections(ENGLISH), sections(FRENCH), strict=True):
        assert blocks(english) == blocks(french)
        assert words(english) == words(french), english.splitlines()[0]
        assert len(re.findall(r"^\|", english, flags=re.M)) == len(re.findall(r"^\|", french, flags=re.M))


def test_the_french_guide_stays_french() -> None:
    """Its links to the guide are to itself, but for those that say "In English"."""
    text = FRENCH.read_text(encoding="utf-8")
    away = re.findall(r"\[([^\]]+)\]\(troubleshooting\.md[^)]*\)", text)
    assert set(away) == {"In English"}
    assert len(away) == 1 + len(sections(FRENCH))


@each_guide
def test_the_names_exist(guide: Path) -> None:
    """Codes, events, log lines and causes are the code's."""
    known = {*ERRORS, *errors.ENDS, *CAUSES, *(event.value for event in [*ClientEvent, *ServerEvent])}
    known |= {*log_events(), *FOREIGN, *FIELDS}
    text = guide.read_text(encoding="utf-8")
    named = {word for word in words(text) if re.fullmatch(r"[a-z]+(_[a-z]+)+", word)}
    assert len(named) > 30
    assert {word for word in named if word not in known and not word.startswith("socketserver_")} == set()
    assert set(re.findall(r"session_ended: (\w+)", text)) <= set(errors.ENDS)
    assert set(re.findall(r"undefined (\w+_\w+)$", text, flags=re.M)) <= set(ERRORS)


@each_guide
def test_the_metrics_exist(guide: Path) -> None:
    """Every metric that is named is one of the server's."""
    body, _ = Metrics(SystemClock()).expose("")
    real = set(re.findall(r"^# TYPE (\w+)", body.decode(), flags=re.M))
    named = {word for word in words(guide.read_text(encoding="utf-8")) if word.startswith("socketserver_")}
    named -= {"socketserver_session"}  # the cookie
    assert len(named) > 5
    assert named <= real


@each_guide
def test_the_log_lines_can_be_written(guide: Path) -> None:
    """Their events and fields are those of the code."""
    lines = re.findall(r"^(?:info|warning|error) +(\w+) (.*)$", guide.read_text(encoding="utf-8"), flags=re.M)
    assert len(lines) >= 2
    events = log_events()
    for event, rest in lines:
        assert event in events, event
        plain = re.sub(r'"[^"]*"', "", rest)
        allowed = events[event] | {"setting", "why", "user_id", "address"}
        assert {field.partition("=")[0] for field in plain.split()} <= allowed, event


@each_guide
def test_the_commands_exist(guide: Path) -> None:
    """Subcommands, and the options of `check`."""
    text = guide.read_text(encoding="utf-8")
    commands = set(re.findall(r'add_parser\(\s*"(\w+)"', SOURCES[ROOT / "socketserver" / "cli.py"]))
    used = set(re.findall(r"chat-socketserver (\w+)", text))
    assert "check" in used
    assert used <= commands
    checking = "".join(source for path, source in SOURCES.items() if path.parent.name == "check")
    for option in set(re.findall(r"(?<![\w-])--\w+", text)):
        assert f'"{option}"' in checking, option


async def test_the_messages_about_tokens_are_what_one_reads() -> None:
    """Each that the guides quote is the answer to some bad token."""
    clock = SystemClock()
    now_s = clock.now_ms() // 1000
    good = {"sub": "ann", "exp": now_s + 60}
    bad = [
        "undefined",
        jwt.encode(good, SECRET[::-1]),
        jwt.encode({"sub": "ann"}, SECRET),
        jwt.encode({**good, "aud": "web"}, SECRET),
        jwt.encode({**good, "iat": now_s + 120}, SECRET),
        jwt.encode({**good, "sub": "\u2800"}, SECRET),
        jwt.encode({**good, "sub": "ann\u200b"}, SECRET),
        jwt.encode({**good, "sub": 42}, SECRET),
        jwt.encode({**good, "exp": now_s - 60}, SECRET),
    ]
    authenticator = Authenticator(Settings(jwt_secret=SECRET), clock)
    answers = f"{misplaced(make_mocked_request('GET', '/socket.io/?token=x'))}\n"
    for token in bad:
        with pytest.raises(errors.InvalidToken) as refused:
            await authenticator.from_token(token)
        answers += f"connect_error: {refused.value.message} undefined {refused.value.code}\n"
    await authenticator.close()
    for guide, title in ((ENGLISH, "Login fails"), (FRENCH, "L'authentification échoue")):
        text = section(guide, title)
        quoted = [word for row in table(text, "Message") for word in words(row["Message"]) if " " in word]
        assert len(quoted) == 9
        for line in [*quoted, *re.findall(r"^connect_error: .*$", text, flags=re.M)]:
            assert line in answers
