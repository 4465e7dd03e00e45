"""Settings: where values come from, what is refused and how that is said."""

from __future__ import annotations

import os
from pathlib import Path
from socketserver.settings import Settings, SettingsError, flag, load_settings, unknown_variables, variable
from socketserver.values.web_names import is_loopback

import pytest
from pydantic import ValidationError

SECRET = "0123456789abcdef0123456789abcdef"
BORROWED = ("MONGODB_URI", "NEXT_PUBLIC_APP_URL", "PORT")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests gets in."""
    for name in list(os.environ):
        if name.upper().startswith("WEBSOCKET_") or name in BORROWED:
            monkeypatch.delenv(name)


def refused(**flags: str) -> list[str]:
    """The lines with which these flags (and the environment) are refused."""
    with pytest.raises(SettingsError) as caught:
        load_settings(flags)
    return list(caught.value.lines)


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Nothing set: loopback, SQLite, the development login, the agreed times and limits."""
    settings = load_settings({})
    assert (settings.host, settings.port) == ("127.0.0.1", 3001)
    assert settings.store_url == "sqlite:///socketserver.db"
    assert settings.allowed_origins == ("http://localhost:3000",)
    assert settings.development_login
    assert (settings.ping_interval_s, settings.ping_timeout_s) == (25, 60)
    assert (settings.auth_timeout_s, settings.sweep_s) == (10, 30)
    assert settings.sockets_per_user == 1
    assert (settings.messages_per_second, settings.messages_burst) == (5, 20)
    assert (settings.max_body_chars, settings.max_event_bytes) == (4000, 65536)


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_field_has_a_help_text(field: str) -> None:
    """The command line and docs/configuration.md are made of the descriptions."""
    assert Settings.model_fields[field].description


def test_settings_are_frozen() -> None:
    """Nobody can change a setting while the server runs."""
    with pytest.raises(ValidationError):
        load_settings({}).port = 1  # type: ignore[misc]


