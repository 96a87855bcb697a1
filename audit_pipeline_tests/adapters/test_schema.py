"""The schema as text and as tables: the specification's names, on each database."""

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest
import sqlglot
from sqlalchemy import create_engine, inspect

from audit_pipeline.adapters.store.ddl import create_all_tables, schema_ddl, statements
from audit_pipeline.adapters.store.schema import FLAGS, METADATA, REVIEW_COLUMNS

if TYPE_CHECKING:
    from audit_pipeline_tests.postgres import PostgresServer

pytest_plugins = ("audit_pipeline_tests.postgres",)

SPECIFIED_COLUMNS = {
    "flags": (
        "flag_id transaction_id audit_run_id severity_level confidence_score explanation "
        "supporting_evidence_links reviewed human_decision reviewer_id review_timestamp "
        "reviewer_notes created_at updated_at"
    ),
    "audit_trail": (
        "audit_run_id log_sequence_number agent_name tool_called timestamp execution_time_ms "
        "input_data output_summary llm_model llm_tokens_used llm_cost_dollars error_message "
        "error_stack_trace decision_chain"
    ),
    "workflow_state": (
        "audit_run_id workflow_status current_agent completed_agents pending_agents "
        "intermediate_results created_at updated_at"
    ),
}

SPECIFIED_INDEXES = {
    "flags": {
        "idx_flags_txn_id": "(transaction_id)",
        "idx_flags_audit_run": "(audit_run_id)",
        "idx_flags_reviewed": "(reviewed, created_at DESC)",
        "idx_flags_severity": "(severity_level, created_at DESC)",
    },
    "audit_trail": {
        "idx_audit_trail_agent": "(agent_name, timestamp DESC)",
        "idx_audit_trail_timestamp": "(timestamp DESC)",
    },
    "workflow_state": {"idx_workflow_status": "(workflow_status, created_at DESC)"},
}

SPECIFIED_CHECKS = (
    "CHECK (severity_level IN ('CRITICAL', 'WARNING', 'INFO'))",
    "CHECK (confidence_score BETWEEN 0 AND 1)",
    "CHECK (workflow_status IN ('pending', 'in_progress', 'completed', 'failed', 'paused'))",
)


@pytest.mark.parametrize("table", SPECIFIED_COLUMNS)
def test_the_specified_columns_come_first_in_their_order(table: str) -> None:
    """Ours are appended, so a positional reader of the specification's columns keeps working."""
    names = SPECIFIED_COLUMNS[table].split()
    found = [column.name for column in METADATA.tables[table].columns]
    if table == "flags":
        assert set(REVIEW_COLUMNS) - {"approver_id"} <= set(names)
    assert found[: len(names)] == names


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_ddl_has_the_specified_indexes_and_checks(dialect: str) -> None:
    """Under the specification's names, with its directions."""
    script = schema_ddl(dialect)  # pyright: ignore[reportArgumentType]
    for table, indexes in SPECIFIED_INDEXES.items():
        for name, columns in indexes.items():
            assert f"CREATE INDEX IF NOT EXISTS {name} ON {table} {columns};" in script
    for check in SPECIFIED_CHECKS:
        assert check in script
    created = script.count("CREATE TABLE ")
    assert created == len(METADATA.tables) == script.count("CREATE TABLE IF NOT EXISTS ")


def test_postgres_types_are_the_specified_ones() -> None:
    """Text without a bound is TEXT, money is NUMERIC, an instant knows its zone."""
    script = schema_ddl("postgresql")
    assert "explanation TEXT NOT NULL" in script
    assert "llm_cost_dollars NUMERIC(10, 4)" in script
    assert "review_timestamp TIMESTAMP WITH TIME ZONE" in script
    assert "log_sequence_number BIGINT NOT NULL" in script
    assert "reviewed BOOLEAN DEFAULT FALSE" in script
    assert "CONSTRAINT pk_audit_trail PRIMARY KEY (audit_run_id, log_sequence_number)" in script


