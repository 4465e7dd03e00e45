"""What can be wrong between a client and a server: each fault's stable code, its likely cause, and what to change.

Pure: told what was seen, it says what that means. The codes are part of the output that programs read.
Source: docs/operations.md#what-it-finds
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..settings import variable

_ORIGINS: Final = variable("allowed_origins")
_NGINX_UPGRADE: Final = (
    "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade"; in the location of the Socket.IO path'
)


@dataclass(frozen=True, slots=True)
class Cause:
    """`likely`: what is wrong, most likely. `remedy`: what to do, and which setting to change."""

    likely: str
    remedy: str


class Fault(Exception):
    """A step failed.

    Attributes:
        code: a key of CAUSES.
        seen: what was seen, in a few words.
    """

    def __init__(self, code: str, seen: str) -> None:
        super().__init__(f"{code}: {seen}")
        self.code = code
        self.seen = seen

    @property
    def cause(self) -> Cause:
        return CAUSES[self.code]


CAUSES: Final[Mapping[str, Cause]] = {
    # Before the first byte of HTTP
    "name_unresolved": Cause(
        "The name does not exist, or this machine's DNS does not know it.",
        "Check the spelling, and the name's A or AAAA record.",
    ),
    "port_closed": Cause(
        "Nothing listens there: the server is not running, or on another port or address.",
        f"Start the server; check {variable('port')} and {variable('host')} (127.0.0.1 is reached from its own machine "
        "only), or where the proxy listens.",
    ),
    "port_timeout": Cause(
        "A firewall drops the packets, or the machine is down.",
        "Open the port in the firewall or security group, and check the address.",
    ),
    "port_unreachable": Cause(
        "There is no way to that address from here.",
        "Check the address, this machine's network, VPN and routes.",
    ),
    "not_tls": Cause(
        "The port does not speak TLS. The server itself does not: that is the work of a proxy in front of it.",
        "Check with http:// here; or have the proxy serve https on that port (nginx: listen 443 ssl;).",
    ),
    "certificate_name": Cause(
        "The certificate was made for another name, and browsers refuse it.",
        "Use the name that the certificate has, or have one made for this name "
        "(nginx: ssl_certificate and server_name; Caddy does it by itself for the names in its Caddyfile).",
    ),
    "certificate_expired": Cause(
        "The certificate has run out.",
        "Renew it, and reload the proxy so that it takes the new file (nginx -s reload); see why the renewal failed.",
    ),
    "certificate_not_yet_valid": Cause(
        "The certificate begins in the future: a clock is wrong, here or where it was made.",
        "Synchronise this machine's clock (timedatectl), or have the certificate made anew.",
    ),
    "certificate_untrusted": Cause(
        "The certificate is self-signed, of an authority that is unknown here, or sent without the intermediate one.",
        "Send the whole chain (nginx: ssl_certificate with fullchain.pem). For an authority of your own, set "
        "SSL_CERT_FILE to its certificate for this command.",
    ),
    "tls_failed": Cause(
        "The TLS handshake broke off.",
        "Check the proxy's TLS settings and its log (nginx: ssl_protocols TLSv1.2 TLSv1.3;).",
    ),
    # HTTP, whoever answers it
    "no_answer": Cause(
        "What listens there takes the connection and says nothing: it hangs, is overloaded, or waits for another "
        "server that does.",
        "Look at the server's process and log; restart it if it hangs. --timeout-s waits longer.",
    ),
    "connection_closed": Cause(
        "Something closes the connection instead of answering: a proxy without its server, or a firewall.",
        "Look at the log of the proxy and the server at this moment.",
    ),
    "not_http": Cause(
        "What answers on that port does not speak HTTP.",
        f"Check the port: the server's is {variable('port')}.",
    ),
    "tls_expected": Cause("The port speaks TLS only.", "Check with https://, and give clients that address too."),
    "redirected": Cause(
        "The address leads elsewhere, and Socket.IO clients do not follow.",
        "Give the clients (and this command) the address that it leads to.",
    ),
    "proxy_error": Cause(
        "A proxy answers, but does not reach the server behind it.",
        f"Start the server, and compare {variable('host')} and {variable('port')} with the proxy's target "
        "(nginx: proxy_pass; Caddy: reverse_proxy).",
    ),
    "forbidden": Cause(
        "Something in front of the server wants a login, or refuses this address.",
        "Except the Socket.IO path from the proxy's own login or filter (nginx: auth_basic off; allow, deny).",
    ),
    "unexpected_answer": Cause(
        "What answers is no Socket.IO server, or something between rewrites its answers.",
        "Check the address, --path, and the proxy's rules for that path.",
    ),
    # The server's own answers
    "draining": Cause(
        "The server is being stopped or restarted and takes no new clients.",
        "Wait until the new one has started; if it stays so, look at its log and start it.",
    ),
    "store_unavailable": Cause(
        "The server runs, but its database does not answer.",
        f"Start the database, or mend {variable('store_url')} (or MONGODB_URI); for SQLite check the disk's space and "
        "the file's owner.",
    ),
    "not_ready": Cause("The server says that it cannot do its work now.", "Look at its log."),
    "development_login": Cause(
        "Without a way to check tokens, the server answers only under its own machine's names.",
        f"Set {variable('jwt_secret')}, {variable('jwt_public_key')} or {variable('jwt_jwks_url')}; for trying out on "
        f"this machine, list the name in {_ORIGINS}.",
    ),
    "wrong_path": Cause(
        "The server is there, but has no Socket.IO under this path.",
        "Use the path /socket.io/ (the client's option `path`), or have the proxy take its own prefix away "
        "(nginx: proxy_pass with a / at its end).",
    ),
    "not_socketserver": Cause(
        "What answers is no Socket.IO server: another program, or a proxy that does not pass this path on.",
        f"Check address and port ({variable('port')}); in the proxy pass /socket.io/ on "
        "(nginx: location /socket.io/ { proxy_pass …; }); --path if the path is another.",
    ),
    "protocol_version": Cause(
        "A Socket.IO server of another protocol revision answers.",
        "Check the address; clients 3.x and 4.x speak this revision (Engine.IO 4).",
    ),
    "too_many_connects": Cause(
        "This address or user connected too often within a minute; behind a proxy that is not trusted, all clients "
        "count as one address.",
        f"Wait a minute. Behind a proxy set {variable('trusted_proxies')} to its address; else raise "
        f"{variable('failed_connects_per_minute_address')}, {variable('connects_per_minute_address')} or "
        f"{variable('connects_per_minute_user')}.",
    ),
    "too_many_connections": Cause(
        "As many connections are open as may be; behind a proxy that is not trusted, all clients count as one address.",
        f"Behind a proxy set {variable('trusted_proxies')} to its address; else raise "
        f"{variable('max_connections_address')} or {variable('max_connections_origin')}.",
    ),
    # Transports
    "session_unknown": Cause(
        "The next request of the same client reached another server, which does not know it.",
        "Let a client stay with its server (nginx: ip_hash; in upstream, or sticky cookies), or restart what was "
        "restarting meanwhile.",
    ),
    "polling_broken": Cause(
        "A request went through and its answer did not come back: a proxy buffers, caches or changes it.",
        "nginx: proxy_buffering off; proxy_cache off; in the location of the Socket.IO path.",
    ),
    "no_upgrade": Cause(
        "A proxy in between does not pass WebSocket upgrades on; clients stay with long-polling.",
        _NGINX_UPGRADE + ".",
    ),
    "upgrade_failed": Cause(
        "A WebSocket opens, but takes no messages, so clients stay with long-polling: a proxy holds them back, or "
        "sends them to another server.",
        _NGINX_UPGRADE + "; with several servers ip_hash; in upstream.",
    ),
    "origin_not_allowed": Cause(
        "Pages of that origin may not connect.",
        f"Add the origin to {_ORIGINS}. If it is the server's own, have the proxy pass the name on (nginx: "
        f"proxy_set_header Host $http_host;), or X-Forwarded-Host with {variable('trusted_proxies')}.",
    ),
    "cors_headers": Cause(
        "The server allows the page, but the header that tells the browser so is missing or stands there twice.",
        "Let the server alone write Access-Control-Allow-Origin: take add_header, or proxy_hide_header, for it out of "
        "the proxy's settings.",
    ),
    # The user and the chat
    "invalid_token": Cause(
        "The token was not made for this server: another key, audience or issuer, or it is cut short.",
        f"Compare what signs it with {variable('jwt_secret')}, {variable('jwt_public_key')} or "
        f"{variable('jwt_jwks_url')}, and its aud and iss with {variable('jwt_audience')} and "
        f"{variable('jwt_issuer')}. Where the server runs, `chat-socketserver token USER` makes a good one.",
    ),
    "token_expired": Cause(
        "The token's time is over, or a clock is wrong (see the step clock).",
        "Get a fresh one; clients do with `auth` as a function. Synchronise the clocks of issuer and server.",
    ),
    "auth_unavailable": Cause(
        "The server cannot fetch the keys with which it checks tokens.",
        f"Check {variable('jwt_jwks_url')}, and whether the server's machine reaches it.",
    ),
    "not_welcomed": Cause(
        "The connection was taken, but the server did not say who the user is.",
        "Is it this chat server? Another Socket.IO server has no event `welcome`. Else look at its log.",
    ),
    "replaced": Cause(
        "Somebody else connected as the same user meanwhile, and only the newest socket of a user stays.",
        f"Check with the token of a user of its own; or raise {variable('sockets_per_user')}.",
    ),
    "session_ended": Cause("The server ended the connection and says why.", "See the end codes in docs/protocol.md."),
    "refused": Cause("The server refused the request and says why.", "See the error codes in docs/protocol.md."),
    "not_delivered": Cause(
        "The message was sent, but its ack or its event did not come back.",
        "Look at the server's log and its database's latency.",
    ),
    "idle_cut": Cause(
        "Something between ends connections that are idle; the clients reconnect again and again.",
        "Raise the proxy's timeout over ping interval + ping timeout (nginx: proxy_read_timeout 90s; "
        f"proxy_send_timeout 90s;), or ping more often: {variable('ping_interval_s')}.",
    ),
    "no_ping": Cause(
        "The server's pings do not arrive: something in between holds small messages back, or the server is stuck.",
        f"nginx: proxy_buffering off;. Compare {variable('ping_interval_s')} with what was seen; look at the log.",
    ),
    "clock_off": Cause(
        "The clocks of this machine and the server differ: tokens run out too early, or are not valid yet.",
        "Synchronise both with NTP (timedatectl set-ntp true).",
    ),
}

# Errors and ends that the server itself names, as far as they have a cause of their own here.
_BY_ERROR: Final = {
    code: code
    for code in (
        "origin_not_allowed",
        "draining",
        "store_unavailable",
        "too_many_connects",
        "too_many_connections",
        "invalid_token",
        "token_expired",
        "auth_unavailable",
        "replaced",
    )
} | {"restart": "draining", "not_found": "wrong_path"}

# The codes of an Engine.IO server's refusals.
_UNKNOWN_SID: Final = 1
_UNSUPPORTED_VERSION: Final = 5


def refused(error: Mapping[str, Any], otherwise: str = "refused") -> Fault:
    """What an error object of the server's, `{code, message}`, means. `session_ended` has the same shape."""
    code, message = str(error.get("code", "")), str(error.get("message", ""))
    if code == "origin_not_allowed" and "development login" in message:
        return Fault("development_login", message)
    return Fault(_BY_ERROR.get(code, otherwise), f"{code}: {message}" if message else code)


