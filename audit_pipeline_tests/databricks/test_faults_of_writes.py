"""Writes whose replies are lost, and sessions that end in the middle: one copy, nothing left."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
from audit_pipeline.model.errors import WarehouseUnauthorised, WarehouseUnavailable
from audit_pipeline.model.query import Query
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.publishing import FLAG_ROWS
from audit_pipeline_tests.databricks.messages import told
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.tiny_gold import (
    MONDAY,
    TUESDAY,
    asked,
    left_in_scratch,
    tiny,
)

pytestmark = [
    pytest.mark.usefixtures("broken_sockets", "connector_waits"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def warehouse(duckdb_warehouse: LocalWarehouse) -> Iterator[LocalWarehouse]:
    duckdb_warehouse.clear()
    yield duckdb_warehouse
    duckdb_warehouse.clear()


@pytest.fixture(scope="module")
def books(duckdb_warehouse: LocalWarehouse, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Schemas of this module."""
    return tiny(duckdb_warehouse, tmp_path_factory.mktemp("faults"), "faults")


FLAG = {
    "flag_id": "f1", "transaction_id": "a", "audit_run_id": "r", "severity_level": "INFO",
    "confidence_score": 0.5, "explanation": "x", "supporting_evidence_links": "[]",
    "reviewed": False, "human_decision": None, "reviewer_id": None, "review_timestamp": None,
    "reviewer_notes": None, "created_at": None, "updated_at": None, "population": "p",
    "audit_on": MONDAY, "severity_score": 1, "state": "open", "points": "{}",
    "first_run_id": "r", "vanished": False,
}  # fmt: skip


def _flag_rows(*ids: str) -> pa.Table:
    at = pa.scalar(0, pa.timestamp("us", "UTC")).as_py()
    rows = [FLAG | {"flag_id": one, "created_at": at, "updated_at": at} for one in ids]
    return pa.Table.from_pylist(rows, FLAG_ROWS)


QUARANTINED = Query(
    "SELECT audit_on, txn_id AS transaction_id, row_number, amount, vendor,"
    " CAST(NULL AS VARCHAR) AS dated, 'DQ-02' AS rule_id, 'x' AS reason"
    " FROM gold.recent_transactions"
)


def _create(opened: DatabricksWarehouse) -> object:
    opened.create("copied", Query("SELECT txn_id FROM gold.recent_transactions"))
    return opened.value(Query("SELECT count(*) FROM audit.copied"))


def _uploaded(opened: DatabricksWarehouse) -> object:
    opened.create("uploaded", pa.table({"x": pa.array([1, 2], pa.int64())}))
    return opened.value(Query("SELECT count(*) FROM audit.uploaded"))


def _replace(opened: DatabricksWarehouse) -> object:
    return opened.replace("quarantine", MONDAY, MONDAY, QUARANTINED)


def _merge(opened: DatabricksWarehouse) -> object:
    return opened.merge("flags", "flag_id", _flag_rows("f1", "f2"), "vanished")


