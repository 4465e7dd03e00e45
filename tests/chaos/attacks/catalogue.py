"""All attacks, by name. A name says the same in every version, so that figures can be laid side by side."""

from __future__ import annotations

from typing import Final

from . import bodies, doors, floods, heads, stores
from .scene import Attack

FAMILIES: Final = tuple(module.FAMILY for module in (bodies, floods, heads, doors, stores))
ATTACKS: Final[dict[str, Attack]] = {
    attack.name: attack for module in (bodies, floods, heads, doors, stores) for attack in module.ATTACKS
}
