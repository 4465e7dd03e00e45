"""Authenticator: which tokens and cookies are believed, and what the key server is asked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from socketserver.chat.domain import UserId
from socketserver.chat.identity import ProfileUpdate
from socketserver.door import auth
from socketserver.door import keys as auth_keys
from socketserver.door.auth import (
    COOKIE_MAX_AGE_S,
    DEVELOPMENT_SECRET,
    LEEWAY_S,
    Authenticator,
    check_user_id,
)
from socketserver.door.keys import KEYS_COOL_DOWN_S, KEYS_LIFETIME_S, KEYS_RETRY_S
from socketserver.errors import AuthUnavailable, InvalidToken, TokenExpired
from socketserver.settings import Settings, SettingsError
from socketserver.values import MAX_NAME_CHARS
from socketserver.wire.protocol import MAX_TOKEN_CHARS
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET = "0123456789abcdef0123456789abcdef"
OTHER_SECRET = "fedcba9876543210fedcba9876543210"
NOW_S = 1_800_000_000
ROOT = Path(__file__).resolve().parent.parent.parent

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
KINDS: list[tuple[PrivateKey, str]] = [
    (RSA, "RS256"),
    (P256, "ES256"),
    (P384, "ES384"),
    (P521, "ES512"),
    (ED25519, "EdDSA"),
]


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.at_s: float = NOW_S

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def monotonic_s(self) -> float:
        return self.at_s - NOW_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings(**values: Any) -> Settings:
    """Settings with an HS256 secret, unless a public key or a key server is given."""
    if not values.keys() & {"jwt_public_key", "jwt_jwks_url"}:
        values.setdefault("jwt_secret", SECRET)
    return Settings(**values)


def pem(key: PrivateKey | ed448.Ed448PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**values: Any) -> dict[str, Any]:
    """The claims of a good token, with some of them changed or (for None) left out."""
    return {k: v for k, v in {"sub": "alice", "exp": NOW_S + 60, **values}.items() if v is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **values: Any) -> str:
    return jwt.encode(claims(**values), key, algorithm=algorithm, headers=headers)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def crafted(header: object, payload: object = None, secret: str | bytes = SECRET) -> str:
    """A token that no library would make: any header, any payload, signed with HMAC-SHA256."""
    payload = claims() if payload is None else payload
    parts = [base64url(item if isinstance(item, bytes) else json.dumps(item).encode()) for item in (header, payload)]
    key = secret if isinstance(secret, bytes) else secret.encode()
    signature = hmac.new(key, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, base64url(signature)])


async def reason(authenticator: Authenticator, token: str) -> str:
    """Why a token is refused: with InvalidToken, whose text and chain hold nothing of the token."""
    with pytest.raises(InvalidToken) as caught:
        await authenticator.from_token(token)
    assert not isinstance(caught.value, TokenExpired)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.__cause__ is None
    if len(token) > 20:
        assert token[-20:] not in caught.value.message
    return caught.value.message


# Claims


async def test_a_good_token_is_an_identity(clock: Clock) -> None:
    """sub is the user, name is shown, exp is the end of the proof in milliseconds."""
    token = signed(name="Alice A.", picture="https://example.com/a.png")
    identity = await Authenticator(settings(), clock).from_token(token)
    assert identity.user_id == "alice"
    assert identity.name == identity.display_name == "Alice A."
    assert identity.avatar == "https://example.com/a.png"
    assert identity.expires_at_ms == (NOW_S + 60) * 1000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("  Alice\n\tA. ", "Alice A."),
        ("x" * 500, "x" * MAX_NAME_CHARS),
        ("zero\x00\x1bwidth", "zero width"),
        ("", "alice"),
        ("   ", "alice"),
        (None, "alice"),
        (42, "alice"),
        (["Alice"], "alice"),
        ("\ud800", "alice"),
        ("\u200b\u3164", "alice"),
    ],
)
async def test_a_name_is_made_fit_to_show(clock: Clock, name: object, shown: str) -> None:
    """No name, or an unusable one, locks nobody out: the user id stands in."""
    token = crafted({"alg": "HS256"}, {**claims(), "name": name})
    assert (await Authenticator(settings(), clock).from_token(token)).display_name == shown


@pytest.mark.parametrize("claim", ["name", "picture"])
@pytest.mark.parametrize(
    ("value", "told"),
    [(None, ""), ("", ""), (" ", ""), (42, ""), ("javascript:alert(1)", None), ("https://example.com/a.png", None)],
)
async def test_a_claim_that_is_there_counts(clock: Clock, claim: str, value: object, told: str | None) -> None:
    """A token without a name leaves the one that is known; one that says null, or nothing usable, takes it away."""
    token = crafted({"alg": "HS256"}, {**claims(), claim: value})
    identity = await Authenticator(settings(), clock).from_token(token)
    if told is None:
        told = "" if claim == "picture" and value == "javascript:alert(1)" else str(value)
    expected = {"name": None, "picture": None, claim: told}
    assert identity.told == ProfileUpdate(UserId("alice"), expected["name"], expected["picture"])


async def test_a_picture_that_is_not_shown_is_said_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Why nobody sees it, without a word of the token; not a line for each login."""
    authenticator = Authenticator(settings(), clock)
    with caplog.at_level("INFO"):
        for _ in range(3):
            await authenticator.from_token(signed(picture="data:image/png;base64,c2VjcmV0"))
    lines = [record.getMessage() for record in caplog.records if "picture" in record.getMessage()]
    assert lines == [
        "a token's picture is not shown, and others like it: it must be an address that begins with http:// or https://"
    ]


