"""Settings: read once from the environment, at the door; rooms are given what they need."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

#: Where a world answers when nothing else is said.
DEFAULT_PORT = 8601


class SettingInvalid(ValueError):
    """A setting has a value that cannot be used; the message names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may set. Each field is the environment variable `DEWPOND_<NAME>`."""

    #: The world's own folder: embedded cluster, master key, logs.
    home: Path
    #: DSN of the role `dewpond_app`; empty means the embedded PostgreSQL.
    database_url: str = ""
    #: DSN of the role `dewpond_owner`, for migrations; needed with `database_url`.
    owner_database_url: str = ""
    #: A second DSN for `listen` and advisory locks, where `database_url` leads through a pooler.
    session_database_url: str = ""
    #: The origin that people open and code links carry; empty means `http://localhost:<port>`, as below.
    public_url: str = ""
    #: The origin that merchants' software calls.
    wire_url: str = ""
    #: The origin of the merchants' consoles and the operator's desk.
    staff_url: str = ""
    #: What one-tap doors of a sandbox ask for where others than this machine can come in; `run` makes it.
    access_code: str = ""
    #: With `run --lan`: the folder of certificates, and where phones get the authority's.
    tls_folder: Path | None = None
    trust_url: str = ""
    #: In a live world: how many minor units an operator may put into wallets alone, in one day of the world, one
    #: currency and over all people. What goes beyond waits for a second operator.
    four_eyes_minor: int = 100_000
    #: The master key's file; empty means `<home>/master.key`.
    master_key_file: str = ""
    #: Proxies before our own doors, comma-separated CIDR: they, and nobody else, are believed who sent a request.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    #: Strangers and people may do so many times as much before they are asked to wait: for many behind one address.
    budget_times: int = 1
    #: Networks that a live world's callbacks may reach although they are not public, comma-separated CIDR.
    callback_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    #: Answer repeated prepays with other parameters as documented (403) rather than as seen in the field (400).
    strict_docs: bool = False
    #: Let `code_url` begin with `weixin://` as the real service's does; phones then need Dewpond's own scanner.
    weixin_code_url: bool = False

    @property
    def key_file(self) -> Path:
        return Path(self.master_key_file) if self.master_key_file else self.home / "master.key"


def default_home() -> Path:
    """Where a world lives by default: the system's state folder for root, the user's data folder otherwise.

    Root's own home is closed to the unprivileged user that the database server runs as.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/dewpond/world")
    return Path(platformdirs.user_data_dir("dewpond", appauthor=False))


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; an unusable value ends with `SettingInvalid`, which names its variable."""

    def flag(name: str) -> bool:
        value = environ.get(name, "").strip().lower()
        if value not in {"", "0", "1", "false", "true", "no", "yes"}:
            raise SettingInvalid(f"{name} is {value!r}; use 1 or 0")
        return value in {"1", "true", "yes"}

    def origin(name: str) -> str:
        value = environ.get(name, "").strip().rstrip("/")
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query):
            raise SettingInvalid(f"{name} is {value!r}; write an origin like https://pay.example")
        return value

    def number(name: str, otherwise: int) -> int:
        value = environ.get(name, "").strip()
        if value and not (value.isascii() and value.isdigit()):
            raise SettingInvalid(f"{name} is {value!r}; write a whole number")
        return int(value) if value else otherwise

    def networks(name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        try:
            return tuple(ip_network(part.strip()) for part in environ.get(name, "").split(",") if part.strip())
        except ValueError as bad:
            raise SettingInvalid(f"{name}: {bad}") from bad

    home = environ.get("DEWPOND_HOME", "")
    settings = Settings(
        home=Path(home).expanduser().absolute() if home else default_home(),
        database_url=environ.get("DEWPOND_DATABASE_URL", ""),
        owner_database_url=environ.get("DEWPOND_OWNER_DATABASE_URL", ""),
        session_database_url=environ.get("DEWPOND_SESSION_DATABASE_URL", ""),
        public_url=origin("DEWPOND_PUBLIC_URL"),
        wire_url=origin("DEWPOND_WIRE_URL"),
        staff_url=origin("DEWPOND_STAFF_URL"),
        access_code=environ.get("DEWPOND_ACCESS_CODE", ""),
        tls_folder=Path(environ["DEWPOND_TLS_FOLDER"]) if environ.get("DEWPOND_TLS_FOLDER") else None,
        trust_url=origin("DEWPOND_TRUST_URL"),
        four_eyes_minor=number("DEWPOND_FOUR_EYES_MINOR", 100_000),
        master_key_file=environ.get("DEWPOND_MASTER_KEY_FILE", ""),
        trusted_proxies=networks("DEWPOND_TRUSTED_PROXIES"),
        budget_times=number("DEWPOND_BUDGET_TIMES", 1),
        callback_networks=networks("DEWPOND_CALLBACK_NETWORKS"),
        strict_docs=flag("DEWPOND_STRICT_DOCS"),
        weixin_code_url=flag("DEWPOND_WEIXIN_CODE_URL"),
    )
    if settings.database_url and not settings.owner_database_url:
        raise SettingInvalid("DEWPOND_DATABASE_URL needs DEWPOND_OWNER_DATABASE_URL beside it, for migrations")
    if any(not network.prefixlen for network in settings.trusted_proxies):
        raise SettingInvalid("DEWPOND_TRUSTED_PROXIES names everybody; name the proxies")
    if not settings.budget_times:
        raise SettingInvalid("DEWPOND_BUDGET_TIMES is 0; 1 is the usual")
    return settings
