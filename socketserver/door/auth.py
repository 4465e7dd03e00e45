"""Who somebody is: from a signed token, from a login cookie, or by their word in the development login.

Owns PyJWT, cryptography and aiohttp-session. Knows HTTP requests, but no routes, no sockets and no events; what a
client is told is the error raised here (errors.py). No message, log line or exception chain ever carries a token.

Tokens are JSON Web Tokens (RFC 7519) with `sub` and `exp`; `name` and `picture` (OpenID Connect Core 5.1) are
optional. One setting says how they are checked, and the token's header has no say in it (RFC 8725 3.1): each key is
bound to one algorithm, and `alg: none`, `jku`, `x5u` and `jwk` are never followed. A token with an `aud` is refused
unless that audience is configured (RFC 7519 4.1.3): whoever shares an issuer with other services must say which tokens
are meant for the chat.
"""

from __future__ import annotations

import json
import logging
import secrets
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import jwt
from aiohttp import hdrs, web
from aiohttp_session import Session, get_session, new_session
from aiohttp_session import setup as setup_aiohttp_session
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography import fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..chat.domain import Clock, SystemClock, new_id
from ..chat.identity import Identity
from ..errors import InvalidToken, TokenExpired
from ..settings import Settings, SettingsError, variable
from ..values import check_avatar, check_name
from ..values import check_user_id as check_user_id
from ..values.web_names import origin_form
from ..wire.protocol import MAX_TOKEN_CHARS
from .credentials import COOKIE_NAME as COOKIE_NAME
from .credentials import bearer, login_cookies
from .keys import REFUSALS, FixedKey, KeyServer, header_of, public_key, secret_key
from .origins import Origins
from .proxies import Proxies

log = logging.getLogger(__name__)

# How far the clocks of the issuer and of this machine may differ. For `nbf` and `iat` only: a token just issued must
# work at once. `exp` has no leeway, so that nobody is connected longer than their token says.
LEEWAY_S: Final = 30
# 9999-12-31. A larger `exp` is one in milliseconds, which would make a token that never ends.
_LAST_DATE_S: Final = 253_402_300_799

# No secret at all: it is printed here, so that `chat-socketserver token USER` works with a server started in another
# process. Accepted only in the development login, which the settings allow only on a loopback address.
DEVELOPMENT_SECRET: Final = "socketserver development login: anybody may be anybody"  # noqa: S105
DEVELOPMENT_LOGIN_S: Final = 7 * 24 * 3600

COOKIE_MAX_AGE_S: Final = 7 * 24 * 3600


