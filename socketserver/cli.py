"""The command line: `serve` (the default), `check`, `token`, `types` and `copy`.

Exit status: 0 after a stop by signal or work that is done, 1 when the server cannot start, a copy is not complete or a
check has found a fault, 2 for settings or arguments that cannot be used, 130 or 143 when a second SIGINT or SIGTERM
ended it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from . import __version__, check, logs, stdio
from .app import SHUTDOWN, create_app, make_runner
from .chat.domain import SystemClock, UserId
from .door.auth import Authenticator
from .door.listening import BACKLOG, CannotListen, Listeners
from .errors import Overloaded, StoreUnavailable
from .settings import Settings, SettingsError, flag, load_settings, unknown_variables, variable
from .stopping import Stop
from .store import open_store
from .store.base import Copyable
from .store.copying import CopyError, Progress, copy_store
from .wire import typescript
from .wire.protocol import PATH

TOKEN_LIFETIME_S: Final = 24 * 3600
# Of the time that a stop may take, what plain HTTP requests under way may; once to end, and once more to be cancelled.
REQUESTS_SHARE: Final = 0.05
# How long a connection may be idle, or take for the head of a request. Longer than proxies keep theirs (nginx: 60 s).
KEEPALIVE_S: Final = 75.0

# Objects made since the last collection at which the cyclic garbage collector looks at the young ones. With Python's
# 700 it looks at what a few messages in progress hold, again and again: an eighth of a busy server's CPU time.
GARBAGE_THRESHOLD: Final = 50_000

log = logs.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns: the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in {"-h", "--help", "--version"}):
        arguments = ["serve", *arguments]
    options = parser.parse_args(arguments)
    flags = {
        name: value for name, value in vars(options).items() if name in Settings.model_fields and value is not None
    }
    try:
        if options.run == check.run:  # it looks at another server, whatever the settings are here
            return check.run(options)
        settings = load_settings(flags)
        return int(options.run(settings, options))
    except SettingsError as error:
        for line in error.lines:
            print(f"socketserver: {line}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="socketserver", description="A Socket.IO chat server for JavaScript front ends.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"socketserver {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="start the server (the default)", allow_abbrev=False)
    serve.set_defaults(run=_serve)
    checking = commands.add_parser("check", help="find out why clients cannot connect to a server", allow_abbrev=False)
    check.add_arguments(checking)
    checking.set_defaults(run=check.run)
    token = commands.add_parser("token", help="print a token for trying out", allow_abbrev=False)
    token.add_argument("user", help="the user's id")
    token.add_argument("--name", help="the name that others are shown; the id by default")
    token.add_argument("--picture", help="the address of a picture that others are shown; none by default")
    token.add_argument(
        "--lifetime-s", type=int, default=TOKEN_LIFETIME_S, help="how long it is valid, in seconds (default: one day)"
    )
    token.set_defaults(run=_token)
    types = commands.add_parser("types", help="print the events as TypeScript declarations", allow_abbrev=False)
    types.set_defaults(run=_types)
    copy = commands.add_parser("copy", help="move everything from one store to another", allow_abbrev=False)
    copy.add_argument("source", metavar="SRC_URL", help="the store to read, in the form of --store-url")
    copy.add_argument(
        "target", metavar="DST_URL", help="the store to fill; what a copy that broke off left is taken up"
    )
    copy.set_defaults(run=_copy)
    for command in (serve, token):
        settings = command.add_argument_group("settings", "each is also a variable: WEBSOCKET_… in capitals")
        for name in Settings.model_fields:
            if command is serve or name.startswith("jwt"):
                settings.add_argument(
                    flag(name), dest=name, metavar=_unit(name), help=_help(name).replace("%", "%%"), default=None
                )
    return parser


def _unit(name: str) -> str:
    extra = Settings.model_fields[name].json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    return unit.upper().replace("1/", "PER_") or "VALUE"


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    return f"{field.description} ({'not set' if default in (None, '') else default})"


def _token(settings: Settings, options: argparse.Namespace) -> int:
    try:
        token = Authenticator(settings, SystemClock()).issue_token(
            UserId(options.user), options.name, options.picture, lifetime_s=options.lifetime_s
        )
    except ValueError as error:
        raise SettingsError([str(error)]) from None
    print(token)
    return 0


def _types(settings: Settings, options: argparse.Namespace) -> int:
    print(typescript.declarations(settings), end="")
    return 0


def _copy(settings: Settings, options: argparse.Namespace) -> int:
    if options.source.startswith("sqlite:///") and not Path(options.source.removeprefix("sqlite:///")).is_file():
        raise SettingsError([f"there is no database {options.source}"])  # opening it would make an empty one
    stores = []
    for url in (options.source, options.target):
        try:
            stores.append(open_store(url))
        except ValueError as error:
            raise SettingsError([f"{_without_password(url)}: {error}"]) from None
    try:
        return asyncio.run(_run_copy(*stores))
    except KeyboardInterrupt:
        print("\nsocketserver: not complete: interrupted; start it again to go on", file=sys.stderr)
        return 130


async def _run_copy(source: Copyable, target: Copyable) -> int:
    terminal = sys.stderr.isatty()

    def show(progress: Progress) -> None:
        if terminal:
            print(f"\r{progress.bar()}", end="", file=sys.stderr, flush=True)
        elif progress.done == progress.total:
            print(progress.bar(), file=sys.stderr)

    try:
        try:
            await source.open()
            await target.open()
            copied = await copy_store(source, target, show)
        finally:
            await source.close()
            await target.close()
    except (CopyError, StoreUnavailable, Overloaded) as error:
        print(f"{chr(10) if terminal else ''}socketserver: not complete: {error}", file=sys.stderr)
        return 1
    end = "\n" if terminal else ""
    print(
        f"{end}copied and verified: {copied.conversations} conversations, {copied.messages} messages, "
        f"{copied.profiles} profiles"
    )
    return 0


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    stdio.take_over(settings.log_buffer_bytes)
    logs.configure(settings.log_level, settings.log_format)
    for name in unknown_variables():
        log.warning("unknown_variable", variable=name, help="it is no setting; see socketserver serve --help")
    try:
        import uvloop
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    return run(_run(settings))


async def _run(settings: Settings) -> int:
    try:
        app = create_app(settings)
    except ValueError as error:
        raise SettingsError([f"{variable('store_url')}: {error}"]) from None
    runner = make_runner(
        app,
        settings,
        access_log=None,
        shutdown_timeout=settings.shutdown_s * REQUESTS_SHARE,
        keepalive_timeout=KEEPALIVE_S,
        handle_signals=False,
    )
    stop = Stop(settings.shutdown_s)
    stop.listen(asyncio.get_running_loop())
    try:
        await runner.setup()
        listeners = Listeners(settings)
    except (StoreUnavailable, CannotListen) as error:
        print(f"socketserver: {error}", file=sys.stderr)
        await runner.cleanup()
        return 1
    for listener in listeners.sockets:
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
    gc.collect()
    gc.freeze()  # what was imported and set up stays: no collection needs to look at it again
    gc.set_threshold(GARBAGE_THRESHOLD)
    for place in listeners.places:
        log.info("listening", **place, version=__version__)
    for line in _banner(settings, listeners.addresses):
        print(line, flush=True)
    await stop.asked.wait()
    await app[SHUTDOWN].end_clients()  # first: a polling client that is between two polls has to get in once more
    await runner.cleanup()
    listeners.close()
    log.info("stopped")
    return 0


def _banner(settings: Settings, addresses: Sequence[str]) -> list[str]:
    """What is said at the start.

    Args:
        addresses: all that the server listens on.
    """
    lines = [
        f"socketserver {__version__} listens on {' and '.join(addresses)}",
        f"  store  {_without_password(settings.store_url)}",
    ]
    if settings.path_prefix:
        lines.append(f"  path   {settings.path_prefix}{PATH}")
    if settings.development_login:
        lines.append("  login  development: from this machine anybody may log in under any name")
        if settings.unix_socket is None:
            lines.append(f"  demo   {addresses[0]}{settings.path_prefix}/")
    else:
        lines.append(f"  login  tokens checked with {variable(settings.token_keys[0])}")
    return lines


def _without_password(url: str) -> str:
    """A store's address, without what may be a secret: the password and the options of a MongoDB URL.

    Not by urlsplit: MongoDB's passwords may have characters that end the host of other URLs.
    """
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("mongodb"):
        return url
    login, _, place = rest.rpartition("@")
    user = f"{login.partition(':')[0]}:***@" if login else ""
    return f"{scheme}://{user}{place.partition('?')[0]}"
