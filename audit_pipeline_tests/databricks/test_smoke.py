"""A real Databricks workspace: does it take what the local warehouse takes?

Asked only by `make smoke-databricks`, with the variables of the README. It reads gold, writes to
the scratch schema only, and drops what it wrote.
"""

import os
from collections.abc import Iterator

import pytest

from audit_pipeline.adapters.databricks.health import check_databricks_health
from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.query import Query
from audit_pipeline.settings import Settings, load_rules, rules_text
from audit_pipeline_tests.books_of import AGENTS
from audit_pipeline_tests.environment import GIVEN

pytestmark = [
    pytest.mark.smoke,
    pytest.mark.skipif(
        not os.environ.get("SMOKE_DATABRICKS"),
        reason="NOT RUN: needs a real workspace; set DATABRICKS_… and `make smoke-databricks`",
    ),
]


@pytest.fixture(scope="module")
def books() -> Iterator[Books]:
    """The books of the last day that gold knows."""
    warehouse = DatabricksWarehouse(Settings.workspace_of(GIVEN))
    try:
        last = warehouse.state.horizon
        yield Books(warehouse, load_rules(rules_text(None)), last, last)
    finally:
        warehouse.close()


def test_it_is_healthy():
    """Connects, sees gold and the audit's tables, writes to the scratch schema."""
    health = check_databricks_health(Settings.workspace_of(GIVEN))
    assert [one for one in health if not one.is_well] == []


@pytest.mark.parametrize("table", TABLES)
def test_every_derived_table_can_be_made(books: Books, table: str):
    """Databricks takes its statement."""
    books.need(table)
    assert books.warehouse.value(Query(f'SELECT count(*) FROM audit."{table}"')) is not None


@pytest.mark.parametrize("agent", AGENTS)
def test_every_rule_can_be_asked(books: Books, agent: str):
    """And answers in the columns of a finding."""
    queries = AGENTS[agent].findings(books.rules, books.from_on, books.to_on)
    for query in queries.values():
        books.need(*(name for name in TABLES if f"audit.{name}" in query.sql))
        assert "evidence" in books.warehouse.query(query).column_names
