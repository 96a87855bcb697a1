"""Whether the warehouse can do what an audit asks of it, one line for each thing."""

import time
from collections.abc import Iterator

from audit_pipeline.adapters.databricks import jobs, tables
from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.gold import columns_of
from audit_pipeline.model.errors import WarehouseError
from audit_pipeline.model.gold import Health
from audit_pipeline.model.stored import STORED
from audit_pipeline.model.tables import GOLD
from audit_pipeline.model.workspace import Workspace, quoted

PROBE = "health_probe"


def check_databricks_health(workspace: Workspace) -> list[Health]:
    """Try it: connect, look at gold and at the audit's tables, write to the scratch schema.

    Returns:
        One for each thing; the first that is not well may keep the rest from being tried.
    """
    began = time.monotonic()
    try:
        session = Session(workspace)
    except WarehouseError as fault:
        return [Health("warehouse", False, str(fault))]
    try:
        return [*_tried(session, workspace, began)]
    except WarehouseError as fault:
        return [Health("warehouse", False, str(fault))]
    finally:
        session.close()


def _tried(session: Session, workspace: Workspace, began: float) -> Iterator[Health]:
    session.run("SELECT 1")
    yield Health("warehouse", True, f"answers after {time.monotonic() - began:.1f} s")
    yield _gold(session, workspace)
    yield _stored(session, workspace)
    yield _scratch(session, workspace)
    if workspace.job is not None:
        yield jobs.check_jobs_health(workspace, workspace.job)


def _gold(session: Session, workspace: Workspace) -> Health:
    found = columns_of(session, workspace.catalog, workspace.gold)
    wrong = [
        f"{table.full_name} is absent" for table in GOLD if table.needed and table.name not in found
    ]
    wrong += [
        f"{table.full_name} lacks {column.name}"
        for table in GOLD
        if table.name in found
        for column in table.columns
        if column.required and column.name not in found[table.name]
    ]
    place = f"{workspace.catalog}.{workspace.gold}"
    if wrong:
        remedy = "load it, or let the auditor see it (GRANT SELECT)"
        return Health(f"gold in {place}", False, f"{'; '.join(wrong)}: {remedy}")
    there = sum(table.name in found for table in GOLD)
    return Health(f"gold in {place}", True, f"{there} of {len(GOLD)} tables, no column missing")


def _stored(session: Session, workspace: Workspace) -> Health:
    found = columns_of(session, workspace.catalog, workspace.audit)
    wanted = {table.name: table.names for table in STORED}
    wanted |= {table.name: tables.columns(table.name) for table in tables.SPECIFIED}
    wrong = sorted(
        name for name, names in wanted.items() if not set(names) <= set(found.get(name, {}))
    )
    place = f"{workspace.catalog}.{workspace.audit}"
    if wrong:
        remedy = "run `audit-pipeline databricks setup`"
        return Health(f"tables in {place}", False, f"not as declared: {', '.join(wrong)}; {remedy}")
    return Health(f"tables in {place}", True, f"{len(wanted)} tables as declared")


def _scratch(session: Session, workspace: Workspace) -> Health:
    schema = workspace.scratch_schema()
    name = f"scratch schema {schema.replace('`', '')}"
    try:
        session.run(f"CREATE OR REPLACE TABLE {schema}.{quoted(PROBE)} AS SELECT 1 AS one")
        session.run(f"DROP TABLE {schema}.{quoted(PROBE)}")
    except WarehouseError as fault:
        return Health(name, False, str(fault))
    return Health(name, True, "can be written to")
