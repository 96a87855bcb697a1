"""Where gold is, as the books and the steps see it: DuckDB over fixtures, or Databricks."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    import pyarrow as pa

    from audit_pipeline.model.gold import GoldState
    from audit_pipeline.model.query import Query

Commit = Callable[[], AbstractContextManager[object]]
"""What a change of a stored table is made within; it refuses by raising."""


class Warehouse(Protocol):
    """Answers queries over `gold.*` and `audit.*`, holds derived tables, stores partitions."""

    @property
    def state(self) -> "GoldState":
        """What is known of the gold that is read here."""
        ...

    def days(self) -> "tuple[dt.date | None, dt.date | None]":
        """The first and last audit date with a row, kept or not; None where there is no row."""
        ...

    def query(self, query: "Query") -> "pa.Table":
        """The rows of a query, as Arrow."""
        ...

    def batches(self, query: "Query") -> "Iterator[pa.RecordBatch]":
        """The same rows, some ten thousand at a time, so that not all of them are in memory."""
        ...

    def rows(self, query: "Query") -> list[dict[str, object]]:
        """The rows of a small result, as dictionaries."""
        ...

    def value(self, query: "Query") -> object:
        """The one value of a query that returns one; None for no row."""
        ...

    def create(self, table: str, content: "Query | pa.Table") -> None:
        """Hold `content` as `audit.<table>` until it is closed, in place of an earlier one."""
        ...

    def replace(
        self,
        table: str,
        from_on: "dt.date",
        to_on: "dt.date",
        content: "Query | pa.Table",
        commit: Commit = nullcontext,
    ) -> int:
        """Store `content` as the partitions from `from_on` to `to_on`, inclusive.

        Every day of the range is replaced: a day for which `content` has no row becomes empty.
        `content` must have a column `audit_on`; rows outside the range are refused.

        Args:
            commit: entered when all but the change itself is done; it may refuse.

        Returns:
            The number of rows stored.
        """
        ...

    def stored(self, table: str, from_on: "dt.date", to_on: "dt.date") -> "pa.Table | None":
        """The stored partitions of a range, or None when there is no row in it."""
        ...

    def merge(
        self,
        table: str,
        key: str,
        rows: "Query | pa.Table",
        vanished: str,
        commit: Commit = nullcontext,
    ) -> int:
        """Bring a stored table up to date: rows are put in or changed, and some go.

        Args:
            table: a table without partitions.
            key: the column that identifies a row.
            rows: the table's columns, and `vanished`.
            vanished: a boolean column: rows where it holds are deleted if they are there.
            commit: as in `replace`.

        Returns:
            The number of rows that the table has now.
        """
        ...

    def joins_as_written(self) -> "AbstractContextManager[None]":
        """Within it, joins run in the order in which the SQL has them, where that is a choice."""
        ...

    def close(self) -> None:
        """Give back what is held; derived tables end with it."""
        ...
