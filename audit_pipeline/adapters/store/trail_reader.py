"""Reading the trail: pages of entries for a person, raw rows for hashing, signed states."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from audit_pipeline.adapters.store.leaves import COLUMNS, RawRow
from audit_pipeline.adapters.store.schema import AUDIT_TRAIL, TRAIL_CHECKPOINTS
from audit_pipeline.adapters.store.trail import AS_STORED, Checkpoint, TrailEntry, leaf_document

ROWS_AT_ONCE = 500
"""How many rows `raw_rows` gives at once: more no longer fit into the processor's cache."""

ROWS_SENT_AT_ONCE = 5_000
"""How many a server sends in one answer."""

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
    """The rows in the order of their numbers, hundreds at once, as the driver gives them.

    Args:
        after: only larger numbers; None: every row, whatever stands as its number.
        upto: this number is the last.
    """
    bounds: list[str] = []
    if after is not None:
        bounds.append(f"log_sequence_number > {int(after)}")
    if upto is not None:
        bounds.append(f"log_sequence_number <= {int(upto)}")
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    query = f"{_SELECT}{where} ORDER BY log_sequence_number"
    driver: Any = connection.connection.driver_connection
    try:
        if connection.dialect.name == "postgresql":
            yield from _from_server(driver, query)
        else:
            yield from _from_file(driver, query)
    except connection.dialect.loaded_dbapi.Error as fault:
        raise OperationalError(query, None, fault) from fault


def _from_server(driver: Any, query: str) -> Iterator[list[RawRow]]:
    # a named cursor is one of the server's: the client never holds the whole result
    with closing(driver.cursor(name="audit_trail_rows")) as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(ROWS_SENT_AT_ONCE):
            for first in range(0, len(rows), ROWS_AT_ONCE):
                yield rows[first : first + ROWS_AT_ONCE]


def _from_file(driver: sqlite3.Connection, query: str) -> Iterator[list[RawRow]]:
    done = 0
    try:
        for rows in _fetched(driver, query):
            yield rows
            done += len(rows)
    except sqlite3.OperationalError as fault:
        if "decode" not in str(fault):
            raise
        # A text that somebody made unreadable is evidence; it must not end the reading. Reading
        # every text like this would take twice as long.
        driver.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
        try:
            yield from _fetched(driver, f"{query} LIMIT -1 OFFSET {done}")
        finally:
            driver.text_factory = str


def _fetched(driver: sqlite3.Connection, query: str) -> Iterator[list[RawRow]]:
    with closing(driver.cursor()) as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield rows


def document(connection: Connection, number: int) -> dict[str, object] | None:
    """What an entry says, as it is hashed; None where there is no such entry."""
    query = select(*AS_STORED).where(AUDIT_TRAIL.c.log_sequence_number == number).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else leaf_document(row)
