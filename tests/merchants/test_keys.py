"""Keys: one authority per world, the right platform key for each merchant, and every secret sealed in its own row."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dewpond import merchants
from dewpond.kit import crypto, worlds
from dewpond.kit.db import Database, Tx
from dewpond.kit.secrets import MasterKeys, MasterKeyUnknown, SecretUnreadable
from dewpond.kit.worlds import WorldKind
from dewpond.merchants import ApiKeyMissing, Claim, KeyMode, Onboarded, PlatformKey

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

ONE = MasterKeys({"k1": b"\x01" * 32})
BOTH = MasterKeys({"k1": b"\x01" * 32, "k2": b"\x02" * 32})
NEW = MasterKeys({"k2": b"\x02" * 32})


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A world with an older and a newer platform certificate, and a merchant of each mode."""

    older: PlatformKey
    newer: PlatformKey
    tea: Onboarded
    coffee: Onboarded


async def prepare(database: Database, wall_now: datetime = NOON) -> None:
    async with database.transaction() as tx:
        await merchants.prepare_platform(tx, secrets=ONE, wall_now=wall_now)


async def count(tx: Tx, table: str) -> int:
    return int(await tx.connection.fetchval(f"select count(*) from merchants.{table}"))  # noqa: S608 - our own name


@pytest.fixture(scope="module")
async def elsewhere(database: Database, dsn: str) -> AsyncIterator[Database]:
    """Another process's pool."""
    other = await Database.open(dsn, size=3, name="elsewhere")
    yield other
    await other.close()


@pytest.fixture(scope="module")
async def platform(database: Database, elsewhere: Database) -> Platform:
    """Prepared by two processes that start at once, several times."""
    await asyncio.gather(*(prepare(pool) for pool in (database, elsewhere) * 3))
    async with database.transaction() as tx:
        await worlds.create_world(tx, WorldKind.SANDBOX, public_url="https://pond.example", wall_now=NOON)
        [older] = await merchants.list_platform_certificates(tx, wall_now=NOON)
        tea = await merchants.onboard_merchant(tx, "Tea Shop", secrets=ONE, wall_now=NOON)
        coffee = await merchants.onboard_merchant(
            tx, "Coffee Shop", secrets=ONE, wall_now=NOON, key_mode=KeyMode.PUBLIC_KEY
        )
        newer = await merchants.rotate_platform_certificate(tx, secrets=ONE, wall_now=NOON + DAY)
    return Platform(older=older, newer=newer, tea=tea, coffee=coffee)


# --- the platform -----------------------------------------------------------------------------------------------------


async def test_processes_that_start_at_once_make_one_authority_and_one_certificate(
    database: Database, platform: Platform
) -> None:
    async with database.transaction() as tx:
        assert await count(tx, "authorities") == 1
        certificates = await merchants.list_platform_certificates(tx, wall_now=NOON)
    assert certificates == [platform.older]


async def test_preparing_again_is_no_change(database: Database, platform: Platform) -> None:
    async with database.transaction() as tx:
        before = await count(tx, "authorities"), await count(tx, "platform_keys")
        await merchants.prepare_platform(tx, secrets=ONE, wall_now=NOON + 2 * DAY)
        assert (await count(tx, "authorities"), await count(tx, "platform_keys")) == before


async def test_a_platform_certificate_is_the_authoritys_and_signs(database: Database, platform: Platform) -> None:
    async with database.transaction() as tx:
        authority = await tx.connection.fetchval("select pem from merchants.authorities")
    for key in (platform.older, platform.newer):
        assert key.certificate is not None
        certificate = crypto.parse_certificate(key.certificate.encode())
        certificate.verify_directly_issued_by(crypto.parse_certificate(authority.encode()))
        assert crypto.serial_text(certificate) == key.id
        signer = key.signer(ONE)
        assert signer.key_id == key.id
        assert crypto.Verifier(crypto.certified_key(certificate)).verify(b"answer", signer.sign_now(b"answer"))
        assert crypto.parse_public_key(key.public_key.encode()) == crypto.certified_key(certificate)


async def test_after_a_rotation_both_are_valid_and_the_new_one_comes_first(
    database: Database, platform: Platform
) -> None:
    async with database.transaction() as tx:
        assert await merchants.list_platform_certificates(tx, wall_now=NOON) == [platform.older]
        assert await merchants.list_platform_certificates(tx, wall_now=NOON + DAY) == [platform.newer, platform.older]
        assert platform.older.not_after is not None
        assert await merchants.list_platform_certificates(tx, wall_now=platform.older.not_after) == [platform.newer]


