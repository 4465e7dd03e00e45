"""The attacker's process: `python -m chaos.attacks.attacker NAME JSON`.

It gets ready, prints `ready`, waits for a line on its standard input, attacks, and prints its tally.
"""

from __future__ import annotations

import json
import sys

from benchmarks.measure import raise_open_files

from .catalogue import ATTACKS
from .connection import Target

OPEN_FILES = 8192


def main(name: str, target: Target) -> None:
    raise_open_files(OPEN_FILES)
    attack = ATTACKS[name]
    attack.ready()
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(attack.run(target).as_dict()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Target(**json.loads(sys.argv[2])))