class Authenticator:
    """Turns proofs into identities. One per application.

    Args:
        settings: which keys, audience, issuer; whether the development login is on.
        clock: decides what has expired; its monotonic part times the requests to the key server.

    Raises: SettingsError for a key that cannot be used. Nothing is fetched before the first token.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings: Final = settings
        self._clock: Final = clock
        self._origins: Final = Origins(settings)
        self._secret: Final = _signing_secret(settings)
        self._keys: FixedKey | KeyServer
        if settings.jwt_jwks_url is not None:
            self._keys = KeyServer(settings.jwt_jwks_url, clock)
        elif settings.jwt_public_key is not None:
            self._keys = FixedKey(public_key(settings.jwt_public_key))
        else:
            assert self._secret is not None  # the settings leave nothing else
            self._keys = FixedKey(secret_key(self._secret))
        self._unshown: Final[set[str]] = set()

    async def from_token(self, token: str) -> Identity:
        """The identity that a token proves.

        Raises: InvalidToken, with a reason for developers; TokenExpired; AuthUnavailable while the key server
            cannot say whether it knows the token's key.
        """
        if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise InvalidToken(
                f"The token is not valid: a JSON Web Token has at most {MAX_TOKEN_CHARS} ASCII characters."
            )
        key = await self._keys.find(token)
        try:
            claims = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer,
                # The times are checked below, against the server's own clock and without PyJWT's kindness towards
                # numbers in strings; so is the `sub`, of which PyJWT says only that the token is malformed. A `jti` is
                # not used here, so its type is nobody's business.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except REFUSALS as error:
            header_of(token)  # what is no token at all has a reason of its own
            raise InvalidToken(self._reason(error)) from None
        return self._identity(claims)

    def issue_token(self, user_id: str, name: str | None = None, picture: str | None = None, *, lifetime_s: int) -> str:
        """A token that this server accepts, for trying out: in the development login and with JWT_SECRET.

        Raises: SettingsError where only somebody else can sign tokens; ValueError for an unusable user id or lifetime.
        """
        if self._secret is None:
            raise SettingsError(
                [
                    f"tokens can be issued with {variable('jwt_secret')} or in the development login; "
                    f"with {variable('jwt_public_key')} or {variable('jwt_jwks_url')} only the issuer can sign them"
                ]
            )
        now_s = self._clock.now_ms() // 1000
        if not 0 < lifetime_s <= _LAST_DATE_S - now_s:
            raise ValueError("the lifetime of a token must be positive, and end before the year 10000")
        claims: dict[str, Any] = {"sub": check_user_id(user_id), "iat": now_s, "exp": now_s + lifetime_s}
        optional = {
            "name": name,
            "picture": picture,
            "aud": self._settings.jwt_audience,
            "iss": self._settings.jwt_issuer,
        }
        claims.update((claim, value) for claim, value in optional.items() if value is not None)
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def proves(self, request: web.Request) -> bool:
        """Whether a request proves who its user is, before CONNECT. Raises: as from_token does."""
        return await self.from_handshake(request, None) is not None

    async def from_handshake(
        self,
        request: web.Request,
        auth: object,
        check: Callable[[str], Awaitable[Identity]] | None = None,
    ) -> Identity | None:
        """The identity that a Socket.IO client proves while it connects: with the first of these that it brings,
        `auth.token`, `Authorization: Bearer`, the login cookie.

        That one decides. A token that is refused does not make the cookie count, or somebody else could be logged in
        than the application meant.

        Args:
            auth: what came with CONNECT, any JSON value.
            check: looks at a token; `from_token` by default.
        Returns: None without any of them.
        Raises: as from_token does.
        """
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is None:
            token = bearer(request)
        if token is None:
            return await self.from_request(request)
        if not isinstance(token, str) or not token:
            raise InvalidToken(f"auth.token must be a string of 1 to {MAX_TOKEN_CHARS} characters.")
        return await (check or self.from_token)(token)

    async def from_request(self, request: web.Request) -> Identity | None:
        """The identity in the login cookie of a request, a Socket.IO handshake's too.

        Returns: None without a cookie, with one that is garbled, expired or another server's, and where a foreign
            page may have caused the request (Origins.trusts_cookie).
        """
        if hdrs.COOKIE not in request.headers or not self._origins.trusts_cookie(request):
            return None
        session = await get_session(request)
        try:
            expires_at_ms = session["expires_at_ms"]
            user_id = check_user_id(session["user_id"])  # the cookie may be from before the rule for it
        except (KeyError, ValueError):
            return None
        if expires_at_ms <= self._clock.now_ms():
            return None
        return Identity(
            user_id, session.get("name"), expires_at_ms, session.get("login_id"), avatar=session.get("avatar")
        )

    async def log_in(self, request: web.Request, identity: Identity) -> None:
        """Put an identity into the login cookie of the response to this request, in place of any other.

        The cookie ends after COOKIE_MAX_AGE_S, and never after the proof it was made from.
        """
        session = await new_session(request)
        now_ms = self._clock.now_ms()
        expires_at_ms = now_ms + COOKIE_MAX_AGE_S * 1000
        if identity.expires_at_ms is not None:
            expires_at_ms = min(expires_at_ms, identity.expires_at_ms)
        session["user_id"] = identity.user_id
        session["name"], session["avatar"] = identity.name, identity.avatar
        session["expires_at_ms"], session["login_id"] = expires_at_ms, new_id()
        session.max_age = max(1, (expires_at_ms - now_ms) // 1000)

    async def log_out(self, request: web.Request) -> Identity | None:
        """Take the login cookie away with the response to this request; nothing happens without one.

        Returns: the identity that the cookie proved, if any.

        The browser forgets it. A copy that somebody made stays valid until it ends: nothing is stored here that could
        be struck out.
        """
        if not login_cookies(request):
            return None
        identity = await self.from_request(request)
        (await get_session(request)).invalidate()
        return identity

    async def close(self) -> None:
        """Give up a request to the key server that is under way. Logins that wait for it get AuthUnavailable."""
        await self._keys.close()

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        now_ms = self._clock.now_ms()
        expires_at_ms = _date_ms(claims, "exp")
        if expires_at_ms is None:
            raise InvalidToken("The token is not valid: it has no exp.")
        if expires_at_ms <= now_ms:
            raise TokenExpired
        for claim in ("nbf", "iat"):
            from_ms = _date_ms(claims, claim)
            if from_ms is not None and from_ms > now_ms + LEEWAY_S * 1000:
                raise InvalidToken(f"The token is not valid yet: its {claim} lies in the future.")
        sub = claims.get("sub")
        try:
            user_id = check_user_id(sub)
        except ValueError as error:
            also = ", also where user ids are numbers" if isinstance(sub, int | float) else ""
            raise InvalidToken(f"The token is not valid: its sub {error}{also}.") from None
        name, avatar = self._told(claims, "name", check_name), self._told(claims, "picture", check_avatar)
        return Identity(user_id, name, expires_at_ms, avatar=avatar)

    def _told(self, claims: Mapping[str, Any], claim: str, check: Callable[[object], str]) -> str | None:
        """What a token says of how its user is shown. A value that cannot be shown is no reason to lock anybody out."""
        if claim not in claims:
            return None
        if claims[claim] in (None, ""):
            return ""
        try:
            return check(claims[claim])
        except ValueError as error:
            if claim not in self._unshown:  # once: one token is most likely like the others
                self._unshown.add(claim)
                log.info("a token's %s is not shown, and others like it: it %s", claim, error)
            return ""

    def _reason(self, error: Exception) -> str:
        """What is wrong with a token, in our words: PyJWT's may quote it."""
        match error:
            case jwt.InvalidAlgorithmError():
                reason = "it is signed with another algorithm than the server's key is for"
            case jwt.InvalidSignatureError():
                reason = "its signature is not by the server's key"
            case jwt.InvalidAudienceError() if self._settings.jwt_audience is None:
                reason = f"it has an aud, and {variable('jwt_audience')} is not set"
            case jwt.InvalidAudienceError() | jwt.MissingRequiredClaimError(claim="aud"):
                reason = f"its aud is not {variable('jwt_audience')}"
            case jwt.InvalidIssuerError() | jwt.MissingRequiredClaimError(claim="iss"):
                reason = f"its iss is not {variable('jwt_issuer')}"
            case _:
                reason = "it is malformed"
        return f"The token is not valid: {reason}."


