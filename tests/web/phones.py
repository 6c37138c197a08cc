"""Phones: a browser with an authenticator of its own, doing over HTTP what the pages' forms and modules do."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from dewpond.kit.db import Database
from identity.authenticator import Authenticator, from_base64url

PIN = "246813"


@dataclass
class Phone:
    """`phone = Phone(visitors.stranger()); await phone.join("Alice")`."""

    client: Any
    authenticator: Authenticator = field(init=False)

    def __post_init__(self) -> None:
        self.authenticator = Authenticator(self.client.origin)

    async def ask(self, path: str, **fields: str) -> tuple[str, str]:
        """A question to the authenticator, as `passkeys.js` asks for it: its id, and the options."""
        answer = await self.client.send_form(path, headers={"accept": "application/json"}, **fields)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
        told = answer.json()
        return told["challenge_id"], json.dumps(told["options"])

    async def create(self, path: str, challenge: str, **fields: str) -> Any:
        """Let the authenticator make a passkey, and send the form."""
        challenge_id, options = await self.ask(challenge, **fields)
        response = self.authenticator.create(options)
        return await self.client.send_form(path, challenge_id=challenge_id, response=response, **fields)

    async def sign(self, path: str, challenge: str, **fields: str) -> Any:
        """Let the authenticator sign, and send the form."""
        challenge_id, options = await self.ask(challenge, **fields)
        response = self.authenticator.get(options)
        return await self.client.send_form(path, challenge_id=challenge_id, response=response, **fields)

    async def join(self, name: str = "Alice", next_: str = "/") -> Any:
        return await self.create("/join", "/join/challenge", name=name, next=next_)

    async def sign_in(self, next_: str = "/") -> Any:
        return await self.sign("/sign-in/passkey", "/sign-in/passkey/challenge", next=next_)

    async def prove(self, next_: str = "/") -> Any:
        return await self.sign("/proof/passkey", "/proof/passkey/challenge", next=next_)

    async def prove_by_pin(self, pin: str = PIN, next_: str = "/me") -> Any:
        return await self.client.send_form("/proof/pin", pin=pin, next=next_)

    async def set_pin(self, pin: str = PIN) -> Any:
        return await self.client.send_form("/security/pin", pin=pin, again=pin, next="/security")

    async def person_id(self) -> UUID:
        """Who is signed in here, as their session's token says, and their own page agrees that they are."""
        assert await self.is_signed_in()
        return UUID(bytes=from_base64url(self.token)[:16])

    async def is_signed_in(self) -> bool:
        return (await self.client.get("/me")).status_code == 200

    @property
    def token(self) -> str:
        """What this browser keeps of its session; empty where it keeps none."""
        return str(self.client.cookies.get("dewpond-person") or "")


async def grow_stale(database: Database, person_id: UUID) -> None:
    """Let six minutes pass since this person's last proof."""
    async with database.transaction() as tx:
        await tx.connection.execute(
            "update identity.sessions set proven_at = proven_at - interval '6 minutes' where holder_id = $1", person_id
        )
