"""Who may use the review desk: accounts, sign-ins, the tokens that renew them.

What changes an account leaves an event in the trail; signing in and out does not. Nothing here
sees a password: a hash of it comes in, made by `review.passwords`.
"""

import datetime as dt
import hashlib
import re
import secrets
import unicodedata
import uuid
from dataclasses import dataclass
from typing import Self

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select, update

from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.adapters.store.schema import REFRESH_TOKENS, SESSIONS, USERS
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.person import Role
from audit_pipeline.model.trail import TrailEvent

DESK = "desk"
"""The agent where no person is signed in: the command line, the desk itself."""
_USER = [column for column in USERS.c if column.name != "password_hash"]
_USER_ID = re.compile(r"[a-z0-9._@-]{1,64}")
_NAME_CHARACTERS_MAX = 255


@dataclass(frozen=True)
class User:
    """An account, without its password.

    Attributes:
        cardholder: as cards name the person: whose charges are their own.
        token_version: raised to end every sign-in.
    """

    user_id: str
    display_name: str
    role: Role
    disabled: bool
    cardholder: str | None
    token_version: int
    created_at: dt.datetime

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """From a row with the columns of `users`."""
        return cls(
            user_id=row["user_id"],
            display_name=row["display_name"],
            role=Role(row["role"]),
            disabled=row["disabled"],
            cardholder=row["cardholder"],
            token_version=row["token_version"],
            created_at=row["created_at"],
        )


@dataclass(frozen=True)
class Session:
    """A sign-in with the account that it is of, as they are now.

    Attributes:
        token_version: the account's when the sign-in began.
        csrf_token: what a page's forms must send back.
    """

    session_id: str
    csrf_token: str
    token_version: int
    expires_at: dt.datetime
    revoked_at: dt.datetime | None
    user: User

    def holds(self, now: dt.datetime) -> bool:
        """It was not ended, by time, by its owner, or by a change of the account."""
        return (
            self.revoked_at is None
            and now < self.expires_at
            and not self.user.disabled
            and self.token_version == self.user.token_version
        )


# ---- accounts


def user_id_of(text: str) -> str:
    """The one spelling of the name that a person signs in with.

    Raises:
        BadUsage: it is no such name.
    """
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if not _USER_ID.fullmatch(name):
        raise BadUsage("a user's name is 1 to 64 of the signs a-z 0-9 . _ @ -")
    return name


def add_user(
    writer: Writer,
    name: str,
    role: Role,
    password_hash: str | None,
    by: str | None = None,
    *,
    display_name: str = "",
    cardholder: str | None = None,
) -> User:
    """Make an account.

    Args:
        password_hash: None: nobody can sign in with it yet.
        by: the user id of who makes it; None: nobody who is signed in.

    Raises:
        BadUsage: the name is none, or taken.
    """
    user_id = user_id_of(name)
    known = select(USERS.c.user_id).where(USERS.c.user_id == user_id)
    if writer.connection.scalar(known) is not None:
        raise BadUsage(f"{user_id} has an account already")
    writer.connection.execute(
        insert(USERS).values(
            user_id=user_id,
            display_name=storable(display_name.strip() or user_id, _NAME_CHARACTERS_MAX),
            password_hash=password_hash,
            role=role.value,
            disabled=False,
            cardholder=_cardholder(cardholder),
            token_version=1,
            created_at=writer.now,
            updated_at=writer.now,
        )
    )
    _said(writer, by, "add_user", user_id, role=role.value, cardholder=_cardholder(cardholder))
    return _known(writer, user_id)


def set_role(writer: Writer, user_id: str, role: Role, by: str | None = None) -> None:
    """Let the person do what this role may, from the next request on.

    Raises:
        BadUsage: there is no such account.
    """
    before = _known(writer, user_id)
    _change(writer, user_id, role=role.value)
    _said(writer, by, "set_role", user_id, before=before.role.value, role=role.value)


