"""The SQL that Databricks is sent, a reviewed file for each rule and each table that rules read.

Each begins with the paragraph that heads its source: what comes out, and of what. After a change,
`UPDATE_SNAPSHOTS=1` writes them anew; the review is the diff.
"""

import os
from pathlib import Path

import pytest

from audit_pipeline.adapters.databricks.dialect import Places, databricks_sql
from audit_pipeline.agents.reconciliation import sides
from audit_pipeline_tests.books_of import AGENTS, day, packaged_rules
from audit_pipeline_tests.model.test_query import SQL_FILES

SNAPSHOTS = Path(__file__).parent / "snapshots"
PLACES = Places("gold.{}", "audit.{}")
RULES = packaged_rules()
RULE_SQL = {
    rule_id: query.sql
    for agent in AGENTS.values()
    for rule_id, query in agent.findings(RULES, day(0), day(9)).items()
}
# The files that are no rule's own are tables; CX-04 is asked for suspicious charges only.
TABLE_SQL = {
    path.stem: text
    for path in SQL_FILES
    if not any((text := path.read_text()).strip() in sql for sql in RULE_SQL.values())
}
TABLE_SQL["ledger_ids"] = sides.LEDGER_IDS
RULE_SQL["CX-04"] = TABLE_SQL.pop("documents")
STATEMENTS = RULE_SQL | TABLE_SQL


def parts(sql: str) -> tuple[list[str], str]:
    """The paragraph that heads the author's text, and the SQL without it."""
    lines = sql.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("-- "))
    end = next(place for place in range(first, len(lines)) if not lines[place].startswith("--"))
    return lines[first:end], "\n".join([*lines[:first], *lines[end:]])


def test_there_is_one_for_each_rule_of_sql() -> None:
    assert len(RULE_SQL) == 38
    assert {path.stem for path in SNAPSHOTS.glob("*.sql")} == set(STATEMENTS)


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_the_sql_is_the_reviewed_one(name: str) -> None:
    head, sql = parts(STATEMENTS[name])
    said = "\n".join([*head, "", databricks_sql(sql, PLACES), ""])
    path = SNAPSHOTS / f"{name}.sql"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(said, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == said


@pytest.mark.parametrize("name", sorted(RULE_SQL))
def test_the_paragraph_names_the_rule_and_its_thresholds(name: str) -> None:
    """A threshold that is spoken of is one that the SQL compares with."""
    head, sql = parts(RULE_SQL[name])
    text = " ".join(line.removeprefix("-- ") for line in head)
    if name != "CX-04":
        assert text.startswith(f"{name} ")
    for word in text.replace(",", " ").replace(".", " ").split():
        if word.startswith("$"):
            assert word in sql
