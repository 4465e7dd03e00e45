"""Every setting: its name, default, unit, bounds and meaning.

A field `ping_timeout_s` is the variable WEBSOCKET_PING_TIMEOUT_S and the flag --ping-timeout-s. Where a limit may be
0, that means no limit. pydantic-settings does the parsing, because it gives typed, frozen values and errors that name
the variable.
"""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ..logs import Format, Level
from ..values import MAX_SAFE_INTEGER
from ..values.web_names import is_loopback
from .forms import Hosts, HttpUrl, Networks, Origins, Pem, Port, Prefix, Secret
from .names import PLATFORM_PORT, PREFIX, variable


def _setting(default: Any, help: str, *, unit: str = "", **bounds: Any) -> Any:
    """A field with its help text, its unit and its bounds; no number may be infinite, or too large for a client."""
    if isinstance(default, float):
        bounds["allow_inf_nan"] = False
    if type(default) is int:
        bounds.setdefault("le", MAX_SAFE_INTEGER)  # `welcome` tells clients some of them
    return Field(default, description=help, json_schema_extra={"unit": unit}, **bounds)


class Settings(BaseSettings):
    """The server's settings. Frozen; see docs/configuration.md for the same as a table.

    Raises: SettingsError through `load_settings`, pydantic.ValidationError when built directly.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True, validate_default=True
    )

    host: Hosts = _setting(
        "127.0.0.1",
        "Addresses to listen on, with commas between; :: is all, IPv6 and IPv4. Any but loopback needs authentication.",
        min_length=1,
    )
    port: Port = Field(
        3001,
        description="TCP port to listen on; 0 takes a free one.",
        validation_alias=AliasChoices("WEBSOCKET_PORT", PLATFORM_PORT),
        ge=0,
        le=65535,
    )
    unix_socket: str | None = _setting(
        None, "Path of a Unix socket to listen on in place of host and port, for a proxy.", min_length=1
    )
    unix_socket_mode: str = _setting(
        "660", "Permissions of the Unix socket, in octal: who may write to it may connect.", pattern="^0?[0-7]{3}$"
    )
    path_prefix: Prefix = _setting("", "What every path begins with, where a proxy does not take it away: /chat.")
    store_url: str = Field(
        "sqlite:///socketserver.db",
        description="Where messages are kept: sqlite:///file.db, sqlite:////absolute/file.db or mongodb://host/database.",
        validation_alias=AliasChoices("WEBSOCKET_STORE_URL", "MONGODB_URI"),
    )
    allowed_origins: Origins = Field(
        ("http://localhost:3000",),
        description="Origins whose pages may connect, with commas between; the server's own is always allowed.",
        validation_alias=AliasChoices("WEBSOCKET_ALLOWED_ORIGINS", "NEXT_PUBLIC_APP_URL"),
    )

    jwt_secret: Secret | None = _setting(None, "Secret that signs tokens with HS256; at least 32 characters.")
    jwt_public_key: Pem | None = _setting(
        None, "Public key that checks tokens (RS256, ES256 or EdDSA, by its kind): PEM text or a file's path."
    )
    jwt_jwks_url: HttpUrl | None = _setting(None, "Address of a JSON Web Key Set that checks tokens.")
    jwt_audience: str | None = _setting(
        None, "What a token's aud must contain; without it a token with an aud is refused.", min_length=1
    )
    jwt_issuer: str | None = _setting(None, "What a token's iss must be, if set.", min_length=1)
    session_secret: Secret | None = _setting(
        None, "Secret that encrypts login cookies, at least 32 characters. Without it cookies end with the process."
    )

    admin_token: Secret | None = _setting(
        None,
        "Token that opens /metrics and /monitor, at least 32 characters. Without it they answer this machine only.",
    )

    admin_ui: bool = _setting(
        False, "Whether the Socket.IO Admin UI may watch the server; it logs in with the admin token."
    )

    ping_interval_s: float = _setting(25.0, "How often the server pings a client.", unit="s", gt=0)
    ping_timeout_s: float = _setting(60.0, "How long a client may take to answer a ping.", unit="s", gt=0)
    auth_timeout_s: float = _setting(10.0, "How long a socket may stay without a user.", unit="s", gt=0)
    sweep_s: float = _setting(30.0, "How often the registries of sockets are checked for stale ones.", unit="s", gt=0)

    sockets_per_user: int = _setting(
        1, "Sockets that one user may have; the newest stay. 0: any number.", unit="sockets", ge=0
    )
    connects_per_minute_user: int = _setting(20, "Connects that one user may make.", unit="1/min", ge=0)
    failed_connects_per_minute_address: int = _setting(
        30,
        "Connects of one client (address, page and browser) that may be refused, or end within 5 s of their start, "
        "before those without a good token are refused.",
        unit="1/min",
        ge=0,
    )
    bad_tokens_per_second_address: float = _setting(
        10.0, "Tokens that turn out not to be good which one address may have looked at.", unit="1/s", ge=0
    )
    connects_per_minute_address: int = _setting(
        600, "Connects that one address may make without a user coming of it.", unit="1/min", ge=0
    )
    max_connections_address: int = _setting(
        500, "Connections of users that one address may have open.", unit="connections", ge=0
    )
    max_connections_origin: int = _setting(
        5000, "Connections of users that the pages of one origin may have open.", unit="connections", ge=0
    )
    max_unproven_address: int = _setting(
        200,
        "Connections without a user that one address may have open; for a newcomer the oldest goes.",
        unit="connections",
        ge=0,
    )
    max_unproven: int = _setting(
        2000, "Connections without a user that may be open; for a newcomer the oldest goes.", unit="connections", ge=0
    )
    max_unproven_bytes: int = _setting(
        33_554_432,
        "What is kept of the handshakes of connections without a user; for a newcomer the oldest goes.",
        unit="bytes",
        ge=0,
    )
    max_tcp_connections: int = _setting(20_000, "TCP connections that may be open.", unit="connections", ge=0)
    max_tcp_connections_address: int = _setting(
        2000, "TCP connections that one address may have open; a trusted proxy any number.", unit="connections", ge=0
    )
    max_head_bytes: int = _setting(65_536, "Largest head of an HTTP request, cookies included.", unit="bytes", ge=0)
    heads_bytes: int = _setting(
        16_777_216,
        "What the heads of all requests that are under way may hold, each beyond its first 8 KiB.",
        unit="bytes",
        ge=0,
    )
    head_timeout_s: float = _setting(20.0, "How long the head of a request may take.", unit="s", ge=0)
    http_bytes_per_second: int = _setting(
        8_388_608,
        "What one HTTP connection may bring in the long run, twice that at once; a request counts 96 KiB more.",
        unit="bytes/s",
        ge=0,
    )
    user_bytes_per_second: int = _setting(
        1_048_576,
        "What a socket with a user may send in the long run; each packet counts 1 KiB more than it is long.",
        unit="bytes/s",
        ge=0,
    )
    user_burst_bytes: int = _setting(4_194_304, "What a socket with a user may send at once.", unit="bytes", ge=1)
    guest_bytes_per_second: int = _setting(
        131_072, "What a socket without a user may send in the long run.", unit="bytes/s", ge=0
    )
    guest_burst_bytes: int = _setting(524_288, "What a socket without a user may send at once.", unit="bytes", ge=1)
    flooding_s: float = _setting(
        10.0, "How long a socket may stay at its limit before it is ended for flooding.", unit="s", ge=0
    )
    intake_turn_ms: float = _setting(
        10.0,
        "How long what comes in may hold the event loop before those who wait get a turn.",
        unit="ms",
        ge=0,
    )
    trusted_proxies: Networks = _setting(
        (), "Addresses or networks of proxies whose forwarded headers are believed, with commas between."
    )

    shutdown_s: float = _setting(
        10.0, "How long a stop may take: answers under way, telling the clients, closing the store.", unit="s", gt=0
    )

    log_level: Level = _setting("info", "From which level on lines are logged: debug, info, warning or error.")
    log_format: Format = _setting(
        "auto", "console: readable lines; json: one object per line; auto: console on a terminal, json elsewhere."
    )
    log_messages_per_second: int = _setting(
        10,
        "Messages, changes of messages, and refused requests, that are logged; the others are counted.",
        unit="1/s",
        ge=0,
    )
    log_buffer_bytes: int = _setting(
        1_048_576, "Log lines that may wait to be written; what is more is dropped and counted.", unit="bytes", ge=0
    )

    log_refusals_per_minute: int = _setting(
        60,
        "Lines about one kind of refusal (an origin, a limit, an admin token); others are counted.",
        unit="1/min",
        ge=0,
    )

    edit_window_s: int = _setting(
        86_400, "For how long its sender may edit a message. -1: for ever; 0: never.", unit="s", ge=-1
    )
    delete_window_s: int = _setting(
        -1, "For how long its sender may delete a message. -1: for ever; 0: never.", unit="s", ge=-1
    )

    joined_per_socket: int = _setting(
        200, "Conversations that one socket may have joined at a time.", unit="conversations", ge=0
    )
    watched_per_socket: int = _setting(1000, "Users whose presence one socket is told of.", unit="users", ge=0)
    messages_per_second: float = _setting(5.0, "Messages that a user may send in the long run.", unit="1/s", ge=0)
    messages_burst: int = _setting(20, "Messages that a user may send at once.", unit="messages", ge=1)
    conversations_per_minute: float = _setting(
        60.0,
        "Conversations that a user may create in the long run; a large one counts for several.",
        unit="1/min",
        ge=0,
    )
    conversations_burst: int = _setting(
        100, "Conversations that a user may create at once.", unit="conversations", ge=1
    )
    events_per_second: float = _setting(
        20.0, "Events other than messages that a user may send in the long run.", unit="1/s", ge=0
    )
    events_burst: int = _setting(100, "Events other than messages that a user may send at once.", unit="events", ge=1)
    rows_per_event: int = _setting(
        100, "Messages, conversations and participants that cost as much as one event.", unit="rows", ge=0
    )
    bytes_per_event: int = _setting(65_536, "How much of an answer costs as much as one event.", unit="bytes", ge=0)
    max_body_chars: int = _setting(4000, "Longest message body.", unit="characters", ge=1)
    max_metadata_bytes: int = _setting(4096, "Largest message metadata, as JSON.", unit="bytes", ge=2)
    max_event_bytes: int = _setting(65536, "Largest packet that a client may send.", unit="bytes", ge=1024)
    max_skipped_bytes: int = _setting(
        8_388_608,
        "Largest packet, or POST, that is read past if it is over that, and answered with `too_large`.",
        unit="bytes",
        ge=0,
    )
    outbox_bytes: int = _setting(
        1_048_576,
        "What a client may leave unread before it is ended as a slow consumer; a page is half as long at most.",
        unit="bytes",
        ge=0,
    )
    inbox_bytes: int = _setting(
        131_072,
        "What a client may send ahead of its handlers before it is not read from.",
        unit="bytes",
        ge=4096,
    )
    websocket_compression: bool = _setting(
        False, "Whether permessage-deflate may be negotiated; it costs about 100 KB of memory a connection."
    )
    max_participants: int = _setting(1000, "Most participants of a conversation.", unit="users", ge=2)
    max_added: int = _setting(100, "Most people who are added to a conversation at once.", unit="users", ge=1)
    members_add: bool = _setting(False, "Whether members of a group add people, not only its owners and admins.")
    max_mentions: int = _setting(50, "Most users whom a message may mention.", unit="users", ge=1)
    max_reactions: int = _setting(20, "Most different reactions to one message.", unit="reactions", ge=0)
    max_reactions_user: int = _setting(5, "Most reactions of one user to one message.", unit="reactions", ge=0)
    max_reactions_all: int = _setting(
        1000, "Most reactions of all users to one message, together.", unit="reactions", ge=0
    )
    max_page: int = _setting(200, "Most messages or conversations in one answer.", unit="items", ge=1)
    small_conversation: int = _setting(
        100,
        "Up to how many participants a conversation shows presence, typing and read marks live.",
        unit="participants",
        ge=0,
    )
    listed_participants: int = _setting(
        20, "Participants that a conversation names; list_participants has all.", unit="users", ge=2
    )
    joined_participants: int = _setting(
        100,
        "Participants with their read marks in the answer to a join; list_participants has all.",
        unit="users",
        ge=2,
    )
    cached_conversations: int = _setting(
        10_000, "Conversations whose participants are kept in memory.", unit="conversations", ge=1
    )
    cached_conversations_bytes: int = _setting(
        33_554_432, "Memory that those conversations may take.", unit="bytes", ge=0
    )
    cached_conversation_s: float = _setting(
        10.0,
        "For how long it is not looked whether another process has changed a conversation's people; 0: never.",
        unit="s",
        ge=0,
    )

    cached_profiles_bytes: int = _setting(
        16_777_216, "Memory that users' names and pictures may take.", unit="bytes", ge=0
    )

    presence_grace_s: float = _setting(
        15.0, "How long a user who lost the connection still counts as online.", unit="s", ge=0
    )
    typing_ttl_s: float = _setting(6.0, "How long somebody counts as typing without a new sign of it.", unit="s", gt=0)
    read_delay_ms: int = _setting(
        300, "How long automatic mark-as-read waits, to write several messages' marks as one.", unit="ms", ge=0
    )

    @model_validator(mode="after")
    def _check(self) -> Settings:
        keys = self.token_keys
        if len(keys) > 1:
            raise ValueError(f"set only one of {' and '.join(variable(name) for name in keys)}")
        local = self.unix_socket is not None or all(map(is_loopback, self.hosts))
        if not keys and not local:
            raise ValueError(
                f"{variable('host')}={self.host} would let anybody on the network log in as anybody: set "
                f"{variable('jwt_secret')}, {variable('jwt_public_key')} or {variable('jwt_jwks_url')}, "
                "or listen on 127.0.0.1"
            )
        if self.admin_ui and self.admin_token is None:
            raise ValueError(f"{variable('admin_ui')} needs a password: set {variable('admin_token')}")
        return self

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses to listen on, one by one."""
        return tuple(self.host.split(","))

    @property
    def token_keys(self) -> list[str]:
        """The settings that say how tokens are checked: one, or none in the development login."""
        return [name for name in ("jwt_secret", "jwt_public_key", "jwt_jwks_url") if getattr(self, name) is not None]

    @property
    def development_login(self) -> bool:
        """Whether anybody may log in under any name, because no way to check tokens is configured."""
        return not self.token_keys
