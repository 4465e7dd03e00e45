"""A plain in-memory chat server on python-socketio's AsyncServer, or on this project's own: `stock` or `realtime`.

It stores nothing, checks no payload and no permission; only the token of a connect is verified.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import time
from typing import Any

import jwt
import socketio
import uvloop
from aiohttp import web

Ack = dict[str, Any]


class Chat:
    """The three handlers.

    Args:
        engine: "stock" or "realtime".
        secret: what tokens are signed with (HS256).
        origin: the only origin that may connect.
    """

    def __init__(self, engine: str, secret: str, origin: str) -> None:
        self._secret = secret
        self._users: dict[str, str] = {}
        self._seq: dict[str, int] = {}
        self._ids = itertools.count(1)
        if engine == "stock":
            self.sio: Any = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins=[origin])
            self.sio.on("send_message", self.send_message)
        else:
            from socketserver.realtime import Allowance, AsyncServer, IntakeLimits

            no_limits = IntakeLimits(user=Allowance(0, 1), turn_s=0)
            self.sio = AsyncServer(cors_allowed_origins=[origin], intake_limits=no_limits)
            self.sio.on("send_message", self.send_message_now)
        self.sio.on("connect", self.connect)
        self.sio.on("disconnect", self.disconnect)
        self.sio.on("join_conversation", self.join_conversation)

    async def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        try:
            claims = jwt.decode(auth["token"], self._secret, algorithms=["HS256"])
        except (jwt.InvalidTokenError, TypeError, KeyError):
            raise socketio.exceptions.ConnectionRefusedError("invalid token") from None
        self._users[sid] = claims["sub"]

    async def disconnect(self, sid: str, reason: str) -> None:
        self._users.pop(sid, None)

    async def join_conversation(self, sid: str, payload: dict[str, Any]) -> Ack:
        await self.sio.enter_room(sid, payload["conversationId"])
        return {"ok": True}

    async def send_message(self, sid: str, payload: dict[str, Any]) -> Ack:
        message = self._message(sid, payload)
        await self.sio.emit("message_created", {"message": message}, room=message["conversationId"])
        return {"ok": True, "message": message, "duplicate": False}

    async def send_message_now(self, sid: str, payload: dict[str, Any]) -> Ack:
        message = self._message(sid, payload)
        self.sio.emit_now("message_created", {"message": message}, room=message["conversationId"])
        return {"ok": True, "message": message, "duplicate": False}

    def _message(self, sid: str, payload: dict[str, Any]) -> dict[str, Any]:
        conversation_id = payload["conversationId"]
        seq = self._seq[conversation_id] = self._seq.get(conversation_id, 0) + 1
        return {
            "id": f"{next(self._ids):032x}",
            "conversationId": conversation_id,
            "seq": seq,
            "change": seq,
            "senderId": self._users[sid],
            "idempotencyKey": payload["idempotencyKey"],
            "body": payload["body"],
            "metadata": payload.get("metadata"),
            "createdAt": time.time_ns() // 1_000_000,
        }


async def serve(engine: str, port: int) -> None:
    """Serve on a loopback port until the process is ended."""
    app = web.Application()
    Chat(engine, os.environ["BENCH_JWT_SECRET"], os.environ["BENCH_ORIGIN"]).sio.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["stock", "realtime"])
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    uvloop.run(serve(options.engine, options.port))
