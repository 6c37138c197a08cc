"""Ceremonies: what is asked of an authenticator, and how its answer is held against the question (WebAuthn).

Nothing here touches the database. Whoever answers must have shown the authenticator that it is they (user
verification), at our own origin and not inside of somebody else's page. Whatever a stranger's bytes do to the library,
a missing key or a wrong type included, is a refusal: hence the wide `except`.

The library is imported where it is used: it brings half of OpenSSL with it, which a worker or a command never needs.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from dewpond.kit.failures import Failure, Kind

if TYPE_CHECKING:
    from webauthn.helpers.structs import AuthenticationCredential, PublicKeyCredentialDescriptor

#: COSE's numbers of ES256, EdDSA and RS256, in the order of our liking.
_ALGORITHMS: Final = (-7, -8, -257)
_ANSWER_LIMIT: Final = 32 * 1024


class PasskeyRefused(Failure):
    """This passkey was not accepted."""

    code, kind = "passkey_refused", Kind.FORBIDDEN


class RelyingParty(msgspec.Struct, frozen=True, kw_only=True):
    """A site as authenticators know it."""

    #: The host of the origin, without its port.
    id: str
    #: What people read in their browser's question.
    name: str
    #: `https://host:port` as browsers write it: no path, no slash.
    origin: str


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as a browser is told of it."""

    credential_id: bytes
    transports: tuple[str, ...]


class NewCredential(msgspec.Struct, frozen=True, kw_only=True):
    """What an authenticator has made."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    is_backed_up: bool


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it came, of which nothing is proved yet."""

    credential_id: bytes
    #: Whose the credential is, as the authenticator remembers it; None where it does not say.
    holder_handle: bytes | None
    raw: "AuthenticationCredential"


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What a proved answer says of its authenticator."""

    sign_count: int
    is_backed_up: bool


def ask_for_credential(
    party: RelyingParty,
    challenge: bytes,
    *,
    holder_handle: bytes,
    holder_name: str,
    known: Sequence[Descriptor],
    lifetime: timedelta,
) -> str:
    """JSON that asks a browser to make a passkey, on an authenticator that has none of `known`."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.cose import COSEAlgorithmIdentifier
    from webauthn.helpers.structs import (
        AttestationConveyancePreference,
        AuthenticatorSelectionCriteria,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=holder_handle,
        user_name=holder_name,
        challenge=challenge,
        timeout=lifetime // timedelta(milliseconds=1),
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=_descriptors(known),
        supported_pub_key_algs=[COSEAlgorithmIdentifier(number) for number in _ALGORITHMS],
    )
    return options_to_json(options)


def ask_to_sign(party: RelyingParty, challenge: bytes, *, allowed: Sequence[Descriptor], lifetime: timedelta) -> str:
    """JSON that asks a browser to sign with one of `allowed`, or with any passkey of this site where none is named."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import UserVerificationRequirement

    options = generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=lifetime // timedelta(milliseconds=1),
        allow_credentials=_descriptors(allowed),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def read_credential(answer: bytes | str, *, party: RelyingParty, challenge: bytes) -> NewCredential:
    """What was made in answer to `challenge`; refuses with `PasskeyRefused` whatever is not right about it."""
    from webauthn import verify_registration_response
    from webauthn.helpers import (
        decode_credential_public_key,
        decoded_public_key_to_cryptography,
        parse_registration_credential_json,
    )
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    text = _text(answer)
    try:
        raw = parse_registration_credential_json(text)
        made = verify_registration_response(
            credential=raw,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(number) for number in _ALGORITHMS],
        )
        _refuse_framed(raw.response.client_data_json)
        # A key that cannot be read would be found out at the first sign-in, when it is the only way in.
        decoded_public_key_to_cryptography(decode_credential_public_key(made.credential_public_key))
    except Exception as error:
        raise PasskeyRefused from error
    if not 1 <= len(made.credential_id) <= 1023 or made.credential_id != raw.raw_id:
        raise PasskeyRefused
    return NewCredential(
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        transports=tuple(transport.value for transport in raw.response.transports or ()),
        is_backed_up=made.credential_backed_up,
    )


def read_assertion(answer: bytes | str) -> Assertion:
    """An answer to `ask_to_sign` in its parts, so that its key can be looked up; refuses with `PasskeyRefused`."""
    from webauthn.helpers import parse_authentication_credential_json

    text = _text(answer)
    try:
        raw = parse_authentication_credential_json(text)
    except Exception as error:
        raise PasskeyRefused from error
    return Assertion(credential_id=raw.raw_id, holder_handle=raw.response.user_handle, raw=raw)


def check_assertion(
    assertion: Assertion, *, party: RelyingParty, challenge: bytes, public_key: bytes, sign_count: int
) -> Signed:
    """Hold an answer against question and key; refuses with `PasskeyRefused`.

    Site, origin, presence and verification of the person, signature; and a counter that has not grown, which is how a
    copied authenticator shows, unless it does not count at all.
    """
    from webauthn import verify_authentication_response

    try:
        signed = verify_authentication_response(
            credential=assertion.raw,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
        _refuse_framed(assertion.raw.response.client_data_json)
    except Exception as error:
        raise PasskeyRefused from error
    return Signed(sign_count=signed.new_sign_count, is_backed_up=signed.credential_backed_up)


def _descriptors(known: Sequence[Descriptor]) -> "list[PublicKeyCredentialDescriptor]":
    from webauthn.helpers.structs import AuthenticatorTransport, PublicKeyCredentialDescriptor

    return [
        PublicKeyCredentialDescriptor(
            id=one.credential_id, transports=[AuthenticatorTransport(transport) for transport in one.transports]
        )
        for one in known
    ]


def _refuse_framed(client_data: bytes) -> None:
    """Refuse what was signed inside of another site's page: there a person does not see what they say yes to."""
    from webauthn.helpers import parse_client_data_json

    if parse_client_data_json(client_data).cross_origin:
        raise ValueError("signed inside of another site's page")


def _text(answer: bytes | str) -> str:
    """The answer as text. Nothing is parsed that is longer than any authenticator's answer."""
    if len(answer) > _ANSWER_LIMIT:
        raise PasskeyRefused
    try:
        return answer.decode() if isinstance(answer, bytes) else answer
    except UnicodeDecodeError as error:
        raise PasskeyRefused from error
