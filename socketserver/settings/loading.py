"""Settings from flags and the environment, and what to say of those that cannot be used. The only module that reads the
environment; a flag wins over a variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import AliasChoices, ValidationError

from .fields import Settings
from .forms import EVERYWHERE
from .names import CHECK_TOKEN, PLATFORM_PORT, PREFIX, variable

# Variables that the test suite reads itself; they are no settings, and no typing errors either.
_TEST_PREFIX: Final = "WEBSOCKET_TEST_"
# What Kubernetes sets in every pod for a service called "websocket".
_SERVICE_LINKS: Final = re.compile(
    PREFIX + r"(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


class SettingsError(Exception):
    """The settings cannot be used; each of `lines` says in one sentence what to change."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))


def load_settings(flags: Mapping[str, str]) -> Settings:
    """Settings from flags (field name → text, only those given), then the environment, then the defaults.

    Raises: SettingsError with one line per mistake; no line repeats a secret, or an address that may hold one.
    """
    try:
        settings = Settings(**flags)  # type: ignore[arg-type]  # texts, which pydantic parses like variables
        # A platform that says the port reaches the server from outside; but never the development login.
        if _on_a_platform(flags) and "host" not in settings.model_fields_set and not settings.development_login:
            settings = Settings(**flags, host=EVERYWHERE)  # type: ignore[arg-type]
        return settings
    except ValidationError as error:
        raise SettingsError(_line(item, flags) for item in error.errors(include_url=False)) from None


def _on_a_platform(flags: Mapping[str, str]) -> bool:
    """Whether the port is the one that PORT says."""
    names = {name.upper() for name in os.environ}
    return "port" not in flags and PLATFORM_PORT in names and variable("port") not in names


def _line(item: Mapping[str, Any], flags: Mapping[str, str]) -> str:
    message = re.sub(r"^Value error, ", "", str(item["msg"]))
    if not item["loc"]:
        return message
    field = str(item["loc"][0]).removeprefix(PREFIX).lower()
    given = item.get("input")
    secret = any(word in field for word in ("secret", "key", "token", "url"))
    shown = "" if secret or not isinstance(given, str | int | float) else f" (got {given!r})"
    return f"{_set_variable(field, flags)}: {message[:1].lower()}{message[1:]}{shown}"


def _set_variable(field: str, flags: Mapping[str, str]) -> str:
    """The variable that a field's value came from, which may be a borrowed one; its own for a flag."""
    alias = Settings.model_fields[field].validation_alias
    if field not in flags and isinstance(alias, AliasChoices):
        for name in alias.choices:
            if isinstance(name, str) and name in os.environ:
                return name
    return variable(field)


def check_token() -> str | None:
    """The token that `chat-socketserver check` should connect with, if one is set."""
    return os.environ.get(CHECK_TOKEN)


def unknown_variables() -> list[str]:
    """Names of set WEBSOCKET_… variables that no setting has: misspelt ones, most likely."""
    known = {variable(field) for field in Settings.model_fields} | {CHECK_TOKEN}
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(PREFIX)
        and name.upper() not in known
        and not name.startswith(_TEST_PREFIX)
        and not _SERVICE_LINKS.fullmatch(name)
    )
