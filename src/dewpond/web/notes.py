"""Notes: what a page says after something was done. The address carries only their names."""

from collections.abc import Mapping
from typing import Final

from dewpond.web.words import marked

NOTES: Final[Mapping[str, str]] = {
    "saved": marked("Saved."),
    "refund-asked": marked("The money is on its way back."),
    "sent-again": marked("Told once more; the attempt appears in a moment."),
    "certificate-made": marked("The certificate is ready: take it along with your key."),
    "signed-out": marked("Signed out."),
    "device-signed-out": marked("That device is signed out."),
    "others-signed-out": marked("All your other devices are signed out."),
    "passkey-added": marked("Your new passkey works from now on."),
    "passkey-removed": marked("That passkey opens nothing any more."),
    "topped-up": marked("The money is in your wallet."),
    "desk-topped-up": marked("The money is in the wallet."),
    "top-up-proposed": marked("Asked: another operator must agree before the money moves."),
    "top-up-agreed": marked("Agreed: the money is in the wallet."),
    "top-up-refused": marked("Refused: no money has moved."),
    "top-up-ended": marked("That top-up was decided already; you see below what became of it."),
    "merchant-made-before": marked(
        "This form was sent before, and the merchant is made. Its API v3 key is not shown again."
    ),
    "certificate-revoked": marked("That certificate opens nothing any more."),
    "person-signed-out": marked("Signed out on every device."),
    "operator-ended": marked("Nothing opens for them any more."),
    "released": marked("Tried again; it comes back here if it fails once more."),
    "clock-frozen": marked("The clock stands still."),
    "clock-thawed": marked("The clock runs."),
    "clock-stopped": marked("Stopped. The clock stays where it has come to."),
    "pin-set": marked("Your payment PIN is set."),
    "scan-approved": marked("Your other device is being signed in. You will find it in the list below."),
    "scan-refused": marked("Refused: nobody was signed in."),
}
