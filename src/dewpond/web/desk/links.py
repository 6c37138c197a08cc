"""Links that let a member of staff in: shown once, as text and as a picture for a phone."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from markupsafe import Markup

from dewpond import merchants
from dewpond.kit.db import Tx
from dewpond.merchants import StaffId, StaffMember
from dewpond.web.desk.frame import Desk
from dewpond.web.qr import qr_picture


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link as it is shown, this once."""

    member: StaffMember
    url: str
    #: Wall time.
    expires_at: datetime

    @property
    def picture(self) -> Markup:
        """A QR code."""
        return qr_picture(self.url)


async def make_link(tx: Tx, desk: Desk, member: StaffMember, *, by: StaffId) -> Link:
    """A link for a member of staff; earlier ones lead nowhere from now on. Refuses with `CameInBefore`."""
    token = await merchants.invite_newcomer(tx, member.id, by=by, wall_now=desk.now.wall)
    return Link(
        member=member,
        url=f"{desk.world.staff_url}/invitations/{token}",
        expires_at=desk.now.wall + merchants.INVITATION_LIFETIME,
    )


async def list_not_yet_in(tx: Tx, members: Sequence[StaffMember]) -> Sequence[StaffId]:
    """Who of these still needs a link."""
    claimed = await merchants.list_claimed(tx, [member.id for member in members])
    return [member.id for member in members if member.id not in claimed]
