"""Dockerfile, compose.yaml and the files in deploy/ fit the code: names of settings, and times and sizes that depend on
one another."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from socketserver import cli
from socketserver.settings import Settings, variable
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.node import require

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
NGINX = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
CADDY = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")
UNIT = ROOT / "deploy" / "socketserver.service"
FILES = [ROOT / "Dockerfile", ROOT / ".dockerignore", ROOT / "compose.yaml", *sorted((ROOT / "deploy").iterdir())]
# The only secrets and addresses that nobody can choose for whoever starts it.
REQUIRED = {"WEBSOCKET_JWT_SECRET", "WEBSOCKET_SESSION_SECRET", "WEBSOCKET_ALLOWED_ORIGINS"}


def number(pattern: str, text: str) -> float:
    """The number that the only match of a pattern captures."""
    (found,) = re.findall(pattern, text, flags=re.M)
    return float(found)


def default(field: str) -> float:
    return float(Settings.model_fields[field].default)


@pytest.mark.parametrize("path", [path for path in FILES if path.is_file()], ids=lambda path: path.name)
def test_variables_exist(path: Path) -> None:
    """A deployment file names no WEBSOCKET_… variable that is no setting."""
    known = {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"\bWEBSOCKET_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))) <= known


def test_the_image_has_the_python_that_the_package_asks_for() -> None:
    """Both stages have the same Python, by its version, and the package runs on it."""
    stages = re.findall(
        r"^FROM python:(\d+)\.(\d+)\.\d+-\S+", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.M
    )
    assert len(stages) == 2
    assert len(set(stages)) == 1
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    least = re.fullmatch(r">=(\d+)\.(\d+)", setup["options"]["python_requires"])
    assert least
    assert tuple(map(int, stages[0])) >= tuple(map(int, least.groups()))


# Times and sizes


def test_nginx_lets_idle_clients_live() -> None:
    """Its timeouts are longer than a ping and its answer take."""
    longest_s = default("ping_interval_s") + default("ping_timeout_s")
    assert number(r"^\s*proxy_read_timeout (\d+)s;", NGINX) > longest_s
    assert number(r"^\s*proxy_send_timeout (\d+)s;", NGINX) > longest_s


def test_proxies_take_the_largest_event() -> None:
    """A body that the server would take, or would answer with what is too large, is not refused by the proxy."""
    assert number(r"^\s*client_max_body_size\s+(\d+)m;", NGINX) * 1_048_576 > default("max_skipped_bytes")
    assert number(r"^\s*max_size (\d+)MB", CADDY) * 1_000_000 > default("max_skipped_bytes")
    assert default("max_skipped_bytes") > default("max_event_bytes")


def test_proxies_close_idle_connections_first() -> None:
    """Else a request could meet a connection that the server is just closing."""
    assert number(r"^\s*keepalive_timeout (\d+)s;", NGINX) < cli.KEEPALIVE_S
    assert number(r"^\s*keepalive (\d+)s", CADDY) < cli.KEEPALIVE_S


def test_there_is_time_to_stop() -> None:
    """Nothing kills the server while it stops in order."""
    longest_s = default("shutdown_s")
    assert number(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(encoding="utf-8")) > longest_s
    assert number(r"^(\d+)s$", COMPOSE["services"]["server"]["stop_grace_period"]) > longest_s


# compose.yaml


def test_compose_is_of_the_schema(tmp_path: Path) -> None:
    """Every key is one that Docker Compose knows, with a value of its type; and a wrong one would be seen."""

    def check(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = check(ROOT / "compose.yaml")
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE_TEXT.replace("stop_grace_period", "stop_grace_time"), encoding="utf-8")
    assert "stop_grace_time" in check(wrong).stdout


def test_compose_names_what_it_has() -> None:
    """Networks, volumes and services that are named are there, and those that are there are used."""
    services = COMPOSE["services"]
    networks = {name for service in services.values() for name in service["networks"]}
    assert networks == set(COMPOSE["networks"])
    mounts = [volume.split(":")[0] for service in services.values() for volume in service["volumes"]]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])
    assert all((ROOT / mount).exists() for mount in mounts if mount.startswith("."))
    healthy = {name for service in services.values() for name in service.get("depends_on", {})}
    for name in healthy:
        assert "healthcheck" in services[name] or services[name].get("build") == "."  # the Dockerfile has one
    assert all(
        wish == {"condition": "service_healthy"}
        for service in services.values()
        for wish in service.get("depends_on", {}).values()
    )


def test_compose_says_what_is_missing() -> None:
    """A secret that is not set stops `docker compose` with a sentence; none has a default."""
    required = dict(re.findall(r"\$\{(\w+):\?([^}]+)\}", COMPOSE_TEXT))
    assert set(required) == REQUIRED
    assert all(message.startswith("set it in .env") for message in required.values())
    assert set(re.findall(r"\$\{(\w+):-", COMPOSE_TEXT)) == {
        "CHAT_DOMAIN",
        "WEBSOCKET_STORE_URL",
        "WEBSOCKET_TRUSTED_PROXIES",
    }


def filled_in(value: str, given: Mapping[str, str]) -> str:
    """A text of compose.yaml with its variables, as Compose puts them in: what is given, or the default."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?[^}]*\}", lambda found: given.get(found[1]) or found[2], value)


