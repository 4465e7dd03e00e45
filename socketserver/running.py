"""What runs as long as the application: its store, open or waited for, and the tasks beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from aiohttp import web

from .errors import StoreUnavailable
from .store.base import Store, StoreUnusable

log = logging.getLogger(__name__)

# Seconds between two tries to open a database that was away at the start.
STORE_RETRY_S: Final = 1.0


def running(
    store: Store, tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]], close: Callable[[], Awaitable[None]]
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context: opens the store and runs the tasks, then ends them and closes everything.

    Args:
        tasks: each runs until it is cancelled.
        close: closes what the tasks and requests needed, the store too.
    """

    async def context(app: web.Application) -> AsyncIterator[None]:
        started = [asyncio.create_task(task()) for task in tasks]
        try:
            await store.open()
        except StoreUnusable:
            for task in started:
                task.cancel()
            raise
        except StoreUnavailable as error:
            log.warning("the store is away, and the server goes on without it until it is back: %s", error.message)
            started.append(asyncio.create_task(_open_when_back(store)))
        yield
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
        await close()

    return context


async def _open_when_back(store: Store) -> None:
    """Open a store whose database was away at the start. One that turns out to be unusable stays closed."""
    while True:
        await asyncio.sleep(STORE_RETRY_S)
        try:
            await store.open()
        except StoreUnusable as error:
            log.error("the store is back but cannot be used: %s", error.message)
            return
        except StoreUnavailable:
            continue
        log.info("the store is back")
        return
