"""Links that let a member of staff in: shown once, as text and as a picture for a phone."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import segno

from dewpond import identity, merchants
from dewpond.identity import Realm
from dewpond.kit.db import Tx
from dewpond.merchants import StaffId, StaffMember
from dewpond.web.desk.frame import Desk
from dewpond.web.failures import CameInBefore


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link as it is shown, this once."""

    member: StaffMember
    url: str
    #: Wall time.
    expires_at: datetime

    @property
    def picture(self) -> str:
        """A QR code, as the address of a picture."""
        return segno.make(self.url, error="m", micro=False).svg_data_uri(border=2)


async def make_link(tx: Tx, desk: Desk, member: StaffMember) -> Link:
    """A link for a member of staff; earlier ones lead nowhere from now on. Refuses with `CameInBefore`."""
    if await has_come_in(tx, member.id):
        raise CameInBefore(staff=member.text_id)
    token = await merchants.invite(tx, member.id, wall_now=desk.now.wall)
    return Link(
        member=member,
        url=f"{desk.world.staff_url}/invitations/{token}",
        expires_at=desk.now.wall + merchants.INVITATION_LIFETIME,
    )


async def has_come_in(tx: Tx, staff_id: StaffId) -> bool:
    """Whether somebody has a way in of their own."""
    return await merchants.has_password(tx, staff_id) or bool(await identity.list_passkeys(tx, Realm.STAFF, staff_id))


async def list_not_yet_in(tx: Tx, members: Iterable[StaffMember]) -> Sequence[StaffId]:
    """Who of these still needs a link."""
    return [member.id for member in members if not await has_come_in(tx, member.id)]