WRITES = {
    "CREATE OR REPLACE TABLE … AS": (_create, "_copied` AS SELECT"),
    "rows of Python": (_uploaded, "_uploaded` AS SELECT"),
    "INSERT … REPLACE WHERE": (_replace, "REPLACE WHERE"),
    "MERGE": (_merge, "MERGE INTO"),
}
LOST = [
    # sent, carried out: the connector sends it again without a word
    ("reset_after", 2, 2),
    pytest.param("reset_before", 2, 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(("kind", "sent", "carried_out"), LOST)
def test_a_write_whose_reply_is_lost_leaves_one_copy(
    warehouse: LocalWarehouse, books: Workspace, write: str, kind: str, sent: int, carried_out: int
) -> None:
    work, saying = WRITES[write]
    opened = DatabricksWarehouse(books)
    warehouse.clear()
    warehouse.fault("ExecuteStatement", kind, saying=saying)
    assert work(opened) == 2
    statements = [sql for sql in warehouse.statements() if saying in sql]
    assert len(statements) == carried_out
    assert len(set(statements)) == 1
    others = len(warehouse.statements()) - carried_out
    assert warehouse.requests().count("ExecuteStatement") == sent + others
    opened.close()
    assert left_in_scratch(books) == []


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("kind", "how"),
    [("truncate", {}), pytest.param("status", {"status": 500}, marks=pytest.mark.slow)],
)
def test_a_write_that_fails_is_done_again_by_a_later_attempt(
    warehouse: LocalWarehouse, books: Workspace, write: str, kind: str, how: dict[str, Any]
) -> None:
    """Half a reply: it was carried out, and nobody knows. 500: it was not."""
    work, saying = WRITES[write]
    opened = DatabricksWarehouse(books)
    warehouse.fault("ExecuteStatement", kind, saying=saying, **how)
    with pytest.raises(WarehouseUnavailable):
        work(opened)
    opened.close()
    opened = DatabricksWarehouse(books)
    assert work(opened) == 2
    opened.close()
    assert left_in_scratch(books) == []
    flags = asked(books, f"SELECT flag_id FROM {books.stored_table('flags')}")
    assert len({row["flag_id"] for row in flags}) == len(flags)


def test_a_plain_insert_would_have_left_two(warehouse: LocalWarehouse, books: Workspace) -> None:
    """So the tests above can fail."""
    place = f"{books.scratch_schema()}.plain"
    session = Session(books)
    session.run(f"CREATE OR REPLACE TABLE {place} (x BIGINT)")
    warehouse.fault("ExecuteStatement", "reset_after", saying="INSERT INTO")
    session.run(f"INSERT INTO {place} VALUES (1)")
    assert session.run(f"SELECT * FROM {place}").num_rows == 2
    session.run(f"DROP TABLE {place}")
    session.close()


def test_a_session_that_is_lost(warehouse: LocalWarehouse, books: Workspace) -> None:
    """Later helps; closing it raises nothing, and the next one leaves nothing behind."""
    opened = DatabricksWarehouse(books)
    opened.create("copied", Query("SELECT txn_id FROM gold.recent_transactions"))
    assert left_in_scratch(books)
    warehouse.drop_sessions()
    with pytest.raises(WarehouseUnavailable) as fault:
        opened.rows(Query("SELECT txn_id FROM audit.copied"))
    told(fault, books, "Invalid SessionHandle")
    opened.close()
    assert left_in_scratch(books) == []


def test_a_session_that_is_lost_between_two_batches(
    warehouse: LocalWarehouse, books: Workspace
) -> None:
    """Some rows have arrived; that they are not all is not kept quiet."""
    opened = DatabricksWarehouse(books)
    opened.create("long", Query("SELECT unnest(generate_series(1, 200000)) AS x"))
    before = warehouse.limits(link_rows_min=10**9)
    try:
        batches = opened.batches(Query("SELECT x FROM audit.long"))
        assert next(batches).num_rows > 0
        warehouse.drop_sessions()
        with pytest.raises(WarehouseUnavailable):
            sum(batch.num_rows for batch in batches)
    finally:
        warehouse.limits(**before)
        opened.close()


def test_opening_that_fails_half_way_leaves_nothing(
    warehouse: LocalWarehouse, books: Workspace
) -> None:
    warehouse.fault("ExecuteStatement", "refused", saying="COUNT(*)", message="[X] SQLSTATE: 42501")
    with pytest.raises(WarehouseUnauthorised):
        DatabricksWarehouse(books)
    warehouse.clear()
    assert left_in_scratch(books) == []


def test_days_that_were_not_asked_for_are_untouched(
    warehouse: LocalWarehouse, books: Workspace
) -> None:
    """Also by a replacement that arrives twice."""
    opened = DatabricksWarehouse(books)
    rows = opened.query(QUARANTINED)
    other = rows.set_column(0, "audit_on", pa.array([TUESDAY] * rows.num_rows, pa.date32()))
    opened.replace("quarantine", TUESDAY, TUESDAY, other)
    warehouse.fault("ExecuteStatement", "reset_after", saying="REPLACE WHERE")
    assert opened.replace("quarantine", MONDAY, MONDAY, rows) == 2
    untouched = opened.stored("quarantine", TUESDAY, TUESDAY)
    assert untouched is not None
    assert untouched.num_rows == 2
    opened.close()
