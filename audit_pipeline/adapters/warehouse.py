"""DuckDB over a snapshot of gold: runs queries, holds derived tables, stores partitions.

One in-memory database a process, because DuckDB lets one process write a file while all others
wait outside; what must last is Parquet, one file per table and audit date, written under another
name and renamed, so that a reader sees the old day or the new one and never half of either.
"""

import datetime as dt
import os
import shutil
import uuid
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa

from audit_pipeline.adapters import failpoints
from audit_pipeline.model.query import Query
from audit_pipeline.model.tables import GOLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from audit_pipeline.adapters.fixtures import Snapshot
    from audit_pipeline.adapters.protocol import Commit

MEMORY_LIMIT = "1500MB"
"""Of DuckDB's own; Arrow tables and the forest come on top, and a laptop has eight gigabytes."""


class DuckDBWarehouse:
    """The development warehouse.

    Args:
        snapshot: typed gold, as `adapters.fixtures.read_fixtures` leaves it.
        derived: folder for stored partitions: `<derived>/<table>/audit_on=<day>/part.parquet`.
        threads: of DuckDB; 0 for as many as the machine has.
    """

    def __init__(self, snapshot: "Snapshot", derived: Path, threads: int = 0) -> None:
        self.snapshot = snapshot
        self._derived = derived
        self._spill = derived / f".spill-{uuid.uuid4().hex}"
        self._connection = duckdb.connect()
        settings: list[tuple[str, str | int]] = [
            ("memory_limit", MEMORY_LIMIT),
            ("temp_directory", str(self._spill)),
            ("TimeZone", "UTC"),
            ("preserve_insertion_order", "false"),
            ("enable_progress_bar", "false"),
            ("autoinstall_known_extensions", "false"),
            ("autoload_known_extensions", "false"),
        ]
        if threads:
            settings.append(("threads", threads))
        for name, value in settings:
            self._run(f"SET {name} = ?", [value])
        self._run("CREATE SCHEMA gold")
        self._run("CREATE SCHEMA audit")
        for name in (*(table.name for table in GOLD), "quarantine"):
            path = quoted(str(snapshot.folder / f"{name}.parquet"))
            self._run(f'CREATE VIEW gold."{name}" AS SELECT * FROM read_parquet({path})')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back and remove what was spilled to disk."""
        self._connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def query(self, query: Query) -> pa.Table:
        """The rows of a query, as Arrow.

        Raises:
            duckdb.Error: the SQL is wrong; that is a defect of this project, not of the input.
        """
        return self._arrow(query.sql, dict(query.parameters))

    def batches(self, query: Query) -> "Iterator[pa.RecordBatch]":
        """The same rows, some ten thousand at a time."""
        yield from self.query(query).to_batches(max_chunksize=50_000)

    def rows(self, query: Query) -> list[dict[str, object]]:
        """The rows of a small result, as dictionaries."""
        return self.query(query).to_pylist()

    def value(self, query: Query) -> object:
        """The one value of a query that returns one."""
        rows = self._run(query.sql, dict(query.parameters))
        return rows[0][0] if rows else None

    def create(self, table: str, content: Query | pa.Table) -> None:
        """Hold `content` as `audit.<table>` until the process ends, in place of an earlier one."""
        if isinstance(content, Query):
            self._run(
                f'CREATE OR REPLACE TABLE audit."{table}" AS {content.sql}',
                dict(content.parameters),
            )
            return
        self._connection.register("arriving", content)
        try:
            self._run(f'CREATE OR REPLACE TABLE audit."{table}" AS SELECT * FROM arriving')
        finally:
            self._connection.unregister("arriving")

    def replace(
        self,
        table: str,
        from_on: dt.date,
        to_on: dt.date,
        content: Query | pa.Table,
        commit: "Commit" = nullcontext,
    ) -> int:
        """Store the rows of `content` as the partitions from `from_on` to `to_on`, inclusive.

        Every day of the range is replaced: a day for which `content` has no row becomes empty.
        `content` must have a column `audit_on`; rows outside the range are refused.

        Args:
            commit: entered for the renaming.

        Returns:
            The number of rows stored.
        """
        home = self._derived / table
        home.mkdir(parents=True, exist_ok=True)
        arriving = home / f".arriving-{uuid.uuid4().hex}"
        self.create("arriving", content)
        try:
            ((total, inside),) = self._run(
                "SELECT count(*), count(*) FILTER (WHERE audit_on BETWEEN ? AND ?)"
                " FROM audit.arriving",
                [from_on, to_on],
            )
            if total != inside:
                message = f"{table}: {total - inside} rows lie outside {from_on} … {to_on}"
                raise ValueError(message)
            self._run(
                f"COPY (SELECT *, audit_on AS day FROM audit.arriving ORDER BY ALL)"
                f" TO {quoted(str(arriving))} (FORMAT parquet, PARTITION_BY (day))"
            )
            with commit():
                self._swap(home, arriving, from_on, to_on)
        finally:
            self._run("DROP TABLE IF EXISTS audit.arriving")
            shutil.rmtree(arriving, ignore_errors=True)
        return int(total)

    def merge(
        self,
        table: str,
        key: str,
        rows: Query | pa.Table,
        vanished: str,
        commit: "Commit" = nullcontext,
    ) -> int:
        """Bring a stored table up to date: rows are put in or changed, and some go.

        Args:
            table: its name; it has one file, not one for each day.
            key: the column that identifies a row.
            rows: the table's columns, and `vanished`.
            vanished: a boolean column: rows where it holds are deleted if they are there.
            commit: entered for reading the file and putting another in its place.

        Returns:
            The number of rows that the table has now.
        """
        home = self._derived / table
        home.mkdir(parents=True, exist_ok=True)
        arriving, file = home / f".arriving-{uuid.uuid4().hex}.parquet", home / f"{table}.parquet"
        self.create("arriving", rows)
        try:
            with commit():
                kept = ""
                if file.exists():
                    kept = (
                        f" UNION ALL BY NAME SELECT * FROM read_parquet({quoted(str(file))})"
                        f' AS kept WHERE "{key}" NOT IN (SELECT "{key}" FROM audit.arriving)'
                    )
                self._run(
                    f'COPY (SELECT * FROM (SELECT * EXCLUDE ("{vanished}") FROM audit.arriving'
                    f' WHERE NOT "{vanished}"{kept}) ORDER BY "{key}")'
                    f" TO {quoted(str(arriving))} (FORMAT parquet)"
                )
                arriving.replace(file)
            ((standing,),) = self._run(f"SELECT count(*) FROM read_parquet({quoted(str(file))})")
        finally:
            self._run("DROP TABLE IF EXISTS audit.arriving")
            arriving.unlink(missing_ok=True)
        return int(standing)

    def _swap(self, home: Path, arriving: Path, from_on: dt.date, to_on: dt.date) -> None:
        for offset in range((to_on - from_on).days + 1):
            day = from_on + dt.timedelta(days=offset)
            place = home / f"audit_on={day.isoformat()}"
            parts = sorted((arriving / f"day={day.isoformat()}").glob("*.parquet"))
            if not parts:
                shutil.rmtree(place, ignore_errors=True)
                continue
            place.mkdir(exist_ok=True)
            failpoints.here("rename.before")
            os.replace(parts[0], place / "part.parquet")  # noqa: PTH105 — Path.replace is the same
            failpoints.here("rename.after")
            if len(parts) > 1:
                message = f"{home.name}: {len(parts)} files for {day}, one was expected"
                raise RuntimeError(message)

    def stored(self, table: str, from_on: dt.date, to_on: dt.date) -> pa.Table | None:
        """The stored partitions of a range, or None when there is no row in it."""
        home = self._derived / table
        days = [from_on + dt.timedelta(days=offset) for offset in range((to_on - from_on).days + 1)]
        paths = [home / f"audit_on={day.isoformat()}" / "part.parquet" for day in days]
        found = [str(path) for path in paths if path.exists()]
        if not found:
            return None
        return self._arrow(
            "SELECT * FROM read_parquet(?, hive_partitioning = false, union_by_name = true)",
            [found],
        )

    def joins_as_written(self) -> "AbstractContextManager[None]":
        """Within it, this warehouse's joins run in the order in which the SQL has them."""
        return joins_as_written(self._connection)

    @property
    def state(self) -> "Snapshot":
        """What is known of the gold that is read here."""
        return self.snapshot

    def days(self) -> tuple[dt.date | None, dt.date | None]:
        """The first and last audit date with a row, kept or not; None where there is no row."""
        ((first, last),) = self._run(
            "SELECT min(audit_on), max(audit_on) FROM ("
            "SELECT audit_on FROM gold.recent_transactions UNION ALL"
            " SELECT audit_on FROM gold.quarantine"
            " WHERE table_name = 'recent_transactions')"
        )
        return first, last

    def query_gold_tables(self, sql: str, parameters: "Sequence[object]" = ()) -> pa.Table:
        """Any read of the gold tables, under the specification's name for it."""
        return self._arrow(sql, list(parameters))

    def _run(self, sql: str, parameters: object = None) -> list[tuple[Any, ...]]:
        # Fetched to the end: DuckDB 2 refuses other work while a result is open.
        return self._connection.execute(sql, parameters).fetchall()

    def _arrow(self, sql: str, parameters: object) -> pa.Table:
        relation = self._connection.sql(sql, params=parameters)
        return relation.to_arrow_table()


def quoted(text: str) -> str:
    """The text as an SQL literal, for the places that take no parameter, such as COPY's file."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def joins_as_written(connection: duckdb.DuckDBPyConnection) -> "Iterator[None]":
    """Within it, joins run in the order in which the SQL has them.

    For queries whose author knows what the planner cannot guess, such as how few rows a join on
    hashed keys leaves.
    """
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'").fetchall()
    try:
        yield
    finally:
        connection.execute("RESET disabled_optimizers").fetchall()
