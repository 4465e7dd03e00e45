"""Plain HTTP beside the sockets: the login cookie under /session, /healthz, /readyz, and for development the demo page.

Answers are JSON in the shape of an ack: `{ok: true, …}` or `{ok: false, error: {code, message, retryable, …}}`. The
codes are those of errors.py, and three that only HTTP has: `not_found`, `method_not_allowed` and `admin_required`.
Knows no sockets.

    GET    /session   200 {ok, user: {id, name, avatar?}} for a valid login cookie, else 401
    POST   /session   sets the cookie for `Authorization: Bearer TOKEN`, or in the development login for the body
                      {"user": "alice", "name"?, "picture"?}; answers like GET, in the development login with the
                      `token` beside
    DELETE /session   takes the cookie away, also when there is none, and ends the sockets that it opened
    GET    /healthz   200 {ok} while the process answers
    GET    /readyz    200 {ok} while messages can be stored, else 503 with `store_unavailable`, or `draining`
    GET    /metrics   what metrics.py counts, for Prometheus; for whom admin_access.py lets through
    GET    /, /demo/… the demo page, in the development login only

Where a path prefix is set, all paths begin with it; the three that only machines ask for, /healthz, /readyz and
/metrics, answer without it too, as those machines come past the proxy.

Against requests that a foreign page makes a browser send (CSRF): an Origin that is not allowed is refused always, and
for POST and DELETE a missing one too when the request carries a login cookie. In the development login nothing at all
is answered under a Host that is not this machine's, so that no page can come here under a name of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from ..chat.identity import Identity
from ..door.auth import DEVELOPMENT_LOGIN_S, Authenticator
from ..door.connects import Guards
from ..door.credentials import bearer, login_cookies, misplaced
from ..door.origins import Origins, wrong_host
from ..errors import (
    AuthRequired,
    AuthUnavailable,
    ChatError,
    InternalError,
    InvalidPayload,
    InvalidToken,
    OriginNotAllowed,
)
from ..ops.admin_access import AdminAccess
from ..ops.metrics import HTTP, Metrics
from ..settings import Settings
from ..values import check_avatar, check_name, check_user_id
from ..wire.answers import error_response, method_not_allowed, not_found, read_body
from ..wire.protocol import PATH, dump_ok, dump_user
from .demo_page import setup_demo_page

log = logging.getLogger(__name__)

_METHODS: Final = "GET, POST, DELETE"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What may be chosen in the development login: the argument of issue_token that it becomes, and its rule.
_CHOSEN: Final[Mapping[str, tuple[str, Callable[[object], str]]]] = {
    "user": ("user_id", check_user_id),
    "name": ("name", check_name),
    "picture": ("picture", check_avatar),
}


def setup_routes(
    app: web.Application,
    *,
    authenticator: Authenticator,
    origins: Origins,
    settings: Settings,
    on_log_out: Callable[[Identity], Awaitable[None]] | None = None,
    guards: Guards | None = None,
    demo_dir: Path | None = None,
    client_dir: Path | None = None,
    shared_dir: Path | None = None,
    client_bundle: Path | None = None,
    ready: Callable[[], Awaitable[None]] | None = None,
    metrics: Metrics | None = None,
    admin: AdminAccess | None = None,
) -> None:
    """Add the routes, and middlewares for all the application's routes: the router's own 404 and 405 as JSON, and in
    the development login the check of the Host. Call it after `setup_sessions`.

    Args:
        on_log_out: called with the login that DELETE /session has ended.
        guards: told of logins that failed, and asked how many may; None for no limit.
        demo_dir: the demo page's files, index.html among them. They are listed now and read when they are asked for, so
            a new file takes a restart, and no path can lead out of the directory. None or a missing one: 404.
        client_dir: the modules of the chat's client, served under /demo/client/ in the same way.
        shared_dir: the modules that the examples share, under /demo/shared/.
        client_bundle: the browser's Socket.IO client, served as /demo/socket.io.min.js. None or missing: 404, and the
            page takes the one from the CDN.
        ready: raises StoreUnavailable or Draining unless the server can do its work, for /readyz; None: no such route.
        metrics: told what is refused; and what /metrics shows to whom `admin` lets through, if both are given.
    """
    prefix = settings.path_prefix
    app.middlewares.append(_json_errors(prefix))
    if settings.development_login:
        app.middlewares.append(_only_local_names(origins))
    sessions = _SessionRoutes(authenticator, origins, settings, on_log_out, guards, metrics)
    app.router.add_route("*", f"{prefix}/session", sessions.handle)
    for place in sorted({prefix, ""}):
        app.router.add_get(f"{place}/healthz", _healthz)
        if ready is not None:
            app.router.add_get(f"{place}/readyz", _readyz(ready))
        if metrics is not None and admin is not None:
            app.router.add_get(f"{place}/metrics", admin.protect(_expose(metrics)))
    if settings.development_login:
        files = {
            "demo_dir": demo_dir,
            "client_dir": client_dir,
            "shared_dir": shared_dir,
            "client_bundle": client_bundle,
        }
        setup_demo_page(app, prefix, **files, not_found=not_found)


class _SessionRoutes:
    """GET, POST, DELETE and OPTIONS of /session."""

    def __init__(
        self,
        authenticator: Authenticator,
        origins: Origins,
        settings: Settings,
        on_log_out: Callable[[Identity], Awaitable[None]] | None,
        guards: Guards | None,
        metrics: Metrics | None,
    ) -> None:
        self._metrics: Final = metrics
        self._authenticator: Final = authenticator
        self._guards: Final = guards
        self._on_log_out: Final = on_log_out
        self._origins: Final = origins
        self._development: Final = settings.development_login
        self._handlers: Final[Mapping[str, Handler]] = {
            hdrs.METH_GET: self._show,
            hdrs.METH_POST: self._log_in,
            hdrs.METH_DELETE: self._log_out,
            hdrs.METH_OPTIONS: self._preflight,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Check who asks, answer, and say to the browser which page may read the answer."""
        allowed = False
        try:
            allowed = self._check_origin(request)
            handler = self._handlers.get(request.method)
            response = await handler(request) if handler is not None else method_not_allowed(f"{_METHODS}, OPTIONS")
        except ChatError as error:
            response = self._refuse(error)
        except Exception:  # the last resort: a bug must not look like a lost connection
            log.exception("%s /session failed", request.method)
            response = self._refuse(InternalError())
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        response.headers[hdrs.VARY] = "Origin"
        if allowed:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
        return response

    def _refuse(self, error: ChatError) -> web.Response:
        if self._metrics is not None:
            self._metrics.refused(HTTP, error.code)
        return error_response(error)

    def _check_origin(self, request: web.Request) -> bool:
        """Whether the request has an Origin, and it is allowed.

        Raises: OriginNotAllowed.
        """
        if not self._origins.allows_request(request):
            raise self._origins.refusal(request)
        if hdrs.ORIGIN in request.headers:
            return True
        # Browsers send an Origin with every POST and DELETE; a program that keeps cookies can send one.
        if request.method in {hdrs.METH_POST, hdrs.METH_DELETE} and login_cookies(request):
            raise OriginNotAllowed(f"A {request.method} with a login cookie needs an Origin header.")
        return False

    async def _show(self, request: web.Request) -> web.StreamResponse:
        identity = await self._authenticator.from_request(request)
        if identity is None:
            raise AuthRequired("There is no login: POST /session first.")
        return _user_response(identity)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        token = await self._token(request)
        identity = await self._identity(request, token)
        await self._authenticator.log_in(request, identity)
        # In the development login the page may keep the token, one per tab, where all tabs share one cookie.
        return _user_response(identity, **({"token": token} if self._development else {}))

    async def _identity(self, request: web.Request, token: str) -> Identity:
        """Whose token it is: a good one counts however many have failed, for the others the guards have a limit."""
        guards = self._guards
        if guards is None:
            return await self._authenticator.from_token(token)
        guest = guards.guest(request)
        try:
            with guards.token(guest, token):
                return await self._authenticator.from_token(token)
        except (InvalidToken, AuthUnavailable) as error:
            if not error.servers_fault:
                guards.loops.admit_unproven(guest)
                guards.loops.failed(guest)
            raise

    async def _token(self, request: web.Request) -> str:
        token = bearer(request)
        if token is not None:
            return token
        if not self._development or hdrs.AUTHORIZATION in request.headers:
            raise AuthRequired(misplaced(request) or "Send the token as Authorization: Bearer TOKEN.")
        return self._authenticator.issue_token(**await _read_user(request), lifetime_s=DEVELOPMENT_LOGIN_S)

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        identity = await self._authenticator.log_out(request)
        if identity is not None and self._on_log_out is not None:
            await self._on_log_out(identity)
        return web.json_response(dump_ok())

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        headers = {
            hdrs.ALLOW: f"{_METHODS}, OPTIONS",
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type",
            hdrs.ACCESS_CONTROL_MAX_AGE: "600",
        }
        return web.Response(status=204, headers=headers)


