"""The package hides the standard library's socketserver, and stands in for it.

Everything runs in child processes without site-packages, so that nothing but the checkout and the standard library can
be imported: the names must work before any dependency is installed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# What a checkout looks like to `python -m`: the current directory comes before the standard library.
PREAMBLE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "


def python(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run code with the checkout first on the path and no site-packages at all."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", *flags, "-c", PREAMBLE + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import http.server; assert issubclass(http.server.HTTPServer, http.server.socketserver.TCPServer)",
        "from http.server import ThreadingHTTPServer as S, socketserver as s; assert issubclass(S, s.ThreadingMixIn)",
        "import logging.config; assert logging.config.ThreadingTCPServer",
        "import xmlrpc.server; assert xmlrpc.server.SimpleXMLRPCServer",
        "import wsgiref.simple_server",
        "import pydoc",
        "from socketserver import *; assert TCPServer and StreamRequestHandler and ThreadingMixIn",
        "from socketserver import TCPServer, ThreadingMixIn; type('Server', (ThreadingMixIn, TCPServer), {})",
    ],
)
def test_standard_modules_find_what_they_import(code: str) -> None:
    """http.server, logging.config and the others are built on the standard socketserver."""
    done = python(code + "; import socketserver; assert socketserver.__version__, 'not ours'")
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_handed_on() -> None:
    """As many as the standard module has in __all__, with its own __all__."""
    done = python(
        "import importlib.util, os, sysconfig, socketserver; "
        "spec = importlib.util.spec_from_file_location('standard', sysconfig.get_path('stdlib') + '/socketserver.py'); "
        "standard = importlib.util.module_from_spec(spec); spec.loader.exec_module(standard); "
        "assert socketserver.__all__ == standard.__all__; "
        "assert all(getattr(socketserver, name) for name in standard.__all__); "
        "assert socketserver.BaseServer.__module__ == 'socketserver'"
    )
    assert done.returncode == 0, done.stderr


def test_a_class_is_the_same_whoever_asks() -> None:
    """isinstance and pickle go by the identity of the class: there is one of each, whichever way it is imported."""
    done = python(
        "import pickle, socketserver, http.server, xmlrpc.server; from socketserver import BaseServer, TCPServer; "
        "assert socketserver.TCPServer is TCPServer is http.server.socketserver.TCPServer; "
        "assert xmlrpc.server.SimpleXMLRPCServer.__mro__[1] is TCPServer; "
        "assert pickle.loads(pickle.dumps(TCPServer)) is TCPServer; "
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler); "
        "assert isinstance(server, TCPServer) and isinstance(server, BaseServer); server.server_close()"
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_else() -> None:
    """Not the standard module either, until one of its names is asked for."""
    done = python(
        "before = set(sys.modules); import socketserver; after = set(sys.modules) - before; "
        "assert after == {'socketserver'}, after; assert '_standard' not in vars(socketserver)"
    )
    assert done.returncode == 0, done.stderr


def test_names_that_nobody_has() -> None:
    """An AttributeError as of any module; private names of the standard module stay its own."""
    done = python(
        "import socketserver\n"
        "for name in ('nonsense', '_ServerSelector', '__path_of_nothing__'):\n"
        "    assert not hasattr(socketserver, name), name\n"
        "try:\n    socketserver.nonsense\n"
        "except AttributeError as error:\n    assert 'socketserver' in str(error) and 'nonsense' in str(error)\n"
        "try:\n    from socketserver import nonsense\n"
        "except ImportError:\n    pass\nelse:\n    raise SystemExit('imported')\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_server_of_the_standard_library_serves() -> None:
    """Not only names: a request goes through http.server from end to end."""
    done = python(
        "import http.client, http.server, threading\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(204); self.end_headers()\n"
        "    def log_message(self, *args):\n        pass\n"
        "with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:\n"
        "    threading.Thread(target=server.serve_forever).start()\n"
        "    connection = http.client.HTTPConnection(*server.server_address)\n"
        "    connection.request('GET', '/')\n"
        "    assert connection.getresponse().status == 204\n"
        "    connection.close(); server.shutdown()\n"
    )
    assert done.returncode == 0, done.stderr


def test_python_m_socketserver_is_ours() -> None:
    """From the root of a checkout, where the current directory comes first."""
    done = subprocess.run(
        [sys.executable, "-m", "socketserver", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "chat" in done.stdout.lower()
    assert "token" in done.stdout
