"""The documentation is held to the code: what is not there, or is there and does not exist, fails."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from socketserver import __version__, errors, settings
from socketserver.chat.conversations import Conversations
from socketserver.chat.history import History
from socketserver.chat.members import Members
from socketserver.chat.messages import Messages
from socketserver.chat.people import UNSET
from socketserver.chat.personal import Personal
from socketserver.chat.profiles import Profiles
from socketserver.chat.reading import Reading
from socketserver.chat.service import Chat
from socketserver.check.causes import CAUSES
from socketserver.settings import Settings
from socketserver.values import MAX_USER_ID_CHARS
from socketserver.wire import acks, announced, protocol, shapes, typescript
from socketserver.wire.protocol import ClientEvent, Payloads, ServerEvent
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import marshmallow
import pytest
from marshmallow import validate
from support.pages import ROOT, Row, anchors, code, plain, section, subsections, table

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROTOCOL = ROOT / "docs" / "protocol.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"

# The section of an object that appears in several places.
OBJECTS: dict[str, type] = {
    "user": shapes.UserWire,
    "conversation": shapes.ConversationWire,
    "conversation summary": shapes.ConversationSummaryWire,
    "own settings": shapes.OwnSettingsWire,
    "mentions changed": announced.MentionsChangedWire,
    "message": shapes.MessageWire,
    "system": shapes.SystemWire,
    "reaction": shapes.ReactionWire,
    "participant role": announced.ParticipantRoleWire,
    "participant": shapes.ParticipantWire,
    "profile": shapes.ProfileWire,
    "presence": shapes.PresenceWire,
    "gap": shapes.GapWire,
    "error": shapes.ErrorWire,
    "reconnection": announced.ReconnectionWire,
    "limits object": announced.LimitsWire,
}


def wire_type(hint: Any) -> tuple[str, bool]:
    """A type hint of a TypedDict as the documentation writes it, and whether the key is optional."""
    optional = get_origin(hint) is NotRequired
    if optional:
        (hint,) = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [wire_type(part)[0] for part in get_args(hint) if part is not type(None)]
        return " or ".join([*kinds, "null"]), optional
    if get_origin(hint) is list:
        return f"{wire_type(get_args(hint)[0])[0]}[]", optional
    if get_origin(hint) in (dict, Mapping):
        return "object", optional
    named = {hint: name for name, hint in OBJECTS.items()}
    simple = {str: "string", int: "integer", float: "number", bool: "boolean", object: "object"}
    if hint in named:
        return named[hint].removesuffix(" object"), optional
    return simple[hint], optional


ERRORS = {
    error.code: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.ChatError) and error is not errors.ChatError
}


# Settings


def setting_rows() -> dict[str, Row]:
    rows = table(CONFIGURATION.read_text(encoding="utf-8"), "Variable")
    assert len({row["Variable"] for row in rows}) == len(rows), "a setting is listed twice"
    return {code(row["Variable"]): row for row in rows}


def test_every_setting_is_documented_and_nothing_else() -> None:
    """configuration.md lists the variables of Settings, all of them and no others."""
    assert set(setting_rows()) == {settings.variable(name) for name in Settings.model_fields}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_row(name: str) -> None:
    """A setting's row has its flag, default, unit and help text."""
    row = setting_rows()[settings.variable(name)]
    field = Settings.model_fields[name]
    default = field.default
    if isinstance(default, tuple):
        default = ",".join(default)
    if isinstance(default, bool):
        default = str(default).lower()
    shown = "not set" if default in (None, "") else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
    extra = field.json_schema_extra
    assert code(row["Flag"]) == settings.flag(name)
    assert row["Default"] == shown
    assert row["Unit"] == (extra.get("unit", "") if isinstance(extra, dict) else "")
    assert field.description is not None
    assert row["Meaning"].startswith(field.description)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_zero(name: str) -> None:
    """'0: …' stands with exactly those limits that may be 0 to mean none."""
    field = Settings.model_fields[name]
    least = next((item.ge for item in field.metadata if hasattr(item, "ge")), None)
    in_limits = settings.variable(name) in section(CONFIGURATION, "Limits").split("`")
    if in_limits or name == "sockets_per_user":
        meaning = setting_rows()[settings.variable(name)]["Meaning"]
        assert (" 0: " in meaning) == (least == 0)
        assert (f"At least {least}." in meaning) == (least not in (0, 1))