def set_disabled(writer: Writer, user_id: str, by: str | None = None, *, disabled: bool) -> None:
    """Lock a person out, which ends every sign-in, or let them in again.

    Raises:
        BadUsage: there is no such account.
    """
    before = _known(writer, user_id)
    _change(writer, user_id, disabled=disabled, token_version=before.token_version + int(disabled))
    _said(writer, by, "lock_user" if disabled else "unlock_user", user_id)


def set_password(writer: Writer, user_id: str, password_hash: str, by: str | None = None) -> User:
    """Another password, which ends every sign-in.

    Returns:
        The account as it now is: a sign-in that begins with it holds.

    Raises:
        BadUsage: there is no such account.
    """
    before = _known(writer, user_id)
    _change(writer, user_id, password_hash=password_hash, token_version=before.token_version + 1)
    _said(writer, by, "set_password", user_id)
    return _known(writer, user_id)


def keep_rehashed(writer: Writer, user_id: str, before: str, password_hash: str) -> None:
    """The same password under newer parameters; nothing, where it was changed meanwhile."""
    writer.connection.execute(
        update(USERS)
        .where(USERS.c.user_id == user_id, USERS.c.password_hash == before)
        .values(password_hash=password_hash)
    )


def set_cardholder(
    writer: Writer, user_id: str, cardholder: str | None, by: str | None = None
) -> None:
    """How cards name the person, who then never decides on those charges.

    Raises:
        BadUsage: there is no such account.
    """
    before = _known(writer, user_id)
    name = _cardholder(cardholder)
    _change(writer, user_id, cardholder=name)
    _said(writer, by, "set_cardholder", user_id, before=before.cardholder, cardholder=name)


def users(connection: Connection) -> list[User]:
    """Every account, by name."""
    rows = connection.execute(select(*_USER).order_by(USERS.c.user_id)).mappings()
    return [User.of(row) for row in rows]


def has_users(connection: Connection) -> bool:
    """Somebody has an account."""
    return connection.scalar(select(USERS.c.user_id).limit(1)) is not None


def credentials(connection: Connection, user_id: str) -> tuple[User, str] | None:
    """An account that can be signed in with, and the hash of its password."""
    asked = select(USERS).where(
        USERS.c.user_id == user_id, ~USERS.c.disabled, USERS.c.password_hash.is_not(None)
    )
    row = connection.execute(asked).mappings().one_or_none()
    return None if row is None else (User.of(row), row["password_hash"])


# ---- sign-ins


def begin_session(writer: Writer, user: User, peer: str, lives: dt.timedelta) -> Session:
    """Sign a person in whose password was right; forgets sign-ins that ended long ago."""
    session = Session(
        session_id=str(uuid.uuid4()),
        csrf_token=secrets.token_urlsafe(32),
        token_version=user.token_version,
        expires_at=writer.now + lives,
        revoked_at=None,
        user=user,
    )
    _forget_ended(writer, user.user_id)
    writer.connection.execute(
        insert(SESSIONS).values(
            session_id=session.session_id,
            user_id=user.user_id,
            token_version=session.token_version,
            csrf_token=session.csrf_token,
            peer=storable(peer, 255),
            created_at=writer.now,
            expires_at=session.expires_at,
        )
    )
    return session


