"""Settings of all tests."""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("helpers.head_contract")

# A busy machine must not fail a test.
settings.register_profile("fsdet", deadline=None)
settings.load_profile("fsdet")
