"""The engine on Spark itself: what it reads, it reads as Databricks does (ANSI, UTC).

Its tables are Parquet files and not Delta tables, so writes are emulated, and not atomic.
"""

import logging
import os
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.delta_log import DeltaLog, history_table
from audit_pipeline_tests.databricks.local_warehouse.engine import TIME_ZONE, Result, SqlError
from audit_pipeline_tests.databricks.local_warehouse.spark_session import (
    NOTHING,
    STAGED,
    SparkSqlSession,
    counted,
    target_of,
    without_constraints,
    without_properties,
)
from audit_pipeline_tests.databricks.local_warehouse.spark_text import replaced, split_error
from audit_pipeline_tests.databricks.local_warehouse.statements import parse

INSIDE = "spark_catalog"

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.sql.session.timeZone": TIME_ZONE,
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.sources.default": "parquet",
    # parameters are put into the text here, and ${…} in one of them is not to be looked up
    "spark.sql.variable.substitute": "false",
    # for tests of a few rows: no plan is adapted, shuffled widely or compiled to byte code
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.log.level": "OFF",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto",
}


class SparkEngine:
    """One Spark in this process, started once; a session of it for each client.

    Args:
        folder: for its tables.
    """

    def __init__(self, folder: Path) -> None:
        # Python and the JVM both read the zone of the process for instants without one
        os.environ["TZ"] = "UTC"
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        time.tzset()
        # pandas 3 is newer than PySpark 4.3 likes; no pandas is used here
        warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
        from pyspark.sql import SparkSession

        # it writes the stack of every error of SQL
        logging.getLogger("SQLQueryContextLogger").disabled = True
        self._folder = folder
        self.log = DeltaLog()
        builder: Any = SparkSession.builder
        builder = builder.master("local[2]").appName("local warehouse")
        for name, value in SETTINGS.items():
            builder = builder.config(name, value)
        self._spark = builder.config("spark.sql.warehouse.dir", str(folder / "spark")).getOrCreate()
        self._spark.sql("SELECT 1").toArrow()

    def open(self, catalog: str | None, schema: str | None) -> "SparkSession":
        """A session with temporary views of its own."""
        session = SparkSession(self._spark.newSession(), self.log)
        session.use(catalog, schema)
        return session

    def load(self, schema: str, table: str, path: Path) -> None:
        """A Parquet file as a table, of which it becomes the only file."""
        place = self._folder / "loaded" / schema / table
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(path, place / "part.parquet")
        name = f"{INSIDE}.`{schema}`.`{table}`"
        self._spark.sql(f"CREATE SCHEMA IF NOT EXISTS {INSIDE}.`{schema}`")
        self._spark.sql(f"DROP TABLE IF EXISTS {name}")
        self._spark.sql(f"CREATE TABLE {name} USING PARQUET LOCATION '{place}'")
        self.log.add((schema, table), "CREATE OR REPLACE TABLE AS SELECT")

    def close(self) -> None:
        """Ends the JVM too."""
        self._spark.stop()


