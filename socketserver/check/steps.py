"""The steps of a check, in the order in which a client meets what can go wrong: what each does, and what it sees.

What a check leaves behind on the server is in docs/operations.md#what-it-leaves-behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from . import network
from .causes import Fault, error_of, of_answer, parse, refused
from .client import Client, Event
from .course import Course, Skip, Step, ms_since
from .fetching import Answer, Http
from .transports import Opened, Polling, WebSocket, opened

# The user of the development login, and of any login the other participant of the conversation that is tried.
DEVELOPMENT_USER: Final = "check"
OTHER_USER: Final = "socketserver-check"
TITLE: Final = "Connection check"
# How long --thorough leaves the connection idle, at least. By default nginx and many clouds end it after 60 s.
IDLE_S: Final = 70.0
IDLE_MARGIN_S: Final = 10.0
MAX_IDLE_S: Final = 600.0
# A larger difference makes good tokens bad: the server's own leeway for a token's `iat` and `nbf`.
CLOCK_TOLERANCE_S: Final = 30.0
# Beyond it a number of milliseconds is no time: the year 5138.
MAX_TIME_MS: Final = 10**14


@dataclass(frozen=True, slots=True)
class Options:
    """What to check.

    Attributes:
        scheme, host, port: where; scheme is http or https.
        path: of Socket.IO, with slashes at both ends.
        token: whose user to be; None for the development login, or nobody.
        origin: of the page that will connect; None for the server's own.
        timeout_s: how long a step may wait.
        idle_s: how long to leave the connection idle; None for not at all, 0 for as long as fits the server's pings.
    """

    scheme: str
    host: str
    port: int
    path: str = "/socket.io/"
    token: str | None = None
    origin: str | None = None
    timeout_s: float = 10.0
    idle_s: float | None = None

    @property
    def base(self) -> str:
        """The server's address, which is its own origin too."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == {"http": 80, "https": 443}[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def prefix(self) -> str:
        """What the server's other paths begin with, where Socket.IO's does: `/chat` for /chat/socket.io/."""
        return self.path.removesuffix("/").removesuffix("/socket.io") if self.path.endswith("/socket.io/") else ""


