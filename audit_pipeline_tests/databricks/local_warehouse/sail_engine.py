"""The engine on Sail: Spark SQL without Java, on tables that are real Delta tables on disk.

Measured with pysail 0.7.2. REPLACE WHERE, MERGE with all its clauses, UPDATE, DELETE, NOT NULL,
CREATE OR REPLACE TABLE AS and time travel work on Delta. What it does not know is given below,
each at its place.
"""

import datetime as dt
import json
import logging
import os
import re
import time
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.delta_log import (
    DeltaLog,
    history_table,
)
from audit_pipeline_tests.databricks.local_warehouse.engine import TIME_ZONE, Result, SqlError
from audit_pipeline_tests.databricks.local_warehouse.spark_session import (
    NOTHING,
    SparkSqlSession,
    counted,
    target_of,
    without_constraints,
    without_properties,
)
from audit_pipeline_tests.databricks.local_warehouse.spark_text import split_error
from audit_pipeline_tests.databricks.local_warehouse.statements import parse

INSIDE = "sail"
SPOKEN_VERSION = "4.1.1"
"""Sail 0.7.2 refuses to run beside a newer PySpark, though the protocol is the same."""

_ERRORS = (
    (
        r"Table (or view )?not found|TABLE_OR_VIEW_NOT_FOUND|table does not exist",
        "TABLE_OR_VIEW_NOT_FOUND",
        "42P01",
    ),
    (r"(Database|Schema) not found", "SCHEMA_NOT_FOUND", "42704"),
    (r"cannot resolve attribute|missing from the schema", "UNRESOLVED_COLUMN", "42703"),
    (r"unknown function", "UNRESOLVED_ROUTINE", "42883"),
    (r"was not provided a value", "UNBOUND_SQL_PARAMETER", "42P02"),
    (r"divide by zero", "DIVIDE_BY_ZERO", "22012"),
    (r"Cannot cast", "CAST_INVALID_INPUT", "22018"),
    (r"DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
    (r"invalid argument: (found|expected one statement)", "PARSE_SYNTAX_ERROR", "42601"),
)


class SailEngine:
    """One Sail in this process. Its catalog is per session, so all clients share one.

    Args:
        folder: for its tables.
    """

    def __init__(self, folder: Path) -> None:
        os.environ["TZ"] = "UTC"
        time.tzset()
        warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
        logging.getLogger("SQLQueryContextLogger").disabled = True
        import pyspark

        pyspark.__version__ = SPOKEN_VERSION
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        self._folder = folder / "sail"
        self._server = SparkConnectServer("127.0.0.1", 0)
        self._server.start(background=True)
        address = self._server.listening_address
        assert address is not None
        builder: Any = SparkSession.builder
        self._spark = (
            builder.remote(f"sc://127.0.0.1:{address[1]}")
            .config("spark.sql.warehouse.dir", str(self._folder))
            .config("spark.sql.session.timeZone", TIME_ZONE)
            .create()
        )
        self._spark.sql("SELECT 1").toArrow()

    def open(self, catalog: str | None, schema: str | None) -> "SailSession":
        """The one session; its temporary views are everybody's."""
        session = SailSession(self._spark, INSIDE)
        session.use(catalog, schema or "default")
        return session

    def load(self, schema: str, table: str, path: Path) -> None:
        """A Parquet file as a Delta table."""
        self._spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{schema}`").toArrow()
        self._spark.sql(
            f"CREATE OR REPLACE TABLE `{schema}`.`{table}` USING DELTA"
            f" AS SELECT * FROM parquet.`{path}`"
        ).toArrow()

    def close(self) -> None:
        """Session first, or the server waits for it."""
        self._spark.stop()
        self._server.stop()


class SailSession(SparkSqlSession):
    """Sail's SQL, with the words of Databricks that it does not know."""

    def in_databricks_words(self, error: Exception) -> SqlError | None:
        """Its messages have few classes and no SQLSTATE."""
        said = str(error)
        for pattern, error_class, sqlstate in _ERRORS:
            if re.search(pattern, said):
                return SqlError(error_class, said, sqlstate)
        return split_error(said)

    def run(self, statement: str) -> pa.Table:
        """Sail wants the words that others leave out, and answers DDL by a boolean."""
        describe = r"(?i)^\s*DESC(RIBE)?\s+(?!TABLE|QUERY|SELECT)"
        use = r"(?i)^\s*USE\s+(?!DATABASE|SCHEMA|NAMESPACE|CATALOG)"
        full = re.sub(use, "USE SCHEMA ", re.sub(describe, "DESCRIBE TABLE ", statement))
        rows = super().run(full)
        ddl = re.match(r"\s*(CREATE|DROP|ALTER|COMMENT)\b", statement, re.IGNORECASE)
        return pa.table({}) if ddl else rows

    def history(self, table: str, limit: int | None) -> pa.Table:
        """Sail has no DESCRIBE HISTORY: the commits are read from the table's own log on disk."""
        described = self.run(f"DESCRIBE TABLE EXTENDED {table}").to_pylist()
        place = next(row["data_type"] for row in described if row["col_name"] == "Location")
        log, key = DeltaLog(), ("", table)
        for path in sorted(Path(place).glob("_delta_log/*.json")):
            actions = [json.loads(line) for line in path.read_text().splitlines()]
            info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
            at = dt.datetime.fromtimestamp(info["timestamp"] / 1000, dt.UTC)
            log.add(key, info["operation"], info.get("operationMetrics"), at)
        return history_table(log, key, limit)

    def create(self, tree: exp.Create) -> Result:
        """As a Delta table, which on Databricks is what is made by default."""
        without_constraints(tree)
        # CLUSTER BY is a matter of files; Sail does not know it
        without_properties(tree, exp.FileFormatProperty, exp.ClusterProperty)
        properties = tree.args.get("properties")
        others = properties.expressions if properties is not None else []
        # Sail wants USING before the other properties
        delta = exp.FileFormatProperty(this=exp.var("DELTA"))
        tree.set("properties", exp.Properties(expressions=[delta, *others]))
        self.run(self.sql_of(tree))
        return NOTHING

    def replace_where(self, tree: exp.Insert) -> Result:
        """Sail takes whatever arrives; Delta refuses rows that the condition does not meet."""
        target, query = target_of(tree), self.sql_of(tree.expression)
        condition = self.sql_of(tree.args["where"])
        listed = (
            [column.name for column in tree.this.expressions]
            if isinstance(tree.this, exp.Schema)
            else self.column_names(target)
        )
        names = ", ".join(f"`{name}`" for name in listed)
        arriving = f"({query}) AS arriving({names})"
        if tree.args.get("by_name"):
            # Sail has BY NAME, but not before REPLACE WHERE
            arriving = f"(SELECT {names} FROM ({query}))"
            tree.set("by_name", None)
            tree.set("expression", parse(f"SELECT {names} FROM ({query})"))
        outside = self.run(
            f"SELECT count(*) AS n FROM {arriving} WHERE NOT coalesce(({condition}), false)"
        )
        if outside.column(0)[0].as_py():
            said = "Written data does not conform to partial table overwrite condition."
            raise SqlError("DELTA_REPLACE_WHERE_MISMATCH", said, "44000")
        return self.write(self.sql_of(tree))

    def write(self, statement: str) -> Result:
        """Sail answers `count`, for deletions always 0: those are not told."""
        if re.match(r"\s*TRUNCATE\b", statement, re.IGNORECASE):
            # Sail has no TRUNCATE
            table = re.sub(r"(?i)^\s*TRUNCATE\s+(TABLE\s+)?", "", statement)
            statement = f"DELETE FROM {table} WHERE true"
        rows = self.run(statement)
        deletes = re.match(r"\s*DELETE\b", statement, re.IGNORECASE)
        count = rows.column(0)[0].as_py() if rows.num_rows and not deletes else None
        return counted(count)

    def interrupt(self) -> None:
        """Every statement."""
        self.spark.interruptAll()
