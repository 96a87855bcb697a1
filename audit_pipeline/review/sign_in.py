"""Signing in: the one place where a password is looked at, after its try was counted."""

import datetime as dt
import math

from fastapi import HTTPException, Request

from audit_pipeline.adapters.store import accounts, login_failures
from audit_pipeline.adapters.store.accounts import Session, User
from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review import passwords
from audit_pipeline.review.access import NotSignedIn
from audit_pipeline.review.desk import Desk, desk_of
from audit_pipeline.review.metrics import metrics_of
from audit_pipeline.review.peers import peer_of

PAGE_LIVES = dt.timedelta(hours=24)
PROGRAM_LIVES = dt.timedelta(days=7)
"""A program renews its token for a week; then somebody signs in again."""


class TooManyTries(HTTPException):
    """Of an account, or from an address."""

    def __init__(self, wait: dt.timedelta) -> None:
        seconds = max(1, math.ceil(wait.total_seconds()))
        minutes = math.ceil(seconds / 60)
        said = f"too many wrong passwords; try again in {minutes} min"
        super().__init__(429, said, {"Retry-After": str(seconds)})


def sign_in(request: Request, name: str, password: str, lives: dt.timedelta) -> Session:
    """A new sign-in of whom the name and the password are.

    Raises:
        TooManyTries: whatever the password is.
        NotSignedIn: one of the two is wrong; nobody is told which.
    """
    desk, peer = desk_of(request), peer_of(request)
    signs = metrics_of(request).sign_ins
    try:
        user, failure_id, newer = _verified(desk, name, password, peer)
    except HTTPException as refused:
        signs.labels("refused" if isinstance(refused, TooManyTries) else "wrong").inc()
        raise
    with desk.store.writing("sign_in") as writer:
        login_failures.forgive(writer, failure_id)
        if newer is not None:
            accounts.keep_rehashed(writer, user.user_id, *newer)
        session = accounts.begin_session(writer, user, peer, lives)
    signs.labels("right").inc()
    request.state.user_id = user.user_id
    return session


def change_password(request: Request, user_id: str, old: str, new: str) -> Session:
    """Another password for who is signed in, and a new sign-in in place of all there were.

    Raises:
        TooManyTries: whatever the old password is.
        NotSignedIn: the old password is wrong.
        BadUsage: the new one is too short or too long.
    """
    desk, peer = desk_of(request), peer_of(request)
    passwords.refuse_length(new)
    _, failure_id, _ = _verified(desk, user_id, old, peer)
    password_hash = passwords.hashed(new)
    with desk.store.writing("sign_in") as writer:
        login_failures.forgive(writer, failure_id)
        user = accounts.set_password(writer, user_id, password_hash, user_id)
        return accounts.begin_session(writer, user, peer, PAGE_LIVES)


def _verified(
    desk: Desk, name: str, password: str, peer: str
) -> tuple[User, str, tuple[str, str] | None]:
    """Whose the password is, the try to forgive, and the hash with the one to put in its place."""
    account = _account(name)
    with desk.store.reading() as connection:  # a flood of tries does not keep writers waiting
        wait = login_failures.wait_of(connection, account, peer, dt.datetime.now(dt.UTC))
    if wait:
        raise TooManyTries(wait)
    with desk.store.writing("sign_in") as writer:
        failure_id = login_failures.reserve_try(writer, account, peer)
        known = accounts.credentials(writer.connection, account)
    if failure_id is None:
        raise TooManyTries(login_failures.FAILURES_COUNT)
    is_right, newer = passwords.verified(password, None if known is None else known[1])
    if known is None or not is_right:
        raise NotSignedIn("the name or the password is wrong")
    return known[0], failure_id, None if newer is None else (known[1], newer)


def _account(name: str) -> str:
    """Under which name tries are counted, also where nobody can be called that."""
    try:
        return accounts.user_id_of(name)
    except BadUsage:
        return storable(name.casefold(), 255)
