"""The tasks of one engine, and waiting for their end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """All tasks that an engine has begun: its handlers, and the application's background tasks."""

    def __init__(self) -> None:
        self._handlers: set[asyncio.Task[Any]] = set()
        self._background: set[asyncio.Task[Any]] = set()
        self._changed: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return how many are running."""
        return len(self._handlers) + len(self._background)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a task that is waited for."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        return task

    def spawn_background(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a task that nobody waits for before it is cancelled."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def handlers(self) -> set[asyncio.Task[Any]]:
        """Return the tasks that are waited for, without the current one, which may be the one that waits."""
        return self._handlers - {asyncio.current_task()}

    def everybody(self) -> set[asyncio.Task[Any]]:
        """Return all tasks but the current one."""
        return (self._handlers | self._background) - {asyncio.current_task()}

    async def until(self, done: Callable[[], bool], tasks: Callable[[], set[asyncio.Task[Any]]], wait_s: float) -> None:
        """Wait until `done()`, for at most `wait_s`. It is asked whenever all these tasks have ended, and then at every
        `changed`."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while not done() and (left_s := deadline_s - loop.time()) > 0:
            if self._changed is None or self._changed.done():
                self._changed = loop.create_future()
            waited: set[asyncio.Future[Any]] = {*tasks()}
            await asyncio.wait(waited or {self._changed}, timeout=left_s)

    def changed(self) -> None:
        """Something beside the tasks has ended, of which `done` may make something."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def cancel(self, wait_s: float) -> None:
        """Cancel all tasks, and wait for them and for those that they begin, for at most `wait_s`."""
        for task in self.everybody():
            task.cancel()
        await self.until(lambda: not self.everybody(), self.everybody, wait_s)
