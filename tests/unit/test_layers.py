"""Who may import whom: the architecture as a table, held by reading every import of the package.

A new module fails here until it is given a rank: the place to think about where it belongs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "socketserver"

# A module imports from its own rank and from lower ones. What a package's entry says holds for all inside of it.
RANKS = {
    "": -1,  # the package itself: only the standard library's names
    "errors": 0,
    "domain": 0,
    "limits": 0,
    "logs": 0,
    "protocol_fields": 1,
    "protocol": 1,
    "protocol_acks": 1,
    "protocol_pages": 1,
    "settings": 1,
    "store.base": 1,
    "auto_read": 2,
    "chat": 2,
    "presence": 2,
    "proxies": 2,
    "rates": 2,
    "realtime": 2,
    "sessions": 2,
    "store.copying": 2,
    "store.mongo": 2,
    "store.mongo_appends": 2,
    "store.mongo_documents": 2,
    "store.mongo_lanes": 2,
    "store.sqlite": 2,
    "store.sqlite_file": 2,
    "store.sqlite_sql": 2,
    "store.sqlite_threads": 2,
    "stopping": 2,
    "typescript": 2,
    "typing_indicator": 2,
    "auth": 3,
    "auth_keys": 3,
    "connections": 3,
    "head_refusals": 3,
    "fanout": 3,
    "lifecycle": 3,
    "metrics": 3,
    "origins": 3,
    "store": 3,
    "check": 3,  # a client: it knows the settings' names, and nothing of the server's inside
    "admin_ui": 4,
    "admin_access": 4,
    "guards": 4,
    "handlers": 4,
    "housekeeping": 4,
    "listener": 4,
    "monitor": 4,
    "monitor_routes": 4,
    "routes": 4,
    "app": 5,
    "cli": 5,
    "__main__": 5,
}

# Which modules own a driver; nobody else imports it. Whatever is not listed is not a dependency.
OWNERS = {
    "aiohttp": {
        "admin_ui",
        "admin_access",
        "app",
        "auth",
        "auth_keys",
        "check",
        "cli",
        "guards",
        "handlers",
        "head_refusals",
        "listener",
        "monitor_routes",
        "origins",
        "proxies",
        "realtime",
        "routes",
    },
    "aiohttp_session": {"auth"},
    "bson": {"store.mongo"},
    "cryptography": {"auth", "auth_keys", "check"},
    "engineio": {"realtime"},
    "jwt": {"auth", "auth_keys"},
    "marshmallow": {"protocol", "protocol_fields", "settings"},
    "motor": {"store.mongo"},
    "orjson": {"protocol", "protocol_fields", "protocol_pages", "realtime"},
    "prometheus_client": {"metrics"},
    "pydantic": {"settings"},
    "pydantic_settings": {"settings"},
    "pymongo": {"store.mongo"},
    "socketio": {"realtime"},
    "sqlite3": {"store.sqlite", "store.sqlite_file", "store.sqlite_sql", "store.sqlite_threads"},
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
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
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


def rank(name: str) -> int:
    """A module's rank, or its package's. Raises: KeyError for a module that nobody thought of."""
    package = name.partition(".")[0]
    return RANKS[name if name in RANKS or package == "store" else package]


def owner(name: str, owners: set[str]) -> bool:
    return name in owners or name.partition(".")[0] in owners - {"store"}


def test_the_reader_of_imports_finds_them() -> None:
    """A reader that found nothing would hold nothing: a few imports that are certainly there."""
    found = {(each.source, each.target) for each in IMPORTS}
    assert {("auth", "origins"), ("auth", "jwt"), ("store.base", "domain"), ("protocol", "domain")} <= found
    assert {("realtime.engine", "realtime.session"), ("", "importlib"), ("cli", "")} <= found


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
    """Modules of one rank may use each other, but one way; types that are only checked are left out."""
    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for each in IMPORTS:
        if each.ours and not each.only_types and each.target != each.source:
            graph[each.source].add(each.target)
    # A package's __init__ that gathers its modules is no circle: inside, they import each other directly.
    assert list(TopologicalSorter(graph).static_order())


def test_every_driver_has_one_owner() -> None:
    """So that swapping one is one diff; and a dependency that is not listed is none."""
    strangers = [
        str(each)
        for each in IMPORTS
        if not each.ours
        and (each.target in OWNERS or each.target not in sys.stdlib_module_names)
        and not owner(each.source, OWNERS.get(each.target, set()))
    ]
    assert not strangers


def test_all_imports_within_the_package_are_relative() -> None:
    """It has two names: socketserver in a checkout, chat_socketserver where it is installed."""
    assert not [str(each) for each in IMPORTS if not each.ours and each.target in NAMES_OF_THE_PACKAGE]


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
    assert readers <= {"settings"}
