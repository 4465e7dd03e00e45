"""From which address a request really comes, and what the client called this server, where proxies stand in between.

The one place that reads `Forwarded` and `X-Forwarded-…`. They are believed only when the peer of the TCP connection is
one of the trusted proxies of the settings; anybody can write them.
Source: RFC 7239.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web

from .settings import variable

log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The address of a peer that has none: a Unix socket's.
LOCAL: Final = "local"
# More hops than that are nobody's proxies.
MAX_HOPS: Final = 32
IPV6_PREFIX: Final = 64

_ADDRESS: Final = web.RequestKey("client_address", str)
_FORWARDED_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;\s]*)', re.IGNORECASE)
_HEADERS: Final = ("Forwarded", "X-Forwarded-For")


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
        """http or https, as the client sees it."""
        if self.trusts_peer(request):
            values = {value.lower() for value in _items(request, "X-Forwarded-Proto")}
            if len(values) == 1 and values <= {"http", "https"}:
                return values.pop()
        return request.scheme

    def host(self, request: web.BaseRequest) -> str:
        """The Host, as the client wrote it."""
        if self.trusts_peer(request):
            values = list(_items(request, "X-Forwarded-Host"))
            if len(values) == 1:
                return values[0]
        return request.host

    def _address(self, request: web.BaseRequest) -> str:
        peer = _parse(request.remote or "")
        if peer is None:
            return LOCAL
        if not self._trusts(peer):
            self._warn(request, peer)
            return str(peer)
        named = {str(self._client(peer, hops)) for hops in (_forwarded(request), _forwarded_for(request)) if hops}
        return named.pop() if len(named) == 1 else str(peer)

    def _client(self, peer: Address, hops: Sequence[str]) -> Address:
        client = peer
        for hop in reversed(hops[-MAX_HOPS:]):
            address = _parse(hop)
            if address is None:  # `unknown`, a name of the proxy's own, or nonsense
                break
            client = address
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def trusts_peer(self, request: web.BaseRequest) -> bool:
        """Whether the peer of the TCP connection is a trusted proxy."""
        return self.trusts(request.remote or "")

    def trusts(self, address: str) -> bool:
        """Whether an address is a trusted proxy's."""
        if not self._trusted:
            return False
        peer = _parse(address)
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
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return address


def _parse(text: str) -> Address | None:
    """An address, with or without a port and brackets."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _items(request: web.BaseRequest, name: str) -> Iterator[str]:
    for line in request.headers.getall(name, ()):
        for item in line.split(","):
            if item := item.strip():
                yield item


def _forwarded_for(request: web.BaseRequest) -> list[str]:
    return list(_items(request, "X-Forwarded-For"))


def _forwarded(request: web.BaseRequest) -> list[str]:
    """The `for` of each hop; a hop without one is kept as one that cannot be read."""
    hops = []
    for item in _items(request, "Forwarded"):
        found = _FORWARDED_FOR.search(item)
        hops.append(found[1] if found else "unknown")
    return hops
