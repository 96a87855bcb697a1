"""Gold as it is found in a catalog: other types, missing tables, bad values, earlier versions."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.model.errors import GoldUnreadable
from audit_pipeline.model.query import Query
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.tiny_gold import MONDAY, TUESDAY, asked, ledger, tiny

KEPT = Query(
    "SELECT txn_id, amount, vendor, date, audit_on FROM gold.recent_transactions ORDER BY txn_id"
)
REFUSED = Query(
    "SELECT row_id, audit_on, field, reason FROM gold.quarantine"
    " WHERE table_name = 'recent_transactions' ORDER BY row_id"
)


@pytest.fixture
def opened(
    duckdb_warehouse: LocalWarehouse, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """Opens the adapter over some gold tables, in schemas of the test's own."""
    made: list[DatabricksWarehouse] = []
    name = f"gold{abs(hash(request.node.name)) % 10**9}"

    def over(tables: dict[str, pa.Table], **more: Any) -> DatabricksWarehouse:
        workspace = replace(tiny(duckdb_warehouse, tmp_path, name, tables), **more)
        made.append(DatabricksWarehouse(workspace))
        return made[-1]

    yield over
    for warehouse in made:
        warehouse.close()


def _with(column: str, values: pa.Array, ids: list[str]) -> pa.Table:
    rows = ledger(ids)
    return rows.set_column(rows.schema.get_field_index(column), column, values)


# ── types ───────────────────────────────────────────────────────────────────────────────────────


def test_an_amount_in_floating_point_becomes_money(opened: Any):
    """And what is no amount is put aside, not lost."""
    amounts = pa.array([12.5, 1e20, float("nan"), None], pa.float64())
    gold = opened({"recent_transactions": _with("amount", amounts, ["a", "b", "c", "d"])})
    assert [(r["txn_id"], r["amount"]) for r in gold.rows(KEPT)] == [
        ("a", Decimal("12.50")),
        ("d", None),
    ]
    refused = [(r["row_id"], r["field"], r["reason"]) for r in gold.rows(REFUSED)]
    reason = "not a number with 16 digits before the point"
    assert refused == [("b", "amount", reason), ("c", "amount", reason)]
    (state,) = [f for f in gold.state.files if f.table == "recent_transactions"]
    assert (state.rows_in, state.rows_kept, state.rows_quarantined) == (4, 2, 2)


def test_a_date_in_words_becomes_an_instant(opened: Any):
    days = pa.array(["2025-03-31", "2025-03-31 23:59:59", "yesterday", None], pa.string())
    gold = opened({"recent_transactions": _with("date", days, ["a", "b", "c", "d"])})
    found = {row["txn_id"]: row for row in gold.rows(KEPT)}
    assert set(found) == {"a", "b", "d"}
    assert {found[i]["audit_on"] for i in ("a", "b")} == {MONDAY}
    assert found["d"]["audit_on"] == dt.date(2025, 4, 10)
    (refused,) = gold.rows(REFUSED)
    assert (refused["row_id"], refused["field"], refused["reason"]) == ("c", "date", "not a date")


def test_an_instant_with_a_zone_is_read_in_utc(opened: Any):
    at = pa.array([dt.datetime(2025, 3, 31, 23, 30, tzinfo=dt.UTC)], pa.timestamp("us", "UTC"))
    gold = opened({"recent_transactions": _with("date", at, ["a"])})
    (row,) = gold.rows(KEPT)
    assert row["date"].replace(tzinfo=None) == dt.datetime.fromisoformat("2025-03-31T23:30:00")
    assert row["audit_on"] == MONDAY


def test_columns_that_are_unknown_or_missing(opened: Any):
    rows = ledger(["a"]).drop_columns(["vendor"]).append_column("colour", pa.array(["red"]))
    gold = opened({"recent_transactions": rows})
    assert gold.state.missing_columns == {"recent_transactions": ("vendor",)}
    (file,) = [f for f in gold.state.files if f.table == "recent_transactions"]
    assert file.notes == ("unknown columns, not read: colour",)
    assert gold.rows(KEPT)[0]["vendor"] is None
    assert gold.value(Query("SELECT domain FROM gold.recent_transactions")) is None
    assert "row_number" not in str(file.notes)


def test_a_table_that_is_absent_is_empty(opened: Any):
    gold = opened({})
    assert gold.value(Query("SELECT count(*) FROM gold.bank_accounts")) == 0
    (file,) = [f for f in gold.state.files if f.table == "bank_accounts"]
    assert (file.file, file.rows_in) == ("", 0)


def test_a_needed_table_that_is_absent(opened: Any):
    with pytest.raises(GoldUnreadable, match="grant SELECT") as fault:
        opened({}, gold="nowhere")
    assert "\n" not in str(fault.value)


# ── values ──────────────────────────────────────────────────────────────────────────────────────

BAD: dict[str, dict[str, Any]] = {
    "spaces": {"vendor": "   "},
    "long": {"vendor": "x" * 100_001},
    "early": {"date": "1850-01-01T00:00:00"},
    "late": {"date": "2300-01-01T00:00:00"},
}