def test_aliases() -> None:
    """The aliases are the variables that a setting is read from beside its own."""
    documented = {code(row["Setting"]): code(row["Also read from"]) for row in table(_text(CONFIGURATION), "Setting")}
    real = {}
    for name, field in Settings.model_fields.items():
        choices = getattr(field.validation_alias, "choices", [])
        others = [choice for choice in choices if choice not in (name, settings.variable(name))]
        real.update({settings.variable(name): other for other in others})
    assert documented == real


def test_variables_named_anywhere_exist() -> None:
    """No page names a WEBSOCKET_… variable that is no setting, and not the token of `check`."""
    known = {settings.variable(name) for name in Settings.model_fields} | {settings.CHECK_TOKEN}
    for page in PAGES:
        named = set(re.findall(r"\bWEBSOCKET_[A-Z_]*[A-Z]\b", _text(page)))
        assert {name for name in named if not name.startswith("WEBSOCKET_TEST_")} <= known, page


def test_defaults_named_in_protocol() -> None:
    """A number that protocol.md gives with a variable is that setting's default."""
    units = {"s": "", "ms": "", "users": "", "participants": ""}
    found = re.findall(r"([\d.]+) (\w+)[\s,]*\((?:[^()]*, )?`(WEBSOCKET_\w+)`\)", _text(PROTOCOL))
    found += re.findall(r"([\d.]+) (\w+), `(WEBSOCKET_\w+)`", _text(PROTOCOL))
    assert len(found) >= 6
    for number, unit, name in found:
        field = name.removeprefix(settings.PREFIX).lower()
        assert unit in units
        assert float(number) == float(Settings.model_fields[field].default), name


# Client events


def payload_fields(event: ClientEvent) -> dict[str, marshmallow.fields.Field[Any]]:
    schema = Payloads(Settings()).schema(event)
    return {field.data_key or name: field for name, field in schema.fields.items()}


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_client_events() -> None:
    """protocol.md has a section for every client event, in order, and no others."""
    assert subsections(PROTOCOL, "Client events") == [event.value for event in ClientEvent]


@pytest.mark.parametrize("event", ClientEvent)
def test_payload_table(event: ClientEvent) -> None:
    """The payload table of an event lists its fields in order, with type, bounds, default and null."""
    rows = table(section(PROTOCOL, event), "Field", second_column="Bounds")
    fields = payload_fields(event)
    defaults = {each.name: each.default for each in dataclasses.fields(event.row.command)}
    assert [code(row["Field"]) for row in rows] == list(fields)
    for row, field in zip(rows, fields.values(), strict=True):
        kind = {
            "Text": "string",
            "Shown": "string",
            "Cursor": "string",
            "Int": "integer",
            "Bool": "boolean",
            "Choice": "string",
            "UserId": "string",
            "Metadata": "object",
            "ListOfUserIds": "string[]",
            "ListOfSeqs": "integer[]",
        }[type(field).__name__]
        assert row["Type"] == (f"{kind} or null" if field.allow_none else kind)
        if field.required:
            assert row["Default"] == "required"
        elif field.load_default is not marshmallow.missing:
            assert row["Default"] == f"`{field.load_default}`"
        elif field.allow_none and defaults[str(field.name)] is not UNSET:
            assert row["Default"] == "`null`"
        elif kind == "boolean" and defaults[str(field.name)] is False:
            assert row["Default"] == "`false`"
        else:
            assert row["Default"] == "none"
        for word in getattr(field, "words", ()):
            assert f"`{word}`" in row["Bounds"]
        for bound in bounds(field):
            assert re.search(rf"\b{bound}\b", row["Bounds"]), f"{row['Field']}: {bound}"


def bounds(field: marshmallow.fields.Field[Any]) -> Iterator[int]:
    """The numbers that a field's bounds cell has to have."""
    for validator in field.validators:
        if isinstance(validator, validate.Length | validate.Range):
            if validator.min is not None:
                yield validator.min
            if validator.max is not None and validator.max != protocol.MAX_SAFE_INTEGER:
                yield validator.max
    if isinstance(field, marshmallow.fields.List):
        yield from (1, MAX_USER_ID_CHARS)
        yield field._most  # type: ignore[attr-defined]  # ListOfUserIds
    if hasattr(field, "_most_bytes"):
        yield field._most_bytes


