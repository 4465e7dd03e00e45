"""Frames that no honest client sends: made from honest ones by a random number generator, so that a seed says all."""

from __future__ import annotations

import json
import random
from typing import Any, Final

Frame = str | bytes

PLACEHOLDER: Final = '{"_placeholder":true,"num":0}'
# What has broken servers before: numbers, texts and structures at the edges of what JSON or Socket.IO allow.
POISON: Final = [
    "NaN", "Infinity", "-Infinity", "1e999", "-0", "1E400", "9007199254740993", "99999999999999999999999999", "1.5",
    "null",
    "true", '""', "[]", "{}", '"\\ud800"', '"\\udc00x"', '"\\u0000"', '"\\u2028"', '"__proto__"', '"constructor"',
    "[" * 200 + "]" * 200, '{"a":' * 100 + "1" + "}" * 100, "[" * 5000, '"' + "x" * 9000 + '"', PLACEHOLDER,
    '{"_placeholder":true,"num":-1}', '{"_placeholder":true,"num":9999999999}', '{"_placeholder":1,"num":"0"}',
    '{"_placeholder":true}', '{"token":"a.b.c"}', '{"token":"' + "A" * 8193 + '"}', '{"body":"x","body":"y"}',
]  # fmt: skip
HEADS: Final = [
    "0", "1", "2", "3", "4", "5", "6", "7", "40", "41", "42", "43", "44", "45", "46", "47", "450-", "451-", "4510-",
    "459999999999-", "45-1-", "42/", "42/x,", "42/" + "n" * 3000 + ",", "40/", "40/x,", "40/admin,", "42-1",
    "4200", "421",
    "42" + "9" * 40, "42" + "9" * 15, "43" + "1", "461-1", "2probe", "3probe", "", "x", "\u0000", "４２",
]  # fmt: skip
NAMES: Final = [
    "connect", "disconnect", "connect_error", "disconnecting", "newListener", "removeListener", "*", "", "message",
    "guard", "__init__", "on_connect", "x" * 500, "\u202e", "session_ended", "welcome", "message_created", "unknown",
]  # fmt: skip
IDS: Final = ["", "0", "1", "7", "12345"]


def payloads(conversation_id: str) -> dict[str, dict[str, Any]]:
    """An honest payload per event."""
    key = {"conversationId": conversation_id}
    return {
        "authenticate": {"token": "not.a.token"},
        "create_conversation": {"participantIds": ["bob"], "title": "t", "idempotencyKey": "k"},
        "list_conversations": {"limit": 5},
        "join_conversation": {**key, "after": 0, "limit": 10, "visible": True},
        "leave_conversation": key,
        "send_message": {**key, "idempotencyKey": "k", "body": "hello", "metadata": {"a": [1, {"b": None}]}},
        "mark_read": {**key, "seq": 1},
        "fetch_history": {**key, "beforeSeq": 3, "limit": 2},
        "list_participants": {**key, "after": "ann", "limit": 2},
        "set_typing": {**key, "typing": True},
        "set_visibility": {**key, "visible": False},
    }


class Fuzzer:
    """Frames from one seed."""

    def __init__(self, seed: int, conversation_id: str) -> None:
        self._random = random.Random(seed)
        self._payloads = payloads(conversation_id)

    def frame(self) -> Frame:
        choice = self._random.random()
        if choice < 0.25:
            return self._honest()
        if choice < 0.45:
            return self._honest_event_with_poison()
        if choice < 0.75:
            return self._mutated(self._honest())
        if choice < 0.85:
            return self._random.choice(HEADS) + self._random.choice([*POISON, f"[{self._random.choice(POISON)}]"])
        if choice < 0.92:
            return bytes(self._random.randbytes(self._random.randrange(64)))
        if choice < 0.97:
            return self._binary()
        return "".join(chr(self._random.choice([0, 34, 91, 123, 0x7FF, 0xD7FF, 0xFFFD, 0x1F600])) for _ in range(20))

    def _honest(self) -> str:
        event, payload = self._random.choice(list(self._payloads.items()))
        if self._random.random() < 0.1:
            return self._random.choice(["3", "40", "41", '431["x"]', "40" + json.dumps({"token": "x"})])
        if self._random.random() < 0.2:
            payload = {**payload, **self._random.choice(list(self._payloads.values()))}
        return f"42{self._random.choice(IDS)}{json.dumps([event, payload])}"

    def _honest_event_with_poison(self) -> str:
        event = self._random.choice([*self._payloads, *self._payloads, *NAMES])
        fields = {"conversationId", "limit", "token", "body", "seq", "after", "metadata", "participantIds", "title"}
        shape = self._random.randrange(4)
        poison = [self._random.choice(POISON) for _ in range(3)]
        if shape == 0:
            body = ",".join(poison)
        elif shape == 1:
            body = (
                "{"
                + ",".join(f'"{name}":{value}' for name, value in zip(sorted(fields), poison * 3, strict=True))
                + "}"
            )
        elif shape == 2:
            payload = json.dumps(self._payloads.get(event, {}))
            body = payload[:-1] + (", " if payload != "{}" else "") + f'"metadata":{poison[0]}}}'
        else:
            body = f'{{"{self._random.choice(NAMES)}":{poison[0]}}}'
        return f"42{self._random.choice(IDS)}[{json.dumps(event)},{body}]"

    def _mutated(self, frame: str) -> str:
        for _ in range(self._random.randrange(1, 5)):
            at = self._random.randrange(len(frame) + 1)
            to = min(len(frame), at + self._random.randrange(8))
            match self._random.randrange(5):
                case 0:
                    frame = frame[:at] + frame[to:]
                case 1:
                    frame = frame[:at] + frame[at:to] * self._random.randrange(2, 20) + frame[to:]
                case 2:
                    frame = (
                        frame[:at]
                        + self._random.choice([*'[]{}",:-0919e.\\/\x00', "\ufeff", *POISON[:20]])
                        + frame[to:]
                    )
                case 3:
                    frame = self._random.choice(HEADS) + frame[at:]
                case _:
                    frame = frame[:at] + self._honest()[at:]
        return frame

    def _binary(self) -> str:
        event = self._random.choice([*self._payloads, *NAMES])
        count = self._random.choice([0, 1, 2, 10, 11, 999])
        places = ",".join(f'{{"_placeholder":true,"num":{n}}}' for n in range(min(count, 3)))
        return f'45{count}-{self._random.choice(IDS)}["{event}"{"," if places else ""}{places}]'
