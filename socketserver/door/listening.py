"""Opens the sockets that the server listens on: one per address of its hosts, or a Unix socket.

Knows nothing of HTTP. Each socket is opened here, rather than by asyncio, so that `::` means IPv6 and IPv4 whatever the
system's default is, several hosts share one port, also a free one, and each failure has one sentence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any, Final

from ..settings import Settings, variable

BACKLOG: Final = 128
# A wildcard address, and what else is meant by it.
_EVERYWHERE: Final = "::"
_EVERYWHERE_IPV4: Final = "0.0.0.0"  # noqa: S104 - the settings see to it that tokens are checked
# The machine has no such address, or not this kind of addresses at all.
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

Place = tuple[socket.AddressFamily, Any]


class CannotListen(Exception):
    """An address that cannot be listened on; the text is one sentence that says what to change."""


class Listeners:
    """Open sockets that listen. `close` removes a Unix socket's file; the sockets themselves belong to who serves them.

    Raises: CannotListen; nothing is left open then.
    """

    def __init__(self, settings: Settings) -> None:
        self._file: tuple[str, int] | None = None
        self.sockets: Final[list[socket.socket]] = []
        try:
            if settings.unix_socket is not None:
                self._open_unix(settings.unix_socket, int(settings.unix_socket_mode, 8))
            else:
                self._open_tcp(settings)
        except CannotListen:
            for each in self.sockets:
                each.close()
            raise

    @property
    def places(self) -> list[dict[str, Any]]:
        """Where each socket listens, as fields for the log: `host` and `port`, or `path`."""
        if self._file is not None:
            return [{"path": self._file[0]}]
        return [{"host": each.getsockname()[0], "port": each.getsockname()[1]} for each in self.sockets]

    @property
    def addresses(self) -> list[str]:
        """Where each socket listens, for people: `http://127.0.0.1:3001`, or `unix:/run/chat.sock`."""
        return [_address(**place) for place in self.places]

    def close(self) -> None:
        """Remove the file of a Unix socket, unless another server has put its own there."""
        if self._file is not None:
            path, inode = self._file
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == inode:
                    os.unlink(path)

    def _open_tcp(self, settings: Settings) -> None:
        port = settings.port
        opened: set[Place] = set()
        for host in _widest_first(settings.hosts):
            refusal: OSError | None = None
            found = False
            for family, address in _places(host):
                if _covered(family, address, opened):
                    found = True
                    continue
                try:
                    listener = _listen(family, address, port)
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise CannotListen(_why(host, port, error)) from None
                    refusal = error
                    continue
                self.sockets.append(listener)
                opened.add((family, address[0]))
                found = True
                port = listener.getsockname()[1]  # the same for all, where a free one was asked for
            if not found:
                raise CannotListen(_why(host, port, refusal or OSError(errno.EADDRNOTAVAIL, "no address")))

    def _open_unix(self, path: str, mode: int) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(listener)
        name = variable("unix_socket")
        try:
            _remove_stale(path)
            listener.bind(path)
            # Nobody can connect before `listen`, so nobody gets in under the permissions that it has until now.
            os.chmod(path, mode)
            listener.listen(BACKLOG)
            self._file = (path, os.stat(path).st_ino)
        except OSError as error:
            raise CannotListen(f"cannot listen on {path}: {error.strerror or error}; see {name}") from None
        listener.setblocking(False)


def _address(*, path: str | None = None, host: str = "", port: int = 0) -> str:
    if path is not None:
        return f"unix:{path}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _widest_first(hosts: tuple[str, ...]) -> list[str]:
    """Addresses that stand for all, then the others: those are listened on already then."""
    return sorted(hosts, key=lambda host: host not in (_EVERYWHERE, _EVERYWHERE_IPV4))


def _covered(family: socket.AddressFamily, address: Any, opened: set[Place]) -> bool:
    everywhere = _EVERYWHERE if family == socket.AF_INET6 else _EVERYWHERE_IPV4
    return (family, address[0]) in opened or (family, everywhere) in opened


def _places(host: str) -> Iterator[Place]:
    """Every address that a host has."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise CannotListen(
            f"cannot listen on {host}: it is no address, and no name that leads to one; see {variable('host')}"
        ) from None
    for family, _, _, _, address in found:
        yield family, address
    if host == _EVERYWHERE:
        yield socket.AF_INET, (_EVERYWHERE_IPV4, 0)


def _listen(family: socket.AddressFamily, address: Any, port: int) -> socket.socket:
    """Raises: OSError."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere the option means something else
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address[0], port, *address[2:]))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _NOT_HERE:
        advice = f"it is no address of this machine; set another {variable('host')}"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        advice = f"ports below 1024 are the administrator's; choose another with {variable('port')}"
    else:
        advice = f"choose another with {variable('port')}"
    return f"cannot listen on {host} port {port}: {reason}; {advice}"


def _remove_stale(path: str) -> None:
    """Remove a socket that a server left behind when it was killed.

    Raises: OSError where a server listens there, or the file is none of a server's.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of that name, which is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except TimeoutError:
            pass
    raise OSError(errno.EADDRINUSE, "another server listens there")
