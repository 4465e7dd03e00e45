"""Log lines with fields: how they are made, sampled and written. The only module that knows structlog.

A line is an event's name and fields: `log.info("connected", connection_id=sid, address=address)`. It goes the way of
every line of the standard library's logging, so that other libraries' lines come out in the same form and an
application that configures logging itself gets ours as readable text. What clients chose (names, origins, ids) is
escaped: one line stays one line, and a value with spaces is quoted.

Never give a token, a cookie or the body of a message to a logger.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.stdlib import BoundLogger

from .stdio import Outlet

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]
Fields = MutableMapping[str, Any]

_PACKAGE: Final = __name__.rpartition(".")[0]
_MAX_VALUE_CHARS: Final = 500

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_COLOURS: Final = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


def get_logger(name: str) -> BoundLogger:
    """A logger for lines with fields, on top of the standard logger of that name."""
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name), processors=[structlog.stdlib.filter_by_level, _hand_over], wrapper_class=BoundLogger
    ).bind()
    return logger


def configure(level: Level = "info", format: Format = "auto", stream: TextIO | None = None) -> None:
    """Write all lines to a stream, standard error by default, and replace what was configured before.

    Args:
        level: of this package's lines. Those of other libraries come from `warning` on: at `debug` the MongoDB driver
            would write whole documents, and so messages.
        format: auto is console on a terminal and json elsewhere.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    render = _console(terminal) if format == "console" or (format == "auto" and terminal) else _json
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(render))
    handler.addFilter(_without_requests)
    if isinstance(stream, Outlet):
        stream.notice = lambda lines: f"{handler.format(_dropped(lines))}\n"
    # What the lines do not show is not found out for each of them: who has called, thread and process. Source: the
    # logging HOWTO of the standard library, "Optimization".
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger(_PACKAGE).setLevel(number)


class Sample:
    """Lets so many lines of a kind through within each second and counts the others, so that a busy server's log stays
    bounded and what is left out costs next to nothing.

    Args:
        log: not asked for lines that it would not write.
        per_second: 0 for all lines.
    """

    __slots__ = ("_ends_s", "_left", "_log", "_per_second", "_skipped")

    def __init__(self, log: BoundLogger, per_second: int) -> None:
        self._log = log
        self._per_second = per_second
        self._left = 0
        self._ends_s = -1.0
        self._skipped = 0

    def take(self, now_s: float) -> bool:
        """Whether a line may be written now; `now_s` is monotonic seconds."""
        if now_s < self._ends_s:
            if self._left <= 0:
                self._skipped += 1
                return False
        elif not self._log.isEnabledFor(logging.INFO):
            self._left, self._ends_s = 0, now_s + 1
            return False
        elif self._per_second:
            self._left, self._ends_s = self._per_second, now_s + 1
        else:
            return True
        self._left -= 1
        return True

    def skipped(self) -> dict[str, int]:
        """How many lines were left out since the last call: a field for the next line, nothing where it is none."""
        skipped, self._skipped = self._skipped, 0
        return {"skipped": skipped} if skipped else {}


class _Line(dict[str, Any]):
    """The fields of a line. As text, for handlers that are not ours, it is what a terminal shows."""

    def __str__(self) -> str:
        return _text(self)


def _dropped(lines: int) -> logging.LogRecord:
    """The line in the place of those that found no room; whatever the level is, for it says that the log has a hole."""
    why = "whatever reads the log did not keep up"
    logger = logging.getLogger(__name__)
    fields = _Line(event="log_lines_dropped", lines=lines, why=why)
    return logger.makeRecord(logger.name, logging.WARNING, __file__, 0, fields, (), None)


def _without_requests(record: logging.LogRecord) -> bool:
    """Leave out what aiohttp says of requests that are not HTTP: a traceback for each, which quotes the request."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not kind.__module__.startswith("aiohttp.http_exceptions")


def _hand_over(logger: logging.Logger, method: str, fields: Fields) -> Any:
    """structlog's last processor: what the standard logger is called with."""
    return (_Line(fields),), {"exc_info": fields["exc_info"]} if "exc_info" in fields else {}


class _Formatter(logging.Formatter):
    """Makes the text of a line: of our own, and of every other library's.

    Args:
        render: makes it of all fields: time, level and event in front, then those that are not None, the logger's name
            and a traceback at the end.
    """

    def __init__(self, render: Callable[[Fields], str]) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        own: Mapping[str, Any] = record.msg if isinstance(record.msg, _Line) else {"event": record.getMessage()}
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: Fields = {
            "time": moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
            "level": record.levelname.lower(),
            "event": own["event"],
        }
        for name, value in own.items():
            if value is not None and name != "exc_info":
                fields[name] = value
        fields["logger"] = record.name
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self._render(fields)


# ASCII only, so also control characters beyond those that JSON escapes anyway, and the marks that turn text around.
_encode: Final = json.JSONEncoder(default=str).encode


def _json(fields: Fields) -> str:
    return _encode({name: _cut(value) if type(value) is str else value for name, value in fields.items()})


def _console(colours: bool) -> Callable[[Fields], str]:
    def paint(text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if colours else text

    def render(fields: Fields) -> str:
        time, level, event = (str(fields.pop(name)) for name in ("time", "level", "event"))
        name = str(fields.pop("logger"))
        trace = fields.pop("exception", None)
        line = f"{paint(time, _DIM)} {paint(f'{level:7}', _COLOURS.get(level, _COLOURS['error']))} "
        line += paint(_escape(_cut(event)), _BOLD)
        line += "".join(f" {paint(key + '=', _DIM)}{_value(value)}" for key, value in fields.items())
        line += f" {paint(f'({name})', _DIM)}"
        if trace:  # indented, so that no line of it can pass for one of the log
            line += "".join(f"\n    {_escape(part)}" for part in str(trace).splitlines())
        return line

    return render


def _text(fields: Fields) -> str:
    return " ".join(
        [_escape(_cut(str(fields["event"])))]
        + [
            f"{key}={_value(value)}"
            for key, value in fields.items()
            if value is not None and key not in {"event", "exc_info"}
        ]
    )


def _value(value: object) -> str:
    """A field's value in one word: quoted if it has spaces, quotes or signs of its own."""
    text = str(_cut(value))
    if text and text.isprintable() and not any(sign in text for sign in ' ="\\'):
        return text
    return _escape(json.dumps(text, ensure_ascii=False))


def _escape(text: str) -> str:
    """Without line ends, terminal codes, and marks that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _MAX_VALUE_CHARS and "\n" not in value:
        return value[:_MAX_VALUE_CHARS] + "…"
    return value