@pytest.mark.parametrize("sub", ["a", "x" * 128, "auth0|5f7c", "ünï@example.com", "👩‍💻"])
async def test_user_ids_that_are_taken(clock: Clock, sub: str) -> None:
    """Whatever an issuer uses as sub: numbers as text, addresses, other scripts."""
    assert (await Authenticator(settings(), clock).from_token(signed(sub=sub))).user_id == sub


@pytest.mark.parametrize(
    "sub",
    [None, "", " ", "x" * 129, 42, 1.5, True, ["alice"], {"$ne": None}, "a\x00b", "a\nb", "a\x7f", "\ud800", "a\udfff"],
)
async def test_user_ids_that_are_refused(clock: Clock, sub: object) -> None:
    """Missing, of another type, too long, blank, or with characters that a database or a log would trip over."""
    token = crafted({"alg": "HS256"}, claims(sub=sub))
    assert "it is malformed" in (why := await reason(Authenticator(settings(), clock), token)) or "its sub must" in why


@pytest.mark.parametrize("sub", [42, 42.0, 2**60])
async def test_a_numeric_sub_is_told_to_be_a_string(clock: Clock, sub: object) -> None:
    """A database's number as sub was "malformed", and nobody knew what to change."""
    why = await reason(Authenticator(settings(), clock), crafted({"alg": "HS256"}, {**claims(), "sub": sub}))
    assert why == "The token is not valid: its sub must be a string, also where user ids are numbers."


@pytest.mark.parametrize("sub", ["bob\u200b", " bob", "\u2800", "\t"])
async def test_a_sub_is_a_user_id(clock: Clock, sub: str) -> None:
    """The rule of values/texts.py, like for every other user id."""
    assert "its sub must" in await reason(Authenticator(settings(), clock), signed(sub=sub))


async def test_a_sub_is_normalised(clock: Clock) -> None:
    """The development login composed é, a token's sub did not: one person had two users."""
    identity = await Authenticator(settings(), clock).from_token(signed(sub="Zoe\u0308"))
    assert (identity.user_id, identity.display_name) == ("Zo\u00eb", "Zo\u00eb")


async def test_a_null_sub_is_refused(clock: Clock) -> None:
    """JSON null is not a missing claim to every parser."""
    token = crafted({"alg": "HS256"}, {"sub": None, "exp": NOW_S + 60})
    assert await reason(Authenticator(settings(), clock), token)


async def test_exp_ends_a_token_to_the_second(clock: Clock) -> None:
    """There is no leeway: the connection ends when the token says."""
    authenticator = Authenticator(settings(), clock)
    token = signed(exp=NOW_S + 1)
    assert await authenticator.from_token(token)
    clock.at_s += 1
    with pytest.raises(TokenExpired):
        await authenticator.from_token(token)


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["1800000060", "", True, None, [NOW_S], {}, -1, 1e300, 10**400, NOW_S * 1000 * 1000, float("nan")]
)
async def test_dates_of_another_kind_are_refused(clock: Clock, claim: str, value: object) -> None:
    """Text, booleans, milliseconds (a token that never ends), NaN: none is a NumericDate."""
    token = crafted({"alg": "HS256"}, {**claims(), claim: value})
    assert f"its {claim} must be a number of seconds" in await reason(Authenticator(settings(), clock), token)


async def test_infinity_is_no_date(clock: Clock) -> None:
    """Python's JSON takes Infinity; a token that says so would never end."""
    payload = b'{"sub": "alice", "exp": Infinity}'
    assert "its exp must be" in await reason(Authenticator(settings(), clock), crafted({"alg": "HS256"}, payload))


async def test_exp_is_required(clock: Clock) -> None:
    """A token without an end could never be taken back."""
    assert "it has no exp" in await reason(Authenticator(settings(), clock), signed(exp=None))


async def test_fractions_of_seconds_are_dates(clock: Clock) -> None:
    """RFC 7519 2 allows them."""
    identity = await Authenticator(settings(), clock).from_token(signed(exp=NOW_S + 0.5))
    assert identity.expires_at_ms == NOW_S * 1000 + 500


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_tokens_of_a_clock_that_is_ahead(clock: Clock, claim: str) -> None:
    """Up to the leeway a token from the future is taken, beyond it is not."""
    authenticator = Authenticator(settings(), clock)
    taken: dict[str, Any] = {claim: NOW_S + LEEWAY_S}
    refused: dict[str, Any] = {claim: NOW_S + LEEWAY_S + 1}
    assert await authenticator.from_token(signed(**taken))
    assert f"its {claim} lies in the future" in await reason(authenticator, signed(**refused))


