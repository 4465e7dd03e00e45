"""What `pip install` brings: the package under its other name, and its command.

Installed, the standard library's socketserver would win over ours, so the wheel carries the folder under the name
chat_socketserver.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from socketserver import __version__
from socketserver.door.auth import DEVELOPMENT_SECRET

import jwt
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 60


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel in it, and a directory far from the checkout."""

    wheel: Path
    programs: Path
    elsewhere: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.elsewhere,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )


def environment() -> dict[str, str]:
    """Ours without what would lead back to the checkout, and without anybody's settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "WEBSOCKET_", "COV_", "COVERAGE_", "NEXT_PUBLIC_", "MONGODB_", "VIRTUAL_ENV"))
    }


def run(*arguments: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        arguments, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Builds the wheel from a copy of the sources (a build leaves files behind) and installs it.

    Without the network: setuptools and the dependencies are those of the environment that runs the tests. Its directory
    is put on the new environment's path; the .pth files in it, by which the checkout is installed there, are not read.
    """
    base = tmp_path_factory.mktemp("wheel")
    sources, wheels, elsewhere = base / "sources", base / "wheels", base / "elsewhere"
    elsewhere.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "socketserver", sources / "socketserver", ignore=ignore)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, cwd=sources)
    [wheel] = wheels.glob("*.whl")

    venv = base / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=base)
    programs = venv / "bin"
    run(
        *(sys.executable, "-m", "pip", "--python", programs / "python", "install"),
        *("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", wheel),
        cwd=base,
    )
    [packages] = (venv / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installation(wheel, programs, elsewhere)


def test_the_wheel_holds_the_package_and_nothing_else(installation: Installation) -> None:
    """Every module, the new ones too, and the monitoring page; no tests, no examples, no second top-level name."""
    with zipfile.ZipFile(installation.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = ROOT / "socketserver"
    files = [*package.rglob("*.py"), *package.glob("ops/monitor_page/*")]
    assert names == {f"chat_socketserver/{file.relative_to(package).as_posix()}" for file in files}


def test_the_command_works_from_anywhere(installation: Installation) -> None:
    """chat-socketserver --help, and --version."""
    done = installation.run("chat-socketserver", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: chat-socketserver ")
    done = installation.run("chat-socketserver", "--version")
    assert __version__ in done.stdout, done.stderr


def test_the_command_prints_a_token(installation: Installation) -> None:
    """A development token, and nothing beside it on the standard output."""
    done = installation.run("chat-socketserver", "token", "alice")
    assert done.returncode == 0, done.stderr
    claims = jwt.decode(done.stdout.strip(), DEVELOPMENT_SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"


def test_the_module_works_from_anywhere(installation: Installation) -> None:
    """python -m chat_socketserver, from the environment's own site-packages."""
    done = installation.run("python", "-m", "chat_socketserver", "--help")
    assert done.returncode == 0, done.stderr
    assert "token" in done.stdout
    done = installation.run("python", "-c", "import chat_socketserver; print(chat_socketserver.__file__)")
    assert Path(done.stdout).is_relative_to(installation.programs.parent), done.stderr


def test_the_standard_name_is_left_alone(installation: Installation) -> None:
    """`import socketserver` is the standard library's where the package is installed."""
    code = "import socketserver, chat_socketserver; print(socketserver.__file__); print(chat_socketserver.TCPServer)"
    done = installation.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(sysconfig.get_path("stdlib"))


def test_the_installed_server_serves(installation: Installation) -> None:
    """It starts without examples and node_modules, says where it listens, answers, and stops when it is told to."""
    server = subprocess.Popen(
        [installation.programs / "chat-socketserver", "--port", "0"],
        cwd=installation.elsewhere,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        lines: list[str] = []
        for line in server.stdout:
            lines.append(line)
            if found := re.search(r"http://[\d.:]+", line):
                with urllib.request.urlopen(f"{found[0]}/healthz", timeout=TIMEOUT_S) as answer:
                    assert json.load(answer) == {"ok": True}
                with urllib.request.urlopen(f"{found[0]}/monitor/monitor.js", timeout=TIMEOUT_S) as answer:
                    assert answer.headers.get_content_type() == "text/javascript"
                break
        else:
            pytest.fail("".join(lines))
        server.send_signal(signal.SIGTERM)
        rest, _ = server.communicate(timeout=TIMEOUT_S)
        assert server.returncode == 0, rest
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()
