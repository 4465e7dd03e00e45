"""The keys that tokens are checked with: one of the settings, or those of a key server.

Each key is bound to one algorithm, which a token's header can neither choose nor change (RFC 8725 3.1). Knows nothing
of claims and cookies; auth.py uses it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import HMACAlgorithm

from ..chat.domain import Clock
from ..errors import AuthUnavailable, InvalidToken
from ..limits import in_ms
from ..settings import SettingsError, variable

log = logging.getLogger(__name__)

KEYS_LIFETIME_S: Final = 300.0
# At most one request to the key server in this time, whatever key ids clients invent.
KEYS_COOL_DOWN_S: Final = 30.0
KEYS_RETRY_S: Final = 5.0
KEYS_TIMEOUT_S: Final = 5.0
MAX_KEYS_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100

# The algorithms a kind of key may be bound to, by the `kty` and `crv` of RFC 7518 and RFC 8037. The first is the one
# for a key that names none, and the only one for a PEM file, which has no place to name one.
_ALGORITHMS: Final[Mapping[tuple[str, str | None], tuple[str, ...]]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_RSA_BITS: Final = range(2048, 8192 + 1)
# What PyJWT raises for hostile input: its own errors, and what escapes from the parsers below it.
REFUSALS: Final = (jwt.PyJWTError, ValueError, TypeError, RecursionError)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm it is for."""

    id: str | None
    algorithm: str
    material: PublicKey | jwt.PyJWK


class _KnownSecret(HMACAlgorithm):
    """HMAC with a secret that was looked at when the server started. PyJWT looks with every token whether it is a key
    file, and for that tries to read it as one."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else super().prepare_key(key)


def secret_key(secret: str) -> Key:
    """The key of a secret that PyJWT takes for one: `jwt.encode` with it does not raise."""
    text = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    material = jwt.PyJWK({"kty": "oct", "k": text}, "HS256")
    material.Algorithm = _KnownSecret(HMACAlgorithm.SHA256)
    return Key(None, "HS256", material)


def header_of(token: str) -> Mapping[str, Any]:
    """What a token says of itself, its signature unchecked. Raises: InvalidToken for what is no token."""
    try:
        return jwt.get_unverified_header(token)
    except REFUSALS:
        raise InvalidToken("The token is not valid: it is not a JSON Web Token.") from None


class FixedKey:
    """The one key of the settings; what a token's header names does not matter."""

    def __init__(self, key: Key) -> None:
        self._key: Final = key

    async def find(self, token: str) -> Key:
        return self._key

    async def close(self) -> None:
        pass


class KeyServer:
    """The keys of a JSON Web Key Set (RFC 7517), fetched when they are needed and kept for KEYS_LIFETIME_S.

    An unknown key id leads to a fetch, as issuers change keys, but one only per KEYS_COOL_DOWN_S. While the key server
    is away the last good keys go on being used; a set without a single usable key counts as away. Callers at the same
    time share one request. A failed request is repeated after KEYS_RETRY_S at the earliest; for KEYS_LIFETIME_S after
    it nobody whose key is known waits for another.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url: Final = url
        self._clock: Final = clock
        self._keys: tuple[Key, ...] = ()
        self._stale_at_s = -math.inf
        self._next_fetch_at_s = -math.inf
        self._fetching: asyncio.Task[bool] | None = None
        self._failed_at_s = -math.inf
        self._away = True  # until it has answered

    async def find(self, token: str) -> Key:
        """The key that a token's header names.

        Raises: InvalidToken for what is no token, and for a key that the server has been asked for and does not have;
            AuthUnavailable when it could not be asked, or not yet again. The latter is the client's fault: there is no
            such key in a set that was fetched a moment ago. Issuers publish a key before they sign with it.
        """
        header = header_of(token)
        key_id, algorithm = header.get("kid"), header.get("alg")
        # No algorithm of a public key: not worth a request.
        if not any(algorithm in names for names in _ALGORITHMS.values()):
            raise InvalidToken("The token is not valid: it is not signed with a public-key algorithm.")
        asked = False
        if not self._candidates(key_id):
            asked = await self._refresh()
        elif (now_s := self._clock.monotonic_s()) >= self._stale_at_s:
            if now_s < self._failed_at_s + KEYS_LIFETIME_S:
                self._start()
            else:
                asked = await self._refresh()
        candidates = self._candidates(key_id)
        if not candidates and not asked:
            wait_s = max(self._next_fetch_at_s - self._clock.monotonic_s(), 0)
            error = AuthUnavailable(retry_after_ms=in_ms(wait_s))
            error.servers_fault = self._away
            raise error
        fitting = [key for key in candidates if key.algorithm == algorithm]
        # Without a key id the choice has to be clear; trying several keys would be work for whoever invents tokens.
        if len(fitting) != 1:
            raise InvalidToken("The token is not valid: the issuer's keys have none that fits its kid and alg.")
        return fitting[0]

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _candidates(self, key_id: str | None) -> list[Key]:
        return [key for key in self._keys if key_id is None or key.id == key_id]

    def _start(self) -> asyncio.Task[bool] | None:
        """The fetch that is under way now; None if it is too soon for one."""
        if self._fetching is None and self._clock.monotonic_s() >= self._next_fetch_at_s:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _refresh(self) -> bool:
        """Fetch the keys, or wait for a fetch under way; False if it failed or it is too soon."""
        task = self._start()
        if task is None:
            return False
        # Unlike awaiting the task, this neither cancels it with one of its callers, nor the callers with it.
        await asyncio.wait([task])
        return not task.cancelled() and task.result()

    async def _fetch(self) -> bool:
        try:
            self._keys = _read_keys(await self._download())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            # Texts of the HTTP client may quote the address, and that may hold a password.
            why = str(error) if isinstance(error, _BadKeySet) else type(error).__name__
            log.warning(
                "cannot fetch the keys of %s: %s; %s",
                variable("jwt_jwks_url"),
                why,
                "the last ones stay in use" if self._keys else "no token can be checked until it answers",
            )
            self._away = True
            self._failed_at_s = self._clock.monotonic_s()
            self._next_fetch_at_s = self._failed_at_s + KEYS_RETRY_S
            return False
        else:
            self._away = False
            now_s = self._clock.monotonic_s()
            self._stale_at_s, self._next_fetch_at_s = now_s + KEYS_LIFETIME_S, now_s + KEYS_COOL_DOWN_S
            return True
        finally:
            self._fetching = None

    async def _download(self) -> bytes:
        # One HTTP session per fetch: there is one in minutes, and nothing stays open between them.
        timeout = aiohttp.ClientTimeout(total=KEYS_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(self._url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:
                raise _BadKeySet(f"it answered with status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_KEYS_BYTES:
                    raise _BadKeySet(f"its answer is larger than {MAX_KEYS_BYTES} bytes")
            return bytes(body)


class _BadKeySet(ValueError):
    """The key server's answer is of no use; the text quotes nothing of it."""


