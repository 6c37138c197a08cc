"""What a rail must be able to do."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from dewpond.identity import PersonId
from dewpond.kit.money import Money
from dewpond.ledger import Entry
from dewpond.pay.payments import Payment


class Rail(Protocol):
    """One way money can travel between a person and a merchant."""

    @property
    def name(self) -> str:
        """The word that is stored on the payment."""
        ...

    def payment_entry(self, payment: Payment, *, payer_id: PersonId, fee: Money, at: datetime) -> Entry:
        """The entry that gives the payer's money to the merchant and the fee to the house."""
        ...

    def refund_entry(self, payment: Payment, *, refund_id: UUID, amount: Money, fee: Money, at: datetime) -> Entry:
        """The entry that gives a refund back to the payer, and its share of the fee back to the merchant."""
        ...
