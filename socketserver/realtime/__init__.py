"""The delivery engine: Engine.IO 4 and Socket.IO 5 on aiohttp, as a drop-in for `socketio.AsyncServer`."""

from socketio.exceptions import ConnectionRefusedError

from .dispatch import received_s
from .engine.engine import Engine
from .engine.intake import Allowance, Intake, IntakeLimits, Meter
from .engine.packets import PacketError
from .engine.reasons import Gone
from .engine.session import Session
from .packets import Json
from .refusals import Refusal
from .rooms import CONNECTED, RoomManager, combine
from .server import AsyncServer
from .views import ClientInfo

__all__ = [
    "CONNECTED",
    "Allowance",
    "AsyncServer",
    "ClientInfo",
    "ConnectionRefusedError",
    "Engine",
    "Gone",
    "Intake",
    "IntakeLimits",
    "Json",
    "Meter",
    "PacketError",
    "Refusal",
    "RoomManager",
    "Session",
    "combine",
    "received_s",
]