@pytest.mark.parametrize("event", ClientEvent)
def test_ack_table(event: ClientEvent) -> None:
    """The ack table of an event lists the fields and types of its ack."""
    text = section(PROTOCOL, event).partition("\nAck")[2]
    rows = table(text, "Field", second_column="Type")
    assert_shape(rows, event.row.ack)
    assert bool(rows) != ("Ack: no field beside `ok`." in section(PROTOCOL, event))


@pytest.mark.parametrize("event", ClientEvent)
def test_errors_of_an_event(event: ClientEvent) -> None:
    """The errors listed with an event are its row's, and the use case behind it raises no others."""
    (line,) = re.findall(r"^Errors: (.*)\.$", section(PROTOCOL, event), flags=re.M)
    assert re.findall(r"`(\w+)`", line) == [error.code for error in event.row.errors]
    doc = re.search(r"Raises:(.*?)(?:Source:|\Z)", use_case_doc(event), re.S)
    if doc:
        raised = {error.code for error in ERRORS.values() if re.search(rf"\b{error.__name__}\b", doc.group(1))}
        assert raised - {"invalid_payload"} <= {error.code for error in event.row.errors}


def use_case_doc(event: ClientEvent) -> str:
    """The docstring of the use case that an event's row names; nothing where it names none."""
    if event.row.use_case is None:
        return ""
    subjects = (Conversations, Messages, History, Reading, Personal, Members, Profiles)
    chat = Chat(*map(object.__new__, subjects))  # never called
    return event.row.use_case(chat).__doc__ or ""


@pytest.mark.parametrize("event", ClientEvent)
def test_an_event_s_fields_are_its_command_s(event: ClientEvent) -> None:
    """What a payload may hold is what the command takes, and what the command needs is required or has a default."""
    taken = {field.name: field for field in dataclasses.fields(event.row.command)}
    fields = event.row.fields(Settings())
    assert set(fields) == set(taken)
    for name, field in fields.items():
        optional = taken[name].default is not dataclasses.MISSING
        assert field.required or optional or field.load_default is not marshmallow.missing, name


# Server events and objects


def shape_rows(title: str) -> list[Row]:
    return table(section(PROTOCOL, title), "Field")


def assert_shape(rows: list[Row], shape: type, without: type | None = None) -> None:
    hints = get_type_hints(shape, include_extras=True)
    if without is not None:
        hints = {name: hint for name, hint in hints.items() if name not in get_type_hints(without)}
    assert [code(row["Field"]) for row in rows] == list(hints)
    for row, hint in zip(rows, hints.values(), strict=True):
        kind, optional = wire_type(hint)
        assert plain(row["Type"]) == (f"{kind}, optional" if optional else kind), row["Field"]


def test_server_events() -> None:
    """protocol.md has a section for every server event, in order, and no others."""
    assert subsections(PROTOCOL, "Server events") == [event.value for event in ServerEvent]


@pytest.mark.parametrize("event", ServerEvent)
def test_server_event_table(event: ServerEvent) -> None:
    """The table of a server event lists the fields and types of its shape."""
    assert_shape(shape_rows(event), event.row.payload)


def test_objects() -> None:
    """Every shape is an event's or an object's, and every object has its section."""
    covered = {*(event.row.payload for event in ServerEvent), *OBJECTS.values(), shapes.FailureWire}
    assert {*typed_dicts(shapes), *typed_dicts(announced)} == covered
    assert subsections(PROTOCOL, "Objects") == list(OBJECTS)


def typed_dicts(module: types.ModuleType) -> list[type]:
    """The TypedDicts that a module declares."""
    found = [value for value in vars(module).values() if is_typeddict(value)]
    return [each for each in found if each.__module__ == module.__name__]


@pytest.mark.parametrize(
    "shape",
    [each for module in (shapes, acks, announced) for each in typed_dicts(module)],
    ids=lambda shape: shape.__name__,
)
def test_every_key_is_explained(shape: type) -> None:
    """A shape's docstring says what each of its own keys means, in their order; where one may be null, what null means;
    and where it is a time or a duration, its unit. TypeScript has these sentences as comments."""
    inherited = get_type_hints(shapes.ConversationWire) if shape is shapes.ConversationSummaryWire else {}
    hints = {key: hint for key, hint in get_type_hints(shape).items() if key not in inherited}
    about = typescript.attributes(shape)
    assert list(about) == list(hints)
    for key, hint in hints.items():
        assert about[key].endswith("."), key
        assert (type(None) in get_args(hint)) == ("null" in about[key]), key
        if key.endswith(("At", "Ms", "Time")):
            assert "milliseconds" in about[key], key


