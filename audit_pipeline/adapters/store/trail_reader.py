"""Reading the trail: pages of entries for a person, raw rows for hashing, signed states."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from audit_pipeline.adapters.store.leaves import COLUMNS, RawRow
from audit_pipeline.adapters.store.schema import AUDIT_TRAIL, TRAIL_CHECKPOINTS
from audit_pipeline.adapters.store.trail import AS_STORED, Checkpoint, TrailEntry, leaf_document

ROWS_AT_ONCE = 5_000
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM audit_trail"

Reading = Callable[[], AbstractContextManager[Connection]]


def pages(
    reading: Reading,
    wanted: list[Any],
    after: int,
    limit: int | None,
    rows_at_once: int,
) -> Iterator[TrailEntry]:
    """Entries in order; each page has a transaction of its own. See `Store.trail`."""
    number = AUDIT_TRAIL.c.log_sequence_number
    left = limit
    while left is None or left > 0:
        size = rows_at_once if left is None else min(left, rows_at_once)
        with reading() as connection:
            rows = (
                connection.execute(
                    select(*AS_STORED).where(number > after, *wanted).order_by(number).limit(size)
                )
                .mappings()
                .all()
            )
        for row in rows:
            yield TrailEntry(leaf_document(row), row["leaf_hash"])
        if len(rows) < size:
            return
        after = rows[-1]["log_sequence_number"]
        left = None if left is None else left - size


def checkpoints(connection: Connection) -> list[Checkpoint]:
    """The copies of signed states, the longest last."""
    rows = connection.execute(select(TRAIL_CHECKPOINTS).order_by(TRAIL_CHECKPOINTS.c.tree_size))
    return [Checkpoint(**row) for row in rows.mappings()]


def newest_checkpoint(connection: Connection) -> Checkpoint | None:
    """The longest of them."""
    query = select(TRAIL_CHECKPOINTS).order_by(TRAIL_CHECKPOINTS.c.tree_size.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Checkpoint(**row)


def last_number(connection: Connection) -> int:
    """The largest sequence number; 0 for an empty trail."""
    return connection.scalar(select(func.max(AUDIT_TRAIL.c.log_sequence_number))) or 0


def raw_rows(
    connection: Connection, after: int | None = None, upto: int | None = None
) -> Iterator[list[RawRow]]:
    """The rows in the order of their numbers, thousands at once, as the driver gives them.

    Args:
        after: only larger numbers; None: every row, whatever stands as its number.
        upto: this number is the last.
    """
    postgres = connection.dialect.name == "postgresql"
    bounds: list[str] = []
    if after is not None:
        bounds.append(f"log_sequence_number > {int(after)}")
    if upto is not None:
        bounds.append(f"log_sequence_number <= {int(upto)}")
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    driver: Any = connection.connection.driver_connection
    if not postgres:
        # a text that somebody made unreadable is evidence; it must not end the reading
        driver.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
    try:
        # a named cursor is one of the server's: the client never holds the whole result
        named = {"name": "audit_trail_rows"} if postgres else {}
        with closing(driver.cursor(**named)) as cursor:
            cursor.execute(f"{_SELECT}{where} ORDER BY log_sequence_number")
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                yield rows
    except connection.dialect.loaded_dbapi.Error as fault:
        raise OperationalError(f"{_SELECT}{where}", None, fault) from fault
    finally:
        if not postgres:
            driver.text_factory = str


def document(connection: Connection, number: int) -> dict[str, object] | None:
    """What an entry says, as it is hashed; None where there is no such entry."""
    query = select(*AS_STORED).where(AUDIT_TRAIL.c.log_sequence_number == number).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else leaf_document(row)
