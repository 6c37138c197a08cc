"""Ceremonies: what a page asks of an authenticator, and what comes back, as `passkeys.js` carries it."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import MediaType, Response

from dewpond.identity import Begun
from dewpond.web.failures import NoPasskeyGiven


class PasskeyAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `passkeys.js` sends after the authenticator has answered; without JavaScript there is nothing in it."""

    challenge_id: UUID | None = None
    response: str = ""

    def given(self) -> tuple[UUID, str]:
        """The question and its answer, or `NoPasskeyGiven`."""
        if self.challenge_id is None or not self.response:
            raise NoPasskeyGiven
        return self.challenge_id, self.response


class OnwardAnswer(PasskeyAnswer, frozen=True):
    """The same from whoever was on the way to somewhere."""

    next: str = "/"


def asked(begun: Begun) -> Response[Any]:
    """A question to an authenticator, as `passkeys.js` takes it."""
    told = {"challenge_id": str(begun.challenge_id), "options": msgspec.Raw(begun.options.encode())}
    return Response(told, media_type=MediaType.JSON, status_code=200, headers={"Cache-Control": "no-store"})
