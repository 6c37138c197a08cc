"""Refusals in people's words: one table for both sites. What is not in it says its own sentence, which is English."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from dewpond import identity, merchants, openplatform, pay
from dewpond.kit import crypto, failures, money, wishes, worlds
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.money import Money
from dewpond.web.words import gettext, marked
from dewpond.web.words import money as money_text


class FormInvalid(Failure):
    """Something in the form is missing or cannot be read; please fill it in again."""

    code, kind = "form_invalid", Kind.INVALID


class Crowded(Failure):
    """Too many consoles listen to this server already."""

    code, kind = "crowded", Kind.BUSY


class AccessCodeWrong(Failure):
    """That is not the access code; it stands in the terminal where Dewpond runs."""

    code, kind = "access_code_wrong", Kind.FORBIDDEN


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
    """This is no code and no link of this place. Nothing was opened."""

    code, kind = "code_foreign", Kind.INVALID


class StepInvalid(Failure):
    """A step of the clock goes forward, and not further than ten years."""

    code, kind = "step_invalid", Kind.INVALID


class CameInBefore(Failure):
    """They have a password or a passkey of their own: a new link could let somebody else in under their name."""

    code, kind = "came_in_before", Kind.CONFLICT


class PasswordsDiffer(Failure):
    """These are two different passwords; type the same one twice."""

    code, kind = "passwords_differ", Kind.INVALID


class NotYours(Failure):
    """Your role in this shop does not include this page."""

    code, kind = "not_yours", Kind.FORBIDDEN


class NotClaimed(Failure):
    """Whoever has this name has not come in yet; they can work here as soon as the account is their own."""

    code, kind = "not_claimed", Kind.CONFLICT


class WorksHere(Failure):
    """They work here already; change their role in the list."""

    code, kind = "works_here", Kind.CONFLICT


#: What a page answers, by the family of the refusal.
STATUS: Final[Mapping[Kind, int]] = {
    Kind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Kind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Kind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Kind.CONFLICT: HTTPStatus.CONFLICT,
    Kind.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}

SENTENCES: Final[Mapping[type[Failure], str]] = {
    FormInvalid: marked("Something in the form is missing or cannot be read; please fill it in again."),
    Crowded: marked("Too many consoles are open here right now. Please try again in a moment."),
    AccessCodeWrong: marked("That is not the access code; it stands in the terminal where Dewpond runs."),
    NoPasskeyGiven: marked("This needs JavaScript, which is off in this browser or was stopped on the way."),
    PinsDiffer: marked("These are two different PINs; type the same six digits twice."),
    CodeForeign: marked("This is no code and no link of this place. Nothing was opened."),
    ProofStale: marked("That took a while. Go back a page, and show once more that it is you."),
    failures.Busy: marked("Very many people are here right now. Please try again in a moment."),
    failures.OutcomeUnknown: marked("We lost the line for a moment. Look whether it is done before you try again."),
    money.AmountInvalid: marked("That is not an amount of money."),
    StepInvalid: marked("A step goes forward, and not further than ten years."),
    CameInBefore: marked(
        "They have a password or a passkey of their own already: a new link could let somebody else in as them."
    ),
    wishes.WishOpen: marked("This is being done already; wait until it has ended, or stop it."),
    worlds.ClockCannotGoBack: marked("The clock of a world only goes forward."),
    identity.PersonNotFound: marked("Nobody has this number. Let them read it to you once more."),
    merchants.MerchantNotFound: marked("There is no such merchant."),
    merchants.CertificateNotFound: marked("There is no such certificate, or it was revoked before."),
    merchants.StaffMemberNotFound: marked("Nobody here signs in with that name."),
    merchants.SignInNameInvalid: marked(
        "A sign-in name has up to 64 small letters, digits or . _ - + @, and begins with a letter or a digit."
    ),
    merchants.SignInNameTaken: marked("Somebody signs in with that name already."),
    merchants.LastOperator: marked("The desk keeps at least one operator: invite another one first."),
    openplatform.DeliveryNotFound: marked("There is no such delivery."),
    pay.TopUpDiffers: marked(
        "This form was sent before with another sum. Look below what came of it; then send it again."
    ),
    pay.SecondPersonNeeded: marked("You asked for it yourself: another operator must agree."),
    pay.TopUpProposalEnded: marked("Somebody was quicker: this was decided already."),
    pay.TopUpProposalNotFound: marked("There is no such top-up."),
    worlds.OnlyInSandbox: marked("That is possible in a sandbox only."),
    identity.NameInvalid: marked("A name has 1 to 64 characters."),
    identity.PinInvalid: marked("A PIN is six digits."),
    identity.PinNotSet: marked("You have no payment PIN yet."),
    identity.PinWrong: marked("That is not your PIN. Tries left: %(tries_left)s."),
    identity.PinLocked: marked("Too many wrong PINs: payment is locked for 24 hours, or until you set a new PIN."),
    identity.ChallengeSpent: marked("That took more than two minutes. Please try again."),
    identity.PasskeyRefused: marked("This passkey was not accepted. Please try again, or use another one."),
    identity.PasskeyTaken: marked("This passkey is registered already."),
    identity.PasskeyUnknown: marked("There is no such passkey."),
    identity.LastPasskey: marked("This passkey is the only way into your account: add another one first."),
    identity.ScanSpent: marked("This code was used, refused, or is older than two minutes. Let a new one be shown."),
    identity.SessionEnded: marked("You were signed out meanwhile. Please sign in again."),
    merchants.MerchantNameInvalid: marked("A merchant's name has 1 to 64 characters."),
    merchants.FeeRateInvalid: marked("A fee rate is between 0 and 100 percent."),
    PasswordsDiffer: marked("These are two different passwords; type the same one twice."),
    NotYours: marked("Your role in this shop does not include this page."),
    NotClaimed: marked(
        "Whoever has this name has not come in yet; they can work here as soon as the account is their own."
    ),
    WorksHere: marked("They work here already; change their role in the list."),
    crypto.CsrRefused: marked("This is no certificate request that could be answered."),
    merchants.ApiKeyRenewed: marked(
        "Another API v3 key was drawn meanwhile; look whether it was you before you draw one more."
    ),
    merchants.InvitationSpent: marked(
        "This invitation was used, replaced by a newer one, or is too old; ask for another."
    ),
    merchants.LastOwner: marked("A shop keeps at least one owner: make somebody else an owner first."),
    merchants.RoleNotFound: marked("They do not work here."),
    merchants.PasswordWeak: marked(
        "A password has 10 to 200 characters, several different ones, and does not hold your name."
    ),
    merchants.SignInRefused: marked("That name and that password do not belong together."),
    merchants.SignInLocked: marked(
        "Too many wrong passwords for that name: it is locked for fifteen minutes. A passkey still opens."
    ),
    pay.RequestDiffers: marked("This form was sent before with something else in it. Look below what came of it."),
    pay.StandingCodeTitleInvalid: marked("A title has 1 to 64 characters that can be read."),
    pay.CodeUnknown: marked("This code leads to no payment; the shop may have shown a newer one."),
    pay.CodeExpired: marked("This code has expired; the shop can show a fresh one."),
    pay.InsufficientFunds: marked("There is not enough money in your wallet."),
    pay.PaymentNotFound: marked("There is no such payment."),
    pay.PaymentTaken: marked("Somebody else has paid this."),
    pay.PaymentAlreadyClosed: marked("This payment is closed; ask the shop for a new one."),
    pay.PaymentAlreadySucceeded: marked("You have paid this already."),
    pay.AboveLimit: marked("This is above a limit you have set for yourself. Left of it: %(left)s."),
    pay.ProofMissing: marked("This payment needs your passkey or your PIN."),
    pay.ProofRefused: marked("That confirmation was used already, is too old, or was for something else. Try again."),
    pay.StandingCodeUnknown: marked("No shop has this code."),
    pay.StandingCodeEnded: marked("The shop has taken this code down; it may have put up a newer one."),
    pay.StandingNoteInvalid: marked("A note has up to 60 characters, in one line."),
    pay.TopUpTooMuch: marked("At most %(most)s at a time."),
    pay.LimitInvalid: marked("A limit is an amount above zero, or nothing at all."),
    pay.RefundTooMuch: marked("That is more than is left of this payment."),
    pay.RefundTooLate: marked("This payment is too old to be given back."),
    pay.RefundTooOften: marked("This payment was given back in parts too many times."),
    pay.MerchantFundsShort: marked("There is not enough unsettled money to give back from."),
}


def sentence(failure: Failure) -> str:
    """What a person reads, in this request's language, with the facts that ride along."""
    known = SENTENCES.get(type(failure))
    if known is None:
        return failure.message
    facts = {name: money_text(fact) if isinstance(fact, Money) else fact for name, fact in failure.facts.items()}
    try:
        return gettext(known) % facts if "%(" in known else gettext(known)
    except (KeyError, TypeError):
        return gettext(known).partition("%(")[0].strip()


def status_of(failure: Failure) -> int:
    """The HTTP status of the page that tells it."""
    return int(STATUS[failure.kind])
