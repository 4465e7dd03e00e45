"""Who somebody is, as a proof says it, and how users are shown to others. Pure values, as in domain.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from .domain import UserId


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token or a cookie says that somebody is.

    Attributes:
        user_id: stable, unique; the token's `sub`.
        name, avatar: the token's `name` and `picture`, as a ProfileUpdate has them: None where it says nothing of them,
            the empty text where it says that there is none.
        expires_at_ms: when the proof ends, UTC milliseconds; None for one without an end.
        login_id: which login a cookie stands for; None for a token.
    """

    user_id: UserId
    name: str | None = None
    expires_at_ms: int | None = None
    login_id: str | None = field(default=None, compare=False)
    avatar: str | None = None

    @property
    def display_name(self) -> str:
        """The name, or the user id where the proof has none."""
        return self.name or self.user_id

    @property
    def told(self) -> ProfileUpdate:
        """What the proof says of how its user is shown."""
        return ProfileUpdate(self.user_id, self.name, self.avatar)


@dataclass(frozen=True, slots=True)
class Profile:
    """How a user is shown to others, as it was told last. Who has a profile has been here.

    Attributes:
        name: for display; None while none is known.
        avatar: the http or https address of a picture; None while none is known.
    """

    user_id: UserId
    name: str | None = None
    avatar: str | None = None


@dataclass(frozen=True, slots=True)
class ProfileUpdate:
    """What is told of how a user is shown.

    Attributes:
        name, avatar: None says nothing, and what was told before stays; the empty text takes it away.
    """

    user_id: UserId
    name: str | None = None
    avatar: str | None = None

    def onto(self, before: Profile | None) -> Profile:
        """The profile that comes of it, where there was this one."""
        name, avatar = (None, None) if before is None else (before.name, before.avatar)
        return Profile(
            self.user_id,
            name if self.name is None else self.name or None,
            avatar if self.avatar is None else self.avatar or None,
        )

    def then(self, later: ProfileUpdate) -> ProfileUpdate:
        """Both, one after the other, as one."""
        return ProfileUpdate(
            self.user_id,
            self.name if later.name is None else later.name,
            self.avatar if later.avatar is None else later.avatar,
        )