def test_a_flag_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags, then the environment, then the default."""
    monkeypatch.setenv("WEBSOCKET_PORT", "4000")
    monkeypatch.setenv("WEBSOCKET_STORE_URL", "sqlite:///variable.db")
    assert load_settings({}).port == 4000
    settings = load_settings({"port": "5000", "store_url": "sqlite:///flag.db"})
    assert (settings.port, settings.store_url) == (5000, "sqlite:///flag.db")


def test_other_applications_variables_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """ALLOWED_ORIGINS and STORE_URL, which others may have set for themselves, were read."""
    monkeypatch.setenv("ALLOWED_ORIGINS", "*")
    monkeypatch.setenv("STORE_URL", "mongodb://elsewhere/shop")
    assert load_settings({}) == Settings()
    assert load_settings({}).store_url == "sqlite:///socketserver.db"


def test_borrowed_variables_come_after_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """MONGODB_URI and NEXT_PUBLIC_APP_URL are taken where the application has set them anyway."""
    monkeypatch.setenv("MONGODB_URI", "mongodb://db/chat")
    monkeypatch.setenv("NEXT_PUBLIC_APP_URL", "https://app.example.com/")
    settings = load_settings({})
    assert settings.store_url == "mongodb://db/chat"
    assert settings.allowed_origins == ("https://app.example.com",)
    monkeypatch.setenv("WEBSOCKET_STORE_URL", "sqlite:///ours.db")
    monkeypatch.setenv("WEBSOCKET_ALLOWED_ORIGINS", "https://ours.example.com")
    settings = load_settings({})
    assert settings.store_url == "sqlite:///ours.db"
    assert settings.allowed_origins == ("https://ours.example.com",)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a.example", ("https://a.example",)),
        (" https://a.example/ , http://b.example:8080,", ("https://a.example", "http://b.example:8080")),
        ("HTTPS://A.Example:443", ("https://a.example",)),
        ("http://a.example:80", ("http://a.example",)),
        ("http://a.example:443", ("http://a.example:443",)),
        ("http://[::1]:3000", ("http://[::1]:3000",)),
        ("http://[0:0::1]:80", ("http://[::1]",)),
        ("https://bücher.example", ("https://xn--bcher-kva.example",)),
        ("", ()),
    ],
)
def test_origins_are_kept_as_browsers_write_them(text: str, origins: tuple[str, ...]) -> None:
    """Lower case, ASCII, no slash, no default port: so they can be compared byte by byte."""
    assert load_settings({"allowed_origins": text}).allowed_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "a.example",
        "ftp://a.example",
        "https://a.example/app",
        "https://a.example?x",
        "https://a.example#x",
        "https://user:word@a.example",
        "https://*.a.example",
        "http://a.example:port",
        "http://a.example:99999",
        "http://[::1",
        "http://a b",
        "http://",
        "http://" + 64 * "a",
        "https://good.example, *",
    ],
)
def test_what_is_no_origin_stops_the_start(text: str) -> None:
    """A wildcard or a path would never match, and nobody would know why."""
    [line] = refused(allowed_origins=text)
    assert line.startswith("WEBSOCKET_ALLOWED_ORIGINS: ")
    assert "is not an origin; write it as https://chat.example.com" in line


def test_an_error_names_the_borrowed_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever set NEXT_PUBLIC_APP_URL only has never heard of WEBSOCKET_ALLOWED_ORIGINS."""
    monkeypatch.setenv("NEXT_PUBLIC_APP_URL", "app.example.com")
    [line] = refused()
    assert line.startswith("NEXT_PUBLIC_APP_URL: ")
    [line] = refused(allowed_origins="*")
    assert line.startswith("WEBSOCKET_ALLOWED_ORIGINS: ")


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("port", "abc", "WEBSOCKET_PORT: input should be a valid integer"),
        ("port", "", "WEBSOCKET_PORT: input should be a valid integer"),
        ("port", "65536", "WEBSOCKET_PORT: input should be less than or equal to 65535 (got '65536')"),
        ("port", "-1", "WEBSOCKET_PORT: input should be greater than or equal to 0"),
        ("host", "", "WEBSOCKET_HOST: string should have at least 1 character"),
        ("ping_interval_s", "0", "WEBSOCKET_PING_INTERVAL_S: input should be greater than 0"),
        ("ping_interval_s", "inf", "WEBSOCKET_PING_INTERVAL_S: input should be a finite number"),
        ("ping_timeout_s", "nan", "WEBSOCKET_PING_TIMEOUT_S: input should be"),
        ("sockets_per_user", "1.5", "WEBSOCKET_SOCKETS_PER_USER: input should be a valid integer"),
        ("jwt_audience", "", "WEBSOCKET_JWT_AUDIENCE: string should have at least 1 character"),
        ("jwt_issuer", "", "WEBSOCKET_JWT_ISSUER: string should have at least 1 character"),
        ("jwt_jwks_url", "", "WEBSOCKET_JWT_JWKS_URL: is not the address of a key set"),
        ("jwt_jwks_url", "file:///keys", "WEBSOCKET_JWT_JWKS_URL: is not the address of a key set"),
        ("jwt_jwks_url", "https:///keys", "WEBSOCKET_JWT_JWKS_URL: is not the address of a key set"),
        ("jwt_public_key", "/no/such/file", "WEBSOCKET_JWT_PUBLIC_KEY: is neither PEM text nor a readable file"),
        ("jwt_public_key", "", "WEBSOCKET_JWT_PUBLIC_KEY: is neither PEM text nor a readable file"),
        ("jwt_secret", "", "WEBSOCKET_JWT_SECRET: too short: at least 32 characters, random ones"),
        ("session_secret", "short", "WEBSOCKET_SESSION_SECRET: too short: at least 32 characters, random ones"),
    ],
)
def test_a_bad_value_is_one_clear_line(field: str, text: str, expected: str) -> None:
    """The line begins with the variable and says what is wrong; what was given is shown unless it may be secret."""
    [line] = refused(**{field: text})
    assert line.startswith(expected)
    assert "\n" not in line


