"""What a participant has settled for himself in a conversation, as values. Pure; nobody else sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """One participant's own settings of a conversation. The server keeps them and hands them on.

    Attributes:
        muted: not to be notified.
        pinned: to be shown at the top.
        archived: to be shown elsewhere.
        marked_unread: to be shown as unread, however much of it is read. Reading ends it, sending too.
    """

    muted: bool = False
    pinned: bool = False
    archived: bool = False
    marked_unread: bool = False


UNSETTLED: Final = OwnSettings()

_FIELDS: Final = ("muted", "pinned", "archived", "marked_unread")


@dataclass(frozen=True, slots=True)
class SettingsUpdate:
    """What a participant wants settled; None leaves a field as it is."""

    muted: bool | None = None
    pinned: bool | None = None
    archived: bool | None = None
    marked_unread: bool | None = None

    @property
    def told(self) -> dict[str, Any]:
        """The fields that it says something of."""
        return {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}

    def onto(self, before: OwnSettings) -> OwnSettings:
        """The settings that come of it."""
        return replace(before, **self.told)
