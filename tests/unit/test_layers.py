"""Who may import whom: the architecture as a table, held by reading every import of the package.

A new module fails here until it is given a rank: the place to think about where it belongs.
"""

from __future__ import annotations

import ast
import configparser
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "socketserver"

# A room imports from its own rank and from lower ones; so does a file of the hall, which is the top of the package.
RANKS = {
    "": -1,  # the package itself: only the standard library's names
    "errors": 0,
    "limits": 0,
    "stdio": 0,
    "values.web_names": 0,
    "logs": 1,
    "chat": 2,  # the core, with the contract of the stores that it works on
    "store.base": 2,
    "store.results": 2,
    "values": 2,
    "settings": 3,
    "wire": 4,
    "stopping": 4,
    "check": 4,  # a client: it knows the settings' names, and nothing of the server's inside
    "store": 4,
    "realtime.engine": 4,
    "realtime": 5,
    "door": 6,
    "live": 7,
    "housekeeping": 8,
    "cluster": 8,  # it is to tie other nodes to who is here
    "ops": 9,
    "handlers": 10,
    "running": 10,
    "app": 11,
    "cli": 12,
    "__main__": 12,
}

# Which rooms or modules own a driver; nobody else imports it. Whatever is not listed is not a dependency.
OWNERS = {
    "aiohttp": {"app", "check", "cli", "door", "handlers", "ops", "realtime", "running", "wire.answers", "wire.files"},
    "aiohttp_session": {"door.auth"},
    "bson": {"store.mongo.documents"},
    "cryptography": {"check", "door"},
    "engineio": {"realtime"},
    "idna": {"values.web_names"},
    "jwt": {"door"},
    "marshmallow": {"wire"},
    "motor": {"store.mongo.database"},
    "multidict": {"realtime"},
    "orjson": {"cluster", "realtime", "wire"},
    "prometheus_client": {"ops.metrics"},
    "pydantic": {"settings"},
    "pydantic_settings": {"settings"},
    "redis": {"cluster.redis_broker"},
    "pymongo": {"store.mongo.database"},
    "socketio": {"realtime"},
    "sqlite3": {"store.sqlite"},
    "structlog": {"logs"},
    "uvloop": {"cli"},
}
NAMES_OF_THE_PACKAGE = {"socketserver", "chat_socketserver"}


@dataclass(frozen=True)
class Import:
    """One imported module: `target` is a module of the package, or the top-level name of another one."""

    source: str
    line: int
    target: str
    ours: bool
    only_types: bool

    def __str__(self) -> str:
        return f"{self.source or '__init__'} line {self.line} imports {self.target or 'the package'}"


def module_name(path: Path) -> str:
    """`store.base` for store/base.py, `store` for store/__init__.py, nothing for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> Iterator[Import]:
    """Every import statement of a module, those inside of functions too."""
    tree = ast.parse(FILES[name].read_text())
    only_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, node.lineno, alias.name.partition(".")[0], False, id(node) in only_types)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield Import(name, node.lineno, (node.module or "").partition(".")[0], False, id(node) in only_types)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".") if name else []
            inside = len(parts) if FILES[name].name == "__init__.py" else len(parts) - 1
            base = [*parts[: inside - node.level + 1], *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                target = inner if inner in FILES else ".".join(base)
                yield Import(name, node.lineno, target, True, id(node) in only_types)


IMPORTS = [found for name in FILES for found in imports(name)]


def within(name: str, rooms: Iterable[str]) -> str | None:
    """The innermost of the rooms that a module is in, or that it is itself."""
    parts = name.split(".")
    return next((room for n in range(len(parts), 0, -1) if (room := ".".join(parts[:n])) in rooms), None)


def rank(name: str) -> int:
    """The rank of a module's room. Raises: KeyError for a module that nobody thought of."""
    room = within(name, RANKS)
    if room is None:
        raise KeyError(name)
    return RANKS[room]


def test_the_reader_of_imports_finds_them() -> None:
    """A reader that found nothing would hold nothing: a few imports that are certainly there."""
    found = {(each.source, each.target) for each in IMPORTS}
    assert {("door.auth", "door.origins"), ("door.auth", "jwt"), ("store.base", "chat.domain")} <= found
    assert {("realtime.engine.engine", "realtime.engine.session"), ("", "importlib"), ("cli", "")} <= found


@pytest.mark.parametrize("name", FILES)
def test_every_module_has_a_rank(name: str) -> None:
    """A new module is given its place in RANKS, and in docs and design, before it is merged."""
    try:
        rank(name)
    except KeyError:
        pytest.fail(f"{name} has no rank: decide who may import it and add it to RANKS")


def test_no_module_imports_a_higher_one() -> None:
    """The chat does not know the sockets, the sockets do not know the routes."""
    assert not [str(each) for each in IMPORTS if each.ours and rank(each.target) > rank(each.source)]


def test_no_module_imports_itself_in_a_circle() -> None:
    """Modules of one rank may use each other, but one way, and types that are only checked count too: two files that
    name each other are one file to whoever reads them."""
    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for each in IMPORTS:
        if each.ours and each.target != each.source:
            graph[each.source].add(each.target)
    # A package's __init__ that gathers its modules is no circle: inside, they import each other directly.
    assert list(TopologicalSorter(graph).static_order())


def test_no_two_rooms_use_each_other() -> None:
    """Of two rooms of one rank one comes first. The core and the contract of the stores that it works on, with what
    they return, are one thing for that: the contract speaks of messages, the use cases of the store."""
    arrows = {
        (source, target)
        for each in IMPORTS
        if each.ours and (source := within(each.source, RANKS)) != (target := within(each.target, RANKS))
    }
    both = {frozenset(arrow) for arrow in arrows if arrow[::-1] in arrows}
    assert both == {frozenset({"chat", "store.base"}), frozenset({"chat", "store.results"})}


def test_every_driver_has_one_owner() -> None:
    """So that swapping one is one diff; and a dependency that is not listed is none."""
    strangers = [
        str(each)
        for each in IMPORTS
        if not each.ours
        and (each.target in OWNERS or each.target not in sys.stdlib_module_names)
        and within(each.source, OWNERS.get(each.target, set())) is None
    ]
    assert not strangers


def test_all_imports_within_the_package_are_relative() -> None:
    """It has two names: socketserver in a checkout, chat_socketserver where it is installed."""
    assert not [str(each) for each in IMPORTS if not each.ours and each.target in NAMES_OF_THE_PACKAGE]


def test_every_room_is_installed() -> None:
    """The list of packages is written by hand: a room that is missing there is missing only where it is installed."""
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    rooms = {module_name(path) for path in PACKAGE.rglob("__init__.py")}
    assert listed == {f"chat_socketserver.{room}".rstrip(".") for room in rooms}


def test_the_delivery_engine_stands_alone() -> None:
    """realtime can be used with any handlers and any aiohttp application."""
    assert not [
        str(each)
        for each in IMPORTS
        if each.ours and each.source.partition(".")[0] == "realtime" and each.target.partition(".")[0] != "realtime"
    ]


def test_only_the_settings_read_the_environment() -> None:
    """So that the list of variables in the documentation is complete."""
    readers = set()
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"}:
                if isinstance(node.value, ast.Name) and node.value.id == "os":
                    readers.add(name)
            elif isinstance(node, ast.ImportFrom) and node.module == "os" and node.level == 0:
                readers |= {name for alias in node.names if alias.name in {"environ", "getenv"}}
    assert readers <= {"settings.loading"}
