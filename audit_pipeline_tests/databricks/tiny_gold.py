"""Gold of a few rows, in schemas of its own: what a test of the adapter reads and writes."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.model.workspace import Workspace
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import set_up, workspace_of

MONDAY, TUESDAY = dt.date(2025, 3, 31), dt.date(2025, 4, 1)


def ledger(ids: list[str], on: dt.date = MONDAY) -> pa.Table:
    """Ledger entries with these ids, as an ingestion would have typed them."""
    n = len(ids)
    return pa.table(
        {
            "txn_id": pa.array(ids, pa.string()),
            "source": pa.array(["credit_card"] * n, pa.string()),
            "amount": pa.array([Decimal("12.50")] * n, pa.decimal128(18, 2)),
            "vendor": pa.array(["Green Bean Cafe"] * n, pa.string()),
            "date": pa.array([dt.datetime.combine(on, dt.time(9))] * n, pa.timestamp("us")),
        }
    )


def tiny(
    warehouse: LocalWarehouse,
    folder: Path,
    name: str,
    tables: Mapping[str, pa.Table] | None = None,
    **more: str,
) -> Workspace:
    """A workspace whose three schemas begin with `name`, with these gold tables, set up.

    Args:
        warehouse: where.
        folder: an empty one.
        name: of the schemas; no other test's.
        tables: of gold; by default a ledger of two entries.
        more: variables.
    """
    load(warehouse, folder, name, {"recent_transactions": ledger(["a", "b"])} | dict(tables or {}))
    workspace = workspace_of(
        warehouse,
        **{
            "DATABRICKS_GOLD_SCHEMA": f"{name}_gold",
            "DATABRICKS_AUDIT_SCHEMA": f"{name}_audit",
            "DATABRICKS_SCRATCH_SCHEMA": f"{name}_scratch",
            "AUDIT_AS_OF": "2025-04-10",
            **more,
        },
    )
    set_up(workspace)
    return workspace


def load(
    warehouse: LocalWarehouse, folder: Path, name: str, tables: Mapping[str, pa.Table]
) -> None:
    """Put gold tables in place, over earlier ones of the same names."""
    home = folder / f"{name}_gold"
    home.mkdir(parents=True, exist_ok=True)
    for table, rows in tables.items():
        pq.write_table(rows, home / f"{table}.parquet")
    warehouse.load(folder)


def asked(workspace: Workspace, sql: str) -> list[dict[str, object]]:
    """The rows of a query, through a session of its own."""
    session = Session(workspace)
    try:
        return session.run(sql).to_pylist()
    finally:
        session.close()


def left_in_scratch(workspace: Workspace) -> list[str]:
    """The names of the tables of the scratch schema."""
    rows = asked(workspace, f"SHOW TABLES IN {workspace.scratch_schema()}")
    return sorted(str(row["tableName"]) for row in rows)
