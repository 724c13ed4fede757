"""Settings of all tests."""

from hypothesis import settings

# A machine that is busy is no wrong number.
settings.register_profile("fsdet", deadline=None)
settings.load_profile("fsdet")
