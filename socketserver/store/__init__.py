"""The message stores, by URL. Only the driver that the URL asks for is imported."""

from __future__ import annotations

from typing import Final

from .base import Copyable, Store, StoreObserver

_SQLITE: Final = "sqlite:///"
_MONGO: Final = ("mongodb://", "mongodb+srv://")


def open_store(url: str, *, observer: StoreObserver | None = None) -> Copyable:
    """The store that a URL names; not yet opened.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute/path.db`, `sqlite:///:memory:`, or a MongoDB connection
            string (`mongodb://…`, `mongodb+srv://…`), which names the database too.
        observer: told of commits, retries and failures.

    Returns: a store that keeps the contract of `base.py`; `open()` it before the first call.
    Raises: ValueError, with one sentence; it does not repeat the URL, which may hold a password.
    """
    if url.startswith(_SQLITE):
        from .sqlite.sqlite_store import SqliteStore

        path = url.removeprefix(_SQLITE)
        if not path or "?" in path:
            raise ValueError("A SQLite store URL is sqlite:/// and the path of a file, without options.")
        return SqliteStore(path, observer=observer)
    if url.startswith(_MONGO):
        from .mongo.mongo_store import MongoStore

        return MongoStore(url, observer=observer)
    raise ValueError("The store URL must start with sqlite:/// , mongodb:// or mongodb+srv:// .")


__all__ = ["Copyable", "Store", "open_store"]