async def test_where_no_certificate_is_valid_any_more_preparing_makes_one(
    database: Database, platform: Platform
) -> None:
    class Undo(Exception):
        pass

    async def six_years_later() -> None:
        async with database.transaction() as tx:
            later = NOON + 6 * 365 * DAY
            assert await merchants.list_platform_certificates(tx, wall_now=later) == []
            await merchants.prepare_platform(tx, secrets=ONE, wall_now=later)
            assert len(await merchants.list_platform_certificates(tx, wall_now=later)) == 1
            assert await count(tx, "authorities") == 1
            raise Undo

    with pytest.raises(Undo):
        await six_years_later()


async def test_a_certificate_is_followed_by_another_thirty_days_before_it_ends(
    database: Database, platform: Platform
) -> None:
    class Undo(Exception):
        pass

    assert platform.newer.not_after is not None
    soon = platform.newer.not_after - 30 * DAY

    async def renew() -> None:
        async with database.transaction() as tx:
            before = await merchants.list_platform_certificates(tx, wall_now=soon)
            await merchants.prepare_platform(tx, secrets=ONE, wall_now=soon)
            assert await merchants.list_platform_certificates(tx, wall_now=soon) == before
            for _ in range(2):
                await merchants.prepare_platform(tx, secrets=ONE, wall_now=soon + DAY)
                first, *others = await merchants.list_platform_certificates(tx, wall_now=soon + DAY)
                assert others == before
                assert first.not_after is not None
                assert first.not_after > soon + 4 * 365 * DAY
            raise Undo

    with pytest.raises(Undo):
        await renew()


async def test_an_authority_that_ends_is_followed_by_another_that_signs_for_years(
    database: Database, platform: Platform
) -> None:
    class Undo(Exception):
        pass

    later = NOON + (20 * 365 - 10) * DAY

    async def renew() -> None:
        async with database.transaction() as tx:
            await merchants.prepare_platform(tx, secrets=ONE, wall_now=later)
            assert await count(tx, "authorities") == 2
            [key] = await merchants.list_platform_certificates(tx, wall_now=later)
            assert key.not_after is not None
            assert key.not_after > later + 4 * 365 * DAY
            raise Undo

    with pytest.raises(Undo):
        await renew()


# --- which key signs --------------------------------------------------------------------------------------------------

CHOICES = [
    # case, who asks, what it names, what signs
    ("names nothing, certificate mode", "tea", "", "newer"),
    ("names nothing, public-key mode", "coffee", "", "its public key"),
    ("names the newer certificate", "tea", "newer", "newer"),
    ("names the older certificate", "tea", "older", "older"),
    ("public-key mode names a certificate", "coffee", "older", "older"),
    ("certificate mode names its public key", "tea", "its public key", "its public key"),
    ("public-key mode names its public key", "coffee", "its public key", "its public key"),
    ("names another merchant's public key", "tea", "the other's public key", "its public key"),
    ("public-key mode names another merchant's", "coffee", "the other's public key", "its public key"),
    ("names an unknown public key", "tea", "PUB_KEY_ID_0000000000000000000000000000", "its public key"),
    ("names an unknown serial", "tea", "7" * 40, "newer"),
    ("public-key mode names an unknown serial", "coffee", "7" * 40, "newer"),
    ("names rubbish", "tea", "' or true --", "newer"),
]


@pytest.mark.parametrize(("_case", "asking", "named", "signs"), CHOICES, ids=[case for case, *_ in CHOICES])
async def test_the_key_that_signs(
    database: Database, platform: Platform, _case: str, asking: str, named: str, signs: str
) -> None:
    """By itself and at the wire's door the choice is the same."""
    asked, other = (platform.tea, platform.coffee) if asking == "tea" else (platform.coffee, platform.tea)
    keys = {
        "older": platform.older,
        "newer": platform.newer,
        "its public key": asked.public_key,
        "the other's public key": other.public_key,
    }
    key_id = keys[named].id if named in keys else named
    claim = Claim(number=asked.merchant.number, serial="7" * 40, key_id=key_id, appid="")
    async with database.transaction() as tx:
        alone = await merchants.platform_key(
            tx, asked.merchant.id, key_id=key_id or None, key_mode=asked.merchant.key_mode, wall_now=NOON + DAY
        )
        [recognised] = await merchants.recognise(tx, [claim], wall_now=NOON + DAY)
    assert alone == keys[signs]
    assert recognised is not None
    assert recognised.key == keys[signs]


