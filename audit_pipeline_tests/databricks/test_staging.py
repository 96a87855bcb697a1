"""The whole daily audit against a SQL warehouse: what it finds, stores, leaves behind."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.model.stored import STORED
from audit_pipeline.reperformance import reperform
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import staged, workspace_of
from audit_pipeline_tests.databricks.warehouses import missing_for
from audit_pipeline_tests.environment import Workplace, why_not
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO


@pytest.fixture(scope="module")
def warehouse() -> Iterator[LocalWarehouse]:
    """One of its own: gold is the small company's."""
    missing = missing_for("duckdb")
    if missing is not None:
        pytest.skip(missing)
    with LocalWarehouse("duckdb") as started:
        yield started


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, small_books: Path, warehouse: LocalWarehouse
) -> Iterator[Workplace]:
    """The small company, audited in the warehouse; not to be written to."""
    home = tmp_path_factory.mktemp("staged")
    with staged(home, small_books, warehouse) as place, place.instance() as instance:
        result = place.audit(instance, AUDIT_FROM, AUDIT_TO)
        assert result.success, why_not(result)
        yield place


def asked(warehouse: LocalWarehouse, sql: str) -> list[dict[str, Any]]:
    """The rows of a query, through the connector."""
    session = Session(workspace_of(warehouse))
    try:
        return session.run(sql).to_pylist()
    finally:
        session.close()


def test_the_flags_are_those_of_the_fixtures(place: Workplace, audited: Workplace):
    """Byte for byte: every column but who wrote the row and when."""
    assert place.flags() == audited.flags()
    assert place.findings() == audited.findings()
    without = ("audit_run_id",)
    assert place.rows("audit_partitions", without) == audited.rows("audit_partitions", without)


def test_the_flags_are_published(place: Workplace, warehouse: LocalWarehouse):
    """What stands in the store stands in the catalog."""
    published = asked(warehouse, "SELECT * FROM main.audit.flags ORDER BY flag_id")
    standing = [row for row in place.rows("flags") if row["state"] != "superseded"]
    assert {row["flag_id"] for row in published} == {row["flag_id"] for row in standing}
    by_id = {row["flag_id"]: row for row in standing}
    for row in published:
        stored = by_id[row["flag_id"]]
        for name in ("transaction_id", "severity_level", "severity_score", "explanation", "state"):
            assert row[name] == stored[name]
        assert row["audit_on"].isoformat() == stored["audit_on"]


def test_every_asset_stores_its_rows(place: Workplace, warehouse: LocalWarehouse):
    """Of the audited days, and of no others."""
    assert place
    for table in STORED:
        (row,) = asked(
            warehouse,
            "SELECT count(*) AS n, min(audit_on) AS first_on, max(audit_on) AS last_on"
            f" FROM main.audit.{table.name}",
        )
        if row["n"]:
            assert AUDIT_FROM <= row["first_on"] <= row["last_on"] <= AUDIT_TO, table.name
    filled = {
        table.name
        for table in STORED
        if asked(warehouse, f"SELECT 1 AS one FROM main.audit.{table.name} LIMIT 1")
    }
    assert {"matches", "statements", "anomaly_scores", "audit_log", "quality_report"} <= filled


def test_nothing_is_left_in_the_scratch_schema(place: Workplace, warehouse: LocalWarehouse):
    """And no row ever went out of gold but as a result."""
    assert place
    assert asked(warehouse, "SHOW TABLES IN main.audit_scratch") == []


@pytest.mark.slow
def test_a_second_audit_changes_nothing(place: Workplace, warehouse: LocalWarehouse):
    """Of ten of the days, some of which have no finding."""
    counts = "SELECT count(*) AS n FROM main.audit.{}"
    # A run dates the escalated flags of earlier entries on its own first day.
    tables = [table.name for table in STORED if table.name != "escalated_flags"]
    before = {name: asked(warehouse, counts.format(name)) for name in tables}
    flags = asked(warehouse, "SELECT * FROM main.audit.flags ORDER BY flag_id")
    ten_days = AUDIT_FROM + dt.timedelta(days=9)
    with place.instance() as instance:
        result = place.audit(instance, AUDIT_FROM, ten_days)
    assert result.success, why_not(result)
    assert {name: asked(warehouse, counts.format(name)) for name in tables} == before
    volatile = ("audit_run_id", "updated_at")
    again = asked(warehouse, "SELECT * FROM main.audit.flags ORDER BY flag_id")
    assert [{k: v for k, v in row.items() if k not in volatile} for row in again] == [
        {k: v for k, v in row.items() if k not in volatile} for row in flags
    ]


def test_secrets_are_named_and_not_shown(place: Workplace):
    """Dagster's UI shows a resource's configuration."""
    resources = place.definitions.resources
    assert resources is not None
    shown = str(resources["gold"])
    assert place.environment["DATABRICKS_TOKEN"] not in shown
    assert "DATABRICKS_TOKEN" in shown


def test_an_audit_is_re_performed_after_gold_has_changed(
    place: Workplace, warehouse: LocalWarehouse
):
    """It reads the versions that it read; the last test here, for it changes gold."""
    with place.store() as store:
        found = {row["transaction_id"]: row for row in place.findings() if row["rule_id"] < "CX"}
        flag = store.flag(
            next(row["flag_id"] for row in place.flags() if row["transaction_id"] in found)
        )
        asked(warehouse, "DELETE FROM main.gold.recent_transactions WHERE amount > 0")
        (left,) = asked(warehouse, "SELECT count(*) AS n FROM main.gold.recent_transactions")
        assert left["n"] < place.rows("audit_partitions")[0]["transactions"]
        compared = reperform(flag, store, place.settings)
    measured = [one for one in compared if one.same is not None]
    assert measured
    assert [one.differences for one in measured if not one.same] == []
