"""Rows that Python made, brought into the warehouse as statements that may be sent twice.

The connector sends a statement again when its reply is lost, without telling. So every batch
becomes a table of its own by CREATE OR REPLACE, which does the same however often it arrives.
"""

import datetime as dt
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa

BATCH_CHARS = 2_000_000
"""Of one batch's JSON; a statement with its parameters may have sixteen million bytes."""
ROWS_AT_ONCE = 20_000


def databricks_type(kind: pa.DataType) -> str:
    """An Arrow type in Databricks' words.

    Raises:
        TypeError: a type that no table of this project has.
    """
    t = pa.types
    if t.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if t.is_list(kind) or t.is_large_list(kind):
        return f"ARRAY<{databricks_type(kind.value_type)}>"
    if t.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        return f"STRUCT<{', '.join(f'{f.name}: {databricks_type(f.type)}' for f in fields)}>"
    if t.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz else "TIMESTAMP_NTZ"
    for is_kind, name in (
        (t.is_string, "STRING"),
        (t.is_large_string, "STRING"),
        (t.is_int64, "BIGINT"),
        (t.is_int32, "INT"),
        (t.is_int16, "SMALLINT"),
        (t.is_int8, "TINYINT"),
        (t.is_float64, "DOUBLE"),
        (t.is_float32, "FLOAT"),
        (t.is_boolean, "BOOLEAN"),
        (t.is_date, "DATE"),
    ):
        if is_kind(kind):
            return name
    message = f"no table has a column of type {kind}"
    raise TypeError(message)


def columns_of(schema: pa.Schema) -> str:
    """The columns of a table of this schema, as CREATE TABLE has them."""
    return ", ".join(f"`{field.name}` {databricks_type(field.type)}" for field in schema)


def select_of(schema: pa.Schema) -> str:
    """A SELECT that turns the parameter `rows`, a batch's JSON, into rows of this schema."""
    fields = ", ".join(f"{field.name}: {databricks_type(field.type)}" for field in schema)
    return f"SELECT inline(from_json(:rows, 'ARRAY<STRUCT<{fields}>>', map('mode', 'FAILFAST')))"


def batches(table: pa.Table) -> Iterator[str]:
    """The rows as JSON arrays, each of at most BATCH_CHARS characters or a single row."""
    held: list[str] = []
    size = 0
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            text = json.dumps(row, default=_plain, ensure_ascii=True, allow_nan=False)
            if held and size + len(text) > BATCH_CHARS:
                yield f"[{','.join(held)}]"
                held, size = [], 0
            held.append(text)
            size += len(text) + 1
    if held:
        yield f"[{','.join(held)}]"


def without_nan(table: pa.Table) -> pa.Table:
    """The same, with NaN and infinities as the texts that Spark's JSON reads as such."""
    for at, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            values = table.column(at).to_pylist()
            if not all(value is None or math.isfinite(value) for value in values):
                texts = [_word(value) for value in values]
                table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    return table


def _word(value: float | None) -> str | None:
    if value is None:
        return None
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _plain(value: Any) -> str:
    """What JSON has no word for: exact decimals and dates stay exact as texts."""
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(type(value).__name__)
