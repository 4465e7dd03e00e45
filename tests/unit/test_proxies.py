"""socketserver.door.proxies: whose word about the client's address counts."""

from __future__ import annotations

import ipaddress
import logging
import socket
from socketserver.door.proxies import LOCAL, Proxies, network_of
from typing import Any
from unittest import mock

import pytest
from aiohttp.test_utils import make_mocked_request

INSIDE = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def request(peer: str | None, *headers: tuple[str, str], family: socket.AddressFamily = socket.AF_INET) -> Any:
    from multidict import CIMultiDict

    transport = mock.Mock()
    known = {"socket": mock.Mock(family=family), "peername": (peer, 4711) if peer else None}
    transport.get_extra_info = lambda name, default=None: known.get(name) or default
    return make_mocked_request("GET", "/", headers=CIMultiDict(headers), transport=transport)


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        (None, [], LOCAL),
        # Not a trusted proxy: whatever it says.
        ("198.51.100.7", [("X-Forwarded-For", "203.0.113.9")], "198.51.100.7"),
        ("198.51.100.7", [("Forwarded", "for=203.0.113.9")], "198.51.100.7"),
        # A trusted one: the rightmost that is none.
        ("10.0.0.1", [("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [("X-Forwarded-For", "1.2.3.4, 203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [("X-Forwarded-For", "1.2.3.4, 203.0.113.9, 10.1.1.1")], "203.0.113.9"),
        ("10.0.0.1", [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [("X-Forwarded-For", "10.2.2.2, 10.1.1.1")], "10.2.2.2"),
        ("10.0.0.1", [("X-Forwarded-For", "203.0.113.9:5000")], "203.0.113.9"),
        ("10.0.0.1", [("X-Forwarded-For", "[2001:db8::1]:5000")], "2001:db8::1"),
        ("fd00::1", [("X-Forwarded-For", "2001:db8::1")], "2001:db8::1"),
        ("::ffff:10.0.0.1", [("X-Forwarded-For", "::ffff:203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [("Forwarded", 'for="[2001:db8::1]:4711";proto=https')], "2001:db8::1"),
        ("10.0.0.1", [("Forwarded", "for=1.2.3.4, proto=https;For=203.0.113.9;by=10.0.0.1")], "203.0.113.9"),
        # What cannot be read ends the way back.
        ("10.0.0.1", [("X-Forwarded-For", "203.0.113.9, nonsense")], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", "203.0.113.9, unknown, 10.1.1.1")], "10.1.1.1"),
        ("10.0.0.1", [("Forwarded", "for=_hidden")], "10.0.0.1"),
        ("10.0.0.1", [("Forwarded", "proto=https")], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", " , ,")], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", "1.2.3.4," * 500 + "10.0.0.2")], "1.2.3.4"),
        # A comma within quotes separates no hops, and a quote without an end hides none.
        ("10.0.0.1", [("Forwarded", 'for="_a,b", for=203.0.113.9')], "203.0.113.9"),
        ("10.0.0.1", [("Forwarded", 'for=", for=203.0.113.9;proto=https')], "203.0.113.9"),
        ("10.0.0.1", [("Forwarded", 'FOR = "203.0.113.9:47011"')], "203.0.113.9"),
        ("10.0.0.1", [("Forwarded", "for=1.2.3.4;for=203.0.113.9")], "10.0.0.1"),
        # `Forwarded` that names nobody does not contradict the other header.
        ("10.0.0.1", [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "proto=https")], "203.0.113.9"),
        ("::ffff:10.0.0.1", [("X-Forwarded-For", '"[::ffff:203.0.113.9]:80"')], "203.0.113.9"),
        ("fd00::1%eth0", [("X-Forwarded-For", "fe80::7%en0")], "fe80::7"),
        # Two headers that agree, and two of which the client may have written one.
        ("10.0.0.1", [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=1.2.3.4")], "10.0.0.1"),
    ],
)
def test_address(peer: str | None, headers: list[tuple[str, str]], address: str) -> None:
    """Only trusted proxies are believed, and of what they say only what they have seen themselves."""
    assert Proxies(INSIDE).address(request(peer, *headers)) == address


def test_no_trusted_proxies() -> None:
    """By default the peer is the client."""
    assert Proxies(()).address(request("10.0.0.1", ("X-Forwarded-For", "1.2.3.4"))) == "10.0.0.1"


def test_scheme_and_host() -> None:
    """A trusted proxy says how it was addressed, if it says one thing; nobody else does."""
    headers = [("Host", "inner:3001"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "chat.example.com")]
    proxies = Proxies(INSIDE)
    believed, other = request("10.0.0.1", *headers), request("198.51.100.7", *headers)
    assert (proxies.scheme(believed), proxies.host(believed)) == ("https", "chat.example.com")
    assert (proxies.scheme(other), proxies.host(other)) == ("http", "inner:3001")
    several = [
        ("Host", "inner:3001"),
        ("X-Forwarded-Proto", "https, http"),
        ("X-Forwarded-Host", "a.example, b.example"),
    ]
    unclear = request("10.0.0.1", *several)
    assert (proxies.scheme(unclear), proxies.host(unclear)) == ("http", "inner:3001")
    odd = request("10.0.0.1", ("Host", "inner:3001"), ("X-Forwarded-Proto", "javascript"))
    assert proxies.scheme(odd) == "http"


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        # Two proxies that say the same: the server's own page was refused.
        ([("X-Forwarded-Host", "chat, chat")], "http", "chat"),
        ([("X-Forwarded-Host", "chat"), ("X-Forwarded-Host", "Chat.")], "http", "chat"),
        ([("X-Forwarded-Host", "chat, chat:443"), ("X-Forwarded-Proto", "https,https")], "https", "chat"),
        ([("X-Forwarded-Host", "chat, chat:443")], "http", "inner:3001"),
        ([("X-Forwarded-Host", "evil, chat")], "http", "inner:3001"),
        ([("X-Forwarded-Host", "a b")], "http", "inner:3001"),
        ([("X-Forwarded-Host", "[::1]:8080")], "http", "[::1]:8080"),
        # A websocket over https, as Traefik says it.
        ([("X-Forwarded-Proto", "wss")], "https", "inner:3001"),
        ([("X-Forwarded-Proto", "WS")], "http", "inner:3001"),
        ([("X-Forwarded-Proto", "wss, https")], "https", "inner:3001"),
        # RFC 7239.
        ([("Forwarded", "for=203.0.113.9;host=chat;proto=https")], "https", "chat"),
        ([("Forwarded", 'For="[2001:db8::9]:1";Host="chat:8443";Proto=HTTPS')], "https", "chat:8443"),
        ([("Forwarded", "host=chat;proto=https")], "https", "chat"),
        # The trusted proxy that is nearest to the client knows; what stands left of it was written by the client.
        ([("Forwarded", "for=203.0.113.9;host=chat;proto=https, for=10.0.0.7;host=inner")], "https", "chat"),
        ([("Forwarded", "for=203.0.113.9, for=10.0.0.7;host=chat;proto=https")], "https", "chat"),
        ([("Forwarded", "host=evil;proto=https, for=203.0.113.9;host=chat")], "http", "chat"),
        ([("Forwarded", "for=10.0.0.8;host=evil, for=203.0.113.9")], "http", "inner:3001"),
        ([("Forwarded", "host=evil"), ("Forwarded", "for=_client;host=chat")], "http", "chat"),
        ([("Forwarded", "for=203.0.113.9;host=chat"), ("X-Forwarded-Host", "chat")], "http", "chat"),
        ([("Forwarded", "for=203.0.113.9;host=chat"), ("X-Forwarded-Host", "evil")], "http", "inner:3001"),
        ([("Forwarded", "for=203.0.113.9;proto=https"), ("X-Forwarded-Proto", "http")], "http", "inner:3001"),
        ([("Forwarded", "nonsense")], "http", "inner:3001"),
    ],
)
def test_what_proxies_say_of_scheme_and_host(headers: list[tuple[str, str]], scheme: str, host: str) -> None:
    """Believed where all say the same, and only from those who saw it; nothing of it from a stranger."""
    proxies = Proxies(INSIDE)
    believed = request("10.0.0.1", ("Host", "inner:3001"), *headers)
    assert (proxies.scheme(believed), proxies.host(believed)) == (scheme, host)
    stranger = request("198.51.100.7", ("Host", "inner:3001"), *headers)
    assert (proxies.scheme(stranger), proxies.host(stranger)) == ("http", "inner:3001")


def test_a_peer_on_the_unix_socket_is_the_proxy() -> None:
    """It has no address. Who may open the socket is believed, but not a TCP peer that is gone and has none either."""
    headers = [("Host", "inner"), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Host", "chat")]
    there = request(None, *headers, family=socket.AF_UNIX)
    assert (Proxies(()).address(there), Proxies(()).host(there)) == ("203.0.113.9", "chat")
    assert Proxies(()).address(request(None, family=socket.AF_UNIX)) == LOCAL
    gone = request(None, *headers)
    assert (Proxies(()).address(gone), Proxies(()).host(gone)) == (LOCAL, "inner")


def test_a_forwarded_header_of_a_stranger_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the line to add, once, however many requests come."""
    proxies = Proxies(())
    with caplog.at_level(logging.WARNING):
        proxies.address(request("192.0.2.8"))
        assert not caplog.records
        for _ in range(50):
            proxies.address(request("192.0.2.8", ("X-Forwarded-For", "1.2.3.4")))
    (record,) = caplog.records
    assert "WEBSOCKET_TRUSTED_PROXIES=192.0.2.8" in record.getMessage()
    assert "1.2.3.4" not in record.getMessage()


def test_networks() -> None:
    """A host may have all addresses of an IPv6 /64: they count as one."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("203.0.113.9") == "203.0.113.9"
    assert network_of(LOCAL) == LOCAL
