"""The server's settings: `fields` has them all, `forms` how their values are written, `names` what they are called in
the environment and on the command line, `loading` where they come from.
"""

from .fields import Settings
from .loading import SettingsError, check_token, load_settings, unknown_variables
from .names import CHECK_TOKEN, PREFIX, flag, variable

__all__ = [
    "CHECK_TOKEN",
    "PREFIX",
    "Settings",
    "SettingsError",
    "check_token",
    "flag",
    "load_settings",
    "unknown_variables",
    "variable",
]
