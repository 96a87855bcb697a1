"""The engine on DuckDB: quick to start, transactions that are real, reads that are close.

What it cannot tell is what only Spark or Delta decide; the engines `spark` and `sail` are for that.
"""

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse import duckdb_commands, duckdb_writes
from audit_pipeline_tests.databricks.local_warehouse.delta_log import DeltaLog
from audit_pipeline_tests.databricks.local_warehouse.duckdb_functions import MACROS
from audit_pipeline_tests.databricks.local_warehouse.duckdb_translation import (
    INTERNAL_CATALOG,
    SNAPSHOT_PREFIX,
    named_information_schema,
    to_duckdb,
)
from audit_pipeline_tests.databricks.local_warehouse.duckdb_types import (
    as_databricks_returns,
    in_databricks_words,
    spelled,
)
from audit_pipeline_tests.databricks.local_warehouse.duckdb_versions import pinned
from audit_pipeline_tests.databricks.local_warehouse.engine import (
    CATALOG,
    TIME_ZONE,
    ColumnOf,
    Relation,
    Result,
    SqlError,
)
from audit_pipeline_tests.databricks.local_warehouse.information_schema import snapshot
from audit_pipeline_tests.databricks.local_warehouse.parameters import Parameter
from audit_pipeline_tests.databricks.local_warehouse.statements import parse, unsupported

DEFAULT_SCHEMA = "default"
HIDDEN_SCHEMAS = ("main", "information_schema", "pg_catalog")


class DuckDBEngine:
    """One database in memory, one connection a session."""

    def __init__(self) -> None:
        self.log = DeltaLog()
        # advice on how rows are best fetched, which is not the caller's to take
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        self._database = duckdb.connect()
        for statement in (
            "SET autoinstall_known_extensions = false",
            "SET threads = 2",
            f"ATTACH ':memory:' AS {INTERNAL_CATALOG}",
            f'CREATE SCHEMA {INTERNAL_CATALOG}."{DEFAULT_SCHEMA}"',
            *MACROS,
        ):
            self._database.execute(statement)

    def open(self, catalog: str | None, schema: str | None) -> "DuckDBSession":
        """A session on a connection of its own."""
        session = DuckDBSession(self._database.cursor(), self.log)
        session.use(catalog or CATALOG, schema or DEFAULT_SCHEMA)
        return session

    def load(self, schema: str, table: str, path: Path) -> None:
        """A Parquet file as a table: instants stay TIMESTAMP, naive ones become TIMESTAMP_NTZ."""
        place = f'{INTERNAL_CATALOG}."{schema}"'
        with self._database.cursor() as connection:
            connection.execute(f"SET TimeZone = '{TIME_ZONE}'")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {place}")
            connection.execute(
                f'CREATE OR REPLACE TABLE {place}."{table}" AS SELECT * FROM read_parquet(?)',
                [str(path)],
            )
        self.log.add((schema, table), "CREATE OR REPLACE TABLE AS SELECT")

    def close(self) -> None:
        """The tables end with it."""
        self._database.close()


