"""The local warehouse on Spark, which reads as Databricks does, and on Sail, which writes Delta.

What each cannot do is said here too.
"""

import datetime as dt
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.test_local_warehouse import HOSTILE, PARAMETERS
from audit_pipeline_tests.databricks.test_local_warehouse_sql import ERRORS, FUNCTIONS

sql = pytest.importorskip("databricks.sql", reason="make setup-databricks")
exc = pytest.importorskip("databricks.sql.exc")

SCHEMA = f"main.engines_{os.getpid()}"
GOLD = {
    "id": pa.array(["O'Hare", None]),
    "amount": pa.array([Decimal("-1.50"), None], pa.decimal128(18, 2)),
    "at": pa.array([dt.datetime(2025, 2, 3, 4, 5, 6, 7, dt.UTC), None]),
    "naive": pa.array([0, None], pa.timestamp("us")),
    "day": pa.array([dt.date(1969, 12, 31), None]),
    "is_so": pa.array([False, None]),
    "share": pa.array([-0.1, None]),
    "names": pa.array([["a", None], None]),
    "inside": pa.array([{"a": 1, "b": "x"}, None]),
}


@pytest.fixture(scope="module", params=["spark", "sail"])
def warehouse(request: pytest.FixtureRequest) -> LocalWarehouse:
    return request.getfixturevalue(f"{request.param}_warehouse")


