"""Refusals in people's words: one table for both sites. `tests/house/test_words.py` holds that it is whole."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from dewpond import identity, ledger, merchants, openplatform, pay
from dewpond.kit import budgets, crypto, failures, money, secrets, wishes, worlds
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.money import Money
from dewpond.web.words import gettext, marked, moment
from dewpond.web.words import money as money_text


class FormInvalid(Failure):
    """Something in the form is missing or cannot be read; please fill it in again."""

    code, kind = "form_invalid", Kind.INVALID


class Crowded(Failure):
    """Too many consoles listen to this server already."""

    code, kind = "crowded", Kind.BUSY


class AccessCodeWrong(Failure):
    """That is not the access code; it is shown in the terminal where Dewpond runs."""

    code, kind = "access_code_wrong", Kind.FORBIDDEN


class PersonGone(Failure):
    """This person is not here any more."""

    code, kind = "person_gone", Kind.NOT_FOUND


class NoPasskeyGiven(Failure):
    """This needs JavaScript, which is off in this browser or was stopped on the way."""

    code, kind = "no_passkey_given", Kind.INVALID


class PinsDiffer(Failure):
    """These are two different PINs; type the same six digits twice."""

    code, kind = "pins_differ", Kind.INVALID


class ProofStale(Failure):
    """That took a while. Go back a page, and show once more that it is you."""

    code, kind = "proof_stale", Kind.FORBIDDEN


class CodeForeign(Failure):
    """This is neither a code nor a link of this site. Nothing was opened."""

    code, kind = "code_foreign", Kind.INVALID


class StepInvalid(Failure):
    """A step of the clock goes forward, and not further than ten years."""

    code, kind = "step_invalid", Kind.INVALID


class PasswordsDiffer(Failure):
    """These are two different passwords; type the same one twice."""

    code, kind = "passwords_differ", Kind.INVALID


class NotYours(Failure):
    """Your role in this shop does not include this page."""

    code, kind = "not_yours", Kind.FORBIDDEN


#: What a page answers, by the family of the refusal.
STATUS: Final[Mapping[Kind, int]] = {
    Kind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Kind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Kind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Kind.CONFLICT: HTTPStatus.CONFLICT,
    Kind.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    Kind.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}

SENTENCES: Final[Mapping[type[Failure], str]] = {
    FormInvalid: marked("Something in the form is missing or cannot be read; please fill it in again."),
    Crowded: marked("Too many consoles are open here right now. Please try again in a moment."),
    AccessCodeWrong: marked("That is not the access code; it is shown in the terminal where Dewpond runs."),
    PersonGone: marked("This person is not here any more. Choose one of those who are."),
    NoPasskeyGiven: marked("This needs JavaScript, which is off in this browser or was stopped on the way."),
    PinsDiffer: marked("These are two different PINs; type the same six digits twice."),
    CodeForeign: marked("This is neither a code nor a link of this site. Nothing was opened."),
    ProofStale: marked("That took a while. Go back a page, and show once more that it is you."),
    failures.Busy: marked("Very many people are here right now. Please try again in a moment."),
    failures.OutcomeUnknown: marked(
        "The connection was lost for a moment. Check whether it went through before you try again."
    ),
    budgets.TooManyTries: marked("Too many tries just now. Seconds until you can try again: %(seconds)s."),
    money.AmountInvalid: marked("That is not an amount of money."),
    StepInvalid: marked("A step goes forward, and not further than ten years."),
    merchants.CameInBefore: marked(
        "They have a password or a passkey of their own already: a new link could let somebody else in as them."
    ),
    worlds.NoWorld: marked("This world has been taken away or is being made anew. Please come back later."),
    **dict.fromkeys(
        (secrets.MasterKeyUnknown, secrets.SecretUnreadable, secrets.KeyFileUnusable),
        marked("A key of this server is missing. Nothing was done; the operator must look into it."),
    ),
    wishes.WishEnded: marked("There is nothing left to stop: it has ended."),
    wishes.WishOpen: marked("This is being done already; wait until it has ended, or stop it."),
    worlds.ClockCannotGoBack: marked("The clock of a world only goes forward."),
    identity.PersonNotFound: marked("Nobody has this number. Ask them to read it out again."),
    ledger.AccountNotFound: marked("There is no such account."),
    merchants.MerchantTaken: marked("This merchant exists already."),
    merchants.ApiKeyMissing: marked("This shop has no API v3 key yet: create one under Keys."),
    merchants.MerchantNotFound: marked("There is no such merchant."),
    merchants.CertificateNotFound: marked("There is no such certificate, or it was revoked before."),
    merchants.StaffMemberNotFound: marked("Nobody here signs in with that name."),
    merchants.SignInNameInvalid: marked(
        "A sign-in name has up to 64 lower-case letters, digits or . _ - + @, and begins with a letter or a digit."
    ),
    merchants.SignInNameTaken: marked("Somebody signs in with that name already."),
    merchants.LastOperator: marked("The desk keeps at least one operator: invite another one first."),
    openplatform.DeliveryNotFound: marked("There is no such delivery."),
    pay.TopUpDiffers: marked(
        "This form was already sent with a different amount. Check below what came of it, then send it again."
    ),
    pay.SecondPersonNeeded: marked("You asked for it yourself: another operator must agree."),
    pay.SecondPersonRelated: marked(
        "Invitations connect you with whoever asked for this. An operator who is not connected with them must agree;"
        " one can be added from the terminal."
    ),
    pay.SecondPersonTooNew: marked("Your account is new. You can agree to top-ups from %(counts_from)s."),
    pay.TopUpProposalEnded: marked("Somebody was quicker: this was decided already."),
    pay.TopUpProposalNotFound: marked("There is no such top-up."),
    worlds.OnlyInSandbox: marked("That is possible in a sandbox only."),
    identity.NameInvalid: marked("A name has 1 to 64 characters."),
    identity.PinInvalid: marked("A PIN is six digits."),
    identity.PinNotSet: marked("You have no payment PIN yet."),
    identity.PinWrong: marked("That is not your PIN. Tries left: %(tries_left)s."),
    identity.PinLocked: marked("Too many wrong PINs: payment is locked for 24 hours, or until you set a new PIN."),
    identity.ChallengeSpent: marked("That took too long, or was used before. Please try again."),
    identity.PasskeyRefused: marked("This passkey was not accepted. Please try again, or use another one."),
    identity.PasskeyTaken: marked("This passkey is registered already."),
    identity.PasskeyUnknown: marked("There is no such passkey."),
    identity.LastPasskey: marked("This passkey is the only way into your account: add another one first."),
    identity.ScanSpent: marked("This code was used, refused, or is older than two minutes. Have a new one shown."),
    identity.SessionEnded: marked("You were signed out meanwhile. Please sign in again."),
    merchants.MerchantNameInvalid: marked("A merchant's name has 1 to 64 characters."),
    merchants.FeeRateInvalid: marked("A fee rate is between 0 and 100 percent."),
    PasswordsDiffer: marked("These are two different passwords; type the same one twice."),
    NotYours: marked("Your role in this shop does not include this page."),
    merchants.NotClaimed: marked("The person with this name has not signed in yet. They can work here once they have."),
    merchants.WorksHere: marked("They work here already; change their role in the list."),
    crypto.CsrRefused: marked("This certificate request cannot be accepted."),
    merchants.ApiKeyRenewed: marked(
        "The API v3 key was replaced in the meantime. Make sure that it was you before you replace it again."
    ),
    merchants.InvitationSpent: marked(
        "This invitation was used, replaced by a newer one, or is too old; ask for another."
    ),
    merchants.LastOwner: marked("A shop keeps at least one owner: make somebody else an owner first."),
    merchants.RoleNotFound: marked("They do not work here."),
    merchants.PasswordWeak: marked(
        "A password needs 10 to 200 characters. It must not repeat just a few of them, and must not contain your name."
    ),
    merchants.SignInRefused: marked("That name and that password do not belong together."),
    merchants.SignInLocked: marked(
        "Too many wrong passwords for that name: it is locked for fifteen minutes. A passkey still works."
    ),
    pay.RequestDiffers: marked("This form was already sent with something else in it. Check below what came of it."),
    pay.StandingCodeTitleInvalid: marked("A title has 1 to 64 characters that can be read."),
    pay.CodeUnknown: marked("This code leads to no payment; the shop may have shown a newer one."),
    pay.CodeExpired: marked("This code has expired; the shop can show a fresh one."),
    pay.InsufficientFunds: marked("There is not enough money in your wallet."),
    pay.PaymentNotFound: marked("There is no such payment."),
    pay.PaymentTaken: marked("Somebody else has paid this."),
    pay.PaymentAlreadyClosed: marked("This payment is closed; ask the shop for a new one."),
    pay.PaymentAlreadySucceeded: marked("You have paid this already."),
    pay.AboveLimit: marked("This is above a limit you have set for yourself. Left of it: %(left)s."),
    pay.DeviceNew: marked("This device is new: up to %(allowed)s a day until %(until)s. Left today: %(left)s."),
    pay.ProofMissing: marked("This payment needs your passkey or your PIN."),
    pay.ProofRefused: marked("That confirmation was used already, is too old, or was for something else. Try again."),
    pay.StandingCodeUnknown: marked("No shop has this code."),
    pay.StandingCodeEnded: marked("The shop has taken this code down; it may have put up a newer one."),
    pay.StandingNoteInvalid: marked("A note has up to 60 characters, in one line."),
    pay.TopUpTooMuch: marked("At most %(most)s at a time."),
    pay.LimitInvalid: marked("A limit is an amount above zero, or nothing at all."),
    pay.TotalDiffers: marked("This payment is for a different amount. Please reload the page."),
    pay.AppUnknown: marked("This shop has no such app."),
    pay.RefundNotFound: marked("There is no such refund."),
    pay.RefundTooSoon: marked("A part of this payment was given back a moment ago. Please try again in a minute."),
    pay.RefundTooMuch: marked("That is more than is left of this payment."),
    pay.RefundTooLate: marked("This payment is too old to be given back."),
    pay.RefundTooOften: marked("This payment was given back in parts too many times."),
    pay.MerchantFundsShort: marked("There is not enough unsettled money to give back from."),
}

#: What is said of a refusal that is not in the table.
_UNAVAILABLE: Final = marked("This does not work right now, and the fault is ours. Please try again later.")
_IMPOSSIBLE: Final = marked("This request cannot be carried out.")


def sentence(failure: Failure) -> str:
    """What a person reads, in this request's language, with the facts that ride along."""
    known = SENTENCES.get(type(failure))
    if known is None:  # what it says itself is English, and meant for those who run this server
        return gettext(_UNAVAILABLE if failure.kind is Kind.UNAVAILABLE else _IMPOSSIBLE)
    facts = {name: _told(fact) for name, fact in failure.facts.items()}
    try:
        return gettext(known) % facts if "%(" in known else gettext(known)
    except (KeyError, TypeError):
        return gettext(known).partition("%(")[0].strip()


def _told(fact: Any) -> Any:
    return money_text(fact) if isinstance(fact, Money) else moment(fact) if isinstance(fact, datetime) else fact


def status_of(failure: Failure) -> int:
    """The HTTP status of the page that tells it."""
    return int(STATUS[failure.kind])


def patience(refusal: Failure | None) -> dict[str, str]:
    """The header that says when to come back, where there is any use in it."""
    if isinstance(refusal, budgets.TooManyTries):
        return {"Retry-After": str(refusal.facts["seconds"])}
    return {"Retry-After": "2"} if isinstance(refusal, failures.Busy) else {}
