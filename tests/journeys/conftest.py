"""One world per module, where a test does not want its own."""

from collections.abc import Iterator

import pytest

from journeys.running import RunningWorld, a_world


@pytest.fixture(scope="module")
def world() -> Iterator[RunningWorld]:
    """One world with one server for the tests of a module."""
    with a_world() as running:
        yield running