@pytest.fixture(scope="module")
def connection(warehouse: LocalWarehouse) -> Iterator[Any]:
    with sql.connect(**warehouse.settings().connect_arguments()) as connected:
        _rows(connected, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        yield connected


def _rows(connection: Any, statement: str, parameters: Any = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [tuple(row) for row in cursor.fetchall()]


def _refused(connection: Any, statement: str) -> str:
    with pytest.raises(exc.ServerOperationError) as refused:
        _rows(connection, statement)
    return str(refused.value)


def test_gold_comes_back_as_it_was_loaded(
    warehouse: LocalWarehouse, connection: Any, tmp_path: Path
) -> None:
    folder = tmp_path / SCHEMA.partition(".")[2]
    folder.mkdir()
    pq.write_table(pa.table(GOLD), folder / "loaded.parquet")
    assert warehouse.load(tmp_path) == 1
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {SCHEMA}.loaded ORDER BY id IS NULL")
        rows = cursor.fetchall_arrow()
    assert rows.to_pylist() == pa.table(GOLD).to_pylist()
    assert rows.schema.field("amount").type == pa.decimal128(18, 2)
    assert rows.schema.field("at").type == pa.timestamp("us", "Etc/UTC")
    assert rows.schema.field("naive").type == pa.timestamp("us")


def test_every_parameter_comes_back(connection: Any) -> None:
    """Of each type, and each hostile text: as data, beside a literal that looks like a marker."""
    for value in (*PARAMETERS, None, *HOSTILE):
        found = _rows(connection, "SELECT :x AS x, ':x' AS marker", {"x": value})
        (given, marker) = found[0]
        assert (given if not hasattr(given, "tolist") else given.tolist(), marker) == (value, ":x")


def test_decimals_add_up_as_databricks_types_them(connection: Any) -> None:
    """A sum has ten digits more, a mean four more decimals, a quotient of integers is a double."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(d) AS total, avg(d) AS mean, 1 / 4 AS quarter"
            " FROM (SELECT CAST(id AS DECIMAL(18,2)) AS d FROM range(3))"
        )
        rows = cursor.fetchall_arrow()
    assert rows.schema.types == [pa.decimal128(28, 2), pa.decimal128(22, 6), pa.float64()]
    assert rows.to_pylist() == [{"total": Decimal(3), "mean": Decimal(1), "quarter": 0.25}]


def test_functions_mean_what_the_engine_on_duckdb_makes_of_them(
    warehouse: LocalWarehouse, connection: Any
) -> None:
    if warehouse.engine == "sail":
        pytest.skip("Sail is here for its Delta tables, not as a witness of functions")
    own_names = "current_catalog()"
    asked = [(expression, value) for expression, value in FUNCTIONS if expression != own_names]
    (found,) = _rows(connection, f"SELECT {', '.join(expression for expression, _ in asked)}")
    assert dict(zip([e for e, _ in asked], found, strict=True)) == dict(asked)


def test_an_error_keeps_its_class_and_its_sqlstate(connection: Any) -> None:
    for statement, error_class, sqlstate in ERRORS:
        said = _refused(connection, statement)
        assert said.startswith(f"[{error_class}")
        assert f"SQLSTATE: {sqlstate}" in said


def _findings(connection: Any, name: str) -> str:
    table = f"{SCHEMA}.{name}"
    _rows(
        connection,
        f"""CREATE TABLE {table} (
          finding_id STRING NOT NULL COMMENT 'which', audit_on DATE, amount DECIMAL(18,2),
          CONSTRAINT pk_{name} PRIMARY KEY (finding_id) RELY
        ) USING DELTA PARTITIONED BY (audit_on) COMMENT 'one row each'""",
    )
    _rows(
        connection,
        f"INSERT INTO {table} VALUES ('a', DATE'2025-01-01', 1.00), ('b', DATE'2025-01-02', 2.00)",
    )
    return table


REPLACE = (
    " REPLACE WHERE audit_on = :day SELECT inline(from_json(:rows,"
    " 'ARRAY<STRUCT<finding_id STRING, audit_on DATE, amount DECIMAL(18,2)>>'))"
)
ROWS = """[{"finding_id": "it's \\\\ ;--", "audit_on": "2025-01-01", "amount": "3.10"}]"""


def test_a_replacement_twice_leaves_one_copy(connection: Any) -> None:
    table = _findings(connection, "replaced")
    given = {"day": dt.date(2025, 1, 1), "rows": ROWS}
    for _ in range(2):
        _rows(connection, f"INSERT INTO {table}{REPLACE}", given)
    by_name = "SELECT amount, audit_on, finding_id FROM"
    _rows(
        connection,
        f"INSERT INTO {table} BY NAME REPLACE WHERE audit_on = DATE'2025-01-01'"
        f" {by_name} {table} WHERE audit_on = DATE'2025-01-01'",
    )
    kept = _rows(connection, f"SELECT finding_id, amount FROM {table} ORDER BY amount")
    assert kept == [("b", Decimal("2.00")), ("it's \\ ;--", Decimal("3.10"))]
    outside = f"INSERT INTO {table} REPLACE WHERE audit_on = DATE'2025-01-02' {by_name} {table}"
    assert "[DELTA_REPLACE_WHERE_MISMATCH]" in _refused(
        connection, outside.replace(by_name, "SELECT finding_id, audit_on, amount FROM")
    )
    assert _rows(connection, f"SELECT count(*) FROM {table}") == [(2,)]


def test_a_table_is_replaced_by_what_is_read_from_it(connection: Any) -> None:
    table = f"{SCHEMA}.counter"
    again = f"CREATE OR REPLACE TABLE {table} CLUSTER BY (n) AS SELECT n + 1 AS n FROM {table}"
    _rows(connection, f"CREATE OR REPLACE TABLE {table} AS SELECT 1 AS n")
    _rows(connection, again)
    assert _rows(connection, f"SELECT n FROM {table}") == [(2,)]
    versions = [row[0] for row in _rows(connection, f"DESCRIBE HISTORY {table}")]
    assert versions == [1, 0]
    _rows(connection, f"DROP TABLE {table}")
    assert "[TABLE_OR_VIEW_NOT_FOUND]" in _refused(connection, f"SELECT n FROM {table}")


def test_what_is_there_can_be_asked(connection: Any) -> None:
    _findings(connection, "listed")
    schema = SCHEMA.partition(".")[2]
    assert _rows(connection, f"SHOW TABLES IN {SCHEMA} LIKE 'list*'") == [(schema, "listed", False)]
    columns = _rows(
        connection,
        "SELECT column_name, full_data_type FROM main.information_schema.columns"
        " WHERE table_schema = :schema AND table_name = 'listed' ORDER BY ordinal_position",
        {"schema": schema},
    )
    assert columns == [
        ("finding_id", "string"),
        ("audit_on", "date"),
        ("amount", "decimal(18,2)"),
    ]
    with connection.cursor() as cursor:
        tables = cursor.tables(catalog_name="main", schema_name=schema, table_name="listed")
        assert [row.TABLE_NAME for row in tables.fetchall()] == ["listed"]


def test_a_view_that_is_temporary(connection: Any) -> None:
    _rows(connection, "CREATE OR REPLACE TEMPORARY VIEW few AS SELECT 1 AS n")
    _rows(connection, "CREATE OR REPLACE TEMPORARY VIEW few AS SELECT 2 AS n")
    assert _rows(connection, "SELECT n FROM few") == [(2,)]


MERGE = """MERGE INTO {table} AS kept
USING (SELECT 'a' AS finding_id, DATE'2025-01-01' AS audit_on, CAST(9 AS DECIMAL(18,2)) AS amount
       UNION ALL SELECT 'z', DATE'2025-01-01', CAST(26 AS DECIMAL(18,2))) AS found
ON kept.finding_id = found.finding_id
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED THEN INSERT *
WHEN NOT MATCHED BY SOURCE AND kept.audit_on = DATE'2025-01-02' THEN DELETE"""


def test_sail_merges_and_checks_as_delta_does(warehouse: LocalWarehouse, connection: Any) -> None:
    """On Spark's Parquet tables there is no MERGE, and no CHECK."""
    table = _findings(connection, "merged")
    if warehouse.engine == "spark":
        assert "[UNSUPPORTED_FEATURE" in _refused(connection, MERGE.format(table=table))
        return
    for _ in range(2):
        _rows(connection, MERGE.format(table=table))
        assert _rows(connection, f"SELECT finding_id, amount FROM {table} ORDER BY 1") == [
            ("a", Decimal("9.00")),
            ("z", Decimal("26.00")),
        ]
    _rows(connection, f"ALTER TABLE {table} ADD CONSTRAINT some CHECK (amount > 0)")
    row = "('q', DATE'2025-01-01', CAST({} AS DECIMAL(18,2)))"
    assert "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES" in _refused(
        connection, f"INSERT INTO {table} VALUES {row.format(-1)}"
    )
    nobody = f"INSERT INTO {table} VALUES (NULL, DATE'2025-01-01', 1.00)"
    assert "SQLSTATE: 23502" in _refused(connection, nobody)
    operations = [row[3] for row in _rows(connection, f"DESCRIBE HISTORY {table}")]
    assert operations[-4:] == ["MERGE", "MERGE", "WRITE", "CREATE TABLE"]
