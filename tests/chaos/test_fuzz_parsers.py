"""Parsers of strangers' bytes: hypothesis looks for what they neither take nor refuse. `make attack` looks longer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from chaos.parsers import CORPUS, PARSERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.node import require

FULL: Final = os.environ.get("WEBSOCKET_TEST_ATTACK") == "full"
EXAMPLES: Final = 20_000 if FULL else 150
RUNS: Final = 300_000
ROOT: Final = Path(__file__).resolve().parents[2]
# The largest packet, and the longest header, that is taken; and the CPU time that reading it may take, a turn's.
LARGEST_BYTES: Final = {"headers": 32_768}
PACKET_BYTES: Final = 65_536
TURN_S: Final = 0.1
PIECES: Final = (b"9" * 30, b'"', b"[", b"\\ud800", b"-1", b",,")

_bytes = st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))


def _damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """Something honest with a piece replaced."""
    cuts = st.integers(0, len(good))
    return st.tuples(cuts, cuts, st.binary(max_size=6) | st.sampled_from(PIECES)).map(
        lambda cut: good[: min(cut[0], cut[1])] + cut[2] + good[max(cut[0], cut[1]) :]
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", PARSERS)
def test_whatever_comes_is_taken_or_refused(name: str) -> None:
    """No exception but those that say what is wrong with the input."""
    near = st.one_of([_damaged(good) for good in CORPUS[name]])

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(_bytes | near)
    def look(data: bytes) -> None:
        PARSERS[name](data)

    look()


def _cpu_s(name: str, data: bytes) -> float:
    began_s = time.thread_time()
    PARSERS[name](data)
    return time.thread_time() - began_s


@pytest.mark.parametrize("name", PARSERS)
def test_the_largest_input_of_a_kind_takes_no_long_turn(name: str) -> None:
    """Everything honest repeated until it is as large as a packet may be: no parser is quadratic."""
    slowest_s, which = 0.0, b""
    most = LARGEST_BYTES.get(name, PACKET_BYTES)
    for good in [*CORPUS[name], b"[", b"{", b'"', b"\\", b",", b" ", b"0", b"\x1e", b";", b"=", b"a=b; "]:
        for data in (good * (most // len(good)), good + good[-1:] * (most - len(good))):
            # The best of three: what is slow because a machine is busy is not slow each time.
            took_s = min(_cpu_s(name, data) for _ in range(3))
            if took_s > slowest_s:
                slowest_s, which = took_s, good

    # Measuring coverage costs several times as much again, a line at a time.
    assert slowest_s < TURN_S * (4 if sys.gettrace() else 1), which


@pytest.mark.skipif(not FULL, reason="atheris is installed and run by make attack")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", PARSERS)
def test_coverage_leads_to_nothing_that_breaks_them(name: str) -> None:
    """atheris looks for inputs that reach new lines of the parsers."""
    require(None if find_spec("atheris") else "atheris is not installed; make attack installs it")
    done = subprocess.run(
        [sys.executable, "-m", "chaos.atheris_parsers", name, f"-runs={RUNS}", "-max_len=4096", "-verbosity=0"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
