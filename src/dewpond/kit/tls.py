"""TLS for a neighbourhood: an authority that people install on their phones, and the certificates of our doors.

It is another authority than the one that issues merchants' certificates, and it can vouch for private addresses and
`.local` names only (name constraints, RFC 5280 §4.2.1.10): whoever stole its key could not use it against a bank.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: What the authority may vouch for.
_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10",
                    "fc00::/7", "fe80::/10", "::1/128")  # fmt: skip
_SUFFIXES: Final = ("local", "localhost", "lan", "internal", "home.arpa")

_AUTHORITY_DAYS: Final = 10 * 365
#: Apple's systems refuse server certificates that live longer than 825 days, also of authorities installed by hand.
_SERVER_DAYS: Final = 397


def new_local_authority(name: str, wall_now: datetime) -> tuple[bytes, bytes]:
    """A self-signed authority for private addresses as (certificate PEM, private key PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    permitted: list[x509.GeneralName] = [x509.IPAddress(ip_network(network)) for network in _NETWORKS]
    permitted += [x509.DNSName(suffix) for suffix in _SUFFIXES]
    certificate = (
        _certificate(subject, subject, key.public_key(), wall_now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def issue_server_certificate(
    authority_pem: bytes, authority_key_pem: bytes, names: Sequence[str], wall_now: datetime
) -> tuple[bytes, bytes]:
    """A certificate for a server under these addresses and names, as (chain PEM, private key PEM)."""
    authority = x509.load_pem_x509_certificate(authority_pem)
    authority_key = serialization.load_pem_private_key(authority_key_pem, None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        # Not a name of the server: OpenSSL takes one for a host's and holds it against the constraints.
        _certificate(_name("Dewpond server"), authority.subject, key.public_key(), wall_now, _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + authority_pem, _key_pem(key)


def may_vouch_for(name: str) -> bool:
    """Whether a name or address is one of those that the authority's certificate permits."""
    address = _address(name)
    if address is not None:
        return any(address in ip_network(network) for network in _NETWORKS)
    return name.rpartition(".")[2] in _SUFFIXES or name.endswith(".home.arpa")


def serves(chain_pem: bytes, authority_pem: bytes, names: Sequence[str], wall_now: datetime) -> bool:
    """Whether a certificate is of this authority and good for all of these names for another month."""
    certificate = x509.load_pem_x509_certificate(chain_pem)
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem))
    except (InvalidSignature, ValueError):
        return False
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(_general_name(name) in held for name in names) and (
        certificate.not_valid_after_utc > wall_now + timedelta(days=30)
    )


def _general_name(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, wall_now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(wall_now - timedelta(minutes=1))
        .not_valid_after(wall_now + timedelta(days=days))
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