def test_a_number_field_refuses_everything_that_is_out_of_bounds() -> None:
    """No limit can be set below what its help text says."""
    for name, field in Settings.model_fields.items():
        if field.annotation in {int, float}:
            assert refused(**{name: "-2" if "-1" in (field.description or "") else "-1"}), name
            assert refused(**{name: "many"}), name


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody has to start five times to learn of five mistakes."""
    lines = refused(port="abc", jwt_secret="short", allowed_origins="*")
    assert [line.partition(":")[0] for line in lines] == [
        "WEBSOCKET_PORT",
        "WEBSOCKET_ALLOWED_ORIGINS",
        "WEBSOCKET_JWT_SECRET",
    ]


@pytest.mark.parametrize("field", ["jwt_secret", "session_secret", "jwt_public_key", "jwt_jwks_url"])
def test_no_line_repeats_a_secret(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start-up errors end in logs that many people read."""
    monkeypatch.setenv(variable(field), "hunter2:hunter2@h")
    [line] = refused()
    assert "hunter2" not in line


def test_a_secret_is_not_in_the_settings_text() -> None:
    """Settings that end in a log or a traceback give nothing away."""
    assert SECRET not in repr(load_settings({"jwt_secret": SECRET, "session_secret": SECRET}))


@pytest.mark.parametrize(
    "flags",
    [
        {"jwt_secret": SECRET, "jwt_jwks_url": "https://a.example/keys"},
        {"jwt_secret": SECRET, "jwt_public_key": "-----BEGIN PUBLIC KEY-----"},
        {"jwt_public_key": "-----BEGIN PUBLIC KEY-----", "jwt_jwks_url": "https://a.example/keys"},
    ],
)
def test_only_one_way_to_check_tokens(flags: dict[str, str]) -> None:
    """Two would leave it to the token which one checks it."""
    [line] = refused(**flags)
    assert line == f"set only one of {' and '.join(variable(name) for name in flags)}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "chat.example.com"])
def test_the_development_login_stays_on_this_machine(host: str) -> None:
    """Any other address than loopback needs a way to check tokens, and the line says which there are."""
    [line] = refused(host=host)
    assert line.startswith(f"WEBSOCKET_HOST={host} would let anybody on the network log in as anybody")
    assert "WEBSOCKET_JWT_SECRET" in line
    assert not load_settings({"host": host, "jwt_secret": SECRET}).development_login


def test_a_platforms_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """PORT is taken where nothing of our own says the port; then the server listens on all addresses, unless it would
    let anybody in."""
    monkeypatch.setenv("PORT", "8080")
    assert (load_settings({}).host, load_settings({}).port) == ("127.0.0.1", 8080)
    outside = load_settings({"jwt_secret": SECRET})
    assert (outside.host, outside.port) == ("::", 8080)
    chosen = load_settings({"jwt_secret": SECRET, "host": "127.0.0.1"})
    assert (chosen.host, chosen.port) == ("127.0.0.1", 8080)
    flagged = load_settings({"jwt_secret": SECRET, "port": "4000"})
    assert (flagged.host, flagged.port) == ("127.0.0.1", 4000)
    monkeypatch.setenv("WEBSOCKET_PORT", "3001")
    own = load_settings({"jwt_secret": SECRET})
    assert (own.host, own.port) == ("127.0.0.1", 3001)


def test_a_platforms_port_is_named_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A named pipe, as IIS has it."""
    monkeypatch.setenv("PORT", r"\\.\pipe\chat")
    [line] = refused()
    assert line.startswith("PORT: input should be a valid integer")


def test_a_service_of_kubernetes_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service called "websocket" sets WEBSOCKET_PORT=tcp://… in every pod, and more that are no misspelt settings."""
    monkeypatch.setenv("WEBSOCKET_PORT", "tcp://10.0.0.1:3001")
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_3001_TCP", "PORT_3001_TCP_ADDR"):
        monkeypatch.setenv(f"WEBSOCKET_{name}", "x")
    [line] = refused()
    assert line.startswith("WEBSOCKET_PORT: 'tcp://10.0.0.1:3001' is no port: Kubernetes sets it")
    assert "enableServiceLinks: false" in line
    assert unknown_variables() == []
    assert load_settings({"port": "3001"}).port == 3001


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        (" 127.0.0.1 , [::1],127.0.0.1,", ("127.0.0.1", "::1")),
        ("localhost", ("localhost",)),
        ("*,127.0.0.1", ("::", "127.0.0.1")),
    ],
)
def test_several_hosts(text: str, hosts: tuple[str, ...]) -> None:
    """With commas, each once, brackets or not."""
    assert load_settings({"host": text, "jwt_secret": SECRET}).hosts == hosts


