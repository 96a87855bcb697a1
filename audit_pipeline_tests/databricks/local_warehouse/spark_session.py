"""What the engines on Spark and on Sail have in common: a session that speaks Spark SQL."""

import re
import threading
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.engine import (
    CATALOG,
    TIME_ZONE,
    ColumnOf,
    Relation,
    Result,
    SqlError,
    table_of,
)
from audit_pipeline_tests.databricks.local_warehouse.information_schema import snapshot
from audit_pipeline_tests.databricks.local_warehouse.parameters import Parameter
from audit_pipeline_tests.databricks.local_warehouse.spark_text import (
    in_catalog,
    literal_of,
    replaced,
    with_literals,
)
from audit_pipeline_tests.databricks.local_warehouse.statements import DIALECT, parse

STAGED = "rows_that_arrive"
NOTHING = Result(pa.table({}))
INFORMATION_SCHEMA = r"(?<![\w.`])(?:main\s*\.\s*)?information_schema\s*\.\s*(?P<table>\w+)"
TIDY = r"\s*(OPTIMIZE|VACUUM|ANALYZE|REFRESH)\b.*"
HISTORY = r"\s*DESC(?:RIBE)?\s+HISTORY\s+(?P<table>[\w`.]+)(?:\s+LIMIT\s+(?P<limit>\d+))?\s*;?\s*"
REPLACEMENT = r"\s*INSERT\b.*?\bREPLACE\s+WHERE\b.*"
CREATION = r"\s*CREATE\s+(OR\s+REPLACE\s+)?TABLE\b.*"
DROP = r"\s*DROP\s+TABLE\b.*"
WRITE = r"\s*(INSERT|MERGE|UPDATE|DELETE|TRUNCATE)\b.*"


class SparkSqlSession:
    """One session; an engine says in the methods that it overrides what it does otherwise.

    Args:
        spark: a session of PySpark, classic or over Spark Connect.
        catalog: what the engine calls the catalog `main`.
    """

    def __init__(self, spark: Any, catalog: str) -> None:
        self.spark, self.catalog = spark, catalog
        self._lock = threading.RLock()
        self._parameters: Sequence[Parameter] = ()

    # ── what an engine decides ──────────────────────────────────────────────────────────────────

    def in_databricks_words(self, error: Exception) -> SqlError | None:
        """The error as Databricks would say it; None for one that is no error of SQL."""
        raise NotImplementedError

    def history(self, table: str, limit: int | None) -> pa.Table:
        """DESCRIBE HISTORY."""
        raise NotImplementedError

    def create(self, tree: exp.Create) -> Result:
        """CREATE TABLE."""
        raise NotImplementedError

    def drop(self, tree: exp.Drop, statement: str) -> Result:
        """DROP TABLE."""
        return Result(self.run(statement))

    def replace_where(self, tree: exp.Insert) -> Result:
        """INSERT INTO … REPLACE WHERE."""
        raise NotImplementedError

    def write(self, statement: str) -> Result:
        """Any other write."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Stop what runs; it fails."""
        raise NotImplementedError

    # ── statements ──────────────────────────────────────────────────────────────────────────────

    def execute(self, statement: str, parameters: Sequence[Parameter]) -> Result:
        """Run one statement."""
        with self._lock:
            # a value may be megabytes of JSON, which sqlglot takes long to read: markers of a
            # name become literals at last, in `run`; those of a position may come only once
            named = all(parameter.name for parameter in parameters)
            self._parameters = parameters if named else ()
            try:
                return self._execute(statement if named else with_literals(statement, parameters))
            except SqlError:
                raise
            except Exception as error:
                said = self.in_databricks_words(error)
                if said is None:
                    raise
                raise said from error

    def _execute(self, statement: str) -> Result:
        if re.fullmatch(TIDY, statement, re.IGNORECASE | re.DOTALL):
            return NOTHING
        history = re.fullmatch(HISTORY, statement, re.IGNORECASE)
        if history:
            limit = int(history["limit"]) if history["limit"] else None
            return Result(self.history(history["table"], limit))
        if re.fullmatch(CREATION, statement, re.IGNORECASE | re.DOTALL):
            tree = parse(statement)
            assert isinstance(tree, exp.Create)
            return self.create(tree)
        if re.fullmatch(DROP, statement, re.IGNORECASE | re.DOTALL):
            tree = parse(statement)
            assert isinstance(tree, exp.Drop)
            return self.drop(tree, statement)
        if re.fullmatch(REPLACEMENT, statement, re.IGNORECASE | re.DOTALL):
            tree = parse(statement)
            if isinstance(tree, exp.Insert) and tree.args.get("where") is not None:
                return self.replace_where(tree)
        if re.fullmatch(WRITE, statement, re.IGNORECASE | re.DOTALL):
            return self.write(statement)
        return Result(self._read(statement))

    def _read(self, statement: str) -> pa.Table:
        named: set[str] = set()

        def view(match: re.Match[str]) -> str:
            named.add(match["table"].lower())
            return f"information_schema_{match['table'].lower()}"

        statement = replaced(statement, INFORMATION_SCHEMA, view)
        for name in named:
            values = _as_values(snapshot(self, name))
            view_name = f"information_schema_{name}"
            self.run(f"CREATE OR REPLACE TEMPORARY VIEW {view_name} AS {values}")
        rows = self.run(statement)
        if re.match(r"\s*SHOW\s+TABLES", statement, re.IGNORECASE):
            # Databricks' first column is called database, Spark's namespace
            rows = rows.rename_columns(["database", "tableName", "isTemporary"])
        return rows

    def run(self, statement: str) -> pa.Table:
        """The rows of a statement, with the engine's name of the catalog and without markers."""
        named = in_catalog(statement, self.catalog)
        rows = self.spark.sql(with_literals(named, self._parameters)).toArrow()
        # PySpark calls the zone of the session UTC, whatever name it was given
        fields = [
            field.with_type(pa.timestamp("us", TIME_ZONE))
            if isinstance(field.type, pa.TimestampType) and field.type.tz
            else field
            for field in rows.schema
        ]
        return rows.cast(pa.schema(fields))

    def sql_of(self, tree: exp.Expr) -> str:
        """A tree as Databricks SQL again."""
        return tree.sql(DIALECT)

    # ── what is there ───────────────────────────────────────────────────────────────────────────

    def schemas(self) -> list[tuple[str, str]]:
        """The pairs (catalog, schema)."""
        names = self.run("SHOW DATABASES").column(0).to_pylist()
        return [(CATALOG, name) for name in sorted(names)]

    def relations(self) -> list[Relation]:
        """Every table and view; temporary views once, without a schema."""
        found: set[tuple[str, str, str]] = set()
        for _, schema in self.schemas():
            for row in self.run(f"SHOW TABLES IN `{schema}`").to_pylist():
                place, name, temporary = row.values()
                kind = "TEMPORARY" if temporary else "MANAGED"
                found.add(("" if temporary else place, name, kind))
        return [
            Relation(CATALOG if schema else "", schema, name, kind)
            for schema, name, kind in sorted(found)
            if not name.startswith("information_schema_")
        ]

    def columns(self, relation: Relation) -> list[ColumnOf]:
        """The columns of one, in order. Whether they may be null is not asked."""
        place = f"`{relation.schema}`." if relation.schema else ""
        rows = self.run(f"DESCRIBE TABLE {place}`{relation.name}`").to_pylist()
        columns: list[ColumnOf] = []
        for row in rows:
            if not row["col_name"] or row["col_name"].startswith("#"):
                break  # the partitioning follows
            columns.append(ColumnOf(row["col_name"], row["data_type"], comment=row["comment"]))
        return columns

    def column_names(self, table: exp.Table) -> list[str]:
        """The names of a table's columns, in order."""
        return self.run(f"SELECT * FROM {self.sql_of(table)} LIMIT 0").column_names

    def use(self, catalog: str | None, schema: str | None) -> None:
        """Make a schema the current one.

        Raises:
            SqlError: there is no such catalog or schema.
        """
        if catalog is not None and catalog.lower() != CATALOG:
            raise SqlError("NO_SUCH_CATALOG_EXCEPTION", f"Catalog '{catalog}' not found.", "42704")
        if schema is not None:
            if (CATALOG, schema) not in self.schemas():
                said = f"The schema `{CATALOG}`.`{schema}` cannot be found."
                raise SqlError("SCHEMA_NOT_FOUND", said, "42704")
            self.spark.catalog.setCurrentDatabase(schema)

    def close(self) -> None:
        """Its temporary views go with the process."""