async def _read_user(request: web.Request) -> dict[str, str]:
    """What somebody chose in the development login, as the arguments of issue_token: {"user": "alice", "name": "Alice",
    "picture": "https://…"}, of which only the user is required.

    Raises: InvalidPayload.
    """
    # A foreign page may send any text with a form, but not with this type (Fetch standard, CORS-safelisted types).
    if request.content_type != "application/json":
        raise InvalidPayload('Send Authorization: Bearer TOKEN, or the JSON body {"user": "alice"}.')
    try:
        payload = json.loads(await read_body(request))
    except (ValueError, RecursionError):
        raise InvalidPayload("The body is not JSON.") from None
    if not isinstance(payload, dict):
        payload = {}
    chosen: dict[str, str] = {}
    fields: dict[str, object] = {}
    for field, (argument, check) in _CHOSEN.items():
        value = payload.get(field)
        if isinstance(value, str):  # typed by hand: white space around it is nobody's name
            value = value.strip()
        if field != "user" and value in (None, ""):
            continue
        try:
            chosen[argument] = check(value)
        except ValueError as error:
            fields[field] = [f"It {error}."]
    if fields:
        raise InvalidPayload(fields=fields)
    return chosen


async def _healthz(request: web.Request) -> web.StreamResponse:
    return web.json_response(dump_ok(), headers={hdrs.CACHE_CONTROL: "no-store"})


