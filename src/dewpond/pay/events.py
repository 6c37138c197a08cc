"""The facts of the pay room."""

from uuid import UUID

from dewpond.kit.outbox import Event


class PaymentSucceeded(Event, frozen=True, kw_only=True):
    """A person has paid; the money is the merchant's, less the fee."""

    kind = "payment.succeeded"
    aggregate = "payment_id"

    payment_id: UUID
    merchant_id: UUID
    app_id: UUID
    person_id: UUID
    minor: int
    fee_minor: int
    currency: str


class PaymentClosed(Event, frozen=True, kw_only=True):
    """A payment ended unpaid: closed by the merchant, or expired."""

    kind = "payment.closed"
    aggregate = "payment_id"

    payment_id: UUID
    merchant_id: UUID
    expired: bool


class RefundEnded(Event, frozen=True, kw_only=True):
    """What every end of a refund tells."""

    aggregate = "payment_id"  # refunds of one payment are told in their order

    refund_id: UUID
    payment_id: UUID
    merchant_id: UUID
    app_id: UUID
    person_id: UUID
    minor: int
    fee_minor: int
    currency: str


class RefundSucceeded(RefundEnded, frozen=True, kw_only=True):
    """Money has gone back to the person who paid."""

    kind = "refund.succeeded"


class RefundClosed(RefundEnded, frozen=True, kw_only=True):
    """A refund was given up; the merchant keeps the money."""

    kind = "refund.closed"


class RefundAbnormal(RefundEnded, frozen=True, kw_only=True):
    """A refund could not reach the person; the money waits with the merchant."""

    kind = "refund.abnormal"


class WalletToppedUp(Event, frozen=True, kw_only=True):
    """A person's wallet was filled from outside."""

    kind = "wallet.topped_up"
    aggregate = "person_id"

    top_up_id: UUID
    person_id: UUID
    minor: int
    currency: str
