"""Ports whose number a test has to know before anybody listens there."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """A port of 127.0.0.1 on which nothing listens, and which nobody is given who asks for just any port.

    Whoever asks for it by its number, with SO_REUSEADDR as servers do, can listen on it, stop, and listen again.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
