"""Stops a server of this process so that nothing of it is left."""

from __future__ import annotations

import asyncio

from aiohttp import web


async def stop(runner: web.AppRunner) -> None:
    """Clean up, and end the connections that nobody would: those that were accepted while the server stopped, and those
    whose clients read no more. A later test would be blamed for them."""
    ports = {address[1] for address in runner.addresses if isinstance(address, tuple)}
    await runner.cleanup()
    await asyncio.sleep(0)  # what is being accepted has its connection after that
    for transport in list(vars(asyncio.get_running_loop()).get("_transports", {}).values()):
        own = transport.get_extra_info("sockname")
        if isinstance(own, tuple) and own[1] in ports:
            transport.abort()
    await asyncio.sleep(0)
