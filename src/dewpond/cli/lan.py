"""`run --lan`: the pages over https for phones on the same network, under an authority of this home's own."""

import socket
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from dewpond.cli.terminal import refuse
from dewpond.kit import tls

AUTHORITY: Final = "authority.pem"
_AUTHORITY_KEY: Final = "authority.key"
CHAIN: Final = "server.pem"
KEY: Final = "server.key"

#: Asking for the way there sends nothing; it only names the address of ours that would be used.
_ELSEWHERE: Final = ("10.255.255.255", 9)


def lan_host(wish: str) -> str:
    """The name or address by which phones reach this machine; refuses where there is none."""
    if wish:
        name = wish.strip().strip("[]").lower()
        if not tls.may_vouch_for(name):
            refuse(
                f"No phone would trust {name}: --lan vouches for private addresses and names that end in .local, .lan, "
                ".internal or .home.arpa. Use --public-url behind a certificate of your own."
            )
        return name
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_ELSEWHERE)
            address = str(asking.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    if ip_address(address).is_loopback:
        refuse("This machine has no address on a network; say one with --lan-name, or leave --lan out.")
    if not ip_address(address).is_private:
        refuse(f"{address} is no private address: use --bind and --public-url behind a certificate of your own.")
    return address


def prepare_tls(home: Path, host: str, *, wall_now: datetime) -> Path:
    """See to it that there are an authority and a certificate for `host`; the folder they lie in.

    The authority stays, for phones have it installed; the certificate is made anew for another name, and in time.
    """
    folder = home / "tls"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, authority_key = folder / AUTHORITY, folder / _AUTHORITY_KEY
    if not authority.exists() or not authority_key.exists():
        certificate_pem, key_pem = tls.new_local_authority(f"Dewpond on {socket.gethostname()}", wall_now)
        _write(authority_key, key_pem)
        _write(authority, certificate_pem)
    names = [host, "localhost", "127.0.0.1"]
    chain, key = folder / CHAIN, folder / KEY
    held = chain.exists() and key.exists()
    if not (held and tls.serves(chain.read_bytes(), authority.read_bytes(), names, wall_now)):
        chain_pem, key_pem = tls.issue_server_certificate(
            authority.read_bytes(), authority_key.read_bytes(), names, wall_now
        )
        _write(key, key_pem)
        _write(chain, chain_pem)
    return folder


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)