def error_of(body: str) -> Mapping[str, Any] | None:
    """The error object in a body of the form `{ok: false, error: {code, …}}`, if it is one."""
    value = parse(body)
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) and isinstance(error.get("code"), str) else None


def parse(text: str) -> Any:
    """A JSON text's value, None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def of_answer(status: int, headers: Mapping[str, str], body: str, *, ours: bool) -> Fault:
    """What an HTTP answer means where an Engine.IO one should be.

    Args:
        ours: whether this kind of server is known to answer there.
    """
    seen = f"HTTP {status}" + (f" from {headers['Server']}" if "Server" in headers else "")
    if (error := error_of(body)) is not None:
        fault = refused(error)
        return Fault(fault.code, f"HTTP {status}, {fault.seen}")
    value = parse(body)
    code, message = (value.get("code"), value.get("message")) if isinstance(value, dict) else (None, None)
    if message == "Shutting down":
        return Fault("draining", f"{seen}: {message}")
    if status == 400 and code == _UNKNOWN_SID:
        return Fault("session_unknown", f"{seen}: {message}")
    if (status == 400 and code == _UNSUPPORTED_VERSION) or (status == 200 and re.match(r"\d+:0\{", body)):
        return Fault("protocol_version", seen)
    if status == 400 and "HTTPS port" in body:
        return Fault("tls_expected", seen)
    if 300 <= status < 400:
        return Fault("redirected", f"{seen} to {headers.get('Location', 'nowhere')}")
    if status in (401, 403, 407):
        return Fault("forbidden", seen)
    if status == 429:
        return Fault("too_many_connects", seen)
    if status in (502, 503, 504):
        return Fault("proxy_error", seen)
    if status == 404 and ours:
        return Fault("wrong_path", seen)
    if status in (200, 404, 405, 501):
        return Fault("not_socketserver", f"{seen}, {headers.get('Content-Type', 'without a type')}")
    return Fault("unexpected_answer", seen)
