"""What holds for all unit tests."""

from hypothesis import HealthCheck, settings

# How long examples take says how busy the machine is; pytest's own timeout catches what hangs.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
