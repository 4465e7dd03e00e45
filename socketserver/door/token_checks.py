"""Which tokens are worth a look: a budget of bad ones per address, and the digests of those that were good lately.

Checking a signature costs more than everything else that a stranger can ask for before it has a user. Pure; the time is
passed in. No token is kept, only digests.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from ..limits import Buckets

# Maximum bad tokens at once, in seconds' worth of their rate.
BURST_S: Final = 60
# Maximum number of tokens that are known to have been good.
MAX_KNOWN: Final = 20_000


class TokenChecks:
    """The budget.

    Args:
        per_second: bad tokens that an address may have looked at in the long run; 0 for no limit.
    """

    def __init__(self, per_second: float) -> None:
        self._buckets: Buckets[str] = Buckets(per_second, max(1.0, per_second * BURST_S), most=50_000)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, network: str, digest: bytes, now_s: float) -> float:
        """0.0 if the token of a digest may be looked at, else after how many seconds one may be; charged until `good`
        is called."""
        if digest in self._known:
            return 0.0
        return self._buckets.get(network, now_s).take(now_s)

    def good(self, network: str, digest: bytes, now_s: float) -> None:
        """A token was good: looking at it was free, and it is known from now on."""
        if digest in self._known:
            self._known.move_to_end(digest)
            return
        self.forgive(network, now_s)
        self._known[digest] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def forgive(self, network: str, now_s: float) -> None:
        """Looking at a token led to nothing, by no fault of the client's."""
        self._buckets.get(network, now_s).give_back()

    def sweep(self, now_s: float) -> None:
        """Forget the buckets that are full again."""
        self._buckets.sweep(now_s)


def digest_of(token: str) -> bytes:
    """What a token is known by here."""
    return hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=16).digest()
