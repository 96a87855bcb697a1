"""The DDL of every table, from its one declaration: gold, stored partitions, the store's three.

`model/tables.py` declares gold, `model/stored.py` what assets store, `store/schema.py` the
specification's `flags`, `audit_trail` and `workflow_state`. Keys are informational in Databricks,
NOT NULL and CHECK are enforced.
"""

from collections.abc import Callable, Iterator

from audit_pipeline.adapters.databricks.gold import ORDER, QUARANTINE
from audit_pipeline.adapters.store.ddl import databricks_statements
from audit_pipeline.adapters.store.schema import AUDIT_TRAIL, FLAGS, WORKFLOW_STATE
from audit_pipeline.model.stored import STORED, stored_table
from audit_pipeline.model.tables import GOLD
from audit_pipeline.model.workspace import Workspace, literal, quoted

SPECIFIED = (FLAGS, AUDIT_TRAIL, WORKFLOW_STATE)
"""The specification's three schemas."""


def columns(table: str) -> tuple[str, ...]:
    """The columns of a table that this project writes, in their order.

    Raises:
        KeyError: there is no such table.
    """
    for specified in SPECIFIED:
        if specified.name == table:
            return tuple(column.name for column in specified.columns)
    return stored_table(table).names


def statements(place: Callable[[str], str]) -> Iterator[str]:
    """CREATE TABLE IF NOT EXISTS for what this project writes; safe to run again.

    Args:
        place: the full, quoted name of a table.
    """
    for stored in STORED:
        yield _create(
            place(stored.name),
            stored.meaning,
            [(c.name, c.kind, c.name == "audit_on", c.meaning) for c in stored.columns],
        )
    yield from databricks_statements(SPECIFIED, place)


def setup_script(workspace: Workspace) -> str:
    """What an administrator runs once: schemas, and exactly the rights that an audit needs.

    `auditor` stands for whoever asks: a group, or a service principal's application id.
    """
    catalog, gold = quoted(workspace.catalog), workspace.schema(workspace.gold)
    audit, scratch = workspace.schema(workspace.audit), workspace.scratch_schema()
    lines = [
        f"CREATE SCHEMA IF NOT EXISTS {audit} COMMENT 'what audits find; one population'",
        f"CREATE SCHEMA IF NOT EXISTS {scratch} COMMENT 'tables that last as long as an audit'",
        f"GRANT USE CATALOG ON CATALOG {catalog} TO `auditor`",
        f"GRANT USE SCHEMA, SELECT ON SCHEMA {gold} TO `auditor`",
        f"GRANT USE SCHEMA, SELECT, MODIFY, CREATE TABLE ON SCHEMA {audit} TO `auditor`",
        f"GRANT USE SCHEMA, SELECT, MODIFY, CREATE TABLE ON SCHEMA {scratch} TO `auditor`",
    ]
    head = (
        "-- Run once, by somebody who may grant on this catalog. `auditor` is a group or a\n"
        "-- service principal, which also needs CAN USE on the SQL warehouse. Then, as it:\n"
        "-- audit-pipeline databricks setup\n"
    )
    return head + ";\n".join(lines) + ";\n"


def gold_statements(place: Callable[[str], str]) -> Iterator[str]:
    """CREATE TABLE IF NOT EXISTS for gold, for a workspace that is set up from nothing."""
    for table in GOLD:
        yield _create(
            place(table.name),
            table.meaning,
            [
                *((c.name, c.kind.databricks, False, c.meaning) for c in table.columns),
                (ORDER, "BIGINT", False, "optional: the row's place in its source"),
            ],
        )
    yield _create(
        place("quarantine"),
        "optional: rows that an ingestion before gold could not type",
        [(name, kind, False, "") for name, kind in QUARANTINE],
    )


def _create(place: str, meaning: str, columns: list[tuple[str, str, bool, str]]) -> str:
    lines = [
        f"  {quoted(name)} {kind}{' NOT NULL' if needed else ''}"
        + (f" COMMENT {literal(comment)}" if comment else "")
        for name, kind, needed, comment in columns
    ]
    body = ",\n".join(lines)
    return (
        f"CREATE TABLE IF NOT EXISTS {place} (\n{body}\n) USING DELTA\nCOMMENT {literal(meaning)}"
    )