async def test_a_jti_is_nobodys_business(clock: Clock) -> None:
    """Some issuers number their tokens."""
    assert await Authenticator(settings(), clock).from_token(signed(jti=7))


@pytest.mark.parametrize("aud", ["chat", ["other", "chat"]])
async def test_the_audience_fits(clock: Clock, aud: object) -> None:
    """aud is one name or a list that holds it."""
    assert await Authenticator(settings(jwt_audience="chat"), clock).from_token(signed(aud=aud))


@pytest.mark.parametrize("aud", [None, "", [], "other", ["other"], "chat2", ["chat", 7], {"chat": 1}, 7, True])
async def test_another_audience_is_refused(clock: Clock, aud: object) -> None:
    """Missing, somebody else's, or of another type."""
    token = crafted({"alg": "HS256"}, claims(aud=aud))
    assert "its aud is not WEBSOCKET_JWT_AUDIENCE" in await reason(
        Authenticator(settings(jwt_audience="chat"), clock), token
    )


@pytest.mark.parametrize("aud", ["chat", ["chat"]])
async def test_an_audience_that_nobody_configured_is_refused(clock: Clock, aud: object) -> None:
    """RFC 7519 4.1.3: a token made for another service of the same issuer opens nothing here."""
    assert "WEBSOCKET_JWT_AUDIENCE is not set" in await reason(Authenticator(settings(), clock), signed(aud=aud))


async def test_the_issuer_fits(clock: Clock) -> None:
    """iss is compared as it is; without the setting any is taken."""
    issuer = "https://login.example.com/"
    assert await Authenticator(settings(jwt_issuer=issuer), clock).from_token(signed(iss=issuer))
    assert await Authenticator(settings(), clock).from_token(signed(iss=issuer))


@pytest.mark.parametrize("iss", [None, "", "https://login.example.com", ["https://login.example.com/"], 7])
async def test_another_issuer_is_refused(clock: Clock, iss: object) -> None:
    """Missing, nearly the same, or of another type."""
    token = crafted({"alg": "HS256"}, claims(iss=iss))
    authenticator = Authenticator(settings(jwt_issuer="https://login.example.com/"), clock)
    assert "its iss is not WEBSOCKET_JWT_ISSUER" in await reason(authenticator, token)


# What is no token


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d.e",
        "null",
        "Bearer x",
        "\x00",
        "ü.ü.ü",
        "\ud800",
        "e30.e30.",
        "e30.e30.e30",
        base64url(b"[" * 5000) + ".e30.e30",
        base64url(b"\xff\xfe") + ".e30.e30",
        crafted([]),
        crafted("HS256"),
        crafted({"alg": "HS256"}, []),
        crafted({"alg": "HS256"}, b"[" * 2000),
        crafted({"alg": "HS256"}, b"\xff"),
        crafted({"alg": "HS256"}, b'{"sub": "alice", "exp": 9' + b"9" * 4400 + b"}"),
        crafted({}),
        crafted({"alg": None}),
        crafted({"alg": ["HS256"]}),
        crafted({"alg": {"HS256": 1}}),
        crafted({"alg": 256}),
        crafted({"alg": "hs256"}),
        crafted({"alg": "HS256", "kid": 7}),
        crafted({"alg": "HS256", "kid": {"$ne": None}}),
        crafted({"alg": "HS256", "crit": ["exp"]}),
        crafted({"alg": "HS256", "crit": "b64"}),
        crafted({"alg": "HS256", "b64": False, "crit": ["b64"]}),
    ],
)
async def test_what_is_no_token_is_invalid(clock: Clock, token: str) -> None:
    """Garbage of every kind is InvalidToken, never another exception, whatever kind of key is configured."""
    assert await reason(Authenticator(settings(), clock), token)
    assert await reason(Authenticator(settings(jwt_public_key=pem(RSA)), clock), token)


@pytest.mark.parametrize("token", [None, 7, True, b"a.b.c", ["a"], {"$ne": None}])
async def test_a_token_of_another_type_is_invalid(clock: Clock, token: Any) -> None:
    """What a client sends as token is any JSON value until somebody looks."""
    with pytest.raises(InvalidToken):
        await Authenticator(settings(), clock).from_token(token)


async def test_a_huge_token_is_refused_unread(clock: Clock) -> None:
    """A good signature does not help: the size is bounded before anything is decoded."""
    authenticator = Authenticator(settings(), clock)
    token = signed(padding="x" * MAX_TOKEN_CHARS)
    assert len(token) > MAX_TOKEN_CHARS
    assert "at most 8192" in await reason(authenticator, token)
    assert await authenticator.from_token(signed(padding="x" * 5000))


