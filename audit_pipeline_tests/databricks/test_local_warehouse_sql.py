"""What the local warehouse says to SQL: writes as Delta does them, catalogues, errors."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from audit_pipeline_tests.databricks.process import LocalWarehouse

sql = pytest.importorskip("databricks.sql", reason="make setup-databricks")
exc = pytest.importorskip("databricks.sql.exc")

SCHEMA = f"main.sql_{os.getpid()}"
FINDINGS = f"{SCHEMA}.findings"


@pytest.fixture(scope="module")
def connection(duckdb_warehouse: LocalWarehouse) -> Iterator[Any]:
    with sql.connect(**duckdb_warehouse.settings().connect_arguments()) as connected:
        with connected.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        yield connected


@pytest.fixture
def findings(connection: Any) -> str:
    """Two findings of one day and one of the next, in a table with everything DDL can say."""
    _rows(connection, f"DROP TABLE IF EXISTS {FINDINGS}")
    _rows(
        connection,
        f"""CREATE TABLE {FINDINGS} (
          finding_id STRING NOT NULL COMMENT 'it\\'s the id',
          audit_on DATE NOT NULL,
          score INT DEFAULT 1 COMMENT 'so much',
          CONSTRAINT pk_findings PRIMARY KEY (finding_id) RELY
        ) USING DELTA PARTITIONED BY (audit_on) COMMENT 'one row each'
        TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')""",
    )
    _rows(
        connection,
        f"INSERT INTO {FINDINGS} VALUES ('a', DATE'2025-01-01', 1), ('b', DATE'2025-01-01', 2),"
        " ('c', DATE'2025-01-02', 3)",
    )
    return FINDINGS


