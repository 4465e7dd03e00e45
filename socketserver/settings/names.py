"""How settings are called: in the environment, on the command line."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "WEBSOCKET_"
# The token that `chat-socketserver check` connects with: of a client, so no setting of the server's.
CHECK_TOKEN: Final = "WEBSOCKET_CHECK_TOKEN"  # noqa: S105
# Where a platform (Heroku, Render, Cloud Run, …) says on which port it expects the server.
PLATFORM_PORT: Final = "PORT"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def flag(field: str) -> str:
    """The command-line flag of a field."""
    return "--" + field.replace("_", "-")