def test_one_open_host_is_enough_to_need_tokens() -> None:
    """Loopback beside it does not make it safe; a Unix socket, which nobody reaches from outside, is."""
    [line] = refused(host="127.0.0.1,0.0.0.0")
    assert line.startswith("WEBSOCKET_HOST=127.0.0.1,0.0.0.0 would let anybody")
    assert load_settings({"host": "0.0.0.0", "unix_socket": "/run/chat.sock"}).development_login


@pytest.mark.parametrize(
    ("text", "prefix"), [("", ""), ("/", ""), ("chat", "/chat"), ("/chat/", "/chat"), ("/a/b-c_d.e~f", "/a/b-c_d.e~f")]
)
def test_path_prefixes(text: str, prefix: str) -> None:
    """With or without slashes."""
    assert load_settings({"path_prefix": text}).path_prefix == prefix


@pytest.mark.parametrize("text", ["https://h/chat", "/a//b", "/../x", "/a b", "/a?b", "/ä", "/{x}", "/a#b", "/%41"])
def test_what_is_no_path_prefix(text: str) -> None:
    """A whole address, or what a browser would write otherwise."""
    [line] = refused(path_prefix=text)
    assert "is not a path; write it as /chat" in line


@pytest.mark.parametrize("text", ["rw-rw----", "66", "0888", "7777", ""])
def test_permissions_are_octal(text: str) -> None:
    """Three digits, with or without a 0 in front."""
    assert refused(unix_socket_mode=text)
    assert load_settings({"unix_socket_mode": "0660"}).unix_socket_mode == "0660"


@pytest.mark.parametrize("field", ["max_body_chars", "messages_burst", "max_page", "port"])
def test_no_number_is_larger_than_a_client_can_hold(field: str) -> None:
    """WEBSOCKET_MAX_BODY_CHARS=99999999999999999999 started, and every login failed, as it stands in `welcome`."""
    assert refused(**{field: str(2**53)})
    assert refused(**{field: "99999999999999999999"})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_addresses_may_have_the_development_login(host: str) -> None:
    """The whole of 127/8, ::1, and the name."""
    assert is_loopback(host)
    assert load_settings({"host": host}).development_login


def test_a_public_key_is_pem_text_or_a_file(tmp_path: Path) -> None:
    """Written-out line ends, as in .env files, become real ones."""
    pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    file = tmp_path / "key.pem"
    file.write_text(pem)
    for given in (pem, pem.replace("\n", "\\n"), str(file)):
        assert load_settings({"jwt_public_key": given}).jwt_public_key == pem


def test_unknown_variables_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable is named; settings and the test suite's own are not."""
    monkeypatch.setenv("WEBSOCKET_PROT", "4000")
    monkeypatch.setenv("websocket_hots", "x")
    monkeypatch.setenv("WEBSOCKET_PORT", "4000")
    monkeypatch.setenv("WEBSOCKET_STORE_URL", "sqlite:///x")
    monkeypatch.setenv("WEBSOCKET_TEST_MONGO_URL", "mongodb://x")
    monkeypatch.setenv("SOCKET", "x")
    assert unknown_variables() == ["WEBSOCKET_PROT", "websocket_hots"]


def test_names_of_variables_and_flags() -> None:
    """One field, two spellings."""
    assert (variable("ping_timeout_s"), flag("ping_timeout_s")) == ("WEBSOCKET_PING_TIMEOUT_S", "--ping-timeout-s")
