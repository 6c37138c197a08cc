"""One world per module, where a test does not want its own; a browser for those that look at pages."""

from collections.abc import Iterator

import pytest

from browser import chromium, chromium_path
from journeys.running import RunningWorld, a_world
from journeys.teashop import keys, shop, teashop

__all__ = ["chromium", "chromium_path", "keys", "shop", "teashop"]  # fixtures, found here by their names


@pytest.fixture(scope="module")
def world() -> Iterator[RunningWorld]:
    """One world with one server for the tests of a module."""
    with a_world() as running:
        yield running
