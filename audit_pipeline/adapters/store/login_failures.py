"""Wrong passwords, for as long as they count: here, so that all processes count them together."""

import datetime as dt
import uuid

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.adapters.store.schema import LOGIN_FAILURES
from audit_pipeline.adapters.store.writer import Writer

FAILURES_MAX = 10
"""Wrong passwords of an account, or from an address, within FAILURES_COUNT."""
FAILURES_COUNT = dt.timedelta(minutes=15)


def wait_of(connection: Connection, account: str, peer: str, now: dt.datetime) -> dt.timedelta:
    """How long until this account may be tried from this address again; zero for now."""
    ready_at = max(
        _ready_at(connection, LOGIN_FAILURES.c.account == storable(account, 255), now),
        _ready_at(connection, LOGIN_FAILURES.c.peer == storable(peer, 255), now),
    )
    return ready_at - now


def reserve_try(writer: Writer, account: str, peer: str) -> str | None:
    """Count a try as a failure before its password is looked at; None: it may not be tried.

    Tries at the same time are counted one after the other, as every transaction of the store.

    Returns:
        What `forgive` takes back when the password is right.
    """
    if wait_of(writer.connection, account, peer, writer.now):
        return None
    too_old = LOGIN_FAILURES.c.failed_at <= writer.now - FAILURES_COUNT
    writer.connection.execute(delete(LOGIN_FAILURES).where(too_old))
    failure_id = str(uuid.uuid4())
    writer.connection.execute(
        insert(LOGIN_FAILURES).values(
            failure_id=failure_id, account=account, peer=peer, failed_at=writer.now
        )
    )
    return failure_id


def forgive(writer: Writer, failure_id: str) -> None:
    """The password was right: the try was no failure. The others stay: they were guesses."""
    writer.connection.execute(
        delete(LOGIN_FAILURES).where(LOGIN_FAILURES.c.failure_id == failure_id)
    )


def _ready_at(connection: Connection, whose: ColumnElement[bool], now: dt.datetime) -> dt.datetime:
    """When fewer than FAILURES_MAX failures count: when the tenth last one is old enough."""
    asked = (
        select(LOGIN_FAILURES.c.failed_at)
        .where(whose, LOGIN_FAILURES.c.failed_at > now - FAILURES_COUNT)
        .order_by(LOGIN_FAILURES.c.failed_at.desc())
        .offset(FAILURES_MAX - 1)
        .limit(1)
    )
    tenth: dt.datetime | None = connection.scalar(asked)
    return now if tenth is None else tenth + FAILURES_COUNT