class SparkSession(SparkSqlSession):
    """Spark's own SQL, with the writes that a Parquet table does not know by itself."""

    def __init__(self, spark: Any, log: DeltaLog) -> None:
        super().__init__(spark, INSIDE)
        self._log = log

    def in_databricks_words(self, error: Exception) -> SqlError | None:
        """Spark's classes and SQLSTATEs are those of Databricks."""
        return split_error(str(error))

    def run(self, statement: str) -> pa.Table:
        """Parquet has no versions, so each table's name stands for its last one."""
        return super().run(replaced(statement, r"\bVERSION\s+AS\s+OF\s+\d+", lambda _: ""))

    def history(self, table: str, limit: int | None) -> pa.Table:
        """Of the writes that went through here."""
        tree = parse(f"SELECT * FROM {table}").find(exp.Table)
        assert tree is not None
        return history_table(self._log, self._key(tree), limit)

    def create(self, tree: exp.Create) -> Result:
        """OR REPLACE is: make it under another name, drop the old one, rename."""
        target = target_of(tree)
        key = self._key(target)
        without_constraints(tree)
        without_properties(tree, exp.FileFormatProperty, exp.Property)
        is_there = self.spark.catalog.tableExists(".".join(key))
        if tree.args.get("exists") and is_there:
            return NOTHING
        words = "CREATE OR REPLACE TABLE" if tree.args.get("replace") else "CREATE TABLE"
        if tree.args.get("replace"):
            tree.set("replace", None)
            beside = self._beside(target)
            self.run(f"DROP TABLE IF EXISTS {self.sql_of(beside)}")
            named, here = self.sql_of(target), target.copy()
            here.set("catalog", None)  # a table is renamed within its catalog
            target.replace(beside)
            self.run(self.sql_of(tree))
            self.run(f"DROP TABLE IF EXISTS {named}")
            self.run(f"ALTER TABLE {self.sql_of(beside)} RENAME TO {self.sql_of(here)}")
        else:
            self.run(self.sql_of(tree))
        made_from_rows = " AS SELECT" if tree.expression is not None else ""
        self._log.add(key, words + made_from_rows)
        return NOTHING

    def drop(self, tree: exp.Drop, statement: str) -> Result:
        """Its history goes with it."""
        self.run(statement)
        self._log.forget(self._key(tree.find(exp.Table)))
        return NOTHING

    def replace_where(self, tree: exp.Insert) -> Result:
        """What stays and what arrives are put together, and written over the table."""
        target, condition = target_of(tree), tree.args["where"]
        return counted(self._overwrite(target, condition, tree))

    def write(self, statement: str) -> Result:
        """Plain inserts; deletions as replacements by nothing. MERGE and UPDATE are not known."""
        tree = parse(statement)
        if isinstance(tree, exp.Delete):
            where = tree.args.get("where")
            condition = where.this if where is not None else exp.true()
            self._overwrite(target_of(tree), condition, None)
            return counted(None)
        self.run(statement)
        if isinstance(tree, exp.Insert):
            self._log.add(self._key(target_of(tree)), "WRITE")
        return counted(None)

    def _overwrite(
        self, target: exp.Table, condition: exp.Expr, insert: exp.Insert | None
    ) -> int | None:
        named, staged = self.sql_of(target), self._beside(target)
        staged_name, fits = self.sql_of(staged), self.sql_of(condition)
        self.run(f"DROP TABLE IF EXISTS {staged_name}")
        self.run(f"CREATE TABLE {staged_name} LIKE {named} USING PARQUET")
        arrived = None
        try:
            if insert is not None:
                target.replace(staged)
                insert.set("where", None)
                self.run(self.sql_of(insert))
                arrived = self._count(staged_name)
                outside = self._count(f"{staged_name} WHERE NOT coalesce(({fits}), false)")
                if outside:
                    said = "Written data does not conform to partial table overwrite condition"
                    raise SqlError("DELTA_REPLACE_WHERE_MISMATCH", f"{said}.", "44000")
            stays = f"SELECT * FROM {named} WHERE NOT coalesce(({fits}), false)"
            self.run(f"INSERT INTO {staged_name} {stays}")
            self.run(f"INSERT OVERWRITE {named} SELECT * FROM {staged_name}")
        finally:
            self.run(f"DROP TABLE IF EXISTS {staged_name}")
        self._log.add(self._key(parse(f"SELECT * FROM {named}").find(exp.Table)), "WRITE")
        return arrived

    def _count(self, source: str) -> int:
        return self.run(f"SELECT count(*) AS n FROM {source}").column(0)[0].as_py()

    def _beside(self, target: exp.Table) -> exp.Table:
        beside = target.copy()
        beside.set("this", exp.to_identifier(f"{target.name}_{STAGED}"))
        return beside

    def _key(self, table: exp.Table | None) -> tuple[str, str]:
        assert table is not None
        return (table.db or self.spark.catalog.currentDatabase()).lower(), table.name.lower()

    def interrupt(self) -> None:
        """Every job, of all sessions: tests run one statement at a time."""
        self.spark.sparkContext.cancelAllJobs()
