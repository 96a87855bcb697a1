"""Heavy Python steps as a Databricks job: submitted through Dagster Pipes, waited for, told.

The job makes its tables in the scratch schema, where the run worker's next statement finds them:
only their number of rows comes here.
"""

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from audit_pipeline.adapters.databricks import jobs
from audit_pipeline.agents.anomaly_detection import forest
from audit_pipeline.job import makings, places
from audit_pipeline.model.errors import BadUsage, WarehouseUnavailable
from audit_pipeline.model.workspace import Job, Workspace

if TYPE_CHECKING:
    from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
    from audit_pipeline.books import Books

POLL_SECONDS = 5.0
"""Between two looks at a run, and at what it has to say."""


def run_as_job(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    job: Job,
    books: "Books",
    rules_text: str,
    tables: tuple[str, ...],
) -> None:
    """Make heavy tables of the books in a job; the run's log has what it says meanwhile.

    Args:
        context: of the step that needs them.
        workspace: where the job runs, and the warehouse is.
        job: on which cluster.
        books: over a DatabricksWarehouse, with all that the tables are made of; its `forests`
            become the job's.
        rules_text: the rules file that the books go by.
        tables: one or several of `books.HEAVY`.

    Raises:
        WarehouseError: one of the three; also where the job met it.
        BadUsage: dagster-databricks is not installed, or the cluster's settings are wrong.
    """
    asked = asked_of(books, workspace, rules_text, tables)
    with jobs.told_apart(workspace):
        said = _run(context, jobs.client_of(workspace), workspace, job, asked)
    rows = cast("Mapping[str, int]", said.get("rows", {}))
    if sorted(rows) != sorted(tables):
        raise WarehouseUnavailable(
            f"a Databricks job ended without having said that {', '.join(tables)} is made; the "
            "step is tried again. If that does not help, see whether the cluster can write to "
            "DATABRICKS_JOB_VOLUME"
        )
    for month, trained in cast("Mapping[str, Mapping[str, Any]]", said["forests"]).items():
        books.forests[dt.date.fromisoformat(month)] = forest.Trained(
            str(trained["version"]), int(trained["charges"])
        )


def asked_of(
    books: "Books", workspace: Workspace, rules_text: str, tables: tuple[str, ...]
) -> dict[str, Any]:
    """What `job.make` must know, as JSON has it; nothing of it is secret."""
    warehouse = cast("DatabricksWarehouse", books.warehouse)
    return {
        "from_on": books.from_on.isoformat(),
        "to_on": books.to_on.isoformat(),
        "tables": list(tables),
        "made": sorted(books.made),
        "prefix": warehouse.prefix,
        "versions": dict(warehouse.state.versions),
        "horizon": warehouse.state.horizon.isoformat(),
        "population": warehouse.state.about.name,
        "places": places(workspace),
        "rules": rules_text,
        "makings": makings(),
    }


def _run(
    context: dg.AssetExecutionContext,
    client: Any,
    workspace: Workspace,
    job: Job,
    asked: Mapping[str, Any],
) -> Mapping[str, object]:
    """The job's last words; a run that nobody waits for any more is cancelled."""
    pipes, reader = _both_ends(client, job.volume)
    name = jobs.submission(asked["prefix"], asked["tables"])
    try:
        pipes.run(context=context, extras=asked, task=jobs.task_of(job), submit_args=name)
    except DagsterPipesExecutionError as fault:
        if pipes.run_id is None:
            raise
        raise jobs.fault_of(client, pipes.run_id, reader.last_words(), workspace) from fault
    except BaseException:
        jobs.cancel(client, pipes.run_id)
        raise
    if pipes.interrupted is not None:
        # The client has cancelled the job, and would go on as if it had succeeded.
        raise pipes.interrupted
    return reader.last_words()


def _both_ends(client: Any, volume: str) -> tuple[Any, Any]:
    """Who submits and waits, and who reads what the job says: in a volume, not in DBFS.

    Classes within, because dagster-databricks takes seconds to import and brings Spark.
    """
    try:
        from dagster_databricks.pipes import (
            PipesDatabricksClient,
            PipesUnityCatalogVolumesContextInjector,
            PipesUnityCatalogVolumesMessageReader,
        )
    except ImportError as fault:
        raise BadUsage(
            f"jobs need what is not installed ({fault}): `make setup-databricks` installs it"
        ) from fault

    class Reader(PipesUnityCatalogVolumesMessageReader):
        """Keeps what the job reports, also when it fails."""

        handler: Any = None

        def read_messages(self, handler: Any) -> Any:
            self.handler = handler
            return super().read_messages(handler)

        def last_words(self) -> Mapping[str, object]:
            said = self.handler.get_custom_messages() if self.handler else ()
            return said[-1] if said and isinstance(said[-1], dict) else {}

    class Client(PipesDatabricksClient):
        """Knows which run it waited for, and whether the waiting was interrupted."""

        run_id: int | None = None
        interrupted: BaseException | None = None

        def _poll_til_success(self, context: Any, run_id: int) -> None:
            self.run_id = run_id
            try:
                super()._poll_til_success(context, run_id)
            except dg.DagsterExecutionInterruptedError as fault:
                self.interrupted = fault
                raise

    reader = Reader(
        interval=POLL_SECONDS,
        client=client,
        volume_path=volume,
        include_stdio_in_messages=False,
    )
    injector = PipesUnityCatalogVolumesContextInjector(client=client, volume_path=volume)
    pipes = Client(client, None, injector, reader, poll_interval_seconds=POLL_SECONDS)
    return pipes, reader
