"""What clients send, checked against the table of events, as commands.

A payload is judged by marshmallow, and so is every error; a payload whose fields all say quickly that their values are
good needs none of it (`fields.Quick`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, missing, validates_schema

from ..errors import InvalidPayload, UnknownEvent
from ..settings import Settings
from .events import ClientEvent
from .fields import Quick, encodable
from .rows import Fields, Request


class Payloads:
    """Checks what clients send against the contract and the configured limits.

    Immutable after construction; one per server.
    """

    def __init__(self, settings: Settings) -> None:
        self._loaders = {event.value: _Loader(event.row, event.row.fields(settings)) for event in ClientEvent}

    def load(self, event: str, arguments: Sequence[object]) -> Any:
        """Turn the arguments of a client event into its command: the class that the event's row names.

        Raises: UnknownEvent; InvalidPayload, whose `fields` has a list of sentences per wire name, and under
            `payload` what is wrong with the whole.
        """
        loader = self._loaders.get(event)
        if loader is None:
            raise UnknownEvent(f"There is no event {event[:64]!r}." if encodable(event) else None)
        if len(arguments) != 1 or type(arguments[0]) is not dict:
            raise InvalidPayload(f"{event} takes exactly one object.", fields={"payload": ["Send exactly one object."]})
        return loader.load(arguments[0])

    def schema(self, event: str) -> Schema:
        """The marshmallow schema of an event's payload."""
        return self._loaders[event].schema


class _Loader:
    """Makes one event's commands.

    A payload whose fields all say that their values are good needs no marshmallow; all else goes through it, and so
    does every error. An event with a field that never says so, or with a rule over several fields, always does.
    """

    def __init__(self, row: Request, shape: Fields) -> None:
        self.schema = _schema(row, shape)
        self._command = row.command
        # By wire name: the command's field, and whether a value is good.
        self._quick: dict[str, tuple[str, Callable[[Any], bool]]] = {}
        self._required = frozenset(field.data_key or name for name, field in shape.items() if field.required)
        self._defaults = {
            name: field.load_default for name, field in shape.items() if field.load_default is not missing
        }
        if row.exclusive is None:
            for name, field in shape.items():
                if isinstance(field, Quick):
                    self._quick[field.data_key or name] = (name, field.good)

    def load(self, payload: dict[str, Any]) -> Any:
        """Raises: InvalidPayload."""
        values = self._good(payload)
        if values is None:
            try:
                values = self.schema.load(payload)
            except ValidationError as error:
                raise InvalidPayload(fields=_field_errors(error.messages_dict)) from None
        return self._command(**values)

    def _good(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        """The command's values, if every field says that its own is good; None where only marshmallow can tell."""
        values = dict(self._defaults)
        found = 0
        for key, value in payload.items():
            quick = self._quick.get(key)
            if quick is None or not quick[1](value):
                return None
            values[quick[0]] = value
            found += key in self._required
        return values if found == len(self._required) else None


class _ExclusiveSchema(Schema):
    """A schema with two fields of which at most one may be given: their names, and what the second is told."""

    pair: ClassVar[tuple[str, str]]

    @validates_schema
    def at_most_one(self, data: Mapping[str, object], **kwargs: object) -> None:
        """Raises: ValidationError."""
        if all(name in data for name in self.pair):
            first, second = (self.fields[name].data_key or name for name in self.pair)
            raise ValidationError(f"Give {first} or {second}, not both.", second)


def _schema(row: Request, shape: Fields) -> Schema:
    if row.exclusive is None:
        return Schema.from_dict(dict(shape), name=row.name.title())(unknown=RAISE)
    schema = _ExclusiveSchema.from_dict(dict(shape), name=row.name.title())
    schema.pair = row.exclusive  # type: ignore[attr-defined]  # from_dict's type forgets the class
    return schema(unknown=RAISE)


def _field_errors(messages: Mapping[Any, Any]) -> dict[str, object]:
    """marshmallow's messages as JSON: text keys, `payload` for the whole, at most 20 entries per level."""
    errors: dict[str, object] = {}
    for key, value in list(messages.items())[:20]:
        name = "payload" if key == "_schema" else str(key)[:64]
        name = name if encodable(name) else "?"
        errors[name] = _field_errors(value) if isinstance(value, Mapping) else value
    return errors
