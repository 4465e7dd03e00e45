"""How the values of settings are written: each type here takes what people write and makes one form of it.

What is no such value raises ValueError with the end of a sentence, which says how to write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from ..values.web_names import Network, origin_form, parse_network

EVERYWHERE: Final = "::"
_SECRET_CHARS: Final = 32
_PATH: Final = re.compile(r"[A-Za-z0-9._~/-]+")


def _listed(form: Callable[[object], object]) -> BeforeValidator:
    """Several values with commas between, or a list of them: a tuple, each in its form."""

    def split(value: object) -> object:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            return value
        return tuple(form(item) for item in value)

    return BeforeValidator(split)


def _origin(value: object) -> str:
    text = str(value)
    origin = origin_form(text)
    if origin is None:
        raise ValueError(f"{text!r} is not an origin; write it as https://chat.example.com, several with commas")
    return origin


def _pem(value: object) -> object:
    """A public key may be given as PEM text, with real or written-out line ends, or as a file's path."""
    if not isinstance(value, str) or "-----BEGIN" in value:
        return value.replace("\\n", "\n") if isinstance(value, str) else value
    try:
        return Path(value).read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        raise ValueError(f"is neither PEM text nor a readable file ({error.__class__.__name__})") from None


def _secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < _SECRET_CHARS:
        raise ValueError(f"too short: at least {_SECRET_CHARS} characters, random ones")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not the address of a key set; write it as https://login.example.com/.well-known/jwks.json")
    return value


def _network(value: object) -> Network:
    try:
        return parse_network(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no address or network; write it as 10.0.0.5 or 10.0.0.0/8") from None


def _hosts(value: str) -> str:
    """Hosts in one form, each once: without spaces, and without brackets around IPv6 addresses; `*` is all."""
    parts = (re.sub(r"\A\[(.*)\]\Z", r"\1", part.strip()) for part in value.split(","))
    return ",".join(dict.fromkeys(EVERYWHERE if part == "*" else part for part in parts if part))


def _port(value: object) -> object:
    """Raises: ValueError that says where the value of a Kubernetes service comes from."""
    if isinstance(value, str) and re.match(r"(tcp|udp|sctp)://", value):
        raise ValueError(
            f'{value!r} is no port: Kubernetes sets it in every pod for a service called "websocket"; give the service '
            "another name, set enableServiceLinks: false in the pod, or pass --port"
        )
    return value


def _prefix(value: str) -> str:
    path = value.strip().strip("/")
    if path and not (_PATH.fullmatch(path) and all(part.strip(".") for part in path.split("/"))):
        raise ValueError(f"{value!r} is not a path; write it as /chat")
    return f"/{path}" if path else ""


Hosts = Annotated[str, AfterValidator(_hosts)]
Port = Annotated[int, BeforeValidator(_port)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Networks = Annotated[tuple[Network, ...], NoDecode, _listed(_network)]
Origins = Annotated[tuple[str, ...], NoDecode, _listed(_origin)]
Pem = Annotated[str, BeforeValidator(_pem)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
