"""The authority that phones install: what it may vouch for, as OpenSSL judges it."""

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dewpond.kit import tls
from machine import lacks

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> tuple[bytes, bytes]:
    return tls.new_local_authority("Test authority", NOW)


def judged(folder: Path, authority_pem: bytes, chain_pem: bytes) -> str:
    """What `openssl verify` says of a server's certificate under this authority alone."""
    if shutil.which("openssl") is None:
        lacks("openssl", "certificates are judged by the command openssl")
    (folder / "authority.pem").write_bytes(authority_pem)
    (folder / "server.pem").write_bytes(chain_pem)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "authority.pem", "server.pem"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["192.168.1.20", "10.1.2.3", "pond.local", "pond.home.arpa", "localhost", "fd00::7"])
def test_it_vouches_for_neighbours(tmp_path: Path, authority: tuple[bytes, bytes], name: str) -> None:
    assert tls.may_vouch_for(name)
    chain, _ = tls.issue_server_certificate(*authority, [name], NOW)
    assert "server.pem: OK" in judged(tmp_path, authority[0], chain)


@pytest.mark.parametrize("name", ["bank.example", "8.8.8.8", "local.example.com", "notlocal", "2001:db8::1"])
def test_it_cannot_vouch_for_anybody_else(tmp_path: Path, authority: tuple[bytes, bytes], name: str) -> None:
    assert not tls.may_vouch_for(name)
    chain, _ = tls.issue_server_certificate(*authority, [name], NOW)
    assert "permitted subtree violation" in judged(tmp_path, authority[0], chain)


def test_a_certificate_is_renewed_for_another_name_and_in_time(authority: tuple[bytes, bytes]) -> None:
    chain, key = tls.issue_server_certificate(*authority, ["192.168.1.20", "localhost"], NOW)
    assert tls.serves(chain, authority[0], ["192.168.1.20"], NOW)
    assert not tls.serves(chain, authority[0], ["192.168.1.21"], NOW)
    assert not tls.serves(chain, authority[0], ["192.168.1.20"], NOW + timedelta(days=380))
    assert not tls.serves(chain, tls.new_local_authority("Test authority", NOW)[0], ["192.168.1.20"], NOW)
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_python_can_serve_with_it(tmp_path: Path, authority: tuple[bytes, bytes]) -> None:
    chain, key = tls.issue_server_certificate(*authority, ["127.0.0.1"], NOW)
    (tmp_path / "server.pem").write_bytes(chain)
    (tmp_path / "server.key").write_bytes(key)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        tmp_path / "server.pem", tmp_path / "server.key"
    )
