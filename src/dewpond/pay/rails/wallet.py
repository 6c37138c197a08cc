"""The wallet rail: money that already lies in this world, so a payment is one ledger entry and final at once."""

from datetime import datetime
from typing import Final
from uuid import UUID

from dewpond.identity import PersonId
from dewpond.kit.money import Money
from dewpond.ledger import Entry, Transfer
from dewpond.pay.accounts import fees_of, payment_entry_key, refund_entry_key, unsettled_of, wallet_of
from dewpond.pay.payments import Payment


class WalletRail:
    """Person's wallet to merchant's unsettled money, and back."""

    name: Final = "wallet"

    def payment_entry(self, payment: Payment, *, payer_id: PersonId, fee: Money, at: datetime) -> Entry:
        """Wallet → unsettled the whole sum, unsettled → fees the fee; gross and fee stay visible on the statement."""
        shop = unsettled_of(payment.merchant_id, payment.currency)
        transfers = [Transfer(debit=wallet_of(payer_id, payment.currency), credit=shop, amount=payment.amount)]
        if fee.minor:
            transfers.append(Transfer(debit=shop, credit=fees_of(payment.currency), amount=fee))
        return Entry(key=payment_entry_key(payment.id), transfers=tuple(transfers), occurred_at=at)

    def refund_entry(self, payment: Payment, *, refund_id: UUID, amount: Money, fee: Money, at: datetime) -> Entry:
        """Unsettled → wallet the refund, fees → unsettled the share of the fee."""
        if payment.payer_id is None:
            raise ValueError(f"{payment.text_id} was never paid")
        shop = unsettled_of(payment.merchant_id, payment.currency)
        transfers = [Transfer(debit=shop, credit=wallet_of(payment.payer_id, payment.currency), amount=amount)]
        if fee.minor:
            transfers.append(Transfer(debit=fees_of(payment.currency), credit=shop, amount=fee))
        return Entry(key=refund_entry_key(refund_id), transfers=tuple(transfers), occurred_at=at)


WALLET: Final = WalletRail()
