"""One rule for each value that comes in at several doors: `texts` of people, `whole_numbers`, `web_names`.

Whoever takes such a value, from a setting, a token, a cookie, a header, an event, a form or the command line, asks
here, so that what one door lets in no other one refuses. What is stored already is never asked again, so that it stays
readable whatever the rules become.
"""

from .texts import (
    MAX_AVATAR_CHARS,
    MAX_NAME_CHARS,
    MAX_USER_ID_CHARS,
    check_avatar,
    check_name,
    check_user_id,
    shows_something,
)
from .whole_numbers import MAX_SAFE_INTEGER, whole_number, whole_number_in

__all__ = [
    "MAX_AVATAR_CHARS",
    "MAX_NAME_CHARS",
    "MAX_SAFE_INTEGER",
    "MAX_USER_ID_CHARS",
    "check_avatar",
    "check_name",
    "check_user_id",
    "shows_something",
    "whole_number",
    "whole_number_in",
]
