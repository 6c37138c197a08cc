"""Rails: the ways money can travel. Each says which ledger entry a payment or a refund is; the verbs do the rest."""

from dewpond.pay.rails.rail import Rail
from dewpond.pay.rails.wallet import WALLET

#: Every rail by the name that is stored on a payment.
RAILS: dict[str, Rail] = {WALLET.name: WALLET}

__all__ = ["RAILS", "WALLET", "Rail"]