class DuckDBSession:
    """One connection; a statement waits for the one before it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, log: DeltaLog) -> None:
        self.connection, self.log = connection, log
        self.schema = DEFAULT_SCHEMA
        self._lock = threading.RLock()
        self.connection.execute(f"SET TimeZone = '{TIME_ZONE}'")

    def execute(self, statement: str, parameters: Sequence[Parameter]) -> Result:
        """Run one statement."""
        with self._lock:
            try:
                command = duckdb_commands.command(self, statement)
                return command if command is not None else self._run(parse(statement), parameters)
            except duckdb.Error as error:
                raise in_databricks_words(error) from error

    def _run(self, tree: exp.Expr, parameters: Sequence[Parameter]) -> Result:
        if isinstance(tree, exp.Use):
            return self._use(tree)
        tree = pinned(self, tree)
        if isinstance(tree, exp.Describe):
            return duckdb_commands.describe(self, tree, parameters)
        if isinstance(tree, duckdb_writes.WRITES):
            return duckdb_writes.write(self, tree, parameters)
        if isinstance(tree, duckdb_writes.DEFINITIONS):
            return duckdb_writes.define(self, tree, parameters)
        if isinstance(tree, (exp.Query, exp.Values)):
            return Result(self.read(tree, parameters))
        raise unsupported(f"the statement {type(tree).__name__}")

    def read(self, tree: exp.Expr, parameters: Sequence[Parameter] = ()) -> pa.Table:
        """The rows of a query."""
        made = [SNAPSHOT_PREFIX + name for name in named_information_schema(tree)]
        for name in made:
            self.connection.register(name, snapshot(self, name.removeprefix(SNAPSHOT_PREFIX)))
        try:
            return self.fetch(to_duckdb(tree, parameters))
        finally:
            for name in made:
                self.connection.unregister(name)

    def fetch(self, sql: str) -> pa.Table:
        """The rows of a query in DuckDB's words, in the types that Databricks hands out."""
        ran = self.connection.execute(sql)
        kinds = [str(column[1]) for column in ran.description or ()]
        return as_databricks_returns(ran.to_arrow_table(), kinds)

    def _use(self, tree: exp.Use) -> Result:
        place = tree.this
        if tree.text("kind").upper() == "CATALOG":
            self.use(place.name, DEFAULT_SCHEMA)
        else:
            self.use(place.db or CATALOG, place.name)
        return Result(pa.table({}))

    def use(self, catalog: str, schema: str) -> None:
        """Make a schema the current one.

        Raises:
            SqlError: there is none of that name.
        """
        if catalog.lower() != CATALOG:
            raise SqlError("NO_SUCH_CATALOG_EXCEPTION", f"Catalog '{catalog}' not found.", "42704")
        if (CATALOG, schema.lower()) not in self.schemas():
            raise SqlError(
                "SCHEMA_NOT_FOUND", f"The schema `{catalog}`.`{schema}` cannot be found.", "42704"
            )
        self.connection.execute(f'USE {INTERNAL_CATALOG}."{schema.lower()}"')
        self.schema = schema.lower()

    def key(self, table: exp.Table) -> tuple[str, str]:
        """The schema and the name of a table that a statement names."""
        return (table.db or self.schema).lower(), table.name.lower()

    def interrupt(self) -> None:
        """Stop what runs; it fails."""
        self.connection.interrupt()

    def schemas(self) -> list[tuple[str, str]]:
        """The pairs (catalog, schema)."""
        rows = self._rows(
            "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? ORDER BY 1"
        )
        return [(CATALOG, name.lower()) for (name,) in rows if name not in HIDDEN_SCHEMAS]

    def relations(self) -> list[Relation]:
        """Every table and view, and this connection's temporary views."""
        tables = self._rows(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ?"
        )
        views = self._rows(
            "SELECT schema_name, view_name FROM duckdb_views()"
            " WHERE database_name = ? AND NOT internal"
        )
        temporary = self._rows(
            "SELECT '', view_name FROM duckdb_views() WHERE temporary AND NOT internal"
            " AND view_name NOT LIKE 'information\\_schema\\_%' ESCAPE '\\' AND ? <> ''"
        )
        found = [
            *(Relation(CATALOG, schema, name, "MANAGED") for schema, name in tables),
            *(Relation(CATALOG, schema, name, "VIEW") for schema, name in views),
            *(Relation("", schema, name, "TEMPORARY") for schema, name in temporary),
        ]
        return sorted(found, key=lambda relation: (relation.schema, relation.name))

    def columns(self, relation: Relation) -> list[ColumnOf]:
        """The columns of one, in order."""
        database = "temp" if relation.kind == "TEMPORARY" else INTERNAL_CATALOG
        schema = relation.schema or "main"
        with self._lock:
            rows = self.connection.execute(
                "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns()"
                " WHERE database_name = ? AND schema_name = ? AND table_name = ?"
                " ORDER BY column_index",
                [database, schema, relation.name],
            ).fetchall()
        return [
            ColumnOf(name, spelled(kind), nullable=nullable, comment=comment)
            for name, kind, nullable, comment in rows
        ]

    def _rows(self, sql: str) -> list[tuple[str, ...]]:
        with self._lock:
            return self.connection.execute(sql, [INTERNAL_CATALOG]).fetchall()

    def close(self) -> None:
        """Its temporary views go with it."""
        self.connection.interrupt()
        with self._lock:
            self.connection.close()
