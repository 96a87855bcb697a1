"""The command line's `desk` and `users`: the review desk, and who may use it."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.person import Role

if TYPE_CHECKING:
    from types import ModuleType

    from audit_pipeline.settings import Settings

Run = Callable[[argparse.Namespace], int]
PORT = 8100
ACTIONS = ("list", "add", "role", "lock", "unlock", "password", "cardholder")


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", commands_run: Mapping[str, Run]
) -> tuple[argparse.ArgumentParser, ...]:
    """`desk` and `users`; both read a data directory."""
    desk = commands.add_parser(
        "desk",
        help="serve the review desk, where people decide on flags",
        description="Serves the review desk until it is stopped. Where nobody has an account yet, "
        "it makes one, admin, and shows its password once.",
    )
    desk.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    desk.add_argument(
        "--port", type=_port, default=PORT, metavar="N", help=f"default {PORT}; 0 for any"
    )
    desk.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate, as PEM")
    desk.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, as PEM")
    desk.set_defaults(run=commands_run["desk"])

    users = commands.add_parser(
        "users",
        help="list accounts of the review desk, make and change them",
        description="list: every account. add: a new one. role, cardholder: change it. lock, "
        "unlock: whether the person may sign in. password: a new one; ends every sign-in. add and "
        "password show a password once; the person changes it at /account.",
        epilog="roles, each with what the ones before it may: " + ", ".join(Role),
    )
    users.add_argument("action", choices=ACTIONS)
    users.add_argument("user_id", nargs="?", metavar="NAME", help="a-z 0-9 . _ @ -")
    users.add_argument("--role", choices=[role.value for role in Role], help="with add and role")
    users.add_argument("--name", default="", help="with add: as the desk shows the person")
    users.add_argument(
        "--cardholder",
        metavar="NAME",
        help="with add and cardholder: as cards name the person, who then does not decide on those "
        "charges; none: no more",
    )
    users.set_defaults(run=commands_run["users"])
    return desk, users


def desk(options: argparse.Namespace, settings: "Settings") -> int:
    """Serve the desk."""
    serve = _serve()
    listening = serve.Listening(options.host, options.port, options.tls_cert, options.tls_key)
    with serve.opened(settings) as opened:
        serve.refuse_in_clear(listening, opened.options)
        with serve.listen(listening) as at:
            address = listening.address(at.getsockname()[1])
            print(f"The review desk: {address} (ctrl-C stops it)", flush=True)
            if serve.needs_user(opened.store):
                _first_user(serve, opened.store)
            serve.serve(opened, listening, at)
    return 0


def _first_user(serve: "ModuleType", store: Any) -> None:
    if not sys.stdout.isatty():  # it would stay in a log
        print("Nobody has an account yet: audit-pipeline users add NAME --role admin", flush=True)
        return
    made = serve.first_user(store)
    if made is not None:
        print(f"Sign in as {made[0].user_id} with the password {made[1]}", flush=True)
        print("It is not shown again; change it at /account.", flush=True)


def users(options: argparse.Namespace, settings: "Settings") -> int:
    """List accounts, or change one."""
    serve = _serve()
    if (options.action != "list") != bool(options.user_id):
        raise BadUsage("users list takes no name, every other action takes one")
    if (options.action in ("add", "role")) != bool(options.role):
        raise BadUsage("--role goes with users add and users role, which both need it")
    if options.cardholder is not None and options.action not in ("add", "cardholder"):
        raise BadUsage("--cardholder goes with users add and users cardholder")
    with serve.opened(settings) as opened:
        if options.action == "list":
            _list(opened.store)
        else:
            _change(options, serve, opened.store)
    return 0


def _list(store: Any) -> None:
    from audit_pipeline.adapters.store import accounts
    from audit_pipeline.report import plain

    with store.reading() as connection:
        found = accounts.users(connection)
    for user in found:
        of = f", cards of {user.cardholder}" if user.cardholder else ""
        locked = ", locked" if user.disabled else ""
        print(plain(f"{user.user_id}: {user.role.value}, {user.display_name}{of}{locked}"))


def _change(options: argparse.Namespace, serve: "ModuleType", store: Any) -> None:
    from audit_pipeline.adapters.store import accounts
    from audit_pipeline.review import passwords

    user_id = accounts.user_id_of(options.user_id)
    password = serve.new_password()
    is_told = options.action in ("add", "password")
    password_hash = passwords.hashed(password) if is_told else ""
    with store.writing("accounts") as writer:
        match options.action:
            case "add":
                accounts.add_user(
                    writer,
                    user_id,
                    Role(options.role),
                    password_hash,
                    display_name=options.name,
                    cardholder=options.cardholder,
                )
            case "role":
                accounts.set_role(writer, user_id, Role(options.role))
            case "password":
                accounts.set_password(writer, user_id, password_hash)
            case "cardholder":
                accounts.set_cardholder(writer, user_id, options.cardholder)
            case locking:
                accounts.set_disabled(writer, user_id, disabled=locking == "lock")
    print(f"{user_id}: {password}" if is_told else f"{user_id}: done")


def _serve() -> "ModuleType":
    """What needs the desk's packages.

    Raises:
        BadUsage: they are not installed.
    """
    try:
        from audit_pipeline.review import serve
    except ModuleNotFoundError as fault:
        if (fault.name or "").startswith("audit_pipeline"):
            raise
        raise BadUsage(f"the review desk needs {fault.name}: `make setup-desk` installs it") from (
            fault
        )
    return serve


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 1 << 16:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
