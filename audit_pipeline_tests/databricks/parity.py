"""What an audit asks of its warehouse, and whether two engines answer alike.

Every statement of an audit on DuckDB is kept with its answer, and with the derived tables as they
were when it was asked; another engine is then asked the same over the same tables. So a difference
is named by the statement that makes it, and does not spread to the ones after it.
"""

import datetime as dt
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from audit_pipeline.adapters.fixtures import Snapshot
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.books import TABLES, Books
from audit_pipeline.disposition import LEDGER
from audit_pipeline.model.query import Query
from audit_pipeline.model.tables import GOLD
from audit_pipeline.scored import benford_of
from audit_pipeline_tests.books_of import AGENTS, packaged_rules

Ask: TypeAlias = Callable[[Query], pa.Table]
Show: TypeAlias = Callable[[str, pa.Table], None]

SUSPECTS = """SELECT audit_on, transaction_id, CAST(60 AS INTEGER) AS points
FROM audit.transactions WHERE audit_on BETWEEN $from_on AND $to_on"""
DIGITS = 9
"""Of a double: sums are added up in another order."""


@dataclass(frozen=True)
class Step:
    """One thing that the audit did: what it asked and was answered, and which table that became."""

    query: Query | None
    rows: pa.Table
    table: str | None = None
    rule_id: str | None = None

    @property
    def name(self) -> str:
        """For messages: the rule, the table, or the beginning of the SQL."""
        sql = self.query.sql if self.query else ""
        return self.rule_id or self.table or " ".join(sql.split())[:60]


class RecordingWarehouse(DuckDBWarehouse):
    """DuckDB, with every statement and its answer kept in `steps`."""

    def __init__(self, snapshot: Snapshot, derived: Path) -> None:
        super().__init__(snapshot, derived, threads=1)
        self.steps: list[Step] = []

    def query(self, query: Query) -> pa.Table:
        rows = super().query(query)
        self.steps.append(Step(query, rows))
        return rows

    def create(self, table: str, content: Query | pa.Table) -> None:
        super().create(table, content)
        rows = self._arrow(f'SELECT * FROM audit."{table}"', None)
        self.steps.append(Step(content if isinstance(content, Query) else None, rows, table))


def audit(snapshot: Snapshot, derived: Path, from_on: dt.date, to_on: dt.date) -> list[Step]:
    """Every statement of an audit of these days: all tables, rules and documents, the ledger."""
    rules = packaged_rules()
    with RecordingWarehouse(snapshot, derived) as warehouse:
        books = Books(warehouse, rules, from_on, to_on)
        books.need(*TABLES)
        for agent in AGENTS.values():
            for rule_id, query in agent.findings(rules, from_on, to_on).items():
                warehouse.query(query)
                step = warehouse.steps[-1]
                warehouse.steps[-1] = Step(step.query, step.rows, None, rule_id)
        suspects = warehouse.query(Query(SUSPECTS, {"from_on": from_on, "to_on": to_on}))
        warehouse.query(books.enrich(suspects))
        benford_of(warehouse, rules, from_on, to_on)
        warehouse.query(gate.check_freshness(to_on))
        flagged = Query("SELECT DISTINCT transaction_id FROM audit.recurring")
        warehouse.create("flagged", warehouse.query(flagged))
        warehouse.query(Query(LEDGER, {"from_on": from_on, "to_on": to_on}))
        return warehouse.steps


def gold_of(snapshot: Snapshot) -> Iterator[tuple[str, pa.Table]]:
    """The gold tables of a snapshot, with `gold.` before their names."""
    with DuckDBWarehouse(snapshot, snapshot.folder.parent / "derived", threads=1) as warehouse:
        for name in (*(table.name for table in GOLD), "quarantine"):
            yield f"gold.{name}", warehouse.query(Query(f'SELECT * FROM gold."{name}"'))


