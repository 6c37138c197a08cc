"""What the tests of signing in share."""

from collections.abc import AsyncIterator

import pytest

from dewpond.kit.db import Database


@pytest.fixture
async def elsewhere(dsn: str) -> AsyncIterator[Database]:
    """Another process's pool."""
    database = await Database.open(dsn, size=5, name="elsewhere")
    yield database
    await database.close()
