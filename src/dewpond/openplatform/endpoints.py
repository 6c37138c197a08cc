"""Webhook endpoints: where a merchant wants to be told."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NewType
from uuid import UUID

from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.ids import derived_id

sql = queries(__file__)

EndpointId = NewType("EndpointId", UUID)


@lru_cache(maxsize=4096)
def endpoint_of(merchant_id: UUID, url: str) -> EndpointId:
    """The one endpoint a merchant has at a URL, the same in every process without looking it up."""
    return EndpointId(derived_id("webhook_endpoint", merchant_id, url))


async def create_endpoints(tx: Tx, places: Iterable[tuple[UUID, str]], *, now: Now) -> None:
    """Make the endpoints of these (merchant, URL) that are not there yet."""
    rows = [(merchant_id, endpoint_of(merchant_id, url), url) for merchant_id, url in sorted(set(places))]
    merchant_ids, ids, urls = columns(rows, 3)
    await tx.run(sql.create_endpoints, merchant_ids=merchant_ids, ids=ids, urls=urls, created_at=now.world)
