"""`dewpond staff`: who works at the desk and at merchants, and the links that let them in."""

import re
from datetime import datetime
from typing import Annotated, Any

import typer

from dewpond import merchants
from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.doors import usual_doors
from dewpond.cli.merchants import Which, find_merchant
from dewpond.cli.paper import Paper, Rows, short
from dewpond.cli.terminal import Json, answer, answering, choose, moment, note, refuse
from dewpond.kit import worlds
from dewpond.kit.db import Tx
from dewpond.merchants import INVITATION_LIFETIME, Deed, Role, StaffMember

app = typer.Typer(no_args_is_help=True, help="Who works at the desk and at merchants.")
operators = typer.Typer(no_args_is_help=True, help="The operators of this world: the desk is theirs.")
app.add_typer(operators, name="operators")

Member = Annotated[str, typer.Argument(help="Sign-in name, id (stf_…) or name.")]
SignInName = Annotated[
    str, typer.Option(help="What they sign in with, if their name in small letters will not do.", metavar="NAME")
]


async def find_member(tx: Tx, desk: Desk, text: str) -> StaffMember:
    """The member of staff that was meant."""
    found = await merchants.find_staff_members(tx, text)
    if not found:
        raise merchants.StaffMemberNotFound(name=short(text))
    return choose(found, text, desk.world, what="member of staff", call=lambda one: one.sign_in_name, guess=False)


def sign_in_name_for(name: str) -> str:
    """What somebody of this name could sign in with: `Tea Owner` as `tea-owner`."""
    made = merchants.plain_sign_in_name(re.sub(r"\s+", "-", name.strip()))
    if made is None:
        told = f"Nobody can sign in as {short(name)!r}: say what they sign in with, --sign-in-name."
        refuse(told, "sign_in_name_invalid")
    return made


async def _told(tx: Tx, member: StaffMember) -> dict[str, Any]:
    roles = await merchants.roles_of(tx, member.id)
    return {
        "id": member.text_id,
        "sign_in_name": member.sign_in_name,
        "name": member.name,
        "is_operator": member.is_operator,
        "created_at": member.created_at,
        "roles": [{"mchid": one.number, "merchant": one.name, "role": role} for one, role in roles],
    }


async def _invited(tx: Tx, desk: Desk, member: StaffMember, wall: datetime) -> dict[str, Any]:
    """What is told of somebody with a link that is good once."""
    token = await merchants.invite(tx, member.id, wall_now=wall)
    origin = desk.world.staff_url or usual_doors(desk.place.settings).staff_url
    return await _told(tx, member) | {
        "link": f"{origin}/invitations/{token}",
        "expires_at": wall + INVITATION_LIFETIME,
    }


def _answer_invited(told: dict[str, Any], json: bool) -> None:
    def show(out: Paper) -> None:
        out.print((told["name"], "bold"), f" signs in as {told['sign_in_name']}{_places(told)}")
        out.print(told["link"])

    answer(told, json, show)
    if not json:
        note(
            f"Whoever opens the link first is {told['name']}: it is good once, until {moment(told['expires_at'])}"
            " (real time), and it is not shown again."
        )


def _places(told: dict[str, Any]) -> str:
    places = ["operator"] if told["is_operator"] else []
    places += [f"{one['role']} at {one['merchant']}" for one in told["roles"]]
    return f", {', '.join(places)}" if places else ""


@operators.command("create", epilog="Example: dewpond staff operators create Anna")
@answering
async def create_operator(
    name: Annotated[str, typer.Argument(help="What the operator is called.")],
    sign_in_name: SignInName = "",
    json: Json = False,
) -> None:
    """Make an operator, and a link that lets them in once. In a live world the first one comes from here."""
    sign_in_name = sign_in_name or sign_in_name_for(name)
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            member = await merchants.create_staff_member(tx, sign_in_name, name, is_operator=True, wall_now=now.wall)
            told = await _invited(tx, desk, member, now.wall)
            await merchants.record_act(
                tx, Deed.STAFF_INVITED, by=None, now=now, subject=member.text_id, detail="operator"
            )
        _answer_invited(told, json)


