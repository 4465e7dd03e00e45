"""What `socketserver check` is tried on: nginx with good and bad settings, certificates, servers that answer badly."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import io
import json
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from socketserver.check import lines
from socketserver.check.course import Step
from socketserver.cli import main
from typing import Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .node import require
from .ports import held_port
from .waiting import DEADLINE_S, eventually

# Debian puts it where only root's PATH leads.
NGINX: Final = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

STEPS = [
    "name",
    "port",
    "certificate",
    "ready",
    "handshake",
    "polling",
    "websocket",
    "upgrade",
    "origin",
    "authentication",
    "message",
    "ping",
    "clock",
]
UPGRADE: Final = """
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
"""
HOST: Final = "proxy_set_header Host $http_host;"


@dataclass(frozen=True)
class Outcome:
    """What a check came to: its exit status and its JSON object."""

    status: int
    report: dict[str, Any]

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        return {step["name"]: step for step in self.report["steps"]}

    @property
    def faults(self) -> dict[str, str]:
        """The failed steps with their causes."""
        return {name: step["cause"] for name, step in self.steps.items() if step["status"] == "failed"}

    @property
    def skipped(self) -> set[str]:
        return {name for name, step in self.steps.items() if step["status"] == "skipped"}

    @property
    def text(self) -> str:
        """The same as lines, each wrapped one put together again."""
        return " ".join("".join(lines(Step(**step)) for step in self.report["steps"]).split())


async def check(url: str, *arguments: str, token: str | None = None) -> Outcome:
    """`socketserver check URL --json`, as the command line runs it, in a thread of this process."""
    out = io.StringIO()
    before = os.environ.pop("WEBSOCKET_CHECK_TOKEN", None)
    if token is not None:
        os.environ["WEBSOCKET_CHECK_TOKEN"] = token
    try:
        with contextlib.redirect_stdout(out):
            async with asyncio.timeout(6 * DEADLINE_S):
                status = await asyncio.to_thread(main, ["check", url, "--json", *arguments])
    finally:
        os.environ.pop("WEBSOCKET_CHECK_TOKEN", None)
        if before is not None:
            os.environ["WEBSOCKET_CHECK_TOKEN"] = before
    outcome = Outcome(status, json.loads(out.getvalue()))
    assert outcome.report["ok"] == (not outcome.faults) == (status == 0)
    return outcome


def assert_after(outcome: Outcome, name: str) -> None:
    """Nothing was tried after the step that failed, and each later step says why."""
    for later in STEPS[STEPS.index(name) + 1 :]:
        assert outcome.steps[later]["status"] == "skipped"
        assert outcome.steps[later]["seen"]


@contextlib.asynccontextmanager
async def nginx(directory: Path, *targets: str, location: str = UPGRADE + HOST, server: str = "") -> AsyncIterator[int]:
    """Run nginx in front of the servers at these addresses. Yields its port.

    Args:
        location: directives for the one location there is.
        server: directives beside `listen`; with `ssl_certificate` among them it speaks TLS.
    """
    require(None if NGINX else "nginx is not installed")
    directory.mkdir(exist_ok=True)
    with held_port() as port:
        async with _nginx(directory, port, targets, location, server):
            yield port


@contextlib.asynccontextmanager
async def _nginx(
    directory: Path, port: int, targets: tuple[str, ...], location: str, server: str
) -> AsyncIterator[None]:
    assert NGINX is not None
    upstream = "".join(f"server {target.removeprefix('http://')};" for target in targets)
    tls = " ssl" if "ssl_certificate" in server else ""
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;
        events {{}}
        http {{
            access_log off; {temporary}
            upstream chat {{ {upstream} }}
            server {{
                listen 127.0.0.1:{port}{tls}; {server}
                location / {{ proxy_pass http://chat; {location} }}
            }}
        }}""")
    process = await asyncio.create_subprocess_exec(
        NGINX,
        "-p",
        str(directory),
        "-c",
        str(directory / "nginx.conf"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert process.returncode is None, (directory / "error.log").read_text()
        with socket.socket() as knocking:
            return knocking.connect_ex(("127.0.0.1", port)) == 0

    try:
        await eventually("nginx listens", listens)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def nginx(self) -> str:
        return f"ssl_certificate {self.certificate}; ssl_certificate_key {self.key};"

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Authority:
    """Makes certificates. `file` is its own, for SSL_CERT_FILE."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority of a test")])
        own = self._builder(self._name, self._key, -1, 2).add_extension(x509.BasicConstraints(True, None), True)
        self.file = directory / "authority.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, from_days: int = -1, to_days: int = 30) -> Certificate:
        """A certificate for these names, valid between two days counted from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = self._builder(subject, key, from_days, to_days).add_extension(alternatives, False)
        file = self._directory / f"{names[0]}{from_days}.pem"
        file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        key_file = file.with_suffix(".key")
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Certificate(file, key_file)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, from_days: int, to_days: int
    ) -> x509.CertificateBuilder:
        today = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today + datetime.timedelta(days=from_days))
            .not_valid_after(today + datetime.timedelta(days=to_days))
        )


@contextlib.asynccontextmanager
async def raw(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A TCP server that gives every connection to `answer`, and closes it then. Yields its address."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                await answer(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over; the streams' own callback would report it
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def pretending(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], *, context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """An HTTP server that is none of ours: `handler` answers whatever is asked. Yields its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"http{'s' if context else ''}://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def nothing(request: web.Request) -> web.StreamResponse:
    """For `pretending`: 404 for whatever is asked."""
    return web.Response(status=404, text="Not found")


async def read_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """For `raw`: take something, answer nothing."""
    await reader.read(1)
