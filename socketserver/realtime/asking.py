"""Asking one client: an event whose ack is waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import socketio

from .rooms import Client


async def ask(client: Client | None, emit: Callable[[Callable[..., None]], Awaitable[None]], timeout_s: float) -> Any:
    """Return what a client acks: None, one value, or a tuple of several.

    Args:
        client: who is asked; None when it may be on another node.
        emit: sends it the event, with the callback for its ack.

    Raises: socketio.exceptions.TimeoutError after `timeout_s`, or when the client goes.
    """
    future: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()

    def answered(*args: Any) -> None:
        if not future.done():
            future.set_result(args)

    if client is not None:
        if client.push is None:
            raise socketio.exceptions.TimeoutError
        client.waiting.add(future)
    try:
        await emit(answered)
        async with asyncio.timeout(timeout_s):
            args = await future
    except TimeoutError:
        raise socketio.exceptions.TimeoutError from None
    finally:
        if client is not None:
            client.waiting.discard(future)
            for number, callback in list(client.asked.items()):
                if callback is answered:
                    del client.asked[number]
    return args if len(args) > 1 else args[0] if args else None