def test_the_server_of_compose_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables, with those of the image and the required ones, are settings that can be used."""
    image = dict(re.findall(r"(WEBSOCKET_\w+)=(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
    given = {
        "WEBSOCKET_JWT_SECRET": "s" * 32,
        "WEBSOCKET_SESSION_SECRET": "t" * 32,
        "WEBSOCKET_ALLOWED_ORIGINS": "https://app.example.com",
    }
    assert set(given) == REQUIRED
    environment = COMPOSE["services"]["server"]["environment"]
    for name, value in (image | environment).items():
        monkeypatch.setenv(name, filled_in(value, given))
    settings = Settings()
    assert settings.host == "0.0.0.0"
    assert not settings.development_login
    subnet = COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"]
    assert [str(network) for network in settings.trusted_proxies] == [subnet]
    host, port, database = re.fullmatch(r"mongodb://(\w+):(\d+)/(\w+)\?replicaSet=rs0", settings.store_url).groups()  # type: ignore[union-attr]
    assert (host, port, database) == ("mongo", "27017", "chat")


def test_compose_takes_another_store_from_dot_env() -> None:
    """It had its own address for the store and for the proxies, whatever .env said."""
    environment = COMPOSE["services"]["server"]["environment"]
    for name, value in (
        ("WEBSOCKET_STORE_URL", "mongodb://a,b,c/chat?replicaSet=rs1"),
        ("WEBSOCKET_TRUSTED_PROXIES", "10.0.0.7"),
    ):
        assert filled_in(environment[name], {name: value}) == value


def test_only_the_proxy_is_published() -> None:
    """The server's port is open on this machine only, MongoDB's nowhere, and its network leads nowhere."""
    published = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert published == {"server": ["127.0.0.1:3001:3001"], "mongo": [], "caddy": ["80:80", "443:443"]}
    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert COMPOSE["services"]["mongo"]["networks"] == ["back"]


REPLICA_SET = """
// The mongosh check of compose.yaml against a member in each of its states.
const script = process.argv[1];
const seen = {};
for (const state of ["new", "electing", "primary", "broken"]) {
  let began = 0;
  const rs = {
    status() {
      if (state === "new") throw Object.assign(new Error("no replset config"), { codeName: "NotYetInitialized" });
      if (state === "broken") throw Object.assign(new Error("broken"), { codeName: "InvalidReplicaSetConfig" });
      return { ok: 1 };
    },
    initiate(config) { began += 1; seen.config = config; return { ok: 1 }; },
  };
  const db = { hello: () => ({ isWritablePrimary: state === "primary" }) };
  let status = null;
  try {
    new Function("rs", "db", "quit", script)(rs, db, (code) => { status = code; });
  } catch (error) { status = error.codeName; }
  seen[state] = [began, status];
}
console.log(JSON.stringify(seen));
"""


def test_the_replica_set_is_begun_once() -> None:
    """The health check of MongoDB begins the replica set where there is none, and passes for a primary only."""
    require(None if shutil.which("node") else "Node.js is not installed")
    *_, script = COMPOSE["services"]["mongo"]["healthcheck"]["test"]
    done = subprocess.run(
        ["node", "--eval", REPLICA_SET, script], capture_output=True, text=True, timeout=60, check=True
    )
    seen = json.loads(done.stdout)
    assert seen.pop("config") == {"_id": "rs0", "members": [{"_id": 0, "host": "mongo:27017"}]}
    assert "rs0" in COMPOSE["services"]["mongo"]["command"]
    assert seen == {"new": [1, 1], "electing": [0, 1], "primary": [0, 0], "broken": [0, "InvalidReplicaSetConfig"]}


# The systemd unit


def unit_for_here(folder: Path) -> Path:
    """The unit, with the command of the virtual environment that runs the tests."""
    text = UNIT.read_text(encoding="utf-8")
    command = Path(sys.executable).with_name("chat-socketserver")
    assert text.count("ExecStart=/opt/socketserver/venv/bin/chat-socketserver\n") == 1
    path = folder / UNIT.name
    path.write_text(text.replace("/opt/socketserver/venv/bin/chat-socketserver", str(command)), encoding="utf-8")
    return path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    require(None if shutil.which("systemd-analyze") else "systemd-analyze is not installed")
    return subprocess.run(
        ["systemd-analyze", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """No unknown key, no value that it does not understand; and it would say so."""
    unit = unit_for_here(tmp_path)
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout) == (0, "")
    unit.write_text(unit.read_text(encoding="utf-8").replace("TimeoutStopSec=20", "TimeoutStopSec=soon"))
    assert "Failed to parse time value" in analyze("verify", "--man=no", unit).stdout


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    """By systemd's own measure at most 2.0 of 10."""
    done = analyze("security", "--offline=yes", "--threshold=20", "--no-pager", unit_for_here(tmp_path))
    assert done.returncode == 0, done.stdout


