"""Follows a Dockerfile without Docker, as far as ours goes: what it does not know it refuses.

What stands for what:

- The image's file system is an empty folder. The directories that the Dockerfile makes (WORKDIR, VOLUME, targets of
  COPY) lie in it, and their paths are replaced wherever it names them; so nothing is shown about other paths.
- `FROM python:3.x-…` is an empty virtual environment of a Python of this machine, 3.x if there is one, with pip; Debian
  around it is this machine's.
- The image's root, who runs the RUN steps, is a user id that owns nothing else here. USER is itself. Unless the tests
  run as root, both are whoever runs them.
- RUN sees the machine's pip settings and certificates, and otherwise only what the Dockerfile says. CMD and HEALTHCHECK
  see only that, and what `docker run --env` would add.
- Each stage begins in an empty folder at the same place, so that paths stay what they are from one stage to another.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_TIMEOUT_S: Final = 240
_BUILDER: Final = 61_000
_FOR_RUN: Final = re.compile(r"(PIP_|SSL_CERT_|REQUESTS_CA_BUNDLE$|https?_proxy$|no_proxy$)", re.IGNORECASE)
_PIP_SETTINGS: Final = re.compile(
    r"(?:global|install)\.(index-url|extra-index-url|find-links|cert|trusted-host|proxy)='(.*)'"
)


@dataclass(frozen=True)
class Instruction:
    """`word --flag=value … rest`; lines that belong together are one, without the comments between them."""

    word: str
    flags: Mapping[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        return self.rest.split()


@dataclass(frozen=True)
class User:
    """Whom a process runs as; None: whoever runs the tests."""

    uid: int | None

    def options(self) -> dict[str, Any]:
        """The arguments of subprocess for it."""
        return {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}


@dataclass(frozen=True)
class Image:
    """What `docker build` would make.

    Attributes:
        root: the folder that stands for its file system.
        base: the folder that stands for the Python of its base image.
        version: of that Python.
    """

    root: Path
    base: Path
    version: str
    user: User
    workdir: Path
    environment: Mapping[str, str]
    command: Sequence[str]
    health: Sequence[str]

    def start(self, command: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """`docker run --env … IMAGE COMMAND`, what it says into a file."""
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=self.workdir,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **self.user.options(),
            )

    def run(self, command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """`docker run` or `docker exec`, until it has ended."""
        return subprocess.run(
            command,
            cwd=self.workdir,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **self.user.options(),
        )


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        flags = {}
        while match := re.match(r"\s*--([\w-]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Instruction(word, flags, rest.strip())


class Ignored:
    """A .dockerignore: the last pattern that fits a path, or a directory above it, decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self._patterns = [(not line.startswith("!"), _pattern(line.removeprefix("!").strip("/"))) for line in lines]

    def __call__(self, path: str) -> bool:
        return next((ignored for ignored, pattern in reversed(self._patterns) if pattern.fullmatch(path)), False)