async def test_a_certificate_that_is_not_valid_yet_or_any_more_is_not_chosen(
    database: Database, platform: Platform
) -> None:
    assert platform.older.not_after is not None
    async with database.transaction() as tx:
        for wall_now, named, chosen in (
            (NOON, platform.newer.id, platform.older),
            (platform.older.not_after, platform.older.id, platform.newer),
        ):
            key = await merchants.platform_key(
                tx, platform.tea.merchant.id, key_id=named, key_mode=KeyMode.CERTIFICATE, wall_now=wall_now
            )
            assert key == chosen


@pytest.mark.parametrize("named", ["", "7" * 40, "the newer certificate"])
async def test_where_no_certificate_is_valid_the_last_one_signs_and_never_a_key_of_another_kind(
    database: Database, platform: Platform, named: str
) -> None:
    wall_now = NOON + 6 * 365 * DAY
    key_id = platform.newer.id if named == "the newer certificate" else named
    number = platform.tea.merchant.number
    async with database.transaction() as tx:
        alone = await merchants.platform_key(
            tx, platform.tea.merchant.id, key_id=key_id, key_mode=KeyMode.CERTIFICATE, wall_now=wall_now
        )
        claim = Claim(number=number, serial="7" * 40, key_id=key_id, appid="")
        [recognised] = await merchants.recognise(tx, [claim], wall_now=wall_now)
    assert recognised is not None
    assert alone == recognised.key == platform.newer


# --- who calls --------------------------------------------------------------------------------------------------------


async def test_many_claims_are_told_apart_in_their_order(database: Database, platform: Platform) -> None:
    tea, coffee = platform.tea, platform.coffee

    def claim(of: Onboarded | None, appid: str = "") -> Claim:
        return Claim(number=of.merchant.number if of else "1699999999", serial="7" * 40, key_id="", appid=appid)

    claims = [
        claim(tea, tea.app.appid),
        claim(None, tea.app.appid),
        claim(coffee, tea.app.appid),  # another merchant's app
        claim(tea, tea.app.appid),  # the same again
        claim(tea),
    ]
    async with database.transaction() as tx:
        known = await merchants.recognise(tx, claims, wall_now=NOON + DAY)
        assert await merchants.recognise(tx, [], wall_now=NOON) == []
    assert [one and (one.caller.number, one.app_id) for one in known] == [
        (tea.merchant.number, tea.app.id),
        None,
        (coffee.merchant.number, None),
        (tea.merchant.number, tea.app.id),
        (tea.merchant.number, None),
    ]
    assert {one.world.public_url for one in known if one} == {"https://pond.example"}


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_an_api_key_opens_in_its_own_row_only(database: Database, platform: Platform) -> None:
    """Whoever can write to the database cannot make one merchant's secret another's."""
    tea, coffee = platform.tea, platform.coffee
    async with database.transaction() as tx:
        keys = [await merchants.api_v3_key(tx, one.merchant.id, secrets=ONE) for one in (tea, coffee)]
        assert keys == [tea.api_v3_key.encode(), coffee.api_v3_key.encode()]
    move = (
        "update merchants.api_keys set sealed = (select sealed from merchants.api_keys where merchant_id = $1) "
        "where merchant_id = $2"
    )

    async def steal() -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(move, tea.merchant.id, coffee.merchant.id)
            await merchants.api_v3_key(tx, coffee.merchant.id, secrets=ONE)

    with pytest.raises(SecretUnreadable):
        await steal()


async def test_a_platform_key_opens_in_its_own_row_only(platform: Platform) -> None:
    moved = msgspec.structs.replace(platform.newer, sealed_key=platform.older.sealed_key)
    with pytest.raises(SecretUnreadable):
        moved.signer(ONE)
    renamed = msgspec.structs.replace(platform.older, id=platform.newer.id)
    with pytest.raises(SecretUnreadable):
        renamed.signer(ONE)


