"""Fixtures for tests with JavaScript clients; the conftest.py of a folder that has such tests takes them from here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .node import Node, NodeProcess, missing_node, require


@pytest.fixture(scope="session")
def node_process() -> Iterator[NodeProcess]:
    require(missing_node())
    process = NodeProcess()
    yield process
    process.stop()


@pytest.fixture
async def node(node_process: NodeProcess) -> AsyncIterator[Node]:
    async with node_process.attach() as node:
        yield node


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"
