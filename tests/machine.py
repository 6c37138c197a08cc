"""What tests want of this machine beside Python and PostgreSQL: a browser, Node, openssl.

Where one is missing, the tests that want it are skipped, so that nobody must have them all; and where
`DEWPOND_TESTS_NEED` names it, as in `chromium,node`, they fail: a run that counts skips nothing unseen.
"""

import os
from typing import NoReturn

import pytest


def lacks(what: str, why: str) -> NoReturn:
    """Skip the test, or fail it where `what` was to be here; `why` says what cannot be tested without it."""
    needed = {name.strip() for name in os.environ.get("DEWPOND_TESTS_NEED", "").split(",")}
    (pytest.fail if what in needed else pytest.skip)(why)
