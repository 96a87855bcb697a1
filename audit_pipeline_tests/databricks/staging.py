"""An audit with ENVIRONMENT=staging, whose Databricks is a local warehouse."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pyarrow.parquet as pq
import pytest

from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.warehouse import create_tables
from audit_pipeline.adapters.fixtures import Snapshot, read_fixtures
from audit_pipeline.model.tables import GOLD
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.settings import Settings
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.environment import Workplace


def gold_files(snapshot: Snapshot, folder: Path) -> Path:
    """The tables of a snapshot as an ingestion would have loaded them; for `--data`."""
    home = folder / "gold"
    home.mkdir(parents=True)
    for table in GOLD:
        rows = pq.read_table(snapshot.path(table.name))
        pq.write_table(rows.drop_columns(["audit_on"]), home / f"{table.name}.parquet")
    pq.write_table(pq.read_table(snapshot.path("quarantine")), home / "quarantine.parquet")
    return folder


def workspace_of(warehouse: LocalWarehouse, **more: str) -> Workspace:
    """The settings of a client of this warehouse."""
    return Settings.workspace_of(environment_of(warehouse, **more))


def environment_of(warehouse: LocalWarehouse, **more: str) -> dict[str, str]:
    """The variables that a person would set."""
    settings = warehouse.settings()
    return {
        "ENVIRONMENT": "staging",
        "DATABRICKS_HOST": f"{settings.host}:{settings.port}",
        "DATABRICKS_HTTP_PATH": settings.http_path,
        "DATABRICKS_TOKEN": settings.token,
        "DATABRICKS_CATALOG": "main",
        "DATABRICKS_CA_FILE": settings.ca_file,
        **more,
    }


def set_up(workspace: Workspace, *, is_delta: bool = True) -> None:
    """What an administrator and `audit-pipeline databricks setup` do once.

    Args:
        is_delta: the engine's tables take constraints; Spark's own do not.
    """
    session = Session(workspace)
    try:
        for schema in (workspace.schema(workspace.audit), workspace.scratch_schema()):
            session.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    finally:
        session.close()
    if is_delta:
        create_tables(workspace)


@contextmanager
def staged(
    home: Path,
    books: Path,
    warehouse: LocalWarehouse,
    more: Mapping[str, str] = MappingProxyType({}),
    *,
    is_delta: bool = True,
) -> Iterator[Workplace]:
    """A workplace whose gold is in the warehouse, of the same name and horizon as the folder's.

    Args:
        home: for the store and Dagster's history.
        books: a fixture folder, loaded into the warehouse.
        warehouse: an empty one.
        more: other variables.
        is_delta: as for `set_up`.
    """
    snapshot = read_fixtures(books, home / "read")
    warehouse.load(gold_files(snapshot, home / "loaded"))
    known = {
        "AUDIT_POPULATION": snapshot.about.name,
        "AUDIT_AS_OF": snapshot.horizon.isoformat(),
        **more,
    }
    environment = environment_of(warehouse, **known)
    set_up(Settings.workspace_of(environment), is_delta=is_delta)
    with pytest.MonkeyPatch.context() as patched:
        # Dagster reads what is secret when a step begins, from the process's own environment.
        for name, value in environment.items():
            patched.setenv(name, value)
        yield Workplace(home, books, environment)
