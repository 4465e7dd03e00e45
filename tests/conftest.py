"""What holds for all tests."""

import gc

import pytest


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """pytest's own, but asyncio says now, and not meanwhile, what it has to say of tasks that an earlier test left."""
    gc.collect()
    return caplog