def _pattern(text: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", text)
    regex = "".join(parts.get(piece, piece if piece.startswith("[") else re.escape(piece)) for piece in pieces)
    return re.compile(f"{regex}(?:/.*)?")


def context(source: Path, target: Path) -> Path:
    """A copy of what `docker build` sends of a folder. A directory that is ignored is not looked into."""
    ignored = Ignored((source / ".dockerignore").read_text(encoding="utf-8"))
    for folder, folders, files in os.walk(source):
        here = Path(folder).relative_to(source)
        folders[:] = [name for name in folders if not ignored((here / name).as_posix())]
        for name in files:
            if not ignored((here / name).as_posix()):
                (target / here).mkdir(parents=True, exist_ok=True)
                shutil.copy(source / here / name, target / here / name)
    return target


@dataclass
class _Stage:
    environment: dict[str, str]
    workdir: str = "/"
    user: User = field(default_factory=lambda: _builder())
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


class Build:
    """Follows the Dockerfile of a folder.

    Args:
        source: the folder, with Dockerfile and .dockerignore.
        folder: an empty one, which other users may enter.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self._steps = list(instructions((source / "Dockerfile").read_text(encoding="utf-8")))
        self._root = folder / "image"
        self._stages = folder / "stages"
        self._base = folder / "base"
        self._home = folder / "home"
        for path in (self._root, self._stages, self._base, self._home):
            path.mkdir()
        _give(self._base, _builder())
        _give(self._home, _builder())
        self._context = context(source, folder / "context")
        self._version = ""
        own = sorted({Path(path).parts[1] for path in self._own_paths()})
        self._own = re.compile(rf"(?<![\w.-])/({'|'.join(map(re.escape, own))})(?![\w.-])")

    def run(self) -> Image:
        """Follow all steps."""
        stage = None
        name = ""
        for step in self._steps:
            if step.word == "FROM":
                if stage is not None:
                    self._root.rename(self._stages / name)
                name = (step.words[2:3] or ["final"])[0]
                stage = self._from(step)
            else:
                assert stage is not None
                self._step(step, stage)
        assert stage is not None
        return Image(
            self._root,
            self._base,
            self._version,
            stage.user,
            self._path(stage.workdir),
            stage.environment,
            stage.command,
            stage.health,
        )

    def _own_paths(self) -> Iterator[str]:
        for step in self._steps:
            if step.word in {"WORKDIR", "VOLUME", "COPY"} and step.words[-1].startswith("/"):
                yield step.words[-1]

    def _here(self, text: str) -> str:
        return self._own.sub(lambda match: f"{self._root}{match[0]}", text)

    def _path(self, path: str, workdir: str = "/") -> Path:
        return self._root / os.path.join(workdir, path).lstrip("/")

    def _from(self, step: Instruction) -> _Stage:
        wanted = re.match(r"python:(\d+\.\d+)(?:\.\d+)?-slim", step.rest)
        assert wanted, f"no stand-in for FROM {step.rest}"
        if not self._version:
            self._version = make_python(wanted[1], self._base)
        self._root.mkdir(exist_ok=True)
        _give(self._root, _builder())
        return _Stage({"PATH": f"{self._base / 'bin'}:/usr/bin:/bin"})

    def _step(self, step: Instruction, stage: _Stage) -> None:
        match step.word:
            case "ENV":
                for name, value in re.findall(r"(\w+)=(\S+)", step.rest):
                    stage.environment[name] = self._here(string.Template(value).substitute(stage.environment))
            case "WORKDIR":
                stage.workdir = step.rest
                path = self._path(step.rest)
                path.mkdir(exist_ok=True)
                _give(path, _builder())
            case "COPY":
                self._copy(step, stage)
            case "RUN":
                self._run(step, stage)
            case "USER":
                uid, gid = map(int, step.rest.split(":"))
                assert uid == gid
                stage.user = _user(uid)
            case "CMD":
                stage.command = [self._here(word) for word in json.loads(step.rest)]
            case "HEALTHCHECK":
                stage.health = [self._here(word) for word in json.loads(step.rest.removeprefix("CMD"))]
            case "VOLUME" | "EXPOSE":
                pass
            case _:
                raise AssertionError(f"this Dockerfile has a step that nothing here can follow: {step.word}")

    def _copy(self, step: Instruction, stage: _Stage) -> None:
        assert set(step.flags) <= {"from", "chown"}
        source = self._stages / step.flags["from"] if "from" in step.flags else self._context
        owner = _user(int(step.flags["chown"].partition(":")[0])) if "chown" in step.flags else _builder()
        *names, last = step.words
        target = self._path(last, stage.workdir)
        for name in names:
            found = source / name.lstrip("/")
            if found.is_dir():
                shutil.copytree(found, target, symlinks=True)
                _give(target, owner)
            else:
                target.mkdir(exist_ok=True)
                assert last.endswith("/")
                _give(Path(shutil.copy(found, target)), owner)

    def _run(self, step: Instruction, stage: _Stage) -> None:
        assert not step.flags
        machine = {name: value for name, value in os.environ.items() if _FOR_RUN.match(name)}
        done = subprocess.run(
            ["/bin/sh", "-c", self._here(step.rest)],
            cwd=self._path(stage.workdir),
            env={**_pip_settings(), **machine, "HOME": str(self._home), **stage.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            umask=0o022,
            check=False,
            **stage.user.options(),
        )
        assert done.returncode == 0, f"RUN {step.rest}\n{done.stdout}\n{done.stderr}"


def make_python(version: str, target: Path) -> str:
    """An empty virtual environment with pip, of a Python that another user may run. Returns its version."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    names = [f"python{version}", "python3"]
    candidates = [Path(folder, name) for name in names for folder in folders]
    for python in [*candidates, Path(sys.executable)]:
        try:
            said = _as_builder(
                python, "-c", "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])", cwd=target
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        if tuple(map(int, said.split("."))) < (3, 11):
            continue
        _as_builder(python, "-m", "venv", target, cwd=target)
        return said.strip()
    raise AssertionError("there is no Python 3.11 or later with venv that another user may run")


def _as_builder(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=_TIMEOUT_S,
        umask=0o022,
        check=True,
        **_builder().options(),
    )
    return str(done.stdout)


def _builder() -> User:
    """Who stands for the image's root: somebody who owns nothing here."""
    known = {entry.pw_uid for entry in pwd.getpwall()}
    return _user(next(uid for uid in range(_BUILDER, _BUILDER + 1000) if uid not in known))


def _user(uid: int) -> User:
    return User(uid if os.geteuid() == 0 else None)


def _give(path: Path, owner: User) -> None:
    if owner.uid is not None:
        for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
            os.chown(each, owner.uid, owner.uid, follow_symlinks=False)


def _pip_settings() -> dict[str, str]:
    """The machine's settings of pip, which may be in a file that other users cannot read, as variables."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60, check=False
    ).stdout
    return {f"PIP_{name.replace('-', '_').upper()}": value for name, value in _PIP_SETTINGS.findall(said)}
