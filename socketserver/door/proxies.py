"""From which address a request really comes, and what the client called this server, where proxies stand in between.

The one place that reads `Forwarded` and `X-Forwarded-…`. They are believed only when the peer of the TCP connection is
one of the trusted proxies of the settings; anybody can write them.
Source: RFC 7239.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web

from ..settings import variable
from ..values.web_names import Address, Network, origin_form, parse_address

log = logging.getLogger(__name__)

# The address of a peer that has none: a Unix socket's.
LOCAL: Final = "local"
# More hops than that are nobody's proxies.
MAX_HOPS: Final = 32
IPV6_PREFIX: Final = 64

_ADDRESS: Final = web.RequestKey("client_address", str)
# A comma or a semicolon within quotes separates nothing; a quote that is never closed is a character like others.
_ELEMENT: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,])+')
_PAIR: Final = re.compile(r'\s*([!#-\'*+.0-9A-Z^-z|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)\s*(?:;|\Z)')
_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Proxies:
    """Reads requests with the trusted proxies in mind.

    Args:
        trusted: their addresses or networks.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted: Final = tuple(trusted)
        self._warned = False

    def address(self, request: web.BaseRequest) -> str:
        """The client's address: of the TCP peer, or, where that is a trusted proxy, the one that it names.

        Of several the rightmost that is no trusted proxy counts: what stands left of it was written by somebody who
        is not trusted. `Forwarded` and `X-Forwarded-For` that disagree are both not believed, because a proxy that
        writes the one may let pass what the client wrote into the other.

        Returns: an address as text, IPv4 in IPv6 as IPv4; `local` for a peer without one.
        """
        known = request.get(_ADDRESS)
        if known is None:
            known = request[_ADDRESS] = self._address(request)
        return known

    def scheme(self, request: web.BaseRequest) -> str:
        """http or https, as the client sees it. A proxy may say wss for a websocket over https."""
        if self.trusts_peer(request):
            values = {value.lower() for value in (*_items(request, "X-Forwarded-Proto"), *self._said(request, "proto"))}
            schemes = {_SCHEMES.get(value, "") for value in values}
            if len(schemes) == 1 and (scheme := schemes.pop()):
                return scheme
        return request.scheme

    def host(self, request: web.BaseRequest) -> str:
        """The Host, as the client wrote it. Of several proxies that say it differently none is believed."""
        if self.trusts_peer(request):
            values = [*_items(request, "X-Forwarded-Host"), *self._said(request, "host")]
            forms = {origin_form(f"{self.scheme(request)}://{value}") for value in values}
            if len(forms) == 1 and None not in forms:
                return values[0]
        return request.host

    def _address(self, request: web.BaseRequest) -> str:
        peer = parse_address(request.remote or "")
        if not self.trusts_peer(request):
            if peer is None:
                return LOCAL
            self._warn(request, peer)
            return str(peer)
        own = LOCAL if peer is None else str(peer)
        forwarded = [element.get("for", "") for element in _elements(request)]
        named = {self._client(own, hops) for hops in (forwarded, list(_items(request, "X-Forwarded-For"))) if any(hops)}
        return named.pop() if len(named) == 1 else own

    def _client(self, peer: str, hops: Sequence[str]) -> str:
        client = peer
        for hop in reversed(hops[-MAX_HOPS:]):
            address = parse_address(hop)
            if address is None:  # `unknown`, a name of the proxy's own, or nonsense
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client

    def _said(self, request: web.BaseRequest, name: str) -> list[str]:
        """What `Forwarded` says under a name, from the trusted proxy that is nearest to the client; at most one.

        Each proxy adds an element that says from whom it got the request. So an element is a trusted proxy's if those
        right of it came from trusted ones.
        """
        believed: list[str] = []
        for element in reversed(_elements(request)[-MAX_HOPS:]):
            if value := element.get(name):
                believed = [value]
            source = parse_address(element.get("for", ""))
            if source is None or not self._trusts(source):
                break
        return believed

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def trusts_peer(self, request: web.BaseRequest) -> bool:
        """Whether the other end of the connection is a trusted proxy: by its address, or because it came over the Unix
        socket, which is there for a proxy, and opens to whom its permissions let in."""
        if parse_address(request.remote or "") is not None:
            return self.trusts(request.remote or "")
        # No address has also a TCP peer that is gone already, and that may be anybody.
        connection = request.transport.get_extra_info("socket") if request.transport is not None else None
        return connection is not None and connection.family == socket.AF_UNIX

    def trusts(self, address: str) -> bool:
        """Whether an address is a trusted proxy's."""
        if not self._trusted:
            return False
        peer = parse_address(address)
        return peer is not None and self._trusts(peer)

    def _warn(self, request: web.BaseRequest, peer: Address) -> None:
        if not self._warned and any(name in request.headers for name in _HEADERS):
            self._warned = True
            log.warning(
                "%s sends forwarded headers, which are ignored; if it is your proxy, set %s=%s",
                peer,
                variable("trusted_proxies"),
                peer,
            )


def network_of(address: str) -> str:
    """What limits count an address as: itself, and of IPv6 the /64, all of which one host may have."""
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return address


def _items(request: web.BaseRequest, name: str) -> Iterator[str]:
    for line in request.headers.getall(name, ()):
        for item in line.split(","):
            if item := item.strip():
                yield item


def _elements(request: web.BaseRequest) -> list[dict[str, str]]:
    """The elements of `Forwarded`, one per proxy, as name → value. What cannot be read is an empty one."""
    items = [item for line in request.headers.getall("Forwarded", ()) for item in _ELEMENT.findall(line)]
    return [_pairs(item) for item in items if item.strip()]


def _pairs(element: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    place = 0
    while place < len(element):
        found = _PAIR.match(element, place)
        if found is None or found[1].lower() in pairs:
            return {}
        value = found[2]
        pairs[found[1].lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        place = found.end()
    return pairs