def _read_keys(body: bytes) -> tuple[Key, ...]:
    """The usable keys of a JSON Web Key Set; others are left out (RFC 7517 5).

    Raises: ValueError if there is none.
    """
    document = json.loads(body)
    items = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise _BadKeySet("its answer is no JSON Web Key Set")
    keys = tuple(key for item in items[:MAX_KEYS] if (key := _read_key(item)) is not None)
    if not keys:
        raise _BadKeySet("its answer holds no public key for signatures")
    return keys


def _read_key(item: object) -> Key | None:
    """One key of a set, None if it is not for checking signatures, or is symmetric or private: those are secrets, and a
    published secret proves nothing."""
    if not isinstance(item, dict) or "d" in item or item.get("use", "sig") != "sig":
        return None
    if "verify" not in str(item.get("key_ops", "verify")):
        return None
    key_type, key_id = item.get("kty"), item.get("kid")
    algorithms = _ALGORITHMS.get((str(key_type), None if key_type == "RSA" else str(item.get("crv"))))
    if algorithms is None or not isinstance(key_id, str | None):
        return None
    algorithm = item.get("alg", algorithms[0])
    if algorithm not in algorithms:
        return None
    try:
        material = jwt.PyJWK(item, algorithm).key
    except (*REFUSALS, UnsupportedAlgorithm):
        return None
    return Key(key_id, algorithm, material) if _algorithm(material) is not None else None


def _algorithm(key: object) -> str | None:
    """The algorithm that a public key is for by its kind alone; None for kinds and sizes that are not taken."""
    match key:
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS:
            return "RS256"
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return "ES256"
        case ec.EllipticCurvePublicKey(curve=ec.SECP384R1()):
            return "ES384"
        case ec.EllipticCurvePublicKey(curve=ec.SECP521R1()):
            return "ES512"
        case ed25519.Ed25519PublicKey():
            return "EdDSA"
    return None


def public_key(pem: str) -> Key:
    """The public key in a PEM text, or in a certificate (whose dates and issuer are not looked at)."""
    name = variable("jwt_public_key")
    if "PRIVATE KEY-----" in pem:
        raise SettingsError([f"{name} holds a private key; the server needs the public one only"])
    data = pem.strip().encode()
    try:
        if "-----BEGIN CERTIFICATE-----" in pem:
            key: object = x509.load_pem_x509_certificate(data).public_key()
        else:
            key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError([f"{name} holds no public key in PEM form"]) from None
    algorithm = _algorithm(key)
    if algorithm is None:
        sizes = f"{_RSA_BITS[0]} to {_RSA_BITS[-1]} bits"
        raise SettingsError([f"{name} must be an RSA key of {sizes}, a P-256, P-384 or P-521 key, or an Ed25519 key"])
    assert isinstance(key, PublicKey)  # what _algorithm has an algorithm for
    return Key(None, algorithm, key)
