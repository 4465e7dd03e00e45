"""The room's front: what the other rooms use of the contract with clients. docs/protocol.md in code.

The contract itself: events.py and announcements.py (the table), shapes.py, acks.py and announced.py (what goes out),
dumping.py (how it is made), loading.py (what comes in), fields.py (of what).
"""

from __future__ import annotations

from typing import Final

from ..values import MAX_SAFE_INTEGER as MAX_SAFE_INTEGER
from ..values import MAX_USER_ID_CHARS as MAX_USER_ID_CHARS
from .announced import SessionEndedWire as SessionEndedWire
from .announced import WelcomeWire as WelcomeWire
from .announcements import ServerEvent as ServerEvent
from .arguments import MAX_TOKEN_CHARS as MAX_TOKEN_CHARS
from .dumping import RECONNECTION_ATTEMPTS as RECONNECTION_ATTEMPTS
from .dumping import RECONNECTION_DELAY_MAX_MS as RECONNECTION_DELAY_MAX_MS
from .dumping import RECONNECTION_DELAY_MS as RECONNECTION_DELAY_MS
from .dumping import dump_activity as dump_activity
from .dumping import dump_conversation as dump_conversation
from .dumping import dump_conversation_updated as dump_conversation_updated
from .dumping import dump_cursor as dump_cursor
from .dumping import dump_error as dump_error
from .dumping import dump_failure as dump_failure
from .dumping import dump_gap as dump_gap
from .dumping import dump_message as dump_message
from .dumping import dump_messages_read as dump_messages_read
from .dumping import dump_named as dump_named
from .dumping import dump_ok as dump_ok
from .dumping import dump_participant as dump_participant
from .dumping import dump_people_changed as dump_people_changed
from .dumping import dump_presence as dump_presence
from .dumping import dump_profile as dump_profile
from .dumping import dump_session_ended as dump_session_ended
from .dumping import dump_settings as dump_settings
from .dumping import dump_summary as dump_summary
from .dumping import dump_typing as dump_typing
from .dumping import dump_user as dump_user
from .dumping import dump_welcome as dump_welcome
from .dumping import encoded as encoded
from .events import ClientEvent as ClientEvent
from .loading import Payloads as Payloads
from .shapes import ErrorWire as ErrorWire
from .shapes import ParticipantWire as ParticipantWire
from .shapes import PresenceWire as PresenceWire
from .shapes import ProfileWire as ProfileWire

PATH: Final = "/socket.io/"
NAMESPACE: Final = "/"
