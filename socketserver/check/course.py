"""How the steps of a check are gone through: each has a deadline, so a check ends whatever the server does, and each is
ok, failed, or skipped because it makes no sense any more. Knows no step by what it does.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from .causes import Fault

MAX_SHOWN_CHARS: Final = 200
# A shorter token is no secret, and stands in every sentence.
MIN_SECRET_CHARS: Final = 8

Status = Literal["ok", "failed", "skipped"]
# Faults after which the connection is gone, in the steps that use it; and such that stop nothing.
_GONE: Final = {"connection_closed", "session_ended", "replaced", "draining", "session_unknown", "unexpected_answer"}
_ON_IT: Final = {"authentication", "message", "ping"}
_LIMPING: Final = {"store_unavailable", "not_ready"}


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a step.

    Attributes:
        seen: what was seen, or why the step was skipped.
        ms: how long it took, None for a skipped one.
        cause: of a failed step its code, a key of causes.CAUSES; `likely` and `remedy` go with it.
    """

    name: str
    status: Status
    seen: str
    ms: int | None = None
    cause: str | None = None
    likely: str | None = None
    remedy: str | None = None


class Skip(Exception):
    """The step makes no sense here; the argument says why."""


class Course:
    """The way through the steps.

    Attributes:
        stopped: why there is no sense in going on, None while there is; the steps may set it too.
        gone: whether the connection that the steps share is gone.

    Args:
        on_step: called after every step.
        token: what is never shown.
        timeout_s: how long a step may take.
    """

    def __init__(self, on_step: Callable[[Step], None], token: str | None, timeout_s: float) -> None:
        self._on_step = on_step
        self._secret = _writings(token) if token is not None and len(token) >= MIN_SECRET_CHARS else None
        self._timeout_s = timeout_s
        self.stopped: str | None = None
        self.gone = False

    async def step(
        self,
        name: str,
        work: Callable[[], Awaitable[str]],
        late: str,
        stops: str | None = None,
        *,
        limit_s: float | None = None,
    ) -> None:
        """Do one step.

        Args:
            work: does it, and returns what it saw. May raise Fault and Skip.
            late: the cause if it does not end in time.
            stops: why all later steps make no sense if it fails.
            limit_s: how long it may take, if not `timeout_s`.
        """
        limit_s = self._timeout_s if limit_s is None else limit_s
        started_s = time.monotonic()
        try:
            if self.stopped is not None:
                raise Skip(self.stopped)
            try:
                async with asyncio.timeout(limit_s):
                    seen = await work()
            except TimeoutError:
                raise Fault(late, f"nothing came within {limit_s:g} s") from None
            except (Fault, Skip):
                raise
            except Exception as error:  # an answer that nobody thought of ends its step, and not the check
                raise Fault("unexpected_answer", f"nothing that makes sense ({type(error).__name__})") from None
        except Skip as skip:
            step = Step(name, "skipped", self.clean(str(skip)))
        except Fault as fault:
            if fault.code not in _LIMPING:
                self.stopped = self.stopped or stops
            self.gone = self.gone or (name in _ON_IT and fault.code in _GONE)
            cause = fault.cause
            ms = ms_since(started_s)
            step = Step(name, "failed", self.clean(fault.seen), ms, fault.code, cause.likely, cause.remedy)
        else:
            step = Step(name, "ok", self.clean(seen), ms_since(started_s))
        self._on_step(step)

    def clean(self, text: str) -> str:
        """A text of the server's, fit for a terminal and without the token that was given to the check.

        One that the server has given is no secret before it, and would let it choose what is struck out.
        """
        if self._secret is not None:
            text = self._secret.sub("***", text)
        text = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
        return "".join(character if character.isprintable() else "?" for character in text)


def _writings(secret: str) -> re.Pattern[str]:
    """A secret as it is, escaped any number of times as JSON and Python do it, and as a part of an address."""
    escaped = "".join(
        r"\\+" if part.startswith("\\") else r"\\*".join(map(re.escape, part))
        for part in re.findall(r"\\+|[^\\]+", secret)
    )
    return re.compile(f"{escaped}|{re.escape(quote(secret, safe=''))}|{re.escape(quote(secret))}")


def ms_since(started_s: float) -> int:
    """Whole milliseconds since a moment of the monotonic clock, in seconds."""
    return round((time.monotonic() - started_s) * 1000)
