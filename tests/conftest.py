"""What holds for all tests."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from blockbuster import blockbuster_ctx
from support.node import OLDER

# What may wait on the event loop, and why.
MAY_WAIT: Final = (
    ("socketserver/app.py", "create_app"),  # before anybody is served
    ("socketserver/store/__init__.py", "open_store"),  # the same: it imports the store's driver
    ("socketserver/handlers/routes.py", "setup_routes"),  # the same
    ("socketserver/ops/memory.py", "resident_bytes"),  # /proc is the memory of the kernel, no disk
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only what is `alone` is asked for, the other files are not even read."""
    return (
        config.option.markexpr == "alone"
        and collection_path.match("test_*.py")
        and "mark.alone" not in collection_path.read_text(encoding="utf-8")
    ) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is thorough, unless it is asked for; so are tests with older clients than the newest."""
    if os.environ.get("THOROUGH") == "1" or os.environ.get("REQUIRE_ALL") == "1":
        return
    left_out = [item for item in items if _thorough(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not _thorough(item)]


def pytest_collection_finish() -> None:
    """The tests and what they import stay, so the collector of garbage need not look at them for a second each time."""
    gc.collect()
    gc.freeze()


def _thorough(item: pytest.Item) -> bool:
    if item.get_closest_marker("thorough") is not None:
        return True
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    parts = (part for value in parameters for part in (value if isinstance(value, tuple) else [value]))
    return any(isinstance(part, str) and part in OLDER for part in parts)


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits_on_the_event_loop() -> Iterator[None]:
    """A call of the package's that may wait (a file, a lock, a database, `sleep`) fails where an event loop runs."""
    with blockbuster_ctx("socketserver") as watched:
        for function in watched.functions.values():
            for file, name in MAY_WAIT:
                function.can_block_in(file, name)
        yield


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """pytest's own, but asyncio says now, and not meanwhile, what it has to say of tasks that an earlier test left."""
    gc.collect()
    return caplog
