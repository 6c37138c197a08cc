"""What outsiders may do and are told: webhook endpoints, deliveries to them, and each attempt."""

from dewpond.openplatform.attempts import RETRIES, DeliveryAttempt, list_attempts, list_attempts_of
from dewpond.openplatform.courier import Courier
from dewpond.openplatform.deliveries import (
    JOB,
    Delivery,
    DeliveryCounts,
    DeliveryId,
    DeliveryNotFound,
    DeliveryStatus,
    count_deliveries,
    find_delivery,
    from_text,
    get_delivery,
    list_deliveries,
    list_deliveries_of_facts,
    list_newest_deliveries,
    notify_merchant,
    resend,
    subject_of,
    to_text,
)
from dewpond.openplatform.encoders import Encoder, Letter, Sign

__all__ = [
    "JOB",
    "RETRIES",
    "Courier",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryCounts",
    "DeliveryId",
    "DeliveryNotFound",
    "DeliveryStatus",
    "Encoder",
    "Letter",
    "Sign",
    "count_deliveries",
    "find_delivery",
    "from_text",
    "get_delivery",
    "list_attempts",
    "list_attempts_of",
    "list_deliveries",
    "list_deliveries_of_facts",
    "list_newest_deliveries",
    "notify_merchant",
    "resend",
    "subject_of",
    "to_text",
]