def session_of(connection: Connection, session_id: str) -> Session | None:
    """A sign-in with its account, whether it still holds or not; one statement."""
    asked = (
        select(
            *(SESSIONS.c[name] for name in ("session_id", "csrf_token", "expires_at")),
            SESSIONS.c.revoked_at,
            SESSIONS.c.token_version.label("began_with"),
            *_USER,
        )
        .join(USERS, USERS.c.user_id == SESSIONS.c.user_id)
        .where(SESSIONS.c.session_id == session_id)
    )
    row = connection.execute(asked).mappings().one_or_none()
    if row is None:
        return None
    return Session(
        session_id=row["session_id"],
        csrf_token=row["csrf_token"],
        token_version=row["began_with"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        user=User.of(row),
    )


def revoke_session(writer: Writer, session_id: str) -> None:
    """Sign out."""
    _revoke(writer, SESSIONS.c.session_id == session_id)


def revoke_all(writer: Writer, user_id: str, by: str | None = None) -> None:
    """End every sign-in of a person.

    Raises:
        BadUsage: there is no such account.
    """
    before = _known(writer, user_id)
    _revoke(writer, SESSIONS.c.user_id == user_id)
    _change(writer, user_id, token_version=before.token_version + 1)
    _said(writer, by, "end_sessions", user_id)


# ---- tokens that renew a sign-in


def issue_refresh_token(writer: Writer, session: Session) -> str:
    """A token that renews a sign-in once; only its digest is kept."""
    token = secrets.token_urlsafe(32)
    writer.connection.execute(
        insert(REFRESH_TOKENS).values(
            token_sha256=_digest(token),
            session_id=session.session_id,
            issued_at=writer.now,
            expires_at=session.expires_at,
        )
    )
    return token


def use_refresh_token(writer: Writer, token: str) -> Session | None:
    """The sign-in that a token renews, which it does once.

    A token that comes a second time was stolen, by the first or by the second: nobody knows, so
    the sign-in ends for both. That is a write; hence None instead of an error.
    """
    digest = _digest(token)
    asked = select(REFRESH_TOKENS).where(REFRESH_TOKENS.c.token_sha256 == digest)
    row = writer.connection.execute(asked).mappings().one_or_none()
    session = None if row is None else session_of(writer.connection, row["session_id"])
    if row is None or session is None or not session.holds(writer.now):
        return None
    if row["used_at"] is not None:
        revoke_session(writer, session.session_id)
        _said(writer, None, "refuse_reused_token", session.user.user_id)
        return None
    writer.connection.execute(
        update(REFRESH_TOKENS)
        .where(REFRESH_TOKENS.c.token_sha256 == digest)
        .values(used_at=writer.now)
    )
    return session


# ---- within


def _known(writer: Writer, user_id: str) -> User:
    asked = select(USERS).where(USERS.c.user_id == user_id)
    row = writer.connection.execute(asked).mappings().one_or_none()
    if row is None:
        raise BadUsage(f"nobody here is called {user_id}; `audit-pipeline users list` lists them")
    return User.of(row)


def _change(writer: Writer, user_id: str, **values: object) -> None:
    writer.connection.execute(
        update(USERS).where(USERS.c.user_id == user_id).values(updated_at=writer.now, **values)
    )


def _revoke(writer: Writer, whose: ColumnElement[bool]) -> None:
    writer.connection.execute(
        update(SESSIONS).where(whose, SESSIONS.c.revoked_at.is_(None)).values(revoked_at=writer.now)
    )


def _forget_ended(writer: Writer, user_id: str) -> None:
    """Sign-ins of a person that ended by time, with their tokens: both refuse without them too."""
    ended = select(SESSIONS.c.session_id).where(
        SESSIONS.c.user_id == user_id, SESSIONS.c.expires_at < writer.now
    )
    writer.connection.execute(delete(REFRESH_TOKENS).where(REFRESH_TOKENS.c.session_id.in_(ended)))
    writer.connection.execute(
        delete(SESSIONS).where(SESSIONS.c.user_id == user_id, SESSIONS.c.expires_at < writer.now)
    )


def _cardholder(name: str | None) -> str | None:
    plain = storable((name or "").strip(), _NAME_CHARACTERS_MAX)
    return plain or None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _said(writer: Writer, by: str | None, tool: str, user_id: str, **given: object) -> None:
    """The event; signed at once."""
    event = TrailEvent(
        audit_run_id=DESK,
        agent_name=DESK if by is None else f"reviewer:{by}",
        tool_called=tool,
        occurred_at=writer.now,
        input_data={"user_id": user_id, **given},
    )
    writer.append_events([event])
    writer.urgent = True
