"""Calls the handlers of "connect" and "disconnect", in python-socketio's newer form and its older one."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import socketio

from .rooms import Client


class Handlers(Protocol):
    """Where python-socketio keeps what an application has registered."""

    def _get_event_handler(self, event: str, namespace: str, args: Any) -> tuple[Any, Any]: ...

    def _get_namespace_handler(self, namespace: str, args: Any) -> tuple[Any, Any]: ...


class LifecycleCalls:
    """Calls one server's lifecycle handlers."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._arities: dict[Any, int | None] = {}

    async def call(self, event: str, client: Client, args: tuple[Any, ...]) -> Any:
        """Call the handler of "connect" or "disconnect" with as many of `args` as it takes.

        The last one (auth, reason) is left out for handlers in python-socketio's older form. That is decided by the
        signature: trying it out and catching TypeError would call a handler with a bug twice.
        """
        handlers = self._handlers
        handler, args = handlers._get_event_handler(event, client.namespace, args)
        if handler is None:
            owner, args = handlers._get_namespace_handler(client.namespace, args)
            if owner is None:
                return None
            handler = getattr(owner, f"on_{event}", None)
            if type(owner).trigger_event is not socketio.AsyncNamespace.trigger_event:
                return await owner.trigger_event(event, *args)
            if handler is None:
                return None
        takes = self._arity(handler)
        if takes is not None and takes == len(args) - 1:
            args = args[:-1]
        result = handler(*args)
        return await result if inspect.isawaitable(result) else result

    def _arity(self, handler: Callable[..., Any]) -> int | None:
        """Return how many positional arguments a handler takes at most, None when any number."""
        key = getattr(handler, "__func__", handler)
        try:
            return self._arities[key]
        except (KeyError, TypeError):
            pass
        count: int | None = 0
        try:
            for parameter in inspect.signature(handler).parameters.values():
                if parameter.kind is parameter.VAR_POSITIONAL:
                    count = None
                    break
                if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                    count = (count or 0) + 1
        except (TypeError, ValueError):
            count = None
        try:
            self._arities[key] = count
        except TypeError:
            return count
        return count