def setup_sessions(app: web.Application, settings: Settings, clock: Clock | None = None) -> None:
    """Let the application read and write login cookies: encrypted, HttpOnly, SameSite=Lax, for all paths under
    the prefix of the settings.

    They are Secure where the browser speaks https with the server: when the connection is, a trusted proxy says so, or
    the page's Origin is (then a proxy in front ends TLS). SameSite=Lax reaches other ports and sibling names of the
    server's site; a front end on another site gets no cookie and uses tokens. Call it before `setup_routes`, once.
    """
    if settings.session_secret is None:
        secret = secrets.token_bytes(32)
        level = logging.INFO if settings.development_login else logging.WARNING
        log.log(level, "%s is not set: login cookies end with this process", variable("session_secret"))
    else:
        secret = settings.session_secret.get_secret_value().encode()
    # The login mode goes into the key: a cookie that anybody could make in a development login must be worth nothing
    # on a server that checks tokens, even if both were started with the same secret.
    mode = b"development" if settings.development_login else b"token"
    key = HKDF(SHA256(), length=32, salt=None, info=b"socketserver login cookie, " + mode).derive(secret)
    # aiohttp 3.14 warns once of the string under which aiohttp-session 2.12 keeps its session in a request. Nobody who
    # starts this server can do anything about it.
    warnings.filterwarnings("ignore", category=web.NotAppKeyWarning, module="aiohttp_session")
    setup_aiohttp_session(app, _CookieStorage(key, clock or SystemClock(), settings))