def test_bad_values_are_refused_in_the_words_of_fixtures(opened: Any, tmp_path: Path):
    """The same rows, the same fields, the same reasons, the same audit dates."""
    usual = {"source": "credit_card", "amount": 1, "vendor": "x", "date": "2025-03-31T09:00:00"}
    rows = [usual | bad | {"txn_id": name} for name, bad in BAD.items()]
    rows.append(usual | {"txn_id": "good"})
    folder = tmp_path / "books"
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "recent_transactions.jsonl").write_text(lines)
    about = {"name": "books", "as_of": "2025-04-10"}
    (folder / "about.json").write_text(json.dumps(about))
    local = DuckDBWarehouse(read_fixtures(folder, tmp_path / "data"), tmp_path / "derived")
    typed = pa.table(
        {
            "txn_id": [row["txn_id"] for row in rows],
            "source": [row["source"] for row in rows],
            "amount": pa.array([Decimal(row["amount"]) for row in rows], pa.decimal128(18, 2)),
            "vendor": [row["vendor"] for row in rows],
            "date": pa.array(
                [dt.datetime.fromisoformat(row["date"]) for row in rows], pa.timestamp("us")
            ),
        }
    )
    gold = opened({"recent_transactions": typed})
    said = [(r["row_id"], r["field"], r["reason"]) for r in gold.rows(REFUSED)]
    expected = [(r["row_id"], r["field"], r["reason"]) for r in local.rows(REFUSED)]
    local.close()
    assert {row_id for row_id, *_ in expected} == set(BAD)
    assert said == expected
    assert [row["txn_id"] for row in gold.rows(KEPT)] == ["good"]


def test_what_an_ingestion_put_aside_is_counted(opened: Any):
    aside = pa.table(
        {
            "table_name": ["recent_transactions"], "file": ["ledger.csv"],
            "row_number": pa.array([7], pa.int64()), "row_id": ["x"], "audit_on": [MONDAY],
            "amount": pa.array([Decimal("1.00")], pa.decimal128(18, 2)),
            "field": ["date"], "reason": ["not a date"], "raw": ["soon"],
        }
    )  # fmt: skip
    gold = opened({"quarantine": aside})
    assert [row["row_id"] for row in gold.rows(REFUSED)] == ["x"]
    (file,) = [f for f in gold.state.files if f.table == "recent_transactions"]
    assert (file.rows_kept, file.rows_quarantined) == (2, 1)


# ── order, days, versions ───────────────────────────────────────────────────────────────────────


def test_an_order_that_the_table_does_not_say_is_made(opened: Any):
    """Unique, by day, and the same whenever it is made."""
    order = Query("SELECT txn_id, row_number FROM gold.recent_transactions ORDER BY row_number")
    rows = pa.concat_tables([ledger(["z"], MONDAY), ledger(["b", "a"], TUESDAY)])
    gold = opened({"recent_transactions": rows})
    made = gold.rows(order)
    assert [row["txn_id"] for row in made] == ["z", "a", "b"]
    assert len({row["row_number"] for row in made}) == len(made)
    again = opened({"recent_transactions": rows.take([2, 1, 0])})
    assert again.rows(order) == made


def test_an_order_that_the_table_says_is_taken(opened: Any):
    rows = ledger(["a", "b"]).append_column("row_number", pa.array([2, 1], pa.int64()))
    gold = opened({"recent_transactions": rows})
    order = Query("SELECT txn_id FROM gold.recent_transactions ORDER BY row_number")
    assert [row["txn_id"] for row in gold.rows(order)] == ["b", "a"]


def test_the_horizon_is_the_last_day_up_to_today_with_a_row(opened: Any):
    """A row of the future does not move it; it belongs to the last day that is known."""
    far = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=400)
    rows = pa.concat_tables([ledger(["a"], MONDAY), ledger(["b"], TUESDAY), ledger(["f"], far)])
    gold = opened({"recent_transactions": rows}, as_of=None)
    assert gold.state.horizon == TUESDAY
    found = {row["txn_id"]: row["audit_on"] for row in gold.rows(KEPT)}
    assert found == {"a": MONDAY, "b": TUESDAY, "f": TUESDAY}
    assert gold.days() == (MONDAY, TUESDAY)


def test_an_earlier_version_is_read_again(opened: Any):
    """What gold was when it was looked at, also while it changes under an open audit."""
    gold = opened({})
    before, workspace = gold.rows(KEPT), gold._workspace
    session = Session(workspace)
    place = workspace.gold_table("recent_transactions")
    session.run(f"DELETE FROM {place} WHERE txn_id = 'a'")
    session.close()
    assert gold.rows(KEPT) == before
    now = DatabricksWarehouse(workspace)
    assert [row["txn_id"] for row in now.rows(KEPT)] == ["b"]
    assert now.state.id != gold.state.id
    now.close()
    then = DatabricksWarehouse(workspace, versions=gold.state.versions)
    assert then.rows(KEPT) == before
    assert then.state.id == gold.state.id
    then.close()


def test_a_view_has_no_version(opened: Any):
    """It is read as it is at each look, and its state is another each time."""
    gold = opened({})
    workspace = gold._workspace
    session = Session(workspace)
    place, base = workspace.gold_table("bank_accounts"), workspace.gold_table("recent_transactions")
    session.run(
        f"CREATE OR REPLACE VIEW {place} AS SELECT txn_id AS transaction_id, amount, date"
        f" FROM {base}"
    )
    session.close()
    first, second = DatabricksWarehouse(workspace), DatabricksWarehouse(workspace)
    assert "bank_accounts" not in first.state.versions
    assert "recent_transactions" in first.state.versions
    assert first.state.id != second.state.id
    first.close()
    second.close()
    assert asked(workspace, f"SELECT count(*) AS n FROM {place}") == [{"n": 2}]
