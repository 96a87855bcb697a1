"""One local Spark for the tests: it answers the statements that Databricks would be sent."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline.adapters.databricks.dialect import Places, databricks_sql

if TYPE_CHECKING:
    from audit_pipeline.model.query import Query, Value

PLACES = Places("gold_{}", "audit_{}")
INSTALL = "python -m pip install 'audit-pipeline[databricks]', and a Java 17 or 21 on the PATH"
# Small data, many statements: neither compiling nor parallel work ever pays.
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    " -XX:ReservedCodeCacheSize=256m",
    "spark.log.level": "OFF",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.constraintPropagation.enabled": "false",
}


class Spark:
    """A session; gold and derived tables are views in it."""

    def __init__(self, session: Any, scratch: Path) -> None:
        self.session = session
        self._scratch = scratch
        self._shown = 0

    def show(self, name: str, rows: pa.Table) -> None:
        """Let `schema.table` be these rows, whose instants are UTC."""
        schema, table = name.split(".")
        fields = [
            field.with_type(pa.timestamp("us", "UTC"))
            if pa.types.is_timestamp(field.type)
            else field
            for field in rows.schema
        ]
        self._shown += 1
        path = self._scratch / f"{self._shown}.parquet"
        pq.write_table(rows.cast(pa.schema(fields)), path)
        self.session.read.parquet(str(path)).createOrReplaceTempView(PLACES.of(schema, table))

    def query(self, query: "Query") -> pa.Table:
        """The rows of an audit's query, said in Databricks SQL."""
        return self.sql(databricks_sql(query.sql, PLACES), query.parameters)

    def sql(self, sql: str, parameters: "Mapping[str, Value] | None" = None) -> pa.Table:
        """The rows of a statement in Spark's own SQL."""
        from pyspark.sql import functions

        bound = {name: functions.lit(value) for name, value in (parameters or {}).items()}
        return self.session.sql(sql, bound or None).toArrow()


@contextmanager
def started(scratch: Path) -> Iterator[Spark]:
    """A Spark of two threads and two gigabytes; skips where there is none."""
    session = pytest.importorskip("pyspark.sql", reason=f"Spark is not here: {INSTALL}")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip(f"Java is not here: {INSTALL}")
    builder = session.SparkSession.builder.master("local[2]")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    builder = builder.config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
    spark = builder.config("spark.local.dir", str(scratch)).getOrCreate()
    try:
        yield Spark(spark, scratch)
    finally:
        spark.stop()
