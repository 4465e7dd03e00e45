"""socketserver.values.web_names: one form for addresses, hosts and origins, as a table each."""

from __future__ import annotations

from socketserver.values.web_names import is_loopback, origin_form, parse_address, parse_network, split_host

import pytest


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ('"203.0.113.9"', "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("203.0.113.9:_hidden", "203.0.113.9"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:4711"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:cb00:7109]:80", "203.0.113.9"),
        ("::1", "::1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("203.0.113", None),
        ("203.0.113.256", None),
        ("203.000.113.009", None),
        ("[2001:db8::1", None),
        ("[2001:db8::1]x", None),
        ("chat.example.com", None),
        ("local", None),
    ],
)
def test_addresses(text: str, address: str | None) -> None:
    """With quotes, brackets, a port or a zone; IPv4 in IPv6 is IPv4."""
    parsed = parse_address(text)
    assert (None if parsed is None else str(parsed)) == address


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.5", "10.0.0.5/32"),
        ("10.0.0.5/8", "10.0.0.0/8"),
        ("::ffff:10.0.0.5", "10.0.0.5/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("[::1]", "::1/128"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
        ("10.0.0.5/33", None),
        ("proxy", None),
        ("", None),
    ],
)
def test_networks(text: str, network: str | None) -> None:
    """A trusted proxy that is listed as `::ffff:10.0.0.5` was never found, as peers are compared as IPv4."""
    if network is None:
        with pytest.raises(ValueError, match="does not appear"):
            parse_network(text)
    else:
        assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("chat.example.com", ("chat.example.com", "")),
        ("Chat.Example.COM.", ("chat.example.com", "")),
        ("chat:3001", ("chat", "3001")),
        ("chat:03001", ("chat", "3001")),
        ("chat:", ("chat", "")),
        ("my_host", ("my_host", "")),
        ("[::1]:3001", ("::1", "3001")),
        ("[0:0::1]", ("::1", "")),
        ("127.0.0.1:80", ("127.0.0.1", "80")),
        ("bücher.example", ("xn--bcher-kva.example", "")),
        ("BÜCHER.example", ("xn--bcher-kva.example", "")),
        # as browsers do; the older rule made `strasse` of it
        ("straße.example", ("xn--strae-oqa.example", "")),
        ("", None),
        ("chat:65536", None),
        ("chat:x", None),
        ("chat:1:2", None),
        ("::1", None),
        ("[::1", None),
        ("[::g]", None),
        ("user@chat", None),
        ("@chat", None),
        ("chat/", None),
        ("chat\\", None),
        ("chat?", None),
        ("chat#", None),
        ("a b", None),
        ("a,b", None),
        ("chat\n", None),
        ("*.chat", None),
        ("x" * 64, None),
        ("ä" * 5000, None),
    ],
)
def test_hosts(text: str, host: tuple[str, str] | None) -> None:
    """Lower case, ASCII, no dot at the end, the shortest IPv6 address."""
    assert split_host(text) == host


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://chat.example.com", "https://chat.example.com"),
        ("HTTPS://Chat.Example.com:443/", "https://chat.example.com"),
        ("https://chat.example.com.", "https://chat.example.com"),
        ("http://chat.example.com:80", "http://chat.example.com"),
        ("http://chat.example.com:443", "http://chat.example.com:443"),
        ("wss://chat.example.com", "https://chat.example.com"),
        ("wss://chat.example.com:443", "https://chat.example.com"),
        ("ws://chat.example.com:80/", "http://chat.example.com"),
        ("WS://chat.example.com:8080", "http://chat.example.com:8080"),
        ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("Capacitor://LocalHost/", "capacitor://localhost"),
        ("ionic://localhost", "ionic://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("http://tauri.localhost", "http://tauri.localhost"),
        ("app://-", "app://-"),
        ("app://localhost:8100", "app://localhost:8100"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        (
            "moz-extension://0a1b2c3d-0000-4000-8000-000000000000",
            "moz-extension://0a1b2c3d-0000-4000-8000-000000000000",
        ),
        ("file://", "file://"),
        ("file:///", "file://"),
        ("null", None),
        ("", None),
        ("*", None),
        ("chat.example.com", None),
        ("https://*.example.com", None),
        ("capacitor://*", None),
        ("capacitor://", None),
        ("capacitor://localhost/app", None),
        ("chrome-extension://a@b", None),
        ("file:///home/me/page.html", None),
        ("ftp://a.example", None),
        ("javascript://a.example", None),
        ("data://x", None),
        ("https://", None),
        ("https:///", None),
        ("https://chat.example.com/app", None),
        ("https://user:word@chat.example.com", None),
        ("https://chat.example.com,https://evil.com", None),
        ("https://chat.example.com https://evil.com", None),
        ("https://chat.example.com\n", None),
        ("https://" + "a." * 5000, None),
    ],
)
def test_origins(text: str, origin: str | None) -> None:
    """The Swift client's `wss://host` and React Native's `https://host:443` were refused though they were the own."""
    assert origin_form(text) == origin
    if origin is not None:
        assert origin_form(origin) == origin


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.2.2", False),
        ("localhost.evil.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Where nobody else can come from."""
    assert is_loopback(host) is loopback


def test_what_is_remembered_is_bounded_and_never_another_answer() -> None:
    """Asked again the answer is the same, also after thousands of others, and for texts too long to be remembered."""
    long = "https://" + "a." * 100 + "example"
    asked = {text: origin_form(text) for text in ("HTTPS://App.example/", "null", long)}
    assert asked == {"HTTPS://App.example/": "https://app.example", "null": None, long: long}
    for number in range(5000):
        assert str(parse_address(f"10.0.{number // 250}.{number % 250}")) == f"10.0.{number // 250}.{number % 250}"
        assert origin_form(f"https://{number}.example") == f"https://{number}.example"
    assert {text: origin_form(text) for text in asked} == asked
    assert str(parse_address("10.0.0.1")) == "10.0.0.1"