async def test_the_reason_is_told_to_developers(clock: Clock) -> None:
    """Which part is wrong, so that nobody has to guess; never what the token says."""
    authenticator = Authenticator(settings(), clock)
    assert "signature is not by" in await reason(authenticator, signed(OTHER_SECRET))
    assert "another algorithm" in await reason(authenticator, signed(SECRET * 2, "HS512"))
    assert "it is not a JSON Web Token" in await reason(authenticator, "abc")
    good = signed()
    head, _, tail = good.rsplit(".", 2)
    forged = f"{head}.{base64url(json.dumps(claims(sub='root')).encode())}.{tail}"
    assert "signature is not by" in await reason(authenticator, forged)


# Kinds of keys and confusion of algorithms


@pytest.mark.parametrize(("key", "algorithm"), KINDS, ids=[algorithm for _, algorithm in KINDS])
async def test_a_public_key_of_every_kind(clock: Clock, key: PrivateKey, algorithm: str) -> None:
    """The kind of the key fixes the algorithm; a kid in the token changes nothing."""
    authenticator = Authenticator(settings(jwt_public_key=pem(key)), clock)
    assert (await authenticator.from_token(signed(key, algorithm))).user_id == "alice"
    assert await authenticator.from_token(signed(key, algorithm, {"kid": "../../dev/null"}))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_a_pem_key_is_for_one_algorithm(clock: Clock, algorithm: str) -> None:
    """RFC 8725 3.1: one key, one algorithm. For an RSA key in a file that is RS256."""
    authenticator = Authenticator(settings(jwt_public_key=pem(RSA)), clock)
    assert "another algorithm" in await reason(authenticator, signed(RSA, algorithm))