@pytest.mark.parametrize("title", OBJECTS)
def test_object_table(title: str) -> None:
    """The table of an object lists the fields and types of its shape."""
    within = shapes.ConversationWire if title == "conversation summary" else None
    assert_shape(shape_rows(title), OBJECTS[title], without=within)


def test_recommended_options() -> None:
    """The client options in the documentation are those that `welcome` recommends."""
    options = {
        "reconnectionAttempts": protocol.RECONNECTION_ATTEMPTS,
        "reconnectionDelay": protocol.RECONNECTION_DELAY_MS,
        "reconnectionDelayMax": protocol.RECONNECTION_DELAY_MAX_MS,
    }
    for page in (PROTOCOL, ROOT / "docs" / "react.md"):
        for option, value in options.items():
            assert set(re.findall(rf"{option}: (\d+)", _text(page))) == {str(value)}, page
    wire = {code(row["Field"]): row["Meaning"] for row in shape_rows("reconnection")}
    assert [int(meaning.split(",")[0]) for meaning in wire.values()] == list(options.values())


# Errors and ends


def test_error_codes() -> None:
    """Every error code has a row that says rightly whether to try again, and no other code has one."""
    rows = {code(row["Code"]): row for row in table(section(PROTOCOL, "Error codes"), "Code")}
    assert set(rows) == set(ERRORS)
    for name, row in rows.items():
        assert row["Retryable"] == ("yes" if ERRORS[name].retryable else "no"), name
        assert row["When"]
        assert row["What to do"]


def test_end_codes() -> None:
    """Every end has a row with its message, its advice and whether to reconnect, and no other end has one."""
    rows = {code(row["Code"]): row for row in table(section(PROTOCOL, "End codes"), "Code")}
    assert list(rows) == list(errors.ENDS)
    for end in errors.ENDS.values():
        row = rows[end.code]
        assert row["Reconnect"] == ("yes" if end.reconnect else "no")
        assert row["When"] == end.message
        assert row["What the application should do"] == end.advice


def test_the_error_tree_in_the_docstring() -> None:
    """The table at the top of errors.py lists every class with its code and whether it is retryable."""
    lines = re.findall(r"── (\w+) +(\w+) +(yes|no)", errors.__doc__ or "")
    assert {(name, word, again == "yes") for name, word, again in lines} == {
        (error.__name__, error.code, error.retryable) for error in ERRORS.values()
    }


# The check


def test_check_s_steps_and_causes() -> None:
    """operations.md lists the steps of a check in their order, and every cause that it may name."""
    text = section(ROOT / "docs" / "operations.md", "What it finds")
    rows = table(text, "Step")
    steps = re.findall(r'await step\("(\w+)"', _text(ROOT / "socketserver" / "check" / "steps.py"))
    assert [code(row["Step"]) for row in rows] == steps
    (anywhere,) = re.findall(r"^Whichever step meets it: (.*)\.$", text, flags=re.M)
    cells = [row["Causes of a failure"] for row in rows] + [anywhere]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(CAUSES)


# Links, and what must not be in a page


def assert_target(source: Path, target: str, base: Path) -> None:
    name, _, anchor = target.partition("#")
    page = (base / name).resolve() if name else source
    assert page.exists(), f"{source.relative_to(ROOT)} links to {target}"
    if anchor:
        assert anchor in anchors(page), f"{source.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Links inside the documentation lead somewhere, anchors included."""
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", _text(page), flags=re.S)):
        if not target.startswith(("http://", "https://")):
            assert_target(page, target, page.parent)


@pytest.mark.parametrize(
    "source",
    [ROOT / "setup.cfg", *sorted((ROOT / "socketserver").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_pages_named_in_the_code(source: Path) -> None:
    """Pages and anchors that docstrings and comments name exist."""
    for target in re.findall(r"\bdocs/[\w./-]+\.md(?:#[\w-]+)?", _text(source)):
        assert_target(source, target, ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_machine_paths(page: Path) -> None:
    """A page names no directory of the machine that it was written on."""
    assert not re.search(r"(?<![\w.])/(work|root|home|tmp|Users)/", _text(page))


def test_changelog_has_this_version() -> None:
    """The changelog has a section for the package's version, or says that it is unreleased."""
    assert re.search(rf"^## \[(Unreleased|{re.escape(__version__)})\]", _text(ROOT / "CHANGELOG.md"), flags=re.M)
