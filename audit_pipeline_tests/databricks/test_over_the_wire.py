"""Every derived table and every rule, in a SQL warehouse through the real connector.

The same books are opened twice, over DuckDB and over a local warehouse. On the engine `spark` the
statements meet Spark's semantics on the whole way that they take in production.
"""

import datetime as dt
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.adapters.protocol import Warehouse
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.query import Query
from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline_tests.books_of import AGENTS
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import staged
from audit_pipeline_tests.databricks.warehouses import missing_for
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

Rows = list[tuple[Any, ...]]


def plain(value: Any) -> Any:
    """As it is compared: sums of doubles may differ in the last bits, zones in their name."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, list):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return tuple((key, plain(one)) for key, one in value.items())
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    return value


def sorted_rows(found: pa.Table) -> Rows:
    """In one order, whatever that of the engine was."""
    rows = (tuple(map(plain, row.values())) for row in found.to_pylist())
    return sorted(rows, key=repr)


def everything(warehouse: Warehouse) -> dict[str, Rows]:
    """Table or rule → its rows."""
    rules = load_rules(rules_text(None))
    books = Books(warehouse, rules, AUDIT_FROM, AUDIT_TO)
    found: dict[str, Rows] = {}
    for agent in AGENTS.values():
        for rule_id, query in agent.findings(rules, AUDIT_FROM, AUDIT_TO).items():
            books.need(*(name for name in TABLES if f"audit.{name}" in query.sql))
            found[rule_id] = sorted_rows(warehouse.query(query))
    books.need(*TABLES)
    for name in TABLES:
        found[name] = sorted_rows(warehouse.query(Query(f'SELECT * FROM audit."{name}"')))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["spark", "duckdb"])
def test_the_same_rows(tmp_path: Path, small_books: Path, engine: str):
    """Of every table and rule; the small company has something for nearly all of them."""
    missing = missing_for(engine)
    if missing is not None:
        pytest.skip(missing)
    snapshot = read_fixtures(small_books, tmp_path / "data")
    with DuckDBWarehouse(snapshot, tmp_path / "derived", 1) as local:
        expected = everything(local)
    with (
        LocalWarehouse(engine) as started,
        staged(tmp_path / "staged", small_books, started, is_delta=engine != "spark") as place,
    ):
        workspace = place.settings.workspace
        assert workspace is not None
        with closing(DatabricksWarehouse(workspace)) as warehouse:
            found = everything(warehouse)
    assert found == expected
    empty = {name for name, rows in found.items() if not rows}
    assert len(empty) < len(found) / 3, empty