async def test_a_certificate_holds_a_public_key(clock: Clock) -> None:
    """Some issuers hand out their key as a certificate."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    start = datetime(2020, 1, 1)  # the builder takes naive times as UTC
    certificate = (
        x509.CertificateBuilder(name, name, RSA.public_key(), x509.random_serial_number(), start)
        .not_valid_after(start + timedelta(days=1))
        .sign(RSA, SHA256())
    )
    text = certificate.public_bytes(Encoding.PEM).decode()
    assert await Authenticator(settings(jwt_public_key=text), clock).from_token(signed(RSA, "RS256"))


@pytest.mark.parametrize("key", [RSA, P256, ED25519], ids=["RSA", "P-256", "Ed25519"])
async def test_the_public_key_is_no_secret(clock: Clock, key: PrivateKey) -> None:
    """The classic confusion: a token signed with HMAC, the public PEM being the secret."""
    authenticator = Authenticator(settings(jwt_public_key=pem(key)), clock)
    for secret in (pem(key), pem(key).strip(), pem(key).encode()):
        assert "another algorithm" in await reason(authenticator, crafted({"alg": "HS256"}, secret=secret))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
async def test_alg_none_is_refused(clock: Clock, alg: str) -> None:
    """With an empty signature, and with any other."""
    head = f"{base64url(json.dumps({'alg': alg}).encode())}.{base64url(json.dumps(claims()).encode())}"
    for chosen in (settings(), settings(jwt_public_key=pem(RSA)), Settings()):
        for signature in ("", "AAAA"):
            assert await reason(Authenticator(chosen, clock), f"{head}.{signature}")


async def test_keys_in_the_token_are_not_looked_at(clock: Clock) -> None:
    """jwk, jku, x5u and x5c in the header would let the attacker bring the key along."""
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA.public_key()))
    authenticator = Authenticator(settings(jwt_public_key=pem(RSA)), clock)
    for header in ({"jwk": jwk}, {"jku": "http://127.0.0.1:1/keys"}, {"x5u": "http://127.0.0.1:1/x"}, {"x5c": ["AA"]}):
        assert "signature is not by" in await reason(authenticator, signed(OTHER_RSA, "RS256", header))


def private_pem() -> str:
    return RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "holds no public key in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "holds no public key in PEM form"),
        (private_pem(), "holds a private key"),
        (pem(rsa.generate_private_key(65537, 1024)), "must be an RSA key of 2048 to 8192 bits"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "must be an RSA key of"),
        (pem(ed448.Ed448PrivateKey.generate()), "must be an RSA key of"),
    ],
    ids=["garbage", "certificate", "private", "short", "secp256k1", "ed448"],
)
def test_an_unusable_public_key_stops_the_start(clock: Clock, text: str, line: str) -> None:
    """In one line, at the start, and not with the first token."""
    with pytest.raises(SettingsError) as caught:
        Authenticator(settings(jwt_public_key=text), clock)
    assert caught.value.lines[0].startswith(f"WEBSOCKET_JWT_PUBLIC_KEY {line}")


def test_a_key_file_is_no_secret(clock: Clock) -> None:
    """Set in the wrong variable, a public key would be a secret that everybody knows."""
    with pytest.raises(SettingsError, match="WEBSOCKET_JWT_SECRET looks like a key file; set WEBSOCKET_JWT_PUBLIC_KEY"):
        Authenticator(settings(jwt_secret=pem(RSA)), clock)


def test_the_development_secret_is_no_secret(clock: Clock) -> None:
    """Anybody can read it in the source."""
    with pytest.raises(SettingsError, match="WEBSOCKET_JWT_SECRET is the development login's"):
        Authenticator(settings(jwt_secret=DEVELOPMENT_SECRET), clock)


# Tokens of our own


async def test_development_tokens_work_across_processes(clock: Clock) -> None:
    """`socketserver token` and the server share nothing but the source."""
    picture = "https://example.com/a.png"
    token = Authenticator(Settings(), clock).issue_token("alice", "Alice", picture, lifetime_s=60)
    identity = await Authenticator(Settings(), clock).from_token(token)
    assert (identity.user_id, identity.name, identity.avatar) == ("alice", "Alice", picture)
    assert identity.expires_at_ms == (NOW_S + 60) * 1000


async def test_development_tokens_end_at_the_door_of_production(clock: Clock) -> None:
    """As soon as a way to check tokens is configured, they are worth nothing."""
    token = Authenticator(Settings(), clock).issue_token("alice", lifetime_s=60)
    assert "signature is not by" in await reason(Authenticator(settings(), clock), token)
    assert "another algorithm" in await reason(Authenticator(settings(jwt_public_key=pem(RSA)), clock), token)


async def test_tokens_are_issued_as_they_are_checked(clock: Clock) -> None:
    """With the secret, the audience and the issuer of the settings."""
    authenticator = Authenticator(settings(jwt_audience="chat", jwt_issuer="me"), clock)
    token = authenticator.issue_token("alice", lifetime_s=60)
    assert (await authenticator.from_token(token)).name is None
    assert "name" not in jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize(
    ("user", "lifetime_s"), [("", 60), ("x" * 129, 60), ("a\nb", 60), ("alice", 0), ("alice", -1), ("alice", 10**12)]
)
def test_no_token_for_nonsense(clock: Clock, user: str, lifetime_s: int) -> None:
    """A user id that would be refused, and a lifetime that is over."""
    with pytest.raises(ValueError, match="must"):
        Authenticator(settings(), clock).issue_token(user, lifetime_s=lifetime_s)


@pytest.mark.parametrize("values", [{"jwt_public_key": pem(RSA)}, {"jwt_jwks_url": "https://a.example/keys"}])
def test_only_the_issuer_can_sign(clock: Clock, values: dict[str, str]) -> None:
    """Where only a public key is known there is nothing to sign with, and the line says so."""
    with pytest.raises(SettingsError, match="only the issuer can sign them"):
        Authenticator(settings(**values), clock).issue_token("alice", lifetime_s=60)


def test_check_user_id_says_what_is_wrong() -> None:
    """The text goes on after the name of the value."""
    with pytest.raises(ValueError, match=r"^must be a string$"):
        check_user_id(7)
    with pytest.raises(ValueError, match=r"^must have 1 to 128 characters$"):
        check_user_id("")
    with pytest.raises(ValueError, match=r"^must have no control characters$"):
        check_user_id("\x1b[2J")


# The key server


def jwk(key: PrivateKey, **values: Any) -> dict[str, Any]:
    """A public key as a member of a key set; None leaves a value out."""
    algorithms = jwt.algorithms
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        item = algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        item = algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        item = algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    return {
        k: v for k, v in {"kid": "one", "use": "sig", **item, "key_ops": ["verify"], **values}.items() if v is not None
    }


@dataclass
class KeyServer:
    """A real key server on this machine: what it answers can be set, its requests are counted, it can stall."""

    answer: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    going_on: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.asked.set()
        await self.going_on.wait()
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return web.Response(status=self.status, body=body, headers=self.headers)


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    server = KeyServer({"keys": [jwk(RSA)]})
    server.going_on.set()
    app = web.Application()
    app.router.add_get("/keys", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://user:hunter2@127.0.0.1:{runner.addresses[0][1]}/keys"
    yield server
    server.going_on.set()
    await runner.cleanup()


@pytest.fixture
async def authenticator(key_server: KeyServer, clock: Clock) -> AsyncIterator[Authenticator]:
    made = Authenticator(settings(jwt_jwks_url=key_server.url), clock)
    yield made
    await made.close()


def from_issuer(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "one") -> str:
    return signed(key, algorithm, {} if kid is None else {"kid": kid})


async def test_keys_are_fetched_once(authenticator: Authenticator, key_server: KeyServer) -> None:
    """Not before the first token, then kept."""
    assert key_server.requests == 0
    for _ in range(5):
        assert (await authenticator.from_token(from_issuer())).user_id == "alice"
    assert key_server.requests == 1


async def test_logins_at_the_same_time_share_one_request(authenticator: Authenticator, key_server: KeyServer) -> None:
    """A crowd that connects after a restart is one request, and the loop goes on while it is under way."""
    key_server.going_on.clear()
    logins = [asyncio.create_task(authenticator.from_token(from_issuer())) for _ in range(20)]
    async with asyncio.timeout(5):
        await key_server.asked.wait()
    assert not any(login.done() for login in logins)
    key_server.going_on.set()
    assert {identity.user_id for identity in await asyncio.gather(*logins)} == {"alice"}
    assert key_server.requests == 1


async def test_a_client_that_leaves_does_not_stop_the_request(
    authenticator: Authenticator, key_server: KeyServer
) -> None:
    """The first one to ask may go away; the others still get their keys."""
    key_server.going_on.clear()
    first, second = (asyncio.create_task(authenticator.from_token(from_issuer())) for _ in range(2))
    async with asyncio.timeout(5):
        await key_server.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    key_server.going_on.set()
    assert await second
    assert key_server.requests == 1


async def test_a_new_key_is_found(authenticator: Authenticator, key_server: KeyServer, clock: Clock) -> None:
    """An issuer that changes its key needs nobody to restart the chat."""
    await authenticator.from_token(from_issuer())
    key_server.answer = {"keys": [jwk(RSA), jwk(P256, kid="two")]}
    clock.at_s += KEYS_COOL_DOWN_S
    assert await authenticator.from_token(signed(P256, "ES256", {"kid": "two"}, exp=NOW_S + 600))
    assert key_server.requests == 2


async def test_invented_key_ids_do_not_hammer_the_key_server(
    authenticator: Authenticator, key_server: KeyServer, clock: Clock
) -> None:
    """One request per cool-down, whatever attackers invent; good tokens are served meanwhile. While it cannot be
    asked again, a key may be newer than our copy: the client is told to come back, and when."""
    with pytest.raises(InvalidToken):
        await authenticator.from_token(from_issuer(OTHER_RSA, kid="forged"))
    for number in range(50):
        with pytest.raises(AuthUnavailable) as caught:
            await authenticator.from_token(from_issuer(OTHER_RSA, kid=f"forged {number}"))
        assert caught.value.retry_after_ms == KEYS_COOL_DOWN_S * 1000
        assert not caught.value.servers_fault, "60 of 60 invented ones were forgiven as faults of the key server"
        assert await authenticator.from_token(from_issuer())
    assert key_server.requests == 1
    clock.at_s += KEYS_COOL_DOWN_S
    assert "have none that fits" in await reason(authenticator, signed(RSA, "RS256", {"kid": "x"}, exp=NOW_S + 600))
    assert key_server.requests == 2


async def test_a_key_that_is_taken_back_ends(authenticator: Authenticator, key_server: KeyServer, clock: Clock) -> None:
    """After the lifetime the copy is renewed before a token is believed, even on a server that slept for days."""
    token = signed(RSA, "RS256", {"kid": "one"}, exp=NOW_S + 10**6)
    await authenticator.from_token(token)
    key_server.answer = {"keys": [jwk(OTHER_RSA, kid="two")]}
    clock.at_s += KEYS_LIFETIME_S - 1
    assert await authenticator.from_token(token)
    clock.at_s += 1
    assert await reason(authenticator, token)
    assert key_server.requests == 2


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 200),
        (b"<html>", 200),
        (b"[]", 200),
        (b"null", 200),
        (b'{"keys": {}}', 200),
        (b"[" * 100_000, 200),
        (b"\xff\xfe", 200),
        ({}, 200),
        ({"keys": []}, 200),
        ({"keys": [1, None, {}]}, 200),
        (b'{"keys": []}' + b" " * auth_keys.MAX_KEYS_BYTES, 200),
        ({"keys": [jwk(RSA)]}, 500),
        ({"keys": [jwk(RSA)]}, 302),
        ({"keys": [jwk(RSA)]}, 404),
    ],
)
async def test_a_key_server_that_makes_no_sense(
    clock: Clock, key_server: KeyServer, caplog: pytest.LogCaptureFixture, answer: Any, status: int
) -> None:
    """Without keys every token has to wait; with keys of before they stay in use. The log says why, without the
    password in the address; the client is told when to come back."""
    good = key_server.answer
    key_server.answer, key_server.status = answer, status
    key_server.headers = {"Location": "/keys"}
    authenticator = Authenticator(settings(jwt_jwks_url=key_server.url), clock)
    token = signed(RSA, "RS256", {"kid": "one"}, exp=NOW_S + 10**6)
    for _ in range(3):
        with pytest.raises(AuthUnavailable) as caught:
            await authenticator.from_token(token)
        assert caught.value.retry_after_ms == KEYS_RETRY_S * 1000
        assert caught.value.servers_fault
    assert key_server.requests == 1
    assert "cannot fetch the keys of WEBSOCKET_JWT_JWKS_URL" in caplog.text

    key_server.answer, key_server.status = good, 200
    clock.at_s += KEYS_RETRY_S
    assert await authenticator.from_token(token)
    key_server.answer, key_server.status = answer, status
    for _ in range(3):
        clock.at_s += KEYS_LIFETIME_S
        assert await authenticator.from_token(token)
    assert key_server.requests == 5
    assert "the last ones stay in use" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_key_server_that_is_away(clock: Clock) -> None:
    """A refused connection is told as auth_unavailable, which is retryable."""
    authenticator = Authenticator(settings(jwt_jwks_url="http://127.0.0.1:1/keys"), clock)
    with pytest.raises(AuthUnavailable) as caught:
        await authenticator.from_token(from_issuer())
    assert caught.value.retryable


async def test_a_key_server_that_stalls(
    authenticator: Authenticator, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is given up after a time, and with it the logins that wait for it."""
    monkeypatch.setattr(auth_keys, "KEYS_TIMEOUT_S", 0.05)
    key_server.going_on.clear()
    async with asyncio.timeout(5):
        with pytest.raises(AuthUnavailable):
            await authenticator.from_token(from_issuer())


