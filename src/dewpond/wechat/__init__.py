"""WeChat Pay's wire, API v3: calls in, signed answers out, and callbacks in its language."""

from typing import Any, Final

from dewpond.wechat import certificates, payments, refunds
from dewpond.wechat.answers import Answer, nothing_here
from dewpond.wechat.callbacks import CallbackScribe
from dewpond.wechat.connections import CONNECTIONS, Connection
from dewpond.wechat.door import Call, Door, House

#: Everything the wire can be asked.
CALLS: Final[tuple[Call[Any], ...]] = (*payments.CALLS, *refunds.CALLS, *certificates.CALLS)

__all__ = ["CALLS", "CONNECTIONS", "Answer", "Call", "CallbackScribe", "Connection", "Door", "House", "nothing_here"]