def differences(steps: list[Step], show: Show, ask: Ask, repeats: int = 1) -> list[str]:
    """Where another engine answers otherwise; one line for each statement that it does so of.

    Args:
        steps: of `audit`; the gold tables are shown already.
        show: lets a derived table be these rows in the other engine.
        ask: the other engine's answer.
        repeats: how often one SQL is asked again, where the audit asked it with other parameters
            or of other tables: those with the most rows.
    """
    found: list[str] = []
    shown: dict[str, pa.Table] = {}
    current: dict[str, pa.Table] = {}
    telling = _most_telling(steps, repeats)
    for place, step in enumerate(steps):
        if step.query is not None and place in telling:
            for table, rows in current.items():
                if f"audit.{table}" in step.query.sql and shown.get(table) is not rows:
                    show(f"audit.{table}", rows)
                    shown[table] = rows
            try:
                said = difference(step.rows, ask(step.query))
            except Exception as error:  # noqa: BLE001 — which statement it was is what counts
                said = " ".join(f"{type(error).__name__}: {error}".split())[:600]
            if said:
                found.append(f"{step.name}: {said}")
        if step.table is not None:
            current[step.table] = step.rows
    return found


def _most_telling(steps: list[Step], repeats: int) -> set[int]:
    places: dict[str, list[int]] = {}
    for place, step in enumerate(steps):
        if step.query is not None:
            places.setdefault(step.query.sql, []).append(place)
    return {
        place
        for same in places.values()
        for place in sorted(same, key=lambda one: -steps[one].rows.num_rows)[:repeats]
    }


def difference(ours: pa.Table, theirs: pa.Table) -> str:
    """What is not equal in two tables whose rows have no order; empty where all is."""
    if ours.column_names != theirs.column_names:
        return f"columns {ours.column_names} ≠ {theirs.column_names}"
    kinds = [
        f"{one.name} {_kind(one.type)} ≠ {_kind(other.type)}"
        for one, other in zip(ours.schema, theirs.schema, strict=True)
        if _kind(one.type) != _kind(other.type)
    ]
    if kinds:
        return f"types: {', '.join(kinds)}"
    if ours.num_rows != theirs.num_rows:
        return f"{ours.num_rows} rows ≠ {theirs.num_rows}{_one_side(ours, theirs)}"
    for one, other in zip(_rows(ours), _rows(theirs), strict=True):
        if not _alike(one, other):
            names = ours.column_names
            cells = [
                f"{name} {a!r} ≠ {b!r}"
                for name, a, b in zip(names, one, other, strict=True)
                if not _alike(a, b)
            ]
            return f"{', '.join(cells)[:500]} in {one!r:.300}"
    return ""


def _one_side(ours: pa.Table, theirs: pa.Table) -> str:
    one, other = ({repr(row) for row in _rows(table)} for table in (ours, theirs))
    return f", only here {sorted(one - other)[:2]}, only there {sorted(other - one)[:2]}"[:900]


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    rows = [tuple(_plain(value) for value in row.values()) for row in table.to_pylist()]
    # The last digits decide only between rows that are otherwise alike.
    return sorted(rows, key=lambda row: (repr(_coarse(row)), repr(row)))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else value.normalize()
    if isinstance(value, float):
        return value + 0.0  # not below zero
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, dict):
        return tuple((name, _plain(one)) for name, one in value.items())
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _coarse(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_coarse, value))
    return f"{value:.5g}" if isinstance(value, float) else value


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=10.0**-DIGITS, abs_tol=1e-12)
    return type(one) is type(other) and one == other


def _kind(of: pa.DataType) -> str:
    """A type as an auditor sees it; how wide an integer or a float is does not show."""
    if pa.types.is_list(of) or pa.types.is_large_list(of):
        return f"list of {_kind(of.value_type)}"
    if pa.types.is_struct(of):
        return ", ".join(f"{field.name} {_kind(field.type)}" for field in of)
    if pa.types.is_integer(of) or (pa.types.is_decimal(of) and of.scale == 0):
        return "integer"
    if pa.types.is_decimal(of):
        return f"decimal of {of.scale} places"
    for is_one, name in (
        (pa.types.is_floating, "float"),
        (pa.types.is_timestamp, "instant"),
        (pa.types.is_large_string, "string"),
    ):
        if is_one(of):
            return name
    return str(of)
