"""What holds for all unit tests."""

from hypothesis import settings

# An example's time says how busy the machine is; pytest's own timeout catches what hangs.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
