"""open_store: which URL names which store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from socketserver.store import open_store
from socketserver.store.mongo.mongo_store import MongoStore
from socketserver.store.sqlite.sqlite_store import SqliteStore

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///chat.db", str(Path("chat.db").absolute())),
        ("sqlite:///data/chat.db", str(Path("data/chat.db").absolute())),
        ("sqlite:////var/lib/chat.db", "/var/lib/chat.db"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite:////with space/50%25/ü#?.db".replace("?", ""), "/with space/50%25/ü#.db"),
    ],
)
def test_a_sqlite_url_is_three_slashes_and_a_path(url: str, path: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store.path == path


@pytest.mark.parametrize(
    "url", ["mongodb://localhost/chat", "mongodb://u:p@a:1,b:2/chat?replicaSet=r", "mongodb+srv://cluster.invalid/chat"]
)
def test_a_mongodb_url_is_a_connection_string(url: str) -> None:
    assert isinstance(open_store(url), MongoStore)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chat.db",
        "sqlite:chat.db",
        "sqlite://chat.db",
        "sqlite:///",
        "sqlite:///chat.db?mode=ro",
        "postgres://u:secret@host/chat",
        "mongodb://",
        "mongodb://user:p@ss:secret@host/chat",
        "mongodb://user:secret@host:port/chat",
        "mongodb://user:secret@host/chat?nonsense=1",
        "mongodb://user:secret@host/chat?timeoutMS=soon",
    ],
)
def test_another_url_is_refused_in_one_line_that_does_not_show_a_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^The \w+ (store )?URL|^The (store URL|MongoDB)|^A SQLite") as caught:
        open_store(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_sqlite_needs_no_mongodb_driver() -> None:
    """Neither its import time nor its presence."""
    check = (
        "import sys; from socketserver.store import open_store; open_store('sqlite:///x.db');"
        "assert not {'motor', 'pymongo', 'bson'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
