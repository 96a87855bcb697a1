"""The desk as a process: its store, its first account, its server."""

import contextlib
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from audit_pipeline.adapters.state import live_state
from audit_pipeline.adapters.store import Store, accounts
from audit_pipeline.adapters.store.accounts import User
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.person import Role
from audit_pipeline.review import logs, passwords
from audit_pipeline.review.app import create_app
from audit_pipeline.review.desk import Desk
from audit_pipeline.review.options import Options, is_loopback
from audit_pipeline.settings import Settings, load_rules, rules_text

FIRST_USER = "admin"
PASSWORD_BYTES = 15


@dataclass(frozen=True)
class Listening:
    """Where the desk is reached.

    Attributes:
        port: 0 for any that is free.
        certificate: with its key the server speaks TLS itself.
    """

    host: str = "127.0.0.1"
    port: int = 8100
    certificate: Path | None = None
    certificate_key: Path | None = None

    def address(self, port: int) -> str:
        """As a person types it."""
        scheme = "http" if self.certificate is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{port}"


def refuse_in_clear(listening: Listening, options: Options) -> None:
    """Passwords do not cross a network in clear.

    Raises:
        BadUsage: they would, or the certificate is not there.
    """
    if (listening.certificate is None) != (listening.certificate_key is None):
        raise BadUsage("--tls-cert and --tls-key go together")
    for file in (listening.certificate, listening.certificate_key):
        if file is not None and not file.is_file():
            raise BadUsage(f"{file}: there is no such file")
    if (
        not is_loopback(listening.host)
        and listening.certificate is None
        and not options.is_behind_proxy
    ):
        raise BadUsage(
            f"on {listening.host} passwords would cross the network in clear: give --tls-cert and "
            "--tls-key, or set AUDIT_DESK_BEHIND_PROXY=1 where a proxy speaks TLS"
        )


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Desk]:
    """The desk with its store; what it writes to the trail is signed as an audit's is.

    Raises:
        BadUsage: a setting or the key is wrong.
        StoreUnavailable: the store cannot be opened.
    """
    rules = load_rules(rules_text(settings.rules_path), str(settings.rules_path or "rules.yaml"))
    options = Options.from_env()
    sealer = Sealer(settings.trail_dir, settings.signing_key)
    with Store.open(settings.store_url, sealer=sealer) as store:
        desk = Desk(settings, store, rules, live_state(settings.redis_url), options)
        _ = desk.key  # a key that is none is told now, not to the first who signs in
        yield desk


def new_password() -> str:
    """20 signs that nobody guesses; whoever gets it changes it."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def first_user(store: Store) -> tuple[User, str] | None:
    """An administrator and the password, which nobody is told again; None where there are users."""
    password = new_password()
    password_hash = passwords.hashed(password)
    with store.writing("accounts") as writer:
        if accounts.has_users(writer.connection):
            return None
        return accounts.add_user(writer, FIRST_USER, Role.ADMIN, password_hash), password


def needs_user(store: Store) -> bool:
    """Nobody could sign in."""
    with store.reading() as connection:
        return not accounts.has_users(connection)


def listen(listening: Listening) -> socket.socket:
    """The socket, before anything is said about it.

    Raises:
        BadUsage: somebody else has it, or it may not be had.
    """
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        return socket.create_server((listening.host, listening.port), family=family)
    except OSError as fault:
        place = listening.address(listening.port)
        raise BadUsage(f"cannot listen on {place}: {fault.strerror}; try --port 0") from fault


def serve(desk: Desk, listening: Listening, at: socket.socket) -> None:
    """Answer requests until somebody stops it."""
    logs.configure()
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(desk),
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.certificate_key,
            log_config=None,
            log_level="warning",
            access_log=False,
            # whose word for an address counts is said by AUDIT_DESK_PROXIES alone
            proxy_headers=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=10,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):  # the usual end
        server.run(sockets=[at])
