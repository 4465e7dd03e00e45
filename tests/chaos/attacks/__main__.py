"""The command line: runs attacks, prints a table and writes what was measured; or lays two runs side by side."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Cores, facts, raise_open_files

from .catalogue import ATTACKS, FAMILIES
from .outcome import HEAD, publish, row
from .scene import LOOPS, MODES, ROOT, Attack, Loop, Mode, Size, play

OPEN_FILES: Final = 16_384
PAGE: Final = ROOT / "docs" / "reliability.md"


def main() -> int:
    """Returns: the exit status; 1 if an attack did harm (a lost message, memory, a visitor who did not get in)."""
    options = _parser().parse_args()
    if options.publish:
        runs = [json.loads(path.read_text(encoding="utf-8"))["outcomes"] for path in options.publish]
        publish(PAGE, runs[0], runs[1] if len(runs) > 1 else [])
        return 0
    raise_open_files(OPEN_FILES)
    # However it is ended, no server is left behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    recorded: dict[str, Any] = {"facts": facts(Cores(None, None)), "outcomes": []}
    lines = [HEAD]
    harmed = False
    size = Size(options.seconds, options.scale)
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        for number, (attack, mode, loop) in enumerate(_chosen(options)):
            try:
                outcome = asyncio.run(play(attack, Path(folder) / str(number), size, mode=mode, loop=loop))
            except Exception as error:
                print(f"{attack.name} ({mode}, {loop}): {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                harmed = True
                continue
            harmed = harmed or bool(outcome.harm())
            recorded["outcomes"].append(outcome.as_dict() | {"load": round(os.getloadavg()[0], 1)})
            lines.append(row(recorded["outcomes"][-1]))
            print(f"{time.strftime('%H:%M:%S')} {lines[-1]}", file=sys.stderr, flush=True)
            if options.json:
                options.json.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return int(harmed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chaos.attacks", description="Attack a server of one's own on loopback.")
    parser.add_argument("names", nargs="*", help=f"attacks, families ({', '.join(FAMILIES)}) or patterns; all if none")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each lasts, s (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many connections (1)")
    parser.add_argument("--modes", default="direct", help=f"of {','.join(MODES)}; proxies where they say something new")
    parser.add_argument("--loops", default="uvloop", help=f"of {','.join(LOOPS)}")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write everything that was measured to this file")
    parser.add_argument(
        "--publish",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="put runs before and after into docs/reliability.md",
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    return parser


def _chosen(options: argparse.Namespace) -> Iterator[tuple[Attack, Mode, Loop]]:
    wanted = options.names or ["*"]
    for attack in ATTACKS.values():
        if not any(name == attack.family or fnmatch(attack.name, name) for name in wanted):
            continue
        if options.list:
            print(f"{attack.name:24} {attack.family:8} {attack.title}")
            continue
        modes = [mode for mode in MODES if mode in options.modes.split(",")]
        loops = [loop for loop in LOOPS if loop in options.loops.split(",")]
        for mode, loop in itertools.product(modes, loops):
            # A proxy says something new of some attacks only, and with one loop.
            if mode == "direct" or (attack.proxied and loop == loops[0]):
                yield attack, mode, loop


if __name__ == "__main__":
    sys.exit(main())