def _as_values(rows: pa.Table) -> str:
    """A query that gives these rows: texts and numbers."""
    kinds = ["INT" if pa.types.is_integer(kind) else "STRING" for kind in rows.schema.types]
    listed = [
        ", ".join(
            literal_of(Parameter(None, kind, None if cell is None else str(cell)))
            for kind, cell in zip(kinds, row.values(), strict=True)
        )
        for row in rows.to_pylist()
    ]
    nothing = ", ".join(f"CAST(NULL AS {kind})" for kind in kinds)
    values = ", ".join(f"({row})" for row in [nothing, *listed])
    names = ", ".join(rows.column_names)
    return (
        f"SELECT * FROM VALUES {values} AS made({names}) WHERE {rows.column_names[0]} IS NOT NULL"
    )


def counted(rows: int | None) -> Result:
    """What a write answers."""
    return Result(table_of({"num_affected_rows": pa.int64()}, [(rows,)]), rows)


def target_of(tree: exp.Expr) -> exp.Table:
    """The table that a statement writes, without its column list."""
    found = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    assert isinstance(found, exp.Table)
    return found


def without_constraints(tree: exp.Create) -> None:
    """Take away PRIMARY KEY, FOREIGN KEY and CHECK: the first two are information only."""
    if isinstance(tree.this, exp.Schema):
        kept = [c for c in tree.this.expressions if isinstance(c, exp.ColumnDef)]
        tree.this.set("expressions", kept)


def without_properties(tree: exp.Create, *kinds: type[exp.Expr]) -> None:
    """Take away properties of those kinds."""
    properties = tree.args.get("properties")
    if properties is not None:
        kept = [p for p in properties.expressions if not isinstance(p, kinds)]
        tree.set("properties", exp.Properties(expressions=kept) if kept else None)
