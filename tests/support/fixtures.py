"""Fixtures for tests with JavaScript clients; the conftest.py of a folder that has such tests takes them from here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .node import PROCESS, Node, NodeProcess, missing_node, require


@pytest.fixture(scope="session")
def node_process() -> NodeProcess:
    require(missing_node())
    return PROCESS


@pytest.fixture
async def node(node_process: NodeProcess) -> AsyncIterator[Node]:
    async with node_process.attach() as node:
        yield node


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"