@operators.command("list", epilog="Example: dewpond staff operators list")
@answering
async def list_operators(json: Json = False) -> None:
    """The operators, the oldest first."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        told = [await _told(tx, member) for member in await merchants.list_operators(tx)]

    def show(out: Paper) -> None:
        rows = Rows("name", "signs in as", "id", "since (real time)")
        for one in told:
            rows.add_row(one["name"], one["sign_in_name"], one["id"], moment(one["created_at"]))
        out.print_rows(rows)

    answer(told, json, show)


@app.command(epilog='Example: dewpond staff invite "Li Wei" --merchant "Tea Shop" --role cashier')
@answering
async def invite(
    who: Annotated[str, typer.Argument(help="Sign-in name or id (stf_…); or the name of somebody new.")],
    merchant: Annotated[str, typer.Option(help="Where they work: name, number (mchid) or id (mch_…).")] = "",
    role: Annotated[Role | None, typer.Option(help="What they are there.")] = None,
    sign_in_name: SignInName = "",
    json: Json = False,
) -> None:
    """Let somebody in: a link that is good once, to set a password. Earlier links lead nowhere then.

    With a merchant and a role they have that role there from now on; somebody new is made. Without, it is for a member
    of staff who has lost the way in.
    """
    if bool(merchant) != (role is not None):
        raise typer.BadParameter("say both where they work (--merchant) and as what (--role), or neither")
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            member = await _member_for(tx, desk, who, sign_in_name, is_new_welcome=role is not None, wall=now.wall)
            if role is None:
                await merchants.record_act(tx, Deed.LINK_MADE, by=None, now=now, subject=member.text_id)
            else:
                place = await find_merchant(tx, desk, merchant)
                await merchants.give_role(tx, place.id, member.id, role, wall_now=now.wall)
                await merchants.record_act(
                    tx,
                    Deed.STAFF_INVITED,
                    by=None,
                    now=now,
                    merchant_id=place.id,
                    subject=member.text_id,
                    detail=role,
                )
            told = await _invited(tx, desk, member, now.wall)
        _answer_invited(told, json)


async def _member_for(
    tx: Tx, desk: Desk, who: str, sign_in_name: str, *, is_new_welcome: bool, wall: datetime
) -> StaffMember:
    """The member of staff that was meant, made if there is none and a role waits for them."""
    if not sign_in_name and (not is_new_welcome or await merchants.find_staff_members(tx, who)):
        return await find_member(tx, desk, who)
    if not is_new_welcome:
        refuse("Somebody new works somewhere: say where (--merchant) and as what (--role).", "role_missing")
    return await merchants.create_staff_member(tx, sign_in_name or sign_in_name_for(who), who, wall_now=wall)


@app.command("list", epilog='Example: dewpond staff list "Tea Shop"')
@answering
async def list_(which: Which, json: Json = False) -> None:
    """Who works at a merchant: owners, cashiers, analysts."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        merchant = await find_merchant(tx, desk, which)
        found = await merchants.list_staff(tx, merchant.id)
    told = [
        {
            "id": one.text_id,
            "sign_in_name": one.sign_in_name,
            "name": one.name,
            "role": role,
            "created_at": one.created_at,
        }
        for one, role in found
    ]

    def show(out: Paper) -> None:
        rows = Rows("name", "role", "signs in as", "id")
        for one, role in found:
            rows.add_row(one.name, role, one.sign_in_name, one.text_id)
        out.print_rows(rows)

    answer(told, json, show)


@app.command(epilog='Example: dewpond staff end li-wei --merchant "Tea Shop"')
@answering
async def end(
    who: Member,
    merchant: Annotated[str, typer.Option(help="Only there: what they are elsewhere stays.")] = "",
    json: Json = False,
) -> None:
    """Let nothing open for somebody any more: their roles end, and their links, passwords and passkeys with them."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            member = await find_member(tx, desk, who)
            if merchant:
                place = await find_merchant(tx, desk, merchant)
                await merchants.end_role(tx, place.id, member.id, wall_now=now.wall)
                await merchants.record_act(
                    tx, Deed.ROLE_ENDED, by=None, now=now, merchant_id=place.id, subject=member.text_id
                )
            else:
                await merchants.end_staff_member(tx, member.id, wall_now=now.wall)
                await merchants.record_act(tx, Deed.STAFF_ENDED, by=None, now=now, subject=member.text_id)
            told = await _told(tx, member) | {"ended": not merchant}
        said = f" does not work at {place.name} any more" if merchant else " does not work here any more"
        answer(told, json, lambda out: out.print((member.name, "bold"), said))