def test_ddl_runs_twice_on_sqlite() -> None:
    """From top to bottom, and again on what is there."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema_ddl("sqlite"))
        connection.executescript(schema_ddl("sqlite"))
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert {name for (name,) in found} == set(METADATA.tables)


def test_databricks_ddl_parses() -> None:
    """Every statement is one that sqlglot's Databricks grammar knows, none a bare command."""
    parsed = sqlglot.parse(schema_ddl("databricks"), dialect="databricks")
    kinds = [type(statement).__name__ for statement in parsed if statement is not None]
    assert kinds.count("Create") == len(METADATA.tables)
    assert set(kinds) <= {"Create", "Alter"}
    assert len(kinds) == len(statements("databricks"))


def test_databricks_ddl_says_what_delta_cannot() -> None:
    """No index, keys informational, checks added by name, comments escaped."""
    script = schema_ddl("databricks")
    assert "INDEX IF NOT EXISTS" not in script
    assert script.startswith("-- Delta tables have no indexes")
    assert "CONSTRAINT pk_flags PRIMARY KEY (flag_id)" in script
    assert "ADD CONSTRAINT ck_flags_severity_level CHECK (severity_level IN" in script
    assert "COMMENT 'JSON array: the steps to a flag\\'s severity'" in script
    assert script.count("USING DELTA") == len(METADATA.tables)
    types = set(re.findall(r"^  [a-z_0-9]+ ([A-Z]+)", script, flags=re.MULTILINE))
    assert types == {"STRING", "BIGINT", "DECIMAL", "TIMESTAMP", "BOOLEAN", "DATE", "DOUBLE"}
    checks = sum(
        type(constraint).__name__ == "CheckConstraint"
        for table in METADATA.tables.values()
        for constraint in table.constraints
    )
    assert script.count("ADD CONSTRAINT") == checks > 0


def test_every_table_and_column_says_what_it_is() -> None:
    """The comments of the Databricks DDL have no holes."""
    for table in METADATA.tables.values():
        assert table.info["meaning"]
        assert not [column.name for column in table.columns if not column.doc]


def test_unknown_dialect_is_named() -> None:
    """The message lists what there is."""
    with pytest.raises(ValueError, match="sqlite, postgresql and databricks"):
        schema_ddl("oracle")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("through", ["connection", "cursor", "sqlalchemy"])
def test_create_all_tables_on_sqlite(through: str) -> None:
    """The specification's name takes a cursor, a driver's connection or SQLAlchemy's."""
    engine = create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            given = {"connection": driver, "cursor": driver.cursor(), "sqlalchemy": connection}
            create_all_tables(given[through])
            create_all_tables(given[through])
            assert set(inspect(connection).get_table_names()) == set(METADATA.tables)
    finally:
        engine.dispose()


@pytest.mark.postgres
def test_create_all_tables_on_postgres(
    postgres_server: "PostgresServer", postgres_url: str
) -> None:
    """On a real server, twice."""
    database = postgres_url.rpartition("/")[2]
    with closing(postgres_server.connect(database)) as connection:
        create_all_tables(connection)
        with connection.cursor() as cursor:
            create_all_tables(cursor)
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            assert {name for (name,) in cursor.fetchall()} == set(METADATA.tables)


def test_create_all_tables_speaks_the_dialect_of_the_driver() -> None:
    """A Databricks cursor gets Delta tables; an unknown driver the standard spelling."""
    executed: list[str] = []

    class Cursor:
        """One of databricks-sql, by the name of its module."""

        __module__ = "databricks.sql.client"

        def execute(self, sql: str) -> None:
            executed.append(sql)

    create_all_tables(Cursor())
    assert executed == statements("databricks")
    unknown = MagicMock()
    create_all_tables(unknown)
    assert unknown.execute.call_count == len(statements("postgresql"))


def test_sqlite_enforces_the_checks() -> None:
    """A severity that is none is refused by the database itself."""
    with closing(sqlite3.connect(":memory:")) as connection:
        create_all_tables(connection)
        names = "flag_id, transaction_id, audit_run_id, severity_level, explanation, population, "
        row = "'f', 't', 'r', '{}', 'e', 'p', '2025-01-01', 1, '[]', 'r'"
        insert = f"INSERT INTO {FLAGS.name} ({names}audit_on, severity_score, points, first_run_id)"
        connection.execute(f"{insert} VALUES ({row.format('INFO')})")
        with pytest.raises(sqlite3.IntegrityError, match="ck_flags_severity_level"):
            connection.execute(f"{insert} VALUES ({row.format('MAYBE')})")
