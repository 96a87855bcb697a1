"""The production warehouse: SQL runs where gold is, and only results come here.

Derived tables are real tables of a scratch schema, named by the day and the session, so that a
process that died leaves nothing behind that a later one would take for its own; they are dropped
at the end, and what a crash has left is dropped after two days. Every write may arrive twice: the
connector sends a statement again when its reply is lost.
"""

import contextlib
import datetime as dt
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pyarrow as pa

from audit_pipeline.adapters.databricks import gold, tables, upload
from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.dialect import Places, databricks_sql
from audit_pipeline.adapters.protocol import Commit
from audit_pipeline.model.errors import WarehouseError, WarehouseRejected, WarehouseUnavailable
from audit_pipeline.model.gold import GoldState
from audit_pipeline.model.query import Query, Value
from audit_pipeline.model.workspace import Workspace, quoted

ROWS_AT_ONCE = 50_000
"""Of a result that streams."""
ANY_PREFIX = "s00000000_of_any_session"
KEPT_DAYS = 2
"""How long the tables of a process that died are left, in case it is still at work."""


class DatabricksWarehouse:
    """A Databricks SQL warehouse.

    Args:
        workspace: where it is, who asks, and which schemas are read and written.
        prefix: of derived tables; another process may go on with the tables of this one.
        versions: of gold, to read what an earlier audit read.

    Raises:
        WarehouseError: from every method; one of the three that are told apart by who must act.
        GoldUnreadable: the needed gold table is absent.
    """

    def __init__(
        self,
        workspace: Workspace,
        prefix: str = "",
        versions: Mapping[str, int] | None = None,
    ) -> None:
        self._workspace = workspace
        self._owns = not prefix
        today = dt.datetime.now(dt.UTC).date()
        self.prefix = prefix or f"s{today:%Y%m%d}_{secrets.token_hex(6)}"
        scratch = workspace.scratch_schema()
        self._places = Places(gold.VIEW, f"{scratch}.`{self.prefix}_{{}}`")
        # Saying a statement takes 30 ms; with this in the prefix's place it is said once a process.
        self._any_places = Places(gold.VIEW, f"{scratch}.`{ANY_PREFIX}_{{}}`")
        self._session = Session(workspace)
        try:
            if self._owns:
                self._sweep(today)
            found = gold.read(self._session, workspace, self._places.audit, versions)
            self._look(found)
            self.state = self._counted(found.state)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the derived tables and end the session; what goes wrong then is not told."""
        with contextlib.suppress(WarehouseError):
            try:
                self._drop()
            except WarehouseUnavailable:
                if not self._session.is_lost:
                    raise
                self._session.close()  # else the connector does, within a garbage collection
                self._session = Session(self._workspace)  # the tables are not lost
                self._drop()
        self._session.close()

    def _drop(self) -> None:
        for name in self._derived() if self._owns else ():
            place = f"{self._workspace.scratch_schema()}.{quoted(name)}"
            self._session.run(f"DROP TABLE IF EXISTS {place}")

    # ── reading ─────────────────────────────────────────────────────────────────────────────────

    def query(self, query: Query) -> pa.Table:
        """The rows of a query, as Arrow."""
        return self._session.run(self._said(query), query.parameters)

    def batches(self, query: Query) -> Iterator[pa.RecordBatch]:
        """The same rows, some ten thousand at a time."""
        with self._session.cursor() as cursor:
            cursor.execute(self._said(query), dict(query.parameters) or None)
            while (some := cursor.fetchmany_arrow(ROWS_AT_ONCE)).num_rows:
                yield from some.to_batches()

    def rows(self, query: Query) -> list[dict[str, object]]:
        """The rows of a small result, as dictionaries."""
        return self.query(query).to_pylist()

    def value(self, query: Query) -> object:
        """The one value of a query that returns one."""
        found = self.query(query)
        return found.column(0)[0].as_py() if found.num_rows else None

    def stored(self, table: str, from_on: dt.date, to_on: dt.date) -> pa.Table | None:
        """The stored partitions of a range, or None when there is no row in it."""
        found = self._session.run(
            f"SELECT * FROM {self._workspace.stored_table(table)}"
            " WHERE audit_on BETWEEN :from_on AND :to_on",
            {"from_on": from_on, "to_on": to_on},
        )
        return found if found.num_rows else None

    def joins_as_written(self) -> AbstractContextManager[None]:
        """No choice is made here: Databricks plans by what it has counted."""
        return nullcontext()

    def days(self) -> tuple[dt.date | None, dt.date | None]:
        """The first and last audit date with a row, kept or not."""
        (row,) = self.rows(
            Query(
                "SELECT min(audit_on) AS first_on, max(audit_on) AS last_on FROM ("
                "SELECT audit_on FROM gold.recent_transactions UNION ALL"
                " SELECT audit_on FROM gold.quarantine"
                " WHERE table_name = 'recent_transactions') AS days"
            )
        )
        first, last = row.values()
        return _day(first), _day(last)

    # ── writing ─────────────────────────────────────────────────────────────────────────────────

    def create(self, table: str, content: Query | pa.Table) -> None:
        """Hold `content` as `audit.<table>` until the end, in place of an earlier one."""
        place = self._scratch(table)
        if isinstance(content, Query):
            sql = f"CREATE OR REPLACE TABLE {place} AS {self._said(content)}"
            self._session.run(sql, content.parameters)
            return
        self._upload(table, place, content)

    def replace(
        self,
        table: str,
        from_on: dt.date,
        to_on: dt.date,
        content: Query | pa.Table,
        commit: Commit = nullcontext,
    ) -> int:
        """Store `content` as the partitions from `from_on` to `to_on`, in one statement.

        The rows of a query never leave the warehouse. What `commit` asks is asked right before the
        statement: nobody else's turn to write waits for a warehouse.
        """
        range_: dict[str, Value] = {"from_on": from_on, "to_on": to_on}
        if isinstance(content, Query):
            rows, parameters = self._said(content), {**content.parameters, **range_}
        else:
            self.create(f"arriving_{table}", content)
            rows, parameters = f"SELECT * FROM {self._scratch(f'arriving_{table}')}", range_
        place = self._workspace.stored_table(table)
        # Names, not positions: a query may have its columns in another order than the table.
        columns = ", ".join(quoted(name) for name in tables.columns(table))
        with commit():
            pass
        self._session.run(
            f"INSERT INTO {place} REPLACE WHERE audit_on BETWEEN :from_on AND :to_on"
            f" SELECT {columns} FROM ({rows}) AS arriving",
            parameters,
        )
        found = self._session.run(
            f"SELECT count(*) AS n FROM {place} WHERE audit_on BETWEEN :from_on AND :to_on", range_
        )
        return int(found.column(0)[0].as_py())

    def merge(
        self,
        table: str,
        key: str,
        rows: Query | pa.Table,
        vanished: str,
        commit: Commit = nullcontext,
    ) -> int:
        """Bring a table up to date: rows of `rows` are put in or changed, and some go.

        Args:
            table: a stored table.
            key: the column that identifies a row.
            rows: the table's columns, and `vanished`.
            vanished: a boolean column: rows where it holds are deleted if they are there.
            commit: asked right before the statement.

        Returns:
            The number of rows that the table has now.
        """
        self.create(f"arriving_{table}", rows)
        columns = tables.columns(table)
        changes = ", ".join(f"{quoted(c)} = arriving.{quoted(c)}" for c in columns if c != key)
        names = ", ".join(map(quoted, columns))
        values = ", ".join(f"arriving.{quoted(c)}" for c in columns)
        with commit():
            pass
        self._session.run(
            f"MERGE INTO {self._workspace.stored_table(table)} AS kept"
            f" USING {self._scratch(f'arriving_{table}')} AS arriving"
            f" ON kept.{quoted(key)} = arriving.{quoted(key)}"
            f" WHEN MATCHED AND arriving.{quoted(vanished)} THEN DELETE"
            f" WHEN MATCHED THEN UPDATE SET {changes}"
            f" WHEN NOT MATCHED AND NOT arriving.{quoted(vanished)}"
            f" THEN INSERT ({names}) VALUES ({values})"
        )
        found = self._session.run(
            f"SELECT count(*) AS n FROM {self._workspace.stored_table(table)}"
        )
        return int(found.column(0)[0].as_py())

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _said(self, query: Query) -> str:
        return databricks_sql(query.sql, self._any_places).replace(ANY_PREFIX, self.prefix)

    def _scratch(self, table: str) -> str:
        return self._places.audit.format(table)

    def _look(self, found: gold.Gold) -> None:
        """Make the session's views of gold, and hold what has to be held."""
        for name, sql in found.views.items():
            table = name.removeprefix("checked_")
            self._session.run(f"CREATE OR REPLACE TEMPORARY VIEW {quoted(name)} AS {sql}")
            if name.startswith("checked_") and table in found.held and self._owns:
                place = self._scratch(f"gold_{table}")
                self._session.run(f"CREATE OR REPLACE TABLE {place} AS {found.held[table]}")

    def _counted(self, state: GoldState) -> GoldState:
        """The same, with how many rows each table has."""
        rows = {row["name"]: row for row in self.rows(gold.counts(state))}
        files = tuple(
            replace(
                file,
                rows_in=_whole(rows[file.table], "kept") + _whole(rows[file.table], "held"),
                rows_kept=_whole(rows[file.table], "kept"),
                rows_quarantined=_whole(rows[file.table], "held"),
            )
            for file in state.files
        )
        return replace(state, files=files)

    def _upload(self, table: str, place: str, content: pa.Table) -> None:
        select = upload.select_of(content.schema)
        parts = [*upload.batches(upload.without_nan(content))]
        if not parts:
            columns = upload.columns_of(content.schema)
            self._session.run(f"CREATE OR REPLACE TABLE {place} ({columns})")
            return
        if len(parts) == 1:
            sql = f"CREATE OR REPLACE TABLE {place} AS {select}"
            self._session.run(sql, {"rows": parts[0]})
            return
        names = [f"{table}__{number}" for number in range(len(parts))]
        for name, rows in zip(names, parts, strict=True):
            sql = f"CREATE OR REPLACE TABLE {self._scratch(name)} AS {select}"
            self._session.run(sql, {"rows": rows})
        union = " UNION ALL ".join(f"SELECT * FROM {self._scratch(name)}" for name in names)
        self._session.run(f"CREATE OR REPLACE TABLE {place} AS {union}")

    def _derived(self) -> list[str]:
        """The derived tables that there are, whichever process has made them."""
        schema = self._workspace.scratch_schema()
        rows = self._session.run(f"SHOW TABLES IN {schema} LIKE '{self.prefix}_*'").to_pylist()
        return sorted(str(row["tableName"]) for row in rows)

    def _sweep(self, today: dt.date) -> None:
        """Drop what processes that died have left in the scratch schema."""
        schema = self._workspace.scratch_schema()
        try:
            rows = self._session.run(f"SHOW TABLES IN {schema} LIKE 's20*'").to_pylist()
        except WarehouseRejected as fault:
            message = (
                f"the schema {schema.replace('`', '')} is absent or may not be used; "
                "`audit-pipeline databricks grants` prints what an administrator runs once"
            )
            raise WarehouseRejected(message) from fault
        for row in rows:
            name = str(row["tableName"])
            made = re.match(r"s(\d{4})(\d\d)(\d\d)_", name)
            if made and (today - dt.date(*map(int, made.groups()))).days > KEPT_DAYS:
                self._session.run(f"DROP TABLE IF EXISTS {schema}.{quoted(name)}")


def _whole(row: Mapping[str, Any], name: str) -> int:
    return int(row[name])


def _day(value: object) -> dt.date | None:
    return value if isinstance(value, dt.date) else None


def create_tables(workspace: Workspace) -> None:
    """Make the stored tables that are not there; those that are stay as they are.

    Raises:
        WarehouseError: the schema is absent, or may not be written to.
    """
    session = Session(workspace)
    try:
        for statement in tables.statements(workspace.stored_table):
            session.run(statement)
    finally:
        session.close()
