"""For all tests: a property does not fail because the machine is busy."""

from hypothesis import settings

settings.register_profile("any-speed", deadline=None)
settings.load_profile("any-speed")