class _CookieStorage(EncryptedCookieStorage):
    """aiohttp-session's storage, made to bear any cookie, and several.

    The original (2.12) raises for bytes that are not UTF-8, logs a warning for every cookie of an earlier process, so a
    client in a loop could fill the log, and of several cookies sees only the last.
    """

    def __init__(self, key: bytes, clock: Clock, settings: Settings) -> None:
        self._clock: Final = clock
        self._proxies: Final = Proxies(settings.trusted_proxies)
        super().__init__(
            key,
            cookie_name=COOKIE_NAME,
            max_age=COOKIE_MAX_AGE_S,
            path=settings.path_prefix or "/",
            httponly=True,
            samesite="Lax",
            # As UTF-8, the longest user id, name and picture stay below the 4096 bytes that browsers keep of a cookie.
            encoder=lambda data: json.dumps(data, ensure_ascii=False, separators=(",", ":")),
        )

    async def load_session(self, request: web.Request) -> Session:
        found: Any = None
        for cookie in login_cookies(request):
            try:
                data = json.loads(self._fernet.decrypt(cookie.encode("ascii"), ttl=COOKIE_MAX_AGE_S))
            except (fernet.InvalidToken, ValueError):
                log.debug("a login cookie could not be read; taken for none")
                continue
            found = found or data
            # Without an end it is an empty one, that a logout left.
            if (data.get("session") or {}).get("expires_at_ms", 0) > self._clock.now_ms():
                found = data
                break
        return Session(None, data=found, new=found is None, max_age=COOKIE_MAX_AGE_S)

    async def save_session(self, request: web.Request, response: web.StreamResponse, session: Session) -> None:
        await super().save_session(request, response, session)
        cookie = response.cookies[COOKIE_NAME]
        page = origin_form(request.headers.get("Origin", "")) or ""
        if self._proxies.scheme(request) == "https" or page.startswith("https://"):
            cookie["secure"] = True
        # aiohttp-session leaves these out of the cookie that deletes.
        cookie["httponly"], cookie["samesite"] = True, "Lax"


# Tokens


def _signing_secret(settings: Settings) -> str | None:
    """The HS256 secret; None where tokens are checked with public keys."""
    if settings.development_login:
        return DEVELOPMENT_SECRET
    if settings.jwt_secret is None:
        return None
    secret = settings.jwt_secret.get_secret_value()
    name = variable("jwt_secret")
    if secret == DEVELOPMENT_SECRET:
        raise SettingsError([f"{name} is the development login's, which everybody knows; make a random one"])
    try:
        jwt.encode({}, secret, algorithm="HS256")
    except jwt.PyJWTError:  # PyJWT takes no public key for a secret
        raise SettingsError([f"{name} looks like a key file; set {variable('jwt_public_key')} instead"]) from None
    return secret


# Claims


def _date_ms(claims: Mapping[str, Any], claim: str) -> int | None:
    """A NumericDate (RFC 7519 2) in milliseconds; None if the claim is missing."""
    if claim not in claims:
        return None
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_DATE_S:
        raise InvalidToken(f"The token is not valid: its {claim} must be a number of seconds since 1970.")
    return int(value * 1000)
