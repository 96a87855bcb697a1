"""Heavy steps on a cluster that is a process of this machine, and one step to try it with."""

import importlib.util
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from audit_pipeline import heavy, job
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.settings import rules_text
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import environment_of
from audit_pipeline_tests.databricks.warehouses import INSTALL

CLUSTER = "0101-000000-local"


def missing_for_jobs() -> str | None:
    """Why no job can be submitted here; None when one can."""
    absent = [
        name for name in ("dagster_databricks", "pyspark") if importlib.util.find_spec(name) is None
    ]
    return f"not installed: {', '.join(absent)}; {INSTALL}" if absent else None


def uploaded(warehouse: LocalWarehouse, text: str | None = None) -> str:
    """The entry point, or another text, where a person would have put it."""
    folder = Path(warehouse.volume) / "code"
    folder.mkdir(exist_ok=True)
    place = folder / "heavy.py"
    if text is None:
        shutil.copyfile(job.__file__, place)
    else:
        place.write_text(text, encoding="utf-8")
    return str(place)


def job_environment(warehouse: LocalWarehouse, text: str | None = None) -> dict[str, str]:
    """The run worker's settings, with a cluster that has the right ones."""
    warehouse.cluster(CLUSTER, environment_of(warehouse))
    return {
        "DATABRICKS_JOB_CLUSTER_ID": CLUSTER,
        "DATABRICKS_JOB_FILE": uploaded(warehouse, text),
        "DATABRICKS_JOB_VOLUME": f"{warehouse.volume}/messages",
        "DATABRICKS_JOB_FROM_ROWS": "0",
    }


def bytes_by_program(warehouse: LocalWarehouse) -> Counter[str]:
    """Bytes of the replies to statements since the last `clear`: of `worker` and of `job`."""
    found: Counter[str] = Counter()
    for entry in warehouse.log()["requests"]:
        if not entry["request"].startswith(("Jobs", "Volumes")):
            is_job = job.PROGRAM in entry["user_agent"]
            found["job" if is_job else "worker"] += entry["sent_bytes"]
    return found


@dataclass
class Tried:
    """What became of one heavy step; `fault` is None where it succeeded."""

    fault: BaseException | None = None
    log: list[str] = field(default_factory=list[str])


def try_as_job(workspace: Workspace, books: Books, table: str = "statements") -> Tried:
    """Let a job make one table, in a Dagster step of its own."""
    books.need(*TABLES[table])
    where, tried = workspace.job, Tried()
    assert where is not None
    text = rules_text(None)

    @dg.asset
    def step(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        try:
            heavy.run_as_job(context, workspace, where, books, text, (table,))
        except BaseException as fault:  # noqa: BLE001 - the test looks at it
            tried.fault = fault
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        ended = dg.materialize([step], instance=instance, raise_on_error=False)
        assert ended.success, [event.message for event in ended.all_events]
        tried.log = [record.user_message for record in instance.all_logs(ended.run_id)]
    return tried
