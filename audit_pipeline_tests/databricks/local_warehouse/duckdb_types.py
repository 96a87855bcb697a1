"""Types and errors of DuckDB in the words of Databricks."""

import re

import duckdb
import pyarrow as pa
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.engine import TIME_ZONE, SqlError

_ERRORS: tuple[tuple[str, str, str], ...] = (
    (r"\[DIVIDE_BY_ZERO\]", "DIVIDE_BY_ZERO", "22012"),
    (
        r"cannot affect the same target row",
        "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW",
        "21506",
    ),
    (r"Function with name .* does not exist", "UNRESOLVED_ROUTINE", "42883"),
    (r"(Table|View) with name .* does not exist", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    (r"(View|Table) with name .* already exists", "TABLE_OR_VIEW_ALREADY_EXISTS", "42P07"),
    (r"Schema with name .* already exists", "SCHEMA_ALREADY_EXISTS", "42P06"),
    (r"(Schema with name|No catalog \+ schema named) .*", "SCHEMA_NOT_FOUND", "42704"),
    (r"Parser Error", "PARSE_SYNTAX_ERROR", "42601"),
    (r"Referenced column .* not found|does not have a column", "UNRESOLVED_COLUMN", "42703"),
    (r"Referenced table .* not found", "UNRESOLVED_COLUMN", "42703"),
    (r"must appear in the GROUP BY", "MISSING_AGGREGATION", "42803"),
    (r"No function matches", "DATATYPE_MISMATCH", "42K09"),
    (r"NOT NULL constraint failed", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
    (r"Out of Range Error|[Oo]verflow", "ARITHMETIC_OVERFLOW", "22003"),
    (r"Conversion Error", "CAST_INVALID_INPUT", "22018"),
    (r"TransactionContext Error.*[Cc]onflict", "DELTA_CONCURRENT_WRITE", "2D521"),
    (r"Binder Error", "DATATYPE_MISMATCH", "42K09"),
)


def in_databricks_words(error: duckdb.Error) -> SqlError:
    """An error of DuckDB, with the class and SQLSTATE that Databricks would give."""
    said = str(error)
    for pattern, error_class, sqlstate in _ERRORS:
        if re.search(pattern, said):
            return SqlError(error_class, said, sqlstate)
    return SqlError("INTERNAL_ERROR", said, "XX000")


def spelled(duckdb_type: str) -> str:
    """A type of DuckDB as Databricks spells it, e.g. `array<decimal(18,2)>`."""
    # an integer of 128 bits is what DuckDB sums integers in; Databricks' sums are BIGINT
    tree = exp.DataType.build(duckdb_type.replace("HUGEINT", "BIGINT"), dialect="duckdb")
    said = tree.sql("databricks").lower()
    return re.sub(r"\s*([,:<>()])\s*", r"\1", said)


def as_databricks_returns(rows: pa.Table, duckdb_types: list[str]) -> pa.Table:
    """Rows with the Arrow types in which a SQL warehouse hands them out."""
    fields = [
        column.with_type(_returned(column.type, said))
        for column, said in zip(rows.schema, duckdb_types, strict=True)
    ]
    return rows.cast(pa.schema(fields))


def _returned(kind: pa.DataType, said: str) -> pa.DataType:
    if said == "HUGEINT" or pa.types.is_unsigned_integer(kind):
        return pa.int64()
    if isinstance(kind, pa.TimestampType):
        return pa.timestamp("us", TIME_ZONE if kind.tz else None)
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    return kind