class Inspection:
    """One check.

    Args:
        on_step: called after every step.
    """

    def __init__(self, options: Options, on_step: Callable[[Step], None]) -> None:
        self._options = options
        self._course = Course(on_step, options.token, options.timeout_s)
        self._token = options.token
        self._addresses: list[str] = []
        self._context = ssl.create_default_context()
        self._stored = True
        self._date: Answer | None = None
        self._handshake_answer: Opened | None = None
        self._client: Client | None = None
        self._websocket_works = False
        self._welcome: Event | None = None
        self._http_client: Http | None = None

    async def run(self) -> None:
        """Do all the steps."""
        timeout_s, idle_s, step = self._options.timeout_s, 0.0, self._course.step
        try:
            await step("name", self._name, "name_unresolved", "the name has no address")
            await step("port", self._port, "port_timeout", "the port does not answer")
            await step("certificate", self._certificate, "no_answer", "no browser connects with that certificate")
            await step("ready", self._ready, "no_answer", "nothing answers")
            await step("handshake", self._handshake, "no_answer", "there is no handshake")
            with contextlib.suppress(Exception):  # whatever it is, the next steps say what it means
                async with asyncio.timeout(timeout_s):
                    await self._log_in()
            await step("polling", self._polling, "polling_broken")
            await step("websocket", self._websocket, "no_upgrade")
            await step("upgrade", self._upgrade, "upgrade_failed")
            await step("origin", self._origin, "no_answer")
            await step("authentication", self._authentication, "not_welcomed")
            await step("message", self._message, "not_delivered")
            if self._options.idle_s is not None:
                idle_s = self._idle_s()
            await step("ping", self._ping, "no_ping", limit_s=timeout_s + idle_s)
            await step("clock", self._clock, "no_answer")
        finally:
            if self._client is not None:
                await self._client.close()
            if self._http_client is not None:
                await self._http_client.close()

    @property
    def _http(self) -> Http:
        assert self._http_client is not None  # the step port has made it, or stopped the check
        return self._http_client

    # The steps: each returns what it saw. Raises: Fault, Skip.

    async def _name(self) -> str:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(self._options.host)
            self._addresses = [self._options.host]
            raise Skip(f"{self._options.host} is an address")
        self._addresses = await network.resolve(self._options.host, self._options.port)
        return ", ".join(self._addresses[:4])

    async def _port(self) -> str:
        options = self._options
        each_s = options.timeout_s / len(self._addresses) * 0.95
        address = await network.connect(self._addresses, options.port, each_s=each_s)
        tried = self._addresses[: self._addresses.index(address)]
        self._addresses = [address]
        self._http_client = Http(options.base, options.path, address, self._context)
        return f"{address} port {options.port} answers" + (f", {', '.join(tried)} does not" if tried else "")

    async def _certificate(self) -> str:
        options = self._options
        if options.scheme == "http":
            raise Skip("http: nothing is encrypted")
        return await network.certificate(self._addresses[0], options.port, options.host, self._context)

    async def _ready(self) -> str:
        answer = self._date = await self._http.get(f"{self._options.prefix}/readyz")
        value = parse(answer.body)
        self._http.ours = isinstance(value, dict) and isinstance(value.get("ok"), bool)
        if self._http.ours and answer.status == 200:
            return "the server is up, messages can be stored"
        error = error_of(answer.body)
        if error is None or error["code"] == "not_found":
            raise Skip(f"/readyz is not to be seen from here (HTTP {answer.status})")
        fault = refused(error, "not_ready")
        self._stored = False
        # A server whose database is away still connects its clients, and shows what else is wrong.
        if fault.code == "draining":
            self._course.stopped = "the server is being stopped"
        elif fault.code == "development_login":
            self._course.stopped = "the server does not answer under this name"
        raise Fault(fault.code, f"HTTP {answer.status}, {fault.seen}")

    async def _handshake(self) -> str:
        answer = self._date = await self._http.engine("GET")
        found = opened(answer.body) if answer.status == 200 else None
        if found is None:
            raise of_answer(answer.status, answer.headers, answer.body, ours=self._http.ours)
        self._handshake_answer = found
        return f"a session is open; pings every {found.ping_interval_s:g} s, {found.ping_timeout_s:g} s to answer"

    async def _log_in(self) -> None:
        """Get a token, where the development login gives one to everybody. Only our own kind of server is asked."""
        if self._token is None and self._course.stopped is None and self._http.ours:
            value = parse(
                (await self._http.post_json(f"{self._options.prefix}/session", {"user": DEVELOPMENT_USER})).body
            )
            token = value.get("token") if isinstance(value, dict) else None
            self._token = token if isinstance(token, str) else None

    async def _polling(self) -> str:
        assert self._handshake_answer is not None
        client = Client(self._http, Polling(self._http, self._handshake_answer.sid), self._handshake_answer)
        await client.connect(self._token)
        self._client = client
        return "a request and its answer, over long-polling"

    async def _websocket(self) -> str:
        socket = WebSocket(self._http, await self._http.websocket())
        try:
            (first,) = await socket.receive()
            if (found := opened(first)) is None:
                raise Fault("no_upgrade", f"the websocket begins with {first!r}")
            if self._client is None:
                client = Client(self._http, socket, found)
                await client.connect(self._token)
                self._client = client
        except Fault as fault:
            raise Fault("no_upgrade", fault.seen) if fault.code == "connection_closed" else fault from None
        finally:
            if self._client is None or self._client.transport is not socket:
                await socket.close()
        self._websocket_works = True
        return "a websocket is open"

    async def _upgrade(self) -> str:
        if not self._websocket_works:
            raise Skip("there is no websocket to move to")
        if self._client is None or self._client.transport.name != "polling":
            raise Skip("there is no polling to move from")
        if "websocket" not in self._client.handshake.upgrades:
            raise Skip("the server does not offer it")
        await self._client.upgrade()
        return "moved from long-polling to a websocket"

    async def _origin(self) -> str:
        own = self._options.base
        origin = self._options.origin or own
        answer = await self._http.engine("GET", origin=origin)
        found = opened(answer.body) if answer.status == 200 else None
        if found is None:
            fault = of_answer(answer.status, answer.headers, answer.body, ours=self._http.ours)
            if fault.code == "origin_not_allowed" and self._options.origin is None:
                raise Skip(f"pages of {own} itself may not connect; check yours with --origin")
            raise fault
        await self._http.engine("POST", sid=found.sid, data="1", origin=origin)
        allowed = answer.all("Access-Control-Allow-Origin")
        if origin != own and allowed not in ([origin], ["*"]):
            seen = " and ".join(allowed) or "no Access-Control-Allow-Origin"
            raise Fault("cors_headers", f"for {origin} the answer has {seen}")
        more = "" if self._options.origin else " (this address); check your page's with --origin"
        return f"{origin} may connect{more}"

    async def _authentication(self) -> str:
        client = self._connected()
        if client.refusal is not None:
            raise refused(client.refusal)
        if self._token is None:
            raise Skip("no token: set WEBSOCKET_CHECK_TOKEN, or give --token")
        welcome = await client.wait("welcome", lambda payload: isinstance(payload, dict))
        user = welcome.payload.get("user")
        self._welcome = welcome
        name = user.get("id") if isinstance(user, dict) else "unknown"
        return f"welcome, user {name}" + ("" if self._options.token else " (development login)")

    async def _message(self) -> str:
        client = self._authenticated()
        if not self._stored:
            raise Skip("messages cannot be stored now")
        where = {"participantIds": [OTHER_USER], "title": TITLE, "idempotencyKey": OTHER_USER}
        conversation = (await client.ask("create_conversation", where)).get("conversation")
        room = {"conversationId": conversation.get("id") if isinstance(conversation, dict) else None}
        await client.ask("join_conversation", {**room, "limit": 1})
        key = uuid.uuid4().hex
        sent_s = time.monotonic()
        await client.ask("send_message", {**room, "idempotencyKey": key, "body": TITLE})
        acked_ms = ms_since(sent_s)
        await client.wait("message_created", lambda payload: key in str(payload))
        back_ms = ms_since(sent_s)
        await client.ask("leave_conversation", room)
        return f"stored after {acked_ms} ms, back after {back_ms} ms"

    async def _ping(self) -> str:
        client = self._authenticated()
        interval = f"pings come every {client.handshake.ping_interval_s:g} s"
        if self._options.idle_s is not None:
            return await self._idle(client, self._idle_s())
        if not isinstance(client.transport, WebSocket):
            raise Skip("over long-polling with --thorough only")
        started_s = time.monotonic()
        await client.transport.ping()
        return f"answered after {ms_since(started_s)} ms; {interval}, --thorough waits for them"

    async def _idle(self, client: Client, idle_s: float) -> str:
        before, started_s = client.pings, time.monotonic()
        try:
            async with asyncio.timeout(idle_s):
                await client.listen()
        except TimeoutError:
            pass
        except Fault as fault:
            if fault.code in {"session_ended", "replaced", "draining"}:
                raise
            raise Fault(
                "idle_cut", f"{time.monotonic() - started_s:.1f} s without messages, then {fault.seen}"
            ) from None
        pings = client.pings - before
        if not pings and idle_s > client.handshake.ping_interval_s:
            raise Fault("no_ping", f"no ping within {idle_s:g} s")
        return f"open for {idle_s:g} s without messages, {pings} pings answered"

    def _idle_s(self) -> float:
        if self._options.idle_s:
            return self._options.idle_s
        interval_s = self._client.handshake.ping_interval_s if self._client is not None else 0.0
        return min(max(IDLE_S, interval_s + IDLE_MARGIN_S), MAX_IDLE_S)

    async def _clock(self) -> str:
        server_ms = self._welcome.payload.get("serverTime") if self._welcome is not None else None
        if self._welcome is not None and isinstance(server_ms, int) and 0 < server_ms < MAX_TIME_MS:
            ahead_s, source = (server_ms - self._welcome.came_ms) / 1000, "its welcome"
        else:
            assert self._date is not None  # else the check was stopped
            try:
                date_s = parsedate_to_datetime(self._date.headers["Date"]).timestamp()
            except (LookupError, ValueError, TypeError, ArithmeticError, OSError):
                raise Skip("the server does not say what time it has") from None
            # The header has whole seconds, cut off.
            middle_ms = (self._date.asked_ms + self._date.came_ms) / 2
            ahead_s, source = date_s + 0.5 - middle_ms / 1000, "the Date header"
        if abs(ahead_s) <= 1:
            return f"the clocks agree to a second, by {source}"
        seen = f"the server's is {_duration(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}, by {source}"
        if abs(ahead_s) > CLOCK_TOLERANCE_S:
            raise Fault("clock_off", seen)
        return seen

    def _connected(self) -> Client:
        if self._client is None:
            raise Skip("no connection was made")
        if self._course.gone:
            raise Skip("the connection is gone")
        return self._client

    def _authenticated(self) -> Client:
        client = self._connected()
        if self._welcome is None:
            raise Skip("only a user may")
        return client


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