def test_the_unit_does_not_try_again_with_bad_settings() -> None:
    """Settings that cannot be used end with the status for which systemd does not restart."""
    unit = UNIT.read_text(encoding="utf-8")
    status = int(number(r"^RestartPreventExitStatus=(\d+)$", unit))
    done = subprocess.run(
        [sys.executable, "-m", "socketserver", "--port", "none"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == status


# What is pinned


def pinned() -> dict[str, tuple[str, int]]:
    """The image's dependencies: name → (version, how many hashes)."""
    text = (ROOT / "deploy" / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)\s.*", line).groups()  # type: ignore[union-attr]
        found[canonicalize_name(name)] = (version, len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line)))
    return found


def test_the_image_s_dependencies_are_pinned() -> None:
    """Two builds of one Dockerfile had different dependencies: each has one version, which setup.cfg allows, and its
    hashes; and pip is told to hold them to it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found = pinned()
    assert wanted
    for requirement in wanted:
        assert found[canonicalize_name(requirement.name)][0] in requirement.specifier
    assert all(hashes for _, hashes in found.values())
    assert "install --require-hashes" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_dependency_that_is_installed_is_pinned() -> None:
    """None is left out that one of them brings along."""
    found = pinned()
    todo = ["chat-socketserver"]
    seen: set[str] = set()
    while todo:
        for text in metadata.requires(todo.pop()) or ():
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            extra = "secure" if "aiohttp-session" in text or "secure" in text else ""
            if name not in seen and (requirement.marker is None or requirement.marker.evaluate({"extra": extra})):
                seen.add(name)
                todo.append(name)
    assert {"aiohttp", "cffi", "pydantic-core", "python-engineio"} <= seen
    assert seen <= set(found)


def test_images_are_named_by_their_whole_version() -> None:
    """No image is another one next month."""
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.M)
    images += [service["image"] for service in COMPOSE["services"].values() if "build" not in service]
    assert len(images) == 4
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+(-[\w.-]+)?(@sha256:[0-9a-f]{64})?", image), image


# What is bounded


def test_every_container_is_bounded() -> None:
    """Memory, processes, the log, and what its user may become."""
    for name, service in COMPOSE["services"].items():
        assert service["mem_limit"] == service["memswap_limit"], name
        assert service["pids_limit"] > 0, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name
    for name in ("server", "caddy"):
        service = COMPOSE["services"][name]
        assert (service["cap_drop"], service["read_only"]) == (["ALL"], True), name


def test_the_unit_is_bounded() -> None:
    """Memory, descriptors, tasks; nothing it writes may be read by others, and no core of it lies about."""
    unit = UNIT.read_text(encoding="utf-8")
    assert number(r"^LimitNOFILE=(\d+)$", unit) >= 65_536
    assert number(r"^TasksMax=(\d+)$", unit) > 0
    for line in ("MemoryMax=1G", "MemorySwapMax=0", "LimitCORE=0", "UMask=0077", "NoNewPrivileges=yes"):
        assert f"\n{line}\n" in unit


def test_nginx_has_room_for_the_server_s_own_limits() -> None:
    """nginx's bound of connections is above the server's, which can say what it is; a head is bounded."""
    assert number(r"^\s*limit_conn\s+chat_address (\d+);", NGINX) > default("max_connections_address")
    assert number(r"^\s*large_client_header_buffers \d+ (\d+)k;", NGINX) > 32
    assert number(r"^\s*max_header_size (\d+)KB", CADDY) > 32
