"""socketserver.door.listening: which sockets are opened, and what is said where one cannot be."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver.door.listening import CannotListen, Listeners
from socketserver.settings import Settings
from typing import Any

import pytest

SECRET = "0123456789abcdef0123456789abcdef"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@contextmanager
def listening(**values: Any) -> Iterator[Listeners]:
    listeners = Listeners(Settings(**{"port": 0, "jwt_secret": SECRET, **values}))
    try:
        yield listeners
    finally:
        for each in listeners.sockets:
            each.close()
        listeners.close()


def refused(**values: Any) -> str:
    with pytest.raises(CannotListen) as caught:
        Listeners(Settings(**{"port": 0, "jwt_secret": SECRET, **values}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def connects(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family) as client:
        client.settimeout(5)
        try:
            client.connect(address)
        except OSError:
            return False
    return True


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: that of a Unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


@IPV6
def test_all_addresses_are_ipv6_and_ipv4() -> None:
    """`::` was IPv6 only: IPv4 clients were refused."""
    with listening(host="::") as listeners:
        port = listeners.sockets[0].getsockname()[1]
        assert listeners.addresses == [f"http://[::]:{port}", f"http://0.0.0.0:{port}"]
        assert connects(socket.AF_INET, ("127.0.0.1", port))
        assert connects(socket.AF_INET6, ("::1", port))


@IPV6
def test_several_hosts_share_a_port() -> None:
    """Also a free one; each address once, whatever stands for what."""
    with listening(host="127.0.0.1,[::1], 127.0.0.1") as listeners:
        port = listeners.sockets[0].getsockname()[1]
        assert listeners.addresses == [f"http://127.0.0.1:{port}", f"http://[::1]:{port}"]
        assert listeners.places == [{"host": "127.0.0.1", "port": port}, {"host": "::1", "port": port}]
    with listening(host="127.0.0.1,0.0.0.0,::1,::") as listeners:
        assert [place["host"] for place in listeners.places] == ["0.0.0.0", "::"]


def test_a_name_is_all_its_addresses() -> None:
    """`localhost` is IPv4 and, where there is, IPv6."""
    with listening(host="localhost") as listeners:
        hosts = {place["host"] for place in listeners.places}
        assert "127.0.0.1" in hosts
        assert hosts <= {"127.0.0.1", "::1"}


def test_a_taken_port_is_one_line() -> None:
    """And the addresses that were open already are closed again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(host="127.0.0.2,127.0.0.1", port=port)
        assert line == (
            f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with WEBSOCKET_PORT"
        )
        assert not connects(socket.AF_INET, ("127.0.0.2", port))


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("192.0.2.1", "it is no address of this machine; set another WEBSOCKET_HOST"),
        ("no.such.host.invalid", "no name that leads to one; see WEBSOCKET_HOST"),
    ],
)
def test_a_host_that_cannot_be_bound_is_one_line(host: str, line: str) -> None:
    """It says which host, and which setting."""
    assert refused(host=f"127.0.0.1,{host}").startswith(f"cannot listen on {host}")
    assert line in refused(host=host)


def test_a_unix_socket(directory: Path) -> None:
    """In place of host and port, for whom its permissions let in; its file goes with the server."""
    path = directory / "chat.sock"
    with listening(unix_socket=str(path)) as listeners:
        assert listeners.addresses == [f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert connects(socket.AF_UNIX, str(path))
    assert not path.exists()
    with listening(unix_socket=str(path), unix_socket_mode="0600"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_stale_unix_socket_is_replaced(directory: Path) -> None:
    """A server that was killed leaves its file behind, and the next one could not start."""
    path = directory / "chat.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening(unix_socket=str(path)):
        assert connects(socket.AF_UNIX, str(path))


def test_a_living_unix_socket_stays(directory: Path) -> None:
    """Another server's, and a file that is none; a server that stops late does not remove its successor's."""
    path = directory / "chat.sock"
    with listening(unix_socket=str(path)) as first:
        assert "another server listens there; see WEBSOCKET_UNIX_SOCKET" in refused(unix_socket=str(path))
        assert connects(socket.AF_UNIX, str(path))
        path.unlink()
        with listening(unix_socket=str(path)):
            first.close()
            assert path.exists()
    path.write_text("a diary")
    assert "a file of that name, which is no socket" in refused(unix_socket=str(path))
    assert path.read_text() == "a diary"


@pytest.mark.parametrize("name", ["no/such/directory/chat.sock", "x" * 200])
def test_a_unix_socket_that_cannot_be_made_is_one_line(directory: Path, name: str) -> None:
    """The path is in it, and the setting."""
    line = refused(unix_socket=os.path.join(directory, name))
    assert line.startswith(f"cannot listen on {directory}/{name}: ")
    assert line.endswith("see WEBSOCKET_UNIX_SOCKET")