async def test_no_secret_lies_open_in_the_database(database: Database, platform: Platform) -> None:
    async with database.transaction() as tx:
        rows = await tx.connection.fetch(
            "select t::text as row from merchants.api_keys t union all "
            "select t::text from merchants.platform_keys t union all select t::text from merchants.authorities t"
        )
    text = "".join(row["row"] for row in rows)
    key_pem = platform.older.private_key_pem(ONE)
    for secret in (platform.tea.api_v3_key.encode(), key_pem, key_pem[100:200], b"PRIVATE KEY"):
        assert secret.decode() not in text
        assert secret.hex() not in text


async def test_a_merchant_without_an_api_key_is_told_so(database: Database, platform: Platform) -> None:
    async with database.transaction() as tx:
        with pytest.raises(ApiKeyMissing):
            await merchants.api_v3_key(tx, platform.tea.app.id, secrets=ONE)


async def test_an_api_key_can_be_replaced(database: Database, platform: Platform) -> None:
    merchant_id = platform.coffee.merchant.id
    async with database.transaction() as tx:
        drawn = await merchants.set_api_v3_key(tx, merchant_id, secrets=ONE, wall_now=NOON)
        assert drawn != platform.coffee.api_v3_key
        assert await merchants.api_v3_key(tx, merchant_id, secrets=ONE) == drawn.encode()
        chosen = "k" * 32
        assert await merchants.set_api_v3_key(tx, merchant_id, secrets=ONE, wall_now=NOON, value=chosen) == chosen
        assert await merchants.api_v3_key(tx, merchant_id, secrets=ONE) == chosen.encode()
        await merchants.set_api_v3_key(tx, merchant_id, secrets=ONE, wall_now=NOON, value=platform.coffee.api_v3_key)


async def test_an_api_key_is_renewed_only_beside_the_one_that_was_seen(database: Database, platform: Platform) -> None:
    merchant_id = platform.coffee.merchant.id
    async with database.transaction() as tx:
        seen = await merchants.api_v3_key_drawn_at(tx, merchant_id)
        assert await merchants.api_v3_key_drawn_at(tx, platform.tea.app.id) is None
        for other in (None, NOON - DAY):
            with pytest.raises(merchants.ApiKeyRenewed):
                await merchants.renew_api_v3_key(tx, merchant_id, drawn_at=other, secrets=ONE, wall_now=NOON + DAY)
        drawn = await merchants.renew_api_v3_key(tx, merchant_id, drawn_at=seen, secrets=ONE, wall_now=NOON + DAY)
        assert await merchants.api_v3_key(tx, merchant_id, secrets=ONE) == drawn.encode()
        assert await merchants.api_v3_key_drawn_at(tx, merchant_id) == NOON + DAY
        await merchants.set_api_v3_key(tx, merchant_id, secrets=ONE, wall_now=NOON, value=platform.coffee.api_v3_key)


@pytest.mark.parametrize("value", ["short", "k" * 33, "钥" * 32])
async def test_an_api_key_has_thirty_two_bytes(database: Database, platform: Platform, value: str) -> None:
    async with database.transaction() as tx:
        with pytest.raises(ValueError, match="32 bytes"):
            await merchants.set_api_v3_key(tx, platform.tea.merchant.id, secrets=ONE, wall_now=NOON, value=value)


async def test_after_the_master_key_was_replaced_everything_opens_without_the_old_one(
    database: Database, platform: Platform
) -> None:
    class Undo(Exception):
        pass

    async def replace() -> None:
        async with database.transaction() as tx:
            with pytest.raises(MasterKeyUnknown):
                await merchants.api_v3_key(tx, platform.tea.merchant.id, secrets=NEW)
            secrets = await count(tx, "api_keys") + await count(tx, "authorities") + await count(tx, "platform_keys")
            assert await merchants.reseal_secrets(tx, secrets=BOTH) == secrets
            assert await merchants.reseal_secrets(tx, secrets=BOTH) == 0
            for one in (platform.tea, platform.coffee):
                key = await merchants.api_v3_key(tx, one.merchant.id, secrets=NEW)
                assert key == one.api_v3_key.encode()
            for certificate in await merchants.list_platform_certificates(tx, wall_now=NOON + DAY):
                certificate.signer(NEW)
            await merchants.rotate_platform_certificate(tx, secrets=NEW, wall_now=NOON + DAY)
            raise Undo

    with pytest.raises(Undo):
        await replace()
