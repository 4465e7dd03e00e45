"""nginx and Caddy with the shipped files, in front of a server under test.

The files are taken whole. Of nginx.conf the listening addresses, the upstream and the certificate are replaced, of
Caddyfile only how it is stopped: it takes its addresses from the environment, and here speaks plain HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.node import require
from support.ports import held_port

ROOT: Final = Path(__file__).resolve().parents[2]
NGINX_CONF: Final = ROOT / "deploy" / "nginx.conf"
CADDYFILE: Final = ROOT / "deploy" / "Caddyfile"
DEADLINE_S: Final = 30.0
# Stands for the IPv6 addresses in nginx.conf, which not every machine has.
SECOND_ADDRESS: Final = "127.0.0.9"

Kind = Literal["nginx", "caddy"]
KINDS: Final[tuple[Kind, ...]] = ("nginx", "caddy")

# What has to stand around nginx.conf. Old processes are ended soon after a reload, as its first comment advises.
MAIN: Final = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr notice;
worker_processes 1;
worker_shutdown_timeout 1s;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/chat.conf;
}}
"""


class Proxy:
    """One that runs.

    Attributes:
        url: where clients find it.
        plain_port: of nginx: where it listens without TLS.
        tls: what trusts its certificate, for clients in this process; False where there is none to check.
        options: the same for JavaScript clients.
    """

    def __init__(
        self, url: str, plain_port: int, certificate: Path | None, process: asyncio.subprocess.Process
    ) -> None:
        self.url = url
        self.plain_port = plain_port
        self.tls: ssl.SSLContext | bool = False
        self.options: dict[str, Any] = {}
        if certificate is not None:
            self.tls = ssl.create_default_context(cafile=str(certificate))
            self.options = {"ca": certificate.read_text(encoding="ascii")}
        self._process = process

    def reload(self) -> None:
        """Let it read its files again: nginx -s reload."""
        self._process.send_signal(signal.SIGHUP)


@contextlib.asynccontextmanager
async def proxying(
    kind: Kind, upstream: int, folder: Path, *, change: Callable[[str], str] = lambda text: text
) -> AsyncIterator[Proxy]:
    """Run a proxy with its shipped file in front of a port of this machine.

    Args:
        folder: an empty one.
        change: what is different in the shipped file.
    """
    folder.mkdir()
    make = _nginx if kind == "nginx" else _caddy
    with held_port() as port, held_port() as plain_port:
        url, command, environment, certificate = make(upstream, port, plain_port, folder, change)
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            assert await _listens(process, port), (folder / "log").read_text(encoding="utf-8")[-4000:]
            yield Proxy(url, plain_port, certificate, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), DEADLINE_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _listens(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until it listens; False if it has ended instead."""
    async with asyncio.timeout(DEADLINE_S):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return True
    return False


Made = tuple[str, list[str], Mapping[str, str], Path | None]


def _nginx(upstream: int, port: int, plain_port: int, folder: Path, change: Callable[[str], str]) -> Made:
    program = _program("nginx")
    certificate, key = _certificate(folder)
    text = change(NGINX_CONF.read_text(encoding="utf-8"))
    for shipped, here in {
        "listen 80;": f"listen 127.0.0.1:{plain_port};",
        "listen [::]:80;": f"listen {SECOND_ADDRESS}:{plain_port};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:443 ssl;": f"listen {SECOND_ADDRESS}:{port} ssl;",
        "server 127.0.0.1:3001;": f"server 127.0.0.1:{upstream};",
        "/etc/letsencrypt/live/chat.example.com/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/chat.example.com/privkey.pem": str(key),
    }.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    (folder / "chat.conf").write_text(text, encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(user=user, folder=folder), encoding="utf-8")
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return f"https://127.0.0.1:{port}", command, os.environ, certificate


def _caddy(upstream: int, port: int, plain_port: int, folder: Path, change: Callable[[str], str]) -> Made:
    program = _program("caddy")
    text = change(CADDYFILE.read_text(encoding="utf-8"))
    assert text.count("grace_period 10s") == 1
    # Quicker at the end, and without the port over which Caddy is told what to do, one for the whole machine.
    text = text.replace("grace_period 10s", "admin off\n\tgrace_period 100ms")
    (folder / "Caddyfile").write_text(text, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    own = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    environment = {**os.environ, **own, "CHAT_DOMAIN": url, "CHAT_UPSTREAM": f"127.0.0.1:{upstream}"}
    return url, [program, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")], environment, None


def _program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    require(None if path else f"{name} is not installed")
    assert path is not None
    return path


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "chat.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