async def test_known_keys_do_not_wait_for_a_key_server_that_is_away(
    authenticator: Authenticator, key_server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it stalled, everybody who came back waited for a request that was given up after five seconds."""
    token = signed(RSA, "RS256", {"kid": "one"}, exp=NOW_S + 10**6)
    assert await authenticator.from_token(token)
    clock.at_s += KEYS_LIFETIME_S
    key_server.going_on.clear()
    monkeypatch.setattr(auth_keys, "KEYS_TIMEOUT_S", 0.05)
    assert await authenticator.from_token(token)  # it waits once
    monkeypatch.setattr(auth_keys, "KEYS_TIMEOUT_S", 60)
    clock.at_s += KEYS_RETRY_S
    key_server.asked.clear()
    async with asyncio.timeout(5):
        assert await authenticator.from_token(token)
        await key_server.asked.wait()
        assert await authenticator.from_token(token)
    key_server.answer = {"keys": [jwk(RSA, kid="two")]}
    key_server.going_on.set()
    fetch = authenticator._keys._fetching  # type: ignore[union-attr]
    assert fetch is not None
    await fetch
    with pytest.raises(AuthUnavailable):  # the new keys are in use; for another one it is too soon to ask again
        await authenticator.from_token(token)


async def test_closing_ends_a_request_under_way(authenticator: Authenticator, key_server: KeyServer) -> None:
    """A server that stops does not wait for the key server; the logins that do are told to come back."""
    key_server.going_on.clear()
    login = asyncio.create_task(authenticator.from_token(from_issuer()))
    async with asyncio.timeout(5):
        await key_server.asked.wait()
        await authenticator.close()
        with pytest.raises(AuthUnavailable):
            await login


async def test_closing_without_a_request_does_nothing(clock: Clock) -> None:
    """With every kind of key."""
    await Authenticator(settings(), clock).close()
    await Authenticator(settings(jwt_jwks_url="https://a.example/keys"), clock).close()


@pytest.mark.parametrize(("key", "algorithm"), KINDS, ids=[algorithm for _, algorithm in KINDS])
async def test_a_key_set_holds_keys_of_every_kind(
    authenticator: Authenticator, key_server: KeyServer, key: PrivateKey, algorithm: str
) -> None:
    """Without an alg of its own, a key is for the usual one of its kind."""
    key_server.answer = {"keys": [jwk(OTHER_RSA, kid="other"), jwk(key, use=None, key_ops=None)]}
    assert await authenticator.from_token(from_issuer(key, algorithm))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_a_key_set_says_which_algorithm_a_key_is_for(
    authenticator: Authenticator, key_server: KeyServer, algorithm: str
) -> None:
    """So an RSA key can be for PS256; then it is not for RS256."""
    key_server.answer = {"keys": [jwk(RSA, alg=algorithm)]}
    assert await authenticator.from_token(from_issuer(RSA, algorithm))
    other = "RS256" if algorithm != "RS256" else "PS256"
    assert "none that fits its kid and alg" in await reason(authenticator, from_issuer(RSA, other))
    assert key_server.requests == 1


async def test_symmetric_tokens_do_not_reach_the_key_server(
    authenticator: Authenticator, key_server: KeyServer
) -> None:
    """HS256 with the public key as secret, none, and nonsense: no public-key algorithm, no request."""
    for token in (
        crafted({"alg": "HS256", "kid": "one"}, secret=pem(RSA)),
        crafted({"alg": "HS256", "kid": "one"}, secret=json.dumps(jwk(RSA))),
        crafted({"alg": "none", "kid": "one"}),
        crafted({"alg": ["RS256"], "kid": "one"}),
    ):
        assert "not signed with a public-key algorithm" in await reason(authenticator, token)
    assert key_server.requests == 0


async def test_keys_in_the_token_are_not_followed(authenticator: Authenticator, key_server: KeyServer) -> None:
    """Neither a key nor an address that the token brings along, nor a kid that looks like a path or a query."""
    headers: list[dict[str, Any]] = [
        {"kid": "one", "jwk": jwk(OTHER_RSA)},
        {"kid": "one", "jku": "http://127.0.0.1:1/keys"},
        {"kid": "one", "x5u": "http://127.0.0.1:1/keys"},
    ]
    for header in headers:
        assert "signature is not by" in await reason(authenticator, signed(OTHER_RSA, "RS256", header))
    for kid in ("../../../dev/null", "' OR 1=1 --", "", "ONE", "one\x00"):
        with pytest.raises(AuthUnavailable):
            await authenticator.from_token(from_issuer(OTHER_RSA, kid=kid))
    assert key_server.requests == 1


UNUSABLE: dict[str, Any] = {
    "symmetric": {"kty": "oct", "kid": "one", "alg": "HS256", "k": base64url(SECRET.encode())},
    "symmetric in disguise": {**jwk(RSA), "alg": "HS256"},
    "of another kind than its alg": jwk(P256, alg="RS256"),
    "of another curve than its alg": jwk(P384, alg="ES256"),
    "for encryption": jwk(RSA, use="enc"),
    "for signing only": jwk(RSA, key_ops=["sign"]),
    "private": jwk(RSA, d="AQAB"),
    "of an unknown curve": jwk(P256, crv="secp256k1"),
    "of no curve": jwk(P256, crv=None),
    "a point off its curve": jwk(P256, y=base64url(b"\x01" * 32)),
    "without a modulus": jwk(RSA, n=None),
    "numbers for text": jwk(RSA, n=7),
    "too short": jwk(rsa.generate_private_key(65537, 1024)),
    "with a number for an id": jwk(RSA, kid=1),
    "with a list for a kind": jwk(RSA, kty=["RSA"]),
    "no object": "RSA",
}


@pytest.mark.parametrize("item", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_unusable_keys_are_left_out(authenticator: Authenticator, key_server: KeyServer, item: Any) -> None:
    """One of them does not spoil the set, and is never used itself."""
    key_server.answer = {"keys": [item, jwk(ED25519, kid="good")]}
    assert await authenticator.from_token(from_issuer(ED25519, "EdDSA", "good"))
    with pytest.raises((InvalidToken, AuthUnavailable)):
        await authenticator.from_token(crafted({"alg": "HS256", "kid": "one"}))
    for key, algorithm in KINDS:
        with pytest.raises((InvalidToken, AuthUnavailable)):
            await authenticator.from_token(from_issuer(key, algorithm))


async def test_a_token_without_kid_needs_a_clear_choice(
    authenticator: Authenticator, key_server: KeyServer, clock: Clock
) -> None:
    """One key of that algorithm: it is meant. Several, or none: the token is refused, and nothing fetched."""
    key_server.answer = {"keys": [jwk(RSA), jwk(P256, kid=None), jwk(ED25519), jwk(ED25519, kid="two")]}
    assert await authenticator.from_token(from_issuer(RSA, "RS256", None))
    assert await authenticator.from_token(from_issuer(P256, "ES256", None))
    clock.at_s += KEYS_COOL_DOWN_S
    assert await reason(authenticator, signed(ED25519, "EdDSA", exp=NOW_S + 600))
    assert await reason(authenticator, signed(P384, "ES384", exp=NOW_S + 600))
    assert key_server.requests == 1


async def test_a_shared_key_id_is_told_apart_by_the_algorithm(
    authenticator: Authenticator, key_server: KeyServer
) -> None:
    """RFC 7517 4.5 allows keys of different kinds to share an id."""
    key_server.answer = {"keys": [jwk(RSA), jwk(P256)]}
    assert await authenticator.from_token(from_issuer(RSA, "RS256"))
    assert await authenticator.from_token(from_issuer(P256, "ES256"))


def test_sessions_without_a_secret_are_announced(caplog: pytest.LogCaptureFixture) -> None:
    """Cookies that end with the process: news in development, a warning in production, silence with a secret."""
    caplog.set_level(logging.INFO)
    auth.setup_sessions(web.Application(), Settings())
    auth.setup_sessions(web.Application(), settings())
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert {record.message for record in caplog.records} == {
        "WEBSOCKET_SESSION_SECRET is not set: login cookies end with this process"
    }
    caplog.clear()
    auth.setup_sessions(web.Application(), settings(session_secret=SECRET))
    assert not caplog.records
    assert COOKIE_MAX_AGE_S == 7 * 24 * 3600


def test_a_login_prints_no_warning() -> None:
    """aiohttp has an advice for aiohttp-session; whoever starts the server should not have to read it. In a process of
    its own, as the advice comes once per process."""
    code = (
        "import asyncio, aiohttp_session\n"
        "from aiohttp import web\n"
        "from aiohttp.test_utils import make_mocked_request\n"
        "from socketserver.door.auth import setup_sessions\n"
        "from socketserver.settings import Settings\n"
        "app = web.Application()\n"
        "setup_sessions(app, Settings())\n"
        "async def handler(request):\n"
        "    (await aiohttp_session.new_session(request))['a'] = 1\n"
        "    return web.Response()\n"
        "answer = asyncio.run(app.middlewares[0](make_mocked_request('GET', '/'), handler))\n"
        "assert 'socketserver_session' in answer.cookies\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
