"""The production warehouse: what goes in comes out, and nothing else moves."""

import datetime as dt
import math
import string
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest

from audit_pipeline.adapters.databricks import upload
from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.warehouse import KEPT_DAYS, DatabricksWarehouse
from audit_pipeline.model.errors import WarehouseRejected
from audit_pipeline.model.query import Query
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.publishing import FLAG_ROWS
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.tiny_gold import (
    MONDAY,
    TUESDAY,
    asked,
    left_in_scratch,
    tiny,
)


@pytest.fixture(scope="module")
def books(duckdb_warehouse: LocalWarehouse, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Schemas of this module."""
    return tiny(duckdb_warehouse, tmp_path_factory.mktemp("unit"), "unit")


@pytest.fixture(scope="module")
def opened(books: Workspace) -> Iterator[DatabricksWarehouse]:
    """One session for all that does not look at the session itself."""
    warehouse = DatabricksWarehouse(books)
    yield warehouse
    warehouse.close()


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


def test_rows_and_values(opened: DatabricksWarehouse):
    ids = Query("SELECT txn_id FROM gold.recent_transactions WHERE txn_id > $id ORDER BY 1")
    asked = Query(ids.sql, {"id": "a"})
    assert opened.rows(asked) == [{"txn_id": "b"}]
    assert opened.value(asked) == "b"
    assert opened.value(Query(ids.sql, {"id": "z"})) is None
    assert opened.query(Query(ids.sql, {"id": "z"})).schema.names == ["txn_id"]
    assert opened.days() == (MONDAY, MONDAY)


def test_a_long_result_comes_in_pieces(opened: DatabricksWarehouse):
    """Never all of it at once, and all of it in the end."""
    opened.create("long", Query("SELECT unnest(generate_series(1, 300000)) AS x"))
    sizes, total = [], 0
    for batch in opened.batches(Query("SELECT x FROM audit.long")):
        sizes.append(batch.num_rows)
        total += sum(batch.column(0).to_pylist())
    assert sum(sizes) == 300_000
    assert len(sizes) >= 6
    assert max(sizes) <= 50_000
    assert total == 300_000 * 300_001 // 2


def test_no_row_is_no_piece(opened: DatabricksWarehouse):
    none = Query("SELECT txn_id FROM gold.recent_transactions WHERE false")
    assert list(opened.batches(none)) == []


def test_batches_that_are_not_read_to_the_end(opened: DatabricksWarehouse):
    """The session goes on."""
    opened.create("long", Query("SELECT unnest(generate_series(1, 100000)) AS x"))
    next(opened.batches(Query("SELECT x FROM audit.long")))
    assert opened.value(Query("SELECT count(*) FROM audit.long")) == 100_000


# ── rows of Python ──────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    "", " ", "'", "''", '"', "`", "\\", "\\'", "\\\\", "\n", "\r\n", "\t", "$x", ":rows",
    "{{x}}", "%s",
    "'; DROP TABLE x; --", "null", "NULL", "NaN", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "\u202egnp.exe", "\ufeffbom",
    "👩‍👩‍👧‍👦", "İstanbul", "ß", "\u0301", "\u2028", "</script>", "=1+1", "\x7f", "\x01",
    string.printable,
]  # fmt: skip

STRUCT = pa.struct([("name", pa.string()), ("n", pa.int64())])
EVERY_TYPE = pa.table(
    {
        "text": pa.array(["x", None, ""], pa.string()),
        "large": pa.array(["x", None, "y"], pa.large_string()),
        "int64": pa.array([2**63 - 1, None, -(2**63)], pa.int64()),
        "int32": pa.array([2**31 - 1, None, -(2**31)], pa.int32()),
        "int16": pa.array([1, None, -1], pa.int16()),
        "int8": pa.array([1, None, -1], pa.int8()),
        "float64": pa.array([0.1 + 0.2, None, 5e-324], pa.float64()),
        "float32": pa.array([0.5, None, -1.5], pa.float32()),
        "truth": pa.array([True, None, False], pa.bool_()),
        "day": pa.array([dt.date(1900, 1, 1), None, dt.date(2200, 12, 31)], pa.date32()),
        "local": pa.array([dt.datetime.fromisoformat("2025-03-30T02:30:00.123456"), None, None]),
        "instant": pa.array(
            [dt.datetime(2025, 3, 30, 2, 30, tzinfo=dt.UTC), None, None], pa.timestamp("us", "UTC")
        ),
        "money": pa.array(
            [Decimal("9999999999999999.99"), None, Decimal("-0.01")], pa.decimal128(18, 2)
        ),
        "wide": pa.array([Decimal("0.0001"), None, Decimal("1.0000")], pa.decimal128(18, 4)),
        "list": pa.array([["a", None, "'"], None, []], pa.list_(pa.string())),
        "struct": pa.array([{"name": "a", "n": 1}, None, {"name": None, "n": None}], STRUCT),
        "structs": pa.array([[{"name": "a", "n": 1}], None, []], pa.list_(STRUCT)),
    }
)


def _back(opened: DatabricksWarehouse, rows: pa.Table) -> pa.Table:
    opened.create("made", rows)
    return opened.query(Query("SELECT * FROM audit.made"))


def test_every_type_comes_back(opened: DatabricksWarehouse):
    back = _back(opened, EVERY_TYPE)
    assert back.schema.names == EVERY_TYPE.schema.names
    found = {row["int64"]: row for row in back.to_pylist()}
    assert found == {row["int64"]: row for row in EVERY_TYPE.to_pylist()}


def test_a_table_without_rows_keeps_its_types(opened: DatabricksWarehouse):
    """As a table with rows has them."""
    empty = _back(opened, EVERY_TYPE.slice(0, 0))
    assert empty.num_rows == 0
    assert empty.schema == _back(opened, EVERY_TYPE).schema


def test_numbers_that_are_none(opened: DatabricksWarehouse):
    values = [math.nan, math.inf, -math.inf, None, 1.5]
    back = _back(opened, pa.table({"x": pa.array(values, pa.float64())})).column("x").to_pylist()
    assert sorted(map(str, back)) == sorted(map(str, values))


def test_hostile_texts_come_back(opened: DatabricksWarehouse):
    """As values, as parameters and within a list; byte for byte."""
    rows = pa.table({"x": pa.array(HOSTILE, pa.string()), "y": pa.array([HOSTILE] * len(HOSTILE))})
    back = _back(opened, rows)
    assert sorted(back.column("x").to_pylist()) == sorted(HOSTILE)
    assert all(found == HOSTILE for found in back.column("y").to_pylist())
    for text in HOSTILE:
        found = opened.value(Query("SELECT count(*) FROM audit.made WHERE x = $x", {"x": text}))
        assert found == 1, text


def test_more_rows_than_one_statement_holds(
    opened: DatabricksWarehouse, monkeypatch: pytest.MonkeyPatch
):
    """Several statements; the rows of none are lost or there twice."""
    monkeypatch.setattr(upload, "BATCH_CHARS", 400)
    rows = pa.table({"x": pa.array(range(100), pa.int64())})
    assert len(list(upload.batches(rows))) >= 3
    assert sorted(_back(opened, rows).column("x").to_pylist()) == list(range(100))


def test_numbers_that_are_none_in_one_batch_only(
    opened: DatabricksWarehouse, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upload, "BATCH_CHARS", 30)
    rows = pa.table({"x": pa.array([1.0, 2.0, 3.0, math.nan], pa.float64())})
    assert sorted(map(str, _back(opened, rows).column("x").to_pylist())) == [
        "1.0", "2.0", "3.0", "nan",
    ]  # fmt: skip


def test_a_type_that_no_table_has():
    with pytest.raises(TypeError, match="no table has a column of type"):
        upload.databricks_type(pa.binary())


# ── stored partitions ───────────────────────────────────────────────────────────────────────────


def _set_aside(ids: list[str], on: dt.date = MONDAY) -> pa.Table:
    n = len(ids)
    return pa.table(
        {
            "audit_on": pa.array([on] * n, pa.date32()),
            "transaction_id": pa.array(ids, pa.string()),
            "row_number": pa.array(range(n), pa.int64()),
            "amount": pa.array([Decimal("1.00")] * n, pa.decimal128(18, 2)),
            "vendor": pa.array(["x"] * n, pa.string()),
            "dated": pa.array([None] * n, pa.string()),
            "rule_id": pa.array(["DQ-02"] * n, pa.string()),
            "reason": pa.array(["x"] * n, pa.string()),
        }
    )


def _ids(opened: DatabricksWarehouse, on: dt.date) -> list[str]:
    found = opened.stored("quarantine", on, on)
    return [] if found is None else sorted(found.column("transaction_id").to_pylist())


def test_a_day_is_replaced_as_a_whole(opened: DatabricksWarehouse):
    """As often as one likes, the columns in any order, other days untouched; down to no row."""
    assert opened.replace("quarantine", TUESDAY, TUESDAY, _set_aside(["t"], TUESDAY)) == 1
    for ids in (["a", "b"], ["a", "b"], ["c"]):
        rows = _set_aside(ids)
        backwards = rows.select(rows.schema.names[::-1])
        assert opened.replace("quarantine", MONDAY, MONDAY, backwards) == len(ids)
        assert _ids(opened, MONDAY) == ids
    assert opened.replace("quarantine", MONDAY, MONDAY, _set_aside([])) == 0
    assert opened.stored("quarantine", MONDAY, MONDAY) is None
    assert _ids(opened, TUESDAY) == ["t"]


def test_a_row_of_another_day_is_refused(opened: DatabricksWarehouse):
    """And what was there stays there."""
    opened.replace("quarantine", MONDAY, MONDAY, _set_aside(["kept"]))
    with pytest.raises(WarehouseRejected):
        opened.replace("quarantine", MONDAY, MONDAY, _set_aside(["stray"], TUESDAY))
    assert _ids(opened, MONDAY) == ["kept"]


def test_a_merge_puts_in_changes_and_takes_away(opened: DatabricksWarehouse, books: Workspace):
    at = dt.datetime(2025, 4, 1, tzinfo=dt.UTC)

    def flags(**states: str) -> pa.Table:
        usual = {
            "transaction_id": "a", "audit_run_id": "r", "severity_level": "INFO",
            "confidence_score": 0.5, "explanation": "x", "supporting_evidence_links": "[]",
            "reviewed": False, "created_at": at, "updated_at": at, "population": "p",
            "audit_on": MONDAY, "severity_score": 1, "points": "{}", "first_run_id": "r",
        }  # fmt: skip
        rows = [
            usual | {"flag_id": name, "state": state, "vanished": state == "superseded"}
            for name, state in states.items()
        ]
        return pa.Table.from_pylist(rows, FLAG_ROWS)

    def merged(**states: str) -> dict[str, str]:
        n = opened.merge("flags", "flag_id", flags(**states), "vanished")
        place = books.stored_table("flags")
        found = {row["flag_id"]: row["state"] for row in asked(books, f"SELECT * FROM {place}")}
        assert n == len(found)
        return {str(name): str(state) for name, state in found.items()}

    assert merged(one="open", two="open") == {"one": "open", "two": "open"}
    again = merged(one="decided", two="superseded", three="open", never="superseded")
    assert again == {"one": "decided", "three": "open"}
    assert merged() == again
    assert merged(one="decided") == again


# ── sessions ────────────────────────────────────────────────────────────────────────────────────


def test_two_audits_at_once_do_not_meet(books: Workspace):
    first, second = DatabricksWarehouse(books), DatabricksWarehouse(books)
    first.create("one", pa.table({"x": pa.array([1], pa.int64())}))
    second.create("one", pa.table({"x": pa.array([2], pa.int64())}))
    query = Query("SELECT x FROM audit.one")
    assert (first.value(query), second.value(query)) == (1, 2)
    second.close()
    assert first.value(query) == 1
    first.close()


def test_another_process_goes_on_with_the_same_tables(books: Workspace):
    """And does not drop what is not its own."""
    first = DatabricksWarehouse(books)
    first.create("one", pa.table({"x": pa.array([1], pa.int64())}))
    second = DatabricksWarehouse(books, prefix=first.prefix)
    assert second.value(Query("SELECT x FROM audit.one")) == 1
    order = Query("SELECT txn_id, row_number FROM gold.recent_transactions ORDER BY 1")
    assert second.rows(order) == first.rows(order)
    second.close()
    assert first.value(Query("SELECT x FROM audit.one")) == 1
    first.close()
    assert not [name for name in left_in_scratch(books) if name.startswith(first.prefix)]


@pytest.mark.parametrize("age_days", [0, KEPT_DAYS, KEPT_DAYS + 1])
def test_what_a_crash_has_left_is_swept(books: Workspace, age_days: int):
    """After two days, in which its process may still be at work; and nobody else's tables."""
    made_on = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=age_days)
    left, foreign = f"s{made_on:%Y%m%d}_0123456789ab_matches", "s20th_century"
    session = Session(books)
    for name in (left, foreign):
        session.run(f"CREATE OR REPLACE TABLE {books.scratch_schema()}.`{name}` AS SELECT 1 AS x")
    session.close()
    DatabricksWarehouse(books).close()
    found = left_in_scratch(books)
    assert (left in found) is (age_days <= KEPT_DAYS)
    assert foreign in found


def test_a_scratch_schema_that_is_not_there(duckdb_warehouse: LocalWarehouse, books: Workspace):
    with pytest.raises(WarehouseRejected, match="databricks grants") as fault:
        DatabricksWarehouse(replace(books, scratch="nowhere"))
    assert "main.nowhere" in str(fault.value)


def test_a_service_principal_audits(duckdb_warehouse: LocalWarehouse, books: Workspace):
    """OAuth from the settings to the rows."""
    settings = duckdb_warehouse.settings()
    machine = replace(
        books, token="", client_id=settings.client_id, client_secret=settings.client_secret
    )
    warehouse = DatabricksWarehouse(machine)
    assert warehouse.value(Query("SELECT count(*) FROM gold.recent_transactions")) == 2
    warehouse.close()
