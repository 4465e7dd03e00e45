"""The TypeScript declarations: complete, and refined where a TypedDict cannot be."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from socketserver.cli import main
from socketserver.errors import ENDS, ChatError
from socketserver.settings import Settings
from socketserver.wire import typescript
from socketserver.wire.protocol import ClientEvent, ServerEvent
from typing import TypedDict

import pytest
from support.node import require

REACT = Path(__file__).resolve().parents[2] / "examples" / "react"
TEXT = typescript.declarations(Settings())


def body(name: str) -> str:
    """What an interface says."""
    found = re.search(rf"^export interface {name}(?: extends \w+)? {{\n(.*?)^}}$", TEXT, re.M | re.S)
    assert found, f"there is no interface {name}"
    return found[1]


def test_the_command_prints_the_declarations(capsys: pytest.CaptureFixture[str]) -> None:
    """`chat-socketserver types` prints them, and nothing else."""
    assert main(["types"]) == 0
    assert capsys.readouterr().out == TEXT


def test_every_event_is_there_once() -> None:
    """Client events in ClientToServerEvents, server events in ServerToClientEvents, in the protocol's order."""
    events: dict[str, type[ClientEvent] | type[ServerEvent]] = {
        "ClientToServerEvents": ClientEvent,
        "Requests": ClientEvent,
        "ServerToClientEvents": ServerEvent,
    }
    for name, members in events.items():
        assert re.findall(r"^  (\w+):", body(name), re.M) == [str(member) for member in members]


def test_every_code_is_there_once() -> None:
    """ErrorCode and EndCode are unions of what errors.py has."""
    unions = {name: re.findall(r'^  \| "(\w+)"', text, re.M) for name, text in _unions()}
    assert unions["EndCode"] == list(ENDS)
    assert sorted(unions["ErrorCode"]) == sorted(error.code for error in _subclasses(ChatError))


def _unions() -> list[tuple[str, str]]:
    return re.findall(r"^export type (\w+) =\n(.*?);$", TEXT, re.M | re.S)


def _subclasses(root: type[ChatError]) -> list[type[ChatError]]:
    found = [each for each in root.__subclasses__() if each.__module__ == root.__module__]
    return [*found, *(inner for each in found for inner in _subclasses(each))]


def test_required_optional_and_null() -> None:
    """What may be left out has a question mark; null stands where null is meant; requests come from the schemas."""
    assert "idempotencyKey: string;" in body("SendMessage")
    assert "metadata?: Record<string, unknown> | null;" in body("SendMessage")
    assert "gap?: Gap;" in body("JoinConversationAck")
    assert "lastMessage: Message | null;" in body("ConversationSummary")


def test_narrower_than_python() -> None:
    """Codes and kinds are unions of literals; a failure's `ok` is false, so that `if (answer.ok)` tells them apart."""
    assert "code: ErrorCode;" in body("ErrorDetails")
    assert "code: EndCode;" in body("SessionEnded")
    assert 'kind: "direct" | "group";' in body("Conversation")
    assert "ok: false;" in body("Failure")
    assert "export interface ConversationSummary extends Conversation {" in TEXT


def test_a_type_without_translation_is_an_error() -> None:
    """A shape with a new kind of value fails here rather than in somebody's build."""

    class Strange(TypedDict):
        value: set[str]

    with pytest.raises(TypeError, match="no TypeScript"):
        typescript._member(Strange, "value", typescript._hints(Strange)["value"])


def test_the_declarations_are_good_typescript(tmp_path: Path) -> None:
    """The compiler takes them, for the real client's Socket type, and refuses a payload that lacks a field."""
    compiler = REACT / "node_modules" / "typescript" / "bin" / "tsc"
    require(None if shutil.which("node") and compiler.exists() else "TypeScript is not installed; run make setup")
    (tmp_path / "node_modules").symlink_to(REACT / "node_modules")
    (tmp_path / "events.ts").write_text(TEXT)
    (tmp_path / "use.ts").write_text(
        """\
import { io, type Socket } from "socket.io-client";
import type { ClientToServerEvents, ServerToClientEvents } from "./events";
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io();
socket.on("message_created", ({ message }) => message.seq.toFixed());
socket.emit("mark_read", { conversationId: "c", seq: 1 }, (answer) => {
  const unread: number = answer.ok ? answer.unreadCount : Number(answer.error.code === "not_joined");
  console.log(unread);
});
// @ts-expect-error the seq is missing
socket.emit("mark_read", { conversationId: "c" }, () => undefined);
"""
    )
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]
    arguments = ["node", str(compiler), *options, "--target", "es2022", "--lib", "es2022,dom", "use.ts"]
    run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