def _rows(connection: Any, statement: str, parameters: dict[str, Any] | None = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [tuple(row) for row in cursor.fetchall()]


def _refused(connection: Any, statement: str) -> str:
    with pytest.raises(exc.ServerOperationError) as refused:
        _rows(connection, statement)
    return str(refused.value)


def _kept(connection: Any) -> list[Any]:
    return _rows(connection, f"SELECT finding_id, score FROM {FINDINGS} ORDER BY finding_id")


# ── writes ──────────────────────────────────────────────────────────────────────────────────────

NEW = """[{"finding_id": "d", "audit_on": "2025-01-01", "score": 4}]"""
SHAPE = "ARRAY<STRUCT<finding_id STRING, audit_on DATE, score INT>>"


def test_a_replacement_touches_its_own_rows_only(connection: Any, findings: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {findings} REPLACE WHERE audit_on BETWEEN :from_on AND :to_on"
            f" SELECT inline(from_json(:rows, '{SHAPE}'))",
            {"from_on": "2025-01-01", "to_on": "2025-01-01", "rows": NEW},
        )
        assert cursor.fetchall()[0].num_affected_rows == 1
        assert cursor.rowcount == 1
    assert _kept(connection) == [("c", 3), ("d", 4)]


def test_a_replacement_may_read_what_it_replaces(connection: Any, findings: str) -> None:
    _rows(
        connection,
        f"INSERT INTO {findings} BY NAME REPLACE WHERE audit_on = DATE'2025-01-01'"
        f" SELECT score + 10 AS score, audit_on, finding_id FROM {findings}"
        " WHERE audit_on = DATE'2025-01-01'",
    )
    assert _kept(connection) == [("a", 11), ("b", 12), ("c", 3)]


def test_a_row_outside_of_what_is_replaced_stops_all(connection: Any, findings: str) -> None:
    said = _refused(
        connection,
        f"INSERT INTO {findings} REPLACE WHERE audit_on = DATE'2025-01-01'"
        " SELECT 'd', DATE'2025-01-01', 4 UNION ALL SELECT 'e', DATE'2025-01-03', 5",
    )
    assert "[DELTA_REPLACE_WHERE_MISMATCH]" in said
    assert _kept(connection) == [("a", 1), ("b", 2), ("c", 3)]


MERGE = f"""MERGE INTO {FINDINGS} AS kept
USING (SELECT 'a' AS finding_id, DATE'2025-01-01' AS audit_on, 9 AS score
       UNION ALL SELECT 'z', DATE'2025-01-01', 26) AS found
ON kept.finding_id = found.finding_id
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED THEN INSERT *
WHEN NOT MATCHED BY SOURCE AND kept.audit_on = DATE'2025-01-01' THEN DELETE"""


def test_a_merge_updates_inserts_and_deletes(connection: Any, findings: str) -> None:
    """Twice gives the same rows: it is how a write is made safe to repeat."""
    assert _rows(connection, MERGE) == [(3, 1, 1, 1)]
    assert _kept(connection) == [("a", 9), ("c", 3), ("z", 26)]
    _rows(connection, MERGE)
    assert _kept(connection) == [("a", 9), ("c", 3), ("z", 26)]


def test_a_merge_with_two_sources_for_one_row_is_refused(connection: Any, findings: str) -> None:
    said = _refused(
        connection,
        f"MERGE INTO {findings} AS kept USING (SELECT 'a' AS i UNION ALL SELECT 'a') AS found"
        " ON kept.finding_id = found.i WHEN MATCHED THEN UPDATE SET score = 0",
    )
    assert "[DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW" in said
    assert _kept(connection) == [("a", 1), ("b", 2), ("c", 3)]


def test_a_check_holds_for_each_row_to_come(connection: Any, findings: str) -> None:
    """A primary key, in contrast, is information only; and null is not enough for a check."""
    _rows(connection, f"ALTER TABLE {findings} ADD CONSTRAINT scored CHECK (score > 0)")
    again = f"INSERT INTO {findings} VALUES ('a', DATE'2025-01-01', "
    _rows(connection, f"{again} 5)")
    assert sorted(_kept(connection)) == [("a", 1), ("a", 5), ("b", 2), ("c", 3)]
    for value in ("0", "NULL"):
        said = _refused(connection, f"{again} {value})")
        assert "[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES]" in said
        assert "SQLSTATE: 23001" in said
    said = _refused(connection, f"ALTER TABLE {findings} ADD CONSTRAINT few CHECK (score < 3)")
    assert "[DELTA_NEW_CHECK_CONSTRAINT_VIOLATION]" in said
    _rows(connection, f"ALTER TABLE {findings} DROP CONSTRAINT IF EXISTS scored")
    _rows(connection, f"{again} 0)")
    assert len(_kept(connection)) == 5


def test_not_null_is_kept(connection: Any, findings: str) -> None:
    said = _refused(connection, f"INSERT INTO {findings} VALUES (NULL, DATE'2025-01-01', 1)")
    assert "SQLSTATE: 23502" in said


def test_a_view_that_is_temporary_is_this_sessions(
    duckdb_warehouse: LocalWarehouse, connection: Any, findings: str
) -> None:
    _rows(connection, f"CREATE OR REPLACE TEMPORARY VIEW few AS SELECT * FROM {findings} LIMIT 1")
    _rows(connection, f"CREATE OR REPLACE TEMPORARY VIEW few AS SELECT * FROM {findings} LIMIT 2")
    assert len(_rows(connection, "SELECT * FROM few")) == 2
    with sql.connect(**duckdb_warehouse.settings().connect_arguments()) as another:
        assert "[TABLE_OR_VIEW_NOT_FOUND]" in _refused(another, "SELECT * FROM few")
    _rows(connection, "DROP VIEW few")


# ── what is there ───────────────────────────────────────────────────────────────────────────────


def test_the_history_counts_the_writes(connection: Any, findings: str) -> None:
    """Those that failed are none."""
    _refused(connection, f"INSERT INTO {findings} VALUES (NULL, NULL, 1)")
    _rows(connection, f"DELETE FROM {findings} WHERE score = 1")
    _rows(connection, f"CREATE OR REPLACE TABLE {findings} CLUSTER BY (a) AS SELECT 1 AS a")
    with connection.cursor() as cursor:
        cursor.execute(f"DESCRIBE HISTORY {findings}")
        history = [(row.version, row.operation, dict(row.operationMetrics)) for row in cursor]
    assert history == [
        (3, "CREATE OR REPLACE TABLE AS SELECT", {}),
        (2, "DELETE", {"num_deleted_rows": "1"}),
        (1, "WRITE", {"num_inserted_rows": "3"}),
        (0, "CREATE TABLE", {}),
    ]


def test_the_tables_of_a_schema(connection: Any, findings: str) -> None:
    schema = SCHEMA.partition(".")[2]
    assert _rows(connection, f"SHOW TABLES IN {SCHEMA} LIKE 'find*'") == [
        (schema, "findings", False)
    ]
    assert _rows(connection, f"SHOW TABLES IN {SCHEMA} LIKE 'lost*'") == []
    columns = _rows(
        connection,
        "SELECT column_name, full_data_type, is_nullable, comment"
        " FROM main.information_schema.columns"
        " WHERE table_schema = :schema AND table_name = 'findings' ORDER BY ordinal_position",
        {"schema": schema},
    )
    assert columns == [
        ("finding_id", "string", "NO", "it's the id"),
        ("audit_on", "date", "NO", None),
        ("score", "int", "YES", "so much"),
    ]


def test_the_metadata_calls(connection: Any, findings: str) -> None:
    """By JDBC's patterns, where a backslash takes an underscore for itself."""
    schema = SCHEMA.partition(".")[2]
    pattern = schema.replace("_", "\\_")
    with connection.cursor() as cursor:
        names = cursor.catalogs().fetchall()
        assert [row.TABLE_CAT for row in names] == ["main"]
        found = cursor.schemas(catalog_name="main", schema_name=pattern).fetchall()
        assert [row.TABLE_SCHEM for row in found] == [schema]
        tables = cursor.tables(schema_name=pattern, table_name="find%").fetchall()
        assert [(row.TABLE_NAME, row.TABLE_TYPE) for row in tables] == [("findings", "TABLE")]
        assert cursor.tables(schema_name=pattern, table_types=["VIEW"]).fetchall() == []
        columns = cursor.columns(
            schema_name=pattern, table_name="findings", column_name="%o%"
        ).fetchall()
        assert [(row.COLUMN_NAME, row.TYPE_NAME) for row in columns] == [
            ("audit_on", "DATE"),
            ("score", "INT"),
        ]


def test_a_session_starts_where_it_is_told(duckdb_warehouse: LocalWarehouse, findings: str) -> None:
    schema = SCHEMA.partition(".")[2]
    arguments = duckdb_warehouse.settings().connect_arguments
    with sql.connect(**arguments(catalog="main", schema=schema)) as connected:
        place = "SELECT current_catalog(), current_schema(), count(*) FROM findings"
        assert _rows(connected, place) == [("main", schema, 3)]
    with pytest.raises(exc.DatabaseError, match="SCHEMA_NOT_FOUND"):
        sql.connect(**arguments(catalog="main", schema="nowhere"))


# ── functions ───────────────────────────────────────────────────────────────────────────────────

SUNDAY = "DATE'2025-02-02'"
INSTANT = "TIMESTAMP'2025-02-02T03:04:05.5Z'"
FUNCTIONS = [
    (f"dayofweek({SUNDAY})", 1),
    (f"weekday({SUNDAY})", 6),
    (f"extract(DAYOFWEEK FROM {SUNDAY})", 1),
    (f"extract(DAYOFWEEK_ISO FROM {SUNDAY})", 7),
    (f"CAST({INSTANT} AS STRING)", "2025-02-02 03:04:05.5"),
    ("CAST(CAST(1.50 AS DECIMAL(18,2)) AS STRING)", "1.50"),
    (f"unix_timestamp({INSTANT})", 1738465445),
    ("unix_timestamp('1970-01-01 00:01:00')", 60),
    ("to_timestamp('1970-01-01 00:01:00') = timestamp_seconds(60)", True),
    ("bround(2.5)", 2),
    ("7 / 2", 3.5),
    ("1 / nullif(0, 0)", None),
    ("try_divide(1, 0)", None),
    ("current_catalog()", "main"),
]


@pytest.mark.parametrize(("expression", "value"), FUNCTIONS)
def test_a_function_means_what_it_means_on_databricks(
    connection: Any, expression: str, value: Any
) -> None:
    """The values are those of Databricks' reference; Spark is asked the same ones."""
    assert _rows(connection, f"SELECT {expression} AS x") == [(value,)]


def test_a_percentile_lies_between_two_values(connection: Any) -> None:
    assert _rows(connection, "SELECT percentile(id, 0.5) FROM range(4)") == [(1.5,)]


# ── errors ──────────────────────────────────────────────────────────────────────────────────────

ERRORS = [
    ("SELEC 1", "PARSE_SYNTAX_ERROR", "42601"),
    ("SELECT 1; SELECT 2", "PARSE_SYNTAX_ERROR", "42601"),
    ("SELECT * FROM main.default.nowhere", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    ("SELECT * FROM main.nowhere.t", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    ("SELECT nobody FROM range(1)", "UNRESOLVED_COLUMN", "42703"),
    ("SELECT nobody(1)", "UNRESOLVED_ROUTINE", "42883"),
    ("SELECT CAST('x' AS INT)", "CAST_INVALID_INPUT", "22018"),
    ("SELECT 1 / 0", "DIVIDE_BY_ZERO", "22012"),
    ("SELECT :unbound", "UNBOUND_SQL_PARAMETER", "42P02"),
    ("CREATE TABLE main.nowhere.t (x INT)", "SCHEMA_NOT_FOUND", "42704"),
]


@pytest.mark.parametrize(("statement", "error_class", "sqlstate"), ERRORS)
def test_an_error_keeps_its_class_and_its_sqlstate(
    connection: Any, statement: str, error_class: str, sqlstate: str
) -> None:
    said = _refused(connection, statement)
    assert said.startswith(f"[{error_class}")
    assert f"SQLSTATE: {sqlstate}" in said
