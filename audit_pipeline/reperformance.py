"""Re-performance: the stored query, run again on the stored inputs, compared with what it said.

The inputs are the gold that the audit read (a snapshot found by its content's digest, or the
versions of the warehouse's tables) and the rules file of that day; everything between is derived
anew.
"""

import datetime as dt
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from audit_pipeline.adapters.fixtures.snapshot import stored_snapshot
from audit_pipeline.adapters.protocol import Warehouse
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.rows import FlagRow, StoredQuery
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.query import Query, Value
from audit_pipeline.model.rule import Rules
from audit_pipeline.model.tables import GOLD
from audit_pipeline.settings import Settings, load_rules


@dataclass(frozen=True)
class Comparison:
    """One finding, then and now.

    Attributes:
        same: every number and every cell of evidence agrees.
        differences: what does not, one line each; why it was not re-performed, for `same` None.
    """

    finding: Finding
    same: bool | None
    differences: tuple[str, ...]
    sql: str


def reperform(flag: FlagRow, store: Store, settings: Settings) -> list[Comparison]:
    """Each finding of a flag against a new run of its stored query.

    Raises:
        BadUsage: the snapshot or the rules file that the audit read is not there any more.
    """
    queries = {query.query_id: query for query in store.queries_of(flag.flag_id)}
    return [
        _again(finding, queries[query_id], settings)
        if query_id in queries
        else Comparison(finding, None, ("documents are attached, not measured",), "")
        for finding, query_id in store.findings_with_queries(flag.flag_id)
    ]


def _again(finding: Finding, query: StoredQuery, settings: Settings) -> Comparison:
    tables = query.tables
    if not isinstance(tables, Mapping):
        message = f"query {query.query_id} does not say what it read"
        raise BadUsage(message)
    from_on = dt.date.fromisoformat(str(tables["from_on"]))
    to_on = dt.date.fromisoformat(str(tables["to_on"]))
    rules = rules_then(settings, tables)
    with closing(warehouse_then(settings, query, tables)) as warehouse:
        books = Books(warehouse, rules, from_on, to_on)
        books.need(*(name for name in TABLES if f"audit.{name}" in query.sql))
        rows = warehouse.query(Query(query.sql, _bound(query.parameters))).to_pylist()
    now = next(
        (
            row
            for row in rows
            if row["transaction_id"] == finding.transaction_id
            and row["audit_on"] == finding.audit_on
        ),
        None,
    )
    differences = _differences(finding, now)
    return Comparison(finding, not differences, tuple(differences), query.sql)


def source_rows(
    flag: FlagRow, store: Store, settings: Settings, source: str, row_id: str
) -> list[dict[str, object]]:
    """The rows of gold that a cell of a flag's evidence was read from, with all their columns.

    Args:
        source: as in the cell: `gold.<table>` or `gold.<table>.<column>`.
        row_id: the key in that table.

    Raises:
        BadUsage: the flag has no such cell, or what the audit read is not there any more.
    """
    name = source.removeprefix("gold.").partition(".")[0]
    table = next((one for one in GOLD if source.startswith("gold.") and one.name == name), None)
    query = next(iter(store.queries_of(flag.flag_id)), None)
    cells = (cell for finding in store.findings_of_flag(flag.flag_id) for cell in finding.evidence)
    is_shown = any(
        cell.row_id == row_id and cell.source.startswith(f"gold.{name}.") for cell in cells
    )
    if table is None or not is_shown or query is None or not isinstance(query.tables, Mapping):
        raise BadUsage(f"no evidence of this flag was read from {source}")
    asked = f"SELECT * FROM gold.{table.name} WHERE {table.key} = $row_id"  # noqa: S608 - ours
    with closing(warehouse_then(settings, query, query.tables)) as warehouse:
        return warehouse.rows(Query(asked, {"row_id": row_id}))


def rules_then(settings: Settings, tables: Mapping[str, Any]) -> Rules:
    """The rules that the audit used.

    Raises:
        BadUsage: their file is gone.
    """
    rules_file = settings.data_dir / "rules" / f"{tables['rules']}.yaml"
    if not rules_file.exists():
        message = f"the rules that this audit used are gone: {rules_file}"
        raise BadUsage(message)
    return load_rules(rules_file.read_text(encoding="utf-8"), str(rules_file))


def warehouse_then(settings: Settings, query: StoredQuery, tables: Mapping[str, Any]) -> Warehouse:
    """The gold that the audit read: its snapshot, or the versions of its tables.

    Raises:
        BadUsage: the snapshot is gone.
    """
    if settings.workspace is not None:
        from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse

        as_of = dt.date.fromisoformat(str(tables["horizon"]))
        versions = {str(table): int(number) for table, number in tables["versions"].items()}
        return DatabricksWarehouse(replace(settings.workspace, as_of=as_of), versions=versions)
    snapshot = stored_snapshot(settings.data_dir, query.snapshot_id)
    if snapshot is None:
        gone = settings.data_dir / "gold" / query.snapshot_id
        message = f"the gold that this audit read is gone: {gone}"
        raise BadUsage(message)
    return DuckDBWarehouse(snapshot, settings.data_dir / "derived")


def _bound(parameters: Mapping[str, object]) -> dict[str, Value]:
    """Parameters as they were bound: days, exact decimals and holidays were stored as text."""
    bound: dict[str, Value] = {}
    for name, value in parameters.items():
        if name == "holidays":
            bound[name] = str(value)
        elif isinstance(value, str):
            bound[name] = dt.date.fromisoformat(value) if name.endswith("_on") else Decimal(value)
        elif isinstance(value, int | float) or value is None:
            bound[name] = value
    return bound


def _differences(then: Finding, now: Mapping[str, object] | None) -> list[str]:
    if now is None:
        return ["the query does not find this transaction any more"]
    differences = [
        f"{name} was {getattr(then, name)}, is {now[name]}"
        for name in ("measured", "threshold", "score", "rule_version")
        if getattr(then, name) != now[name]
    ]
    cells = now["evidence"]
    evidence = tuple(Cell(**cell) for cell in cells) if isinstance(cells, list) else ()
    was, is_ = {c.name: c for c in then.evidence}, {c.name: c for c in evidence}
    differences += [
        f"evidence {name} was {was.get(name)}, is {is_.get(name)}"
        for name in sorted({*was, *is_})
        if was.get(name) != is_.get(name)
    ]
    return differences
