"""What lies below HTTP: a name, a port, a certificate. Every function waits as long as its caller lets it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509

from .causes import Fault

CLOSE_S: Final = 1.0
_UNREACHABLE: Final = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
# X509_V_ERR_… of OpenSSL.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_WRONG_NAME: Final = {62, 64}


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, in the order in which they should be tried.

    Raises: Fault.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def finish(addresses: list[str], error: Exception | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look_up() -> None:
        addresses: list[str] = []
        fault = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        except (OSError, ValueError) as error:  # ValueError: a name that no name can be
            text = error.strerror if isinstance(error, OSError) and error.strerror else "no such name"
            fault = Fault("name_unresolved", f"{host}: {text}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, addresses, fault)

    # A thread of our own: asyncio's would keep the process from ending while the resolver waits.
    threading.Thread(target=look_up, daemon=True).start()
    return await found


async def connect(addresses: Sequence[str], port: int, *, each_s: float) -> str:
    """The first address at which the port answers.

    Args:
        each_s: how long one address may take.
    Raises: Fault.
    """
    faults = []
    for address in addresses:
        try:
            async with asyncio.timeout(each_s):
                _, writer = await asyncio.open_connection(address, port)
        except TimeoutError:
            faults.append(Fault("port_timeout", f"{address} port {port}: no answer within {each_s:g} s"))
        except OSError as error:
            code = "port_unreachable" if error.errno in _UNREACHABLE else "port_closed"
            faults.append(Fault(code, f"{address} port {port}: {os.strerror(error.errno or errno.ECONNABORTED)}"))
        else:
            await _close(writer)
            return address
    raise next((fault for fault in faults if fault.code == "port_closed"), faults[0])


async def certificate(address: str, port: int, host: str, context: ssl.SSLContext) -> str:
    """Do a TLS handshake as a browser would. Returns: until when the certificate is valid, as a sentence.

    Raises: Fault.
    """
    try:
        _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        seen = error.verify_message
        if error.verify_code in _WRONG_NAME:
            raise Fault("certificate_name", f"it is for {await _names(address, port, host)}, not for {host}") from None
        if error.verify_code == _EXPIRED:
            raise Fault("certificate_expired", seen) from None
        if error.verify_code == _NOT_YET_VALID:
            raise Fault("certificate_not_yet_valid", seen) from None
        raise Fault("certificate_untrusted", seen) from None
    except ssl.SSLError as error:
        code = "not_tls" if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"} else "tls_failed"
        raise Fault(code, (error.reason or str(error)).replace("_", " ").lower()) from None
    except OSError as error:
        raise Fault("tls_failed", error.strerror or "the connection was closed") from None
    try:
        version = writer.get_extra_info("ssl_object").version()
        ends_s = ssl.cert_time_to_seconds(str(writer.get_extra_info("peercert")["notAfter"]))
    finally:
        await _close(writer)
    return f"good for {host}, {int((ends_s - time.time()) // 86400)} more days, {version}"


async def _names(address: str, port: int, host: str) -> str:
    """The names in the certificate of a server that failed the check."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only to read what it shows; nothing is sent
    try:
        _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=host)
    except OSError:
        return "another name"
    try:
        shown: Any = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        await _close(writer)
    try:
        names = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return "no name"
    return ", ".join(str(name.value) for name in list(names.value)[:5])


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
