"""The command line: measures the peers in turns, then prints a table and writes what was asked for."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from .load import close_everything
from .measure import HERE, Cores, facts, on_core, raise_open_files
from .peers import OPEN_FILES, PEERS, PeerError, Server
from .plan import Measured, Plan, Shape
from .report import Result, publish, table
from .shapes import SHAPES

TURNS: Final = 5
SECONDS: Final = 5.0
WARM_UP_S: Final = 3.0
# Load average from which on the machine is not quiet enough.
BUSY_LOAD: Final = 0.5
# How long one measurement may take beside its window and its warm-up.
LONGEST_S: Final = 180.0
# The peer whose figures the others are compared with, and whose saturation sets the rate of `latency`.
REFERENCE: Final = "node"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark. Returns: the exit status; 1 if something could not be measured."""
    options = _parser().parse_args(arguments)
    if options.render:
        recorded = json.loads(options.render.read_text(encoding="utf-8"))
        results = [Result(**result) for result in recorded["results"]]
    else:
        raise_open_files(OPEN_FILES)
        cores = Cores.choose()
        recorded = {"facts": facts(cores), "options": _recorded(options)}
        if recorded["facts"]["loadAverage"][0] > BUSY_LOAD:
            _say("this machine is doing other work; the figures will be worth little")
        results = []
        for result in measure_all(options, cores):
            results.append(result)
            _say(result.line())
            if options.json:  # each time, so that nothing is lost when it is interrupted
                _save(options.json, recorded | {"results": [vars(one) for one in results]})
    print(table(results))
    failed = [result for result in results if result.problems]
    if failed:
        print(f"\n{len(failed)} of {len(results)} turns failed and count nowhere:")
        print(
            "\n".join(f"  {result.shape} {result.turn} {result.peer}: {result.problems[0][:200]}" for result in failed)
        )
    if options.publish:
        publish(results, recorded["facts"], HERE.parent / "docs")
    return 1 if failed else 0


def _save(path: Path, recorded: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure this server and others side by side.")
    parser.add_argument("--shapes", type=_names(SHAPES), default=list(SHAPES), help=f"of {','.join(SHAPES)}")
    parser.add_argument("--peers", type=_names(PEERS), default=list(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"how often each is measured ({TURNS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"length of a window, s ({SECONDS:g})")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, help=f"load before a window, s ({WARM_UP_S:g})")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many clients (1); less to try it out")
    parser.add_argument("--rate", type=float, help="messages/s for latency (half of what node reaches in rooms)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write everything that was measured to this file")
    parser.add_argument("--publish", action="store_true", help="put figures and chart into docs/")
    parser.add_argument("--render", type=Path, metavar="JSON", help="measure nothing; show what --json has written")
    return parser


def _names(known: dict[str, Any]) -> Any:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def _recorded(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("shapes", "peers", "turns", "seconds", "warm_up", "scale")}


def measure_all(options: argparse.Namespace, cores: Cores) -> Iterator[Result]:
    """Measure every shape, in turns: each peer once, then each peer again."""
    results: list[Result] = []
    missing: set[str] = set()
    for shape in options.shapes:
        plan = Plan(options.seconds, options.warm_up, options.scale)
        if shape == "latency":
            try:
                rate = _latency_rate(options, cores, results)
            except PeerError as error:
                _say(f"latency: left out: {error}")
                continue
            plan = Plan(options.seconds, options.warm_up, options.scale, rate)
        for turn in range(1, options.turns + 1):
            for peer in options.peers:
                if peer in missing or peer not in SHAPES[shape].peers:
                    continue
                try:
                    result = measure(shape, peer, turn, plan, cores)
                except PeerError as error:
                    _say(f"{peer}: left out: {error}")
                    missing.add(peer)
                else:
                    results.append(result)
                    yield result


def measure(shape: str, peer: str, turn: int, plan: Plan, cores: Cores) -> Result:
    """Start a peer, put one load on it, and stop it.

    Raises: PeerError if it does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as directory,
        Server(PEERS[peer], cores.server, Path(directory)) as server,
        on_core(cores.generator),
    ):
        gc.collect()
        gc.disable()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                measured = runner.run(_run(SHAPES[shape], server, plan))
        except Exception as error:
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            measured = Measured(problems=[f"{type(error).__name__}: {error}", server.last_words()])
        finally:
            gc.enable()
    return Result(shape, peer, turn, **vars(measured))


async def _run(shape: Shape, server: Server, plan: Plan) -> Measured:
    try:
        measured = await asyncio.wait_for(shape.run(server, plan), LONGEST_S + plan.warm_up_s + plan.seconds)
        measured.problems += await asyncio.to_thread(server.refusals)
        return measured
    finally:
        await close_everything()


def _latency_rate(options: argparse.Namespace, cores: Cores, results: Sequence[Result]) -> float:
    """Half of the messages per second at which the reference peer saturates in `rooms`; measured now if need be."""
    if options.rate:
        return float(options.rate)
    reference = REFERENCE if REFERENCE in options.peers else options.peers[0]
    known = [
        result.figures["sent_per_s"]
        for result in results
        if result.shape == "rooms" and result.peer == reference and not result.problems
    ]
    if not known:
        result = measure("rooms", reference, 0, Plan(options.seconds, options.warm_up, options.scale), cores)
        if not result.figures:
            raise PeerError(f"{reference} is needed to find the rate of latency: {result.problems[0]}")
        known = [result.figures["sent_per_s"]]
    rate = statistics.median(known) / 2
    _say(f"latency: {rate:.0f} messages/s, half of what {reference} reaches")
    return rate


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