def _readyz(ready: Callable[[], Awaitable[None]]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            await ready()
        except ChatError as error:
            response = error_response(error)
        else:
            response = web.json_response(dump_ok())
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        return response

    return handler


def _expose(metrics: Metrics) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        body, content_type = metrics.expose(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    return handler


# Answers


def _user_response(identity: Identity, **more: str) -> web.Response:
    return web.json_response(dump_ok(user=dump_user(identity), **more))


def _only_local_names(origins: Origins) -> Middleware:
    """Refuse whatever does not call this machine by one of its own names (Origins.trusts_host)."""
    warned = False

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal warned
        if origins.trusts_host(request.host):
            return await handler(request)
        error = wrong_host(request.host)
        if not warned:  # once: names are as many as strangers like
            warned = True
            log.warning("a request was refused: %s", error.message)
        return error_response(error)

    return middleware


def _json_errors(prefix: str) -> Middleware:
    """Answer a path or method that no route has in JSON. What routes answer themselves stays as it is."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        match request.match_info.http_exception:
            case web.HTTPNotFound():
                return not_found(f"There is nothing here; Socket.IO is at {prefix}{PATH}.")
            case web.HTTPMethodNotAllowed() as error:
                return method_not_allowed(", ".join(sorted(error.allowed_methods)))
        return await handler(request)

    return middleware
