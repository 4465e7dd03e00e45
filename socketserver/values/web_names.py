"""How addresses, hosts and origins are written: one form for each, whichever setting or header they come from.

What is configured and what is received go through the same function here, so that comparing the results compares what
is meant. Pure; whom to believe is said elsewhere (proxies.py, origins.py).

Source: RFC 3986 3.2.2 and RFC 6454 6 (hosts, origins), UTS 46 (names that are not ASCII), RFC 7239 6 (addresses).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

import idna

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# A websocket's scheme stands for that of the page it would be opened by: native clients send it as their origin.
_SCHEMES: Final = {"ws": "http", "wss": "https"}
# Schemes of which no application is served, or whose pages anybody can make.
_NO_ORIGINS: Final = frozenset({"about", "blob", "data", "ftp", "ftps", "javascript", "mailto"})
_MAX_CHARS: Final = 1024
# Number of answers that each function here remembers, and how long a text may be for that: 2 MB each at most.
_REMEMBERED: Final = 2048
_REMEMBERED_CHARS: Final = 128

_IN_BRACKETS: Final = re.compile(r"\[([^\]]*)\](?::.*)?")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\x00-\x1f\x7f\[\]:@/\\?#,]+)(?::([0-9]{0,5}))?")
_NAME: Final = re.compile(r"[a-z0-9._-]+")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_APPLICATION: Final = re.compile(r"[a-z0-9._~-]+(?::[0-9]{1,5})?")

Form = TypeVar("Form")


def _remembered(form: Callable[[str], Form]) -> Callable[[str], Form]:
    """Remembers the last answers: who comes in is asked about several times over, and by every request anew."""
    known = lru_cache(_REMEMBERED)(form)

    @wraps(form)
    def look(text: str) -> Form:
        return known(text) if len(text) <= _REMEMBERED_CHARS else form(text)

    return look


@_remembered
def parse_address(text: str) -> Address | None:
    """An address of a header, a socket or a setting; IPv4 in IPv6 as IPv4. None if it is none.

    It may stand in quotes, in brackets and with a port, and have a zone, which says nothing outside of its machine.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        found = _IN_BRACKETS.fullmatch(text)
        text = found[1] if found else ""
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def parse_network(text: str) -> Network:
    """An address, or a network in CIDR form; IPv4 in IPv6 as IPv4.

    Raises: ValueError.
    """
    place, slash, bits = text.strip().partition("/")
    address = ipaddress.ip_address(place.strip("[]").partition("%")[0])
    network = ipaddress.ip_network(f"{address}{slash}{bits}", strict=False)
    inside = getattr(network.network_address, "ipv4_mapped", None)
    if inside is not None and network.prefixlen >= 96:
        return ipaddress.ip_network(f"{inside}/{network.prefixlen - 96}")
    return network


@_remembered
def split_host(text: str) -> tuple[str, str] | None:
    """The name and the port of a Host header, in one form: lower case, ASCII, without a dot at the end.

    Returns: the port as text, empty for none; of an IPv6 address the name is the shortest form, without brackets. None
        for what is no host.
    """
    found = _HOST.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if found is None:
        return None
    name, port = found[1], found[2] or ""
    if port and int(port) > 65535:
        return None
    port = port and str(int(port))
    if name.startswith("["):
        try:
            return str(ipaddress.IPv6Address(name[1:-1])), port
        except ValueError:
            return None
    name = name.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode().removesuffix(".")
        except (idna.IDNAError, UnicodeError):
            return None
    return (name, port) if _NAME.fullmatch(name) and all(len(part) <= 63 for part in name.split(".")) else None


@_remembered
def origin_form(text: str) -> str | None:
    """An origin as browsers write it: lower case, names in ASCII, without the scheme's own port and a slash at the end.

    `wss://` is `https://` and `ws://` is `http://`. Of another scheme it is what an application gives its own pages,
    such as `capacitor://localhost`, `chrome-extension://` and an id, or `file://` alone.

    Returns: None for what is no origin: `null`, a wildcard, a path, a login, a port that is none.
    """
    found = _SCHEME.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2].removesuffix("/")
    scheme = _SCHEMES.get(scheme, scheme)
    if scheme not in _DEFAULT_PORTS:
        rest = rest.lower()
        if scheme in _NO_ORIGINS or not (_APPLICATION.fullmatch(rest) or (scheme == "file" and rest in ("", "/"))):
            return None
        return f"{scheme}://{rest.removesuffix('/')}"
    host = split_host(rest)
    if host is None:
        return None
    name, port = host
    name = f"[{name}]" if ":" in name else name
    return f"{scheme}://{name}" + (f":{port}" if port not in ("", _DEFAULT_PORTS[scheme]) else "")


def is_loopback(host: str) -> bool:
    """Whether a server on this address, or of this name, can be reached from this machine only."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback
