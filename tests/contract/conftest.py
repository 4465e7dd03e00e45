"""One suite, every store: the databases that each test of this directory runs against."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.chat.domain import new_id
from socketserver.store import Store
from socketserver.store.mongo import mongo_store
from typing import Any

import pytest
from pymongo import MongoClient
from support.mongo import mongo_url, with_database
from support.stores import Backend

# pytest finds the fixture here; the driver is imported here, as that reads files, and not while an event loop runs
__all__ = ["mongo_store", "mongo_url"]

IN_MEMORY = ["sqlite-memory"]
SHARED = ["sqlite-file", "mongo"]


@contextlib.asynccontextmanager
async def fresh(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Backend]:
    name = f"test_{new_id()}"
    if request.param == "sqlite-memory":
        backend = Backend(request.param, "sqlite:///:memory:")
    elif request.param == "sqlite-file":
        backend = Backend(request.param, f"sqlite:///{directory / 'chat.db'}")
    else:
        backend = Backend(request.param, with_database(request.getfixturevalue("mongo_url"), name))
    yield backend
    await backend.close()
    if request.param == "mongo":
        with MongoClient[dict[str, Any]](backend.url) as client:
            client.drop_database(name)


@pytest.fixture(params=IN_MEMORY + SHARED)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """A fresh, empty database of each kind."""
    async with fresh(request, tmp_path) as made:
        yield made


@pytest.fixture(params=SHARED)
async def shared_backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """A fresh database of each kind that several stores and processes can have open, and that outlives them."""
    async with fresh(request, tmp_path) as made:
        yield made


@pytest.fixture
async def store(backend: Backend) -> Store:
    """An open store on a fresh database."""
    return await backend.open()
