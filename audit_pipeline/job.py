"""The entry point of a Databricks job: heavy tables of an audit, made on a cluster.

This file is uploaded and named by DATABRICKS_JOB_FILE; the package itself is a library of the
cluster. Who asks comes from the cluster's own environment, never from the parameters: whoever can
write these must not learn a secret, nor send it elsewhere.
"""

import datetime as dt
import hashlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import audit_pipeline
from audit_pipeline.model.errors import AuditError, BadUsage, WarehouseRejected
from audit_pipeline.model.query import Query
from audit_pipeline.model.workspace import Workspace

PROGRAM = "audit_pipeline_job"
COUNTED_ON = ("numpy", "pyarrow", "rapidfuzz", "scikit-learn", "scipy")
"""Libraries of whose version a score could depend."""
PREFIX = re.compile(r"s\d{8}_[0-9a-f]{12}")


def main() -> None:
    """Make what the run worker asks for, and tell it what was made, or what went wrong.

    Raises:
        AuditError: after it was told; the run has then failed for Databricks too.
    """
    from dagster_pipes import (
        PipesCliArgsParamsLoader,
        PipesEnvVarParamsLoader,
        PipesUnityCatalogVolumesContextLoader,
        PipesUnityCatalogVolumesMessageWriter,
        open_dagster_pipes,
    )

    by_arguments = PipesCliArgsParamsLoader()
    # A new cluster has them in its environment, one that is there cannot.
    is_argued = by_arguments.is_dagster_pipes_process()
    with open_dagster_pipes(
        context_loader=PipesUnityCatalogVolumesContextLoader(),
        message_writer=PipesUnityCatalogVolumesMessageWriter(),
        params_loader=by_arguments if is_argued else PipesEnvVarParamsLoader(),
    ) as pipes:
        try:
            pipes.report_custom_message(make(pipes.extras, os.environ, pipes.log.info))
        except AuditError as fault:
            pipes.report_custom_message({"fault": type(fault).__name__, "said": str(fault)})
            raise


def make(
    asked: Mapping[str, Any], env: Mapping[str, str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Make tables of an audit that another process has begun.

    Args:
        asked: as `heavy.asked_of` puts it together.
        env: where the warehouse is and who asks, `DATABRICKS_*`.
        say: where progress is told.

    Returns:
        rows: table → number of rows; forests: month → version and charges.

    Raises:
        WarehouseRejected: another code, or other libraries, than the run worker's.
        BadUsage: the environment names no warehouse, or other schemas than the run worker's; the
            tables are not heavy ones.
        WarehouseError: what the warehouse says.
    """
    from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
    from audit_pipeline.books import HEAVY, Books
    from audit_pipeline.settings import Settings, load_rules

    _compare(asked["makings"], makings())
    workspace = _same_place(asked, Settings.workspace_of(env))
    if not PREFIX.fullmatch(asked["prefix"]) or not set(asked["tables"]) <= set(HEAVY):
        raise BadUsage(f"not a job's work: {asked['prefix']!r}, {asked['tables']!r}")
    versions = {str(table): int(number) for table, number in asked["versions"].items()}
    with closing(DatabricksWarehouse(workspace, asked["prefix"], versions)) as warehouse:
        from_on, to_on = (dt.date.fromisoformat(asked[name]) for name in ("from_on", "to_on"))
        rules = load_rules(asked["rules"], "the run's rules")
        books = Books(warehouse, rules, from_on, to_on, asked["made"])
        rows: dict[str, int] = {}
        for table in asked["tables"]:
            say(f"making {table}")
            books.need(table)
            counted = warehouse.value(Query(f'SELECT count(*) FROM audit."{table}"'))
            rows[table] = int(str(counted))
            say(f"made {table}: {rows[table]} rows")
    forests = {
        month.isoformat(): {"version": trained.version, "charges": trained.charges}
        for month, trained in books.forests.items()
    }
    return {"rows": rows, "forests": forests}


def places(workspace: Workspace) -> list[str]:
    """What both ends must name alike."""
    return [workspace.catalog, workspace.gold, workspace.audit, workspace.scratch]


def makings() -> dict[str, str]:
    """What the tables are made by: a digest of this package, and the libraries' versions."""
    home = Path(audit_pipeline.__path__[0])
    found = hashlib.sha256()
    for path in sorted(home.rglob("*")):
        if path.suffix in (".py", ".sql", ".yaml"):
            found.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "audit_pipeline": found.hexdigest()[:16],
        **{name: metadata.version(name) for name in COUNTED_ON},
    }


def _compare(theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    differing = [
        f"{name} {ours.get(name)} in place of {version}"
        for name, version in theirs.items()
        if ours.get(name) != version
    ]
    if differing:
        raise WarehouseRejected(
            f"the cluster's code is not the run worker's: {', '.join(differing)}. Make and upload "
            "the wheel again, and restart the cluster"
        )


def _same_place(asked: Mapping[str, Any], workspace: Workspace) -> Workspace:
    if places(workspace) != asked["places"]:
        raise BadUsage(
            f"the cluster's DATABRICKS_CATALOG and schemas are {'.'.join(places(workspace))}, "
            f"the run worker's are {'.'.join(asked['places'])}; set them alike"
        )
    horizon = dt.date.fromisoformat(asked["horizon"])
    return replace(
        workspace, as_of=horizon, population=asked["population"], program=PROGRAM, job=None
    )


if __name__ == "__main__":
    sys.exit(main())
