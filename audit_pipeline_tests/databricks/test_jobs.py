"""Heavy steps as a job: the same flags, what goes wrong in one line, and nothing left behind."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from audit_pipeline import heavy, job
from audit_pipeline.adapters.databricks import jobs
from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
from audit_pipeline.books import HEAVY, Books
from audit_pipeline.model.errors import (
    BadUsage,
    WarehouseRejected,
    WarehouseUnauthorised,
    WarehouseUnavailable,
)
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.settings import Settings, load_rules, rules_text
from audit_pipeline_tests.databricks.job_cluster import (
    CLUSTER,
    bytes_by_program,
    job_environment,
    missing_for_jobs,
    try_as_job,
    uploaded,
)
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import environment_of, staged
from audit_pipeline_tests.databricks.warehouses import missing_for
from audit_pipeline_tests.environment import Workplace, why_not
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

WAIT_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Looks often, gives up soon, and does not wait for messages of what has ended."""
    missing = missing_for("duckdb") or missing_for_jobs()
    if missing is not None:
        pytest.skip(missing)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(heavy, "POLL_SECONDS", 0.2)
        patched.setattr(jobs, "RETRY_SECONDS", 2)
        patched.setattr("dagster._core.pipes.utils.WAIT_FOR_LOGS_AFTER_EXECUTION_INTERVAL", 0)
        yield


@pytest.fixture(scope="module")
def warehouse(quick: None) -> Iterator[LocalWarehouse]:
    """One of its own: gold is the small company's."""
    with LocalWarehouse("duckdb") as started:
        yield started


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, small_books: Path, warehouse: LocalWarehouse
) -> Iterator[Workplace]:
    """The small company in the warehouse, with a cluster for the heavy steps."""
    home = tmp_path_factory.mktemp("with_jobs")
    with staged(home, small_books, warehouse, job_environment(warehouse)) as place:
        yield place


@dataclass(frozen=True)
class Made:
    """An audit with every heavy step in a job."""

    place: Workplace
    submitted: list[dict[str, Any]]
    sent: Counter[str]


@pytest.fixture(scope="module")
def made(place: Workplace, warehouse: LocalWarehouse) -> Made:
    """The thirty days, in one run; not to be written to."""
    before = len(warehouse.jobs())
    warehouse.clear()
    with place.instance() as instance:
        result = place.audit(instance, AUDIT_FROM, AUDIT_TO)
        assert result.success, why_not(result)
    return Made(place, warehouse.jobs()[before:], bytes_by_program(warehouse))


@pytest.fixture
def workspace(place: Workplace, warehouse: LocalWarehouse) -> Iterator[Workspace]:
    """The run worker's; what a test orders or uploads ends with it."""
    found = place.settings.workspace
    assert found is not None
    try:
        yield found
    finally:
        warehouse.clear()
        job_environment(warehouse)


@pytest.fixture
def books(workspace: Workspace) -> Iterator[Books]:
    """Over a session of its own."""
    with closing(DatabricksWarehouse(workspace)) as opened:
        yield Books(opened, load_rules(rules_text(None)), AUDIT_FROM, AUDIT_TO)


def left_in_scratch(workspace: Workspace) -> list[str]:
    session = Session(workspace)
    try:
        rows = session.run(f"SHOW TABLES IN {workspace.scratch_schema()}").to_pylist()
    finally:
        session.close()
    return [row["tableName"] for row in rows]


def left_in_volume(workspace: Workspace) -> list[str]:
    assert workspace.job is not None
    return [path.name for path in Path(workspace.job.volume).rglob("*") if path.name != "tmp"]


# ── the whole audit ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_flags_are_those_of_the_fixtures(made: Made, audited: Workplace):
    """Byte for byte: every column but who wrote the row and when."""
    assert made.place.flags() == audited.flags()
    assert made.place.findings() == audited.findings()
    without = ("audit_run_id",)
    partitions = audited.rows("audit_partitions", without)
    assert made.place.rows("audit_partitions", without) == partitions


@pytest.mark.slow
def test_every_heavy_table_was_made_by_a_job(made: Made):
    names = [run["run_name"] for run in made.submitted]
    assert sorted(names) == sorted(f"audit {table}" for table in HEAVY)
    assert {run["state"].get("result_state") for run in made.submitted} == {"SUCCESS"}


@pytest.mark.slow
def test_the_run_worker_fetches_less_than_the_jobs(made: Made):
    assert 0 < made.sent["worker"] < made.sent["job"]


@pytest.mark.slow
def test_the_forests_are_known_to_the_run_worker(made: Made, audited: Workplace):
    """The asset's metadata names them: the same versions, over the same charges."""
    assert forests(made.place)
    assert forests(made.place) == forests(audited)


@pytest.mark.slow
def test_nothing_is_left(made: Made):
    """Neither tables nor messages."""
    workspace = made.place.settings.workspace
    assert workspace is not None
    assert left_in_scratch(workspace) == []
    assert left_in_volume(workspace) == []


@pytest.mark.slow
def test_no_secret_is_in_what_is_submitted(made: Made):
    assert made.place.environment["DATABRICKS_TOKEN"] not in json.dumps(made.submitted)


def forests(of: Workplace) -> object:
    """As the asset's metadata names them."""
    with of.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("anomaly_scores"))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata["forests"].value


# ── one step ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_what_a_job_says_is_in_the_runs_log(workspace: Workspace, books: Books):
    tried = try_as_job(workspace, books)
    assert tried.fault is None
    assert any("making statements" in line for line in tried.log)


def test_a_new_cluster_has_the_secrets_that_it_names(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    env = environment_of(warehouse)
    warehouse.cluster("other", {}, {"audit/token": env["DATABRICKS_TOKEN"]})
    named = {**env, "DATABRICKS_TOKEN": "{{secrets/audit/token}}"}
    cluster = json.dumps({"num_workers": 0, "spark_env_vars": named})
    assert workspace.job is not None
    new = replace(workspace, job=replace(workspace.job, cluster_id="", cluster=cluster))
    assert try_as_job(new, books).fault is None
    assert env["DATABRICKS_TOKEN"] not in json.dumps(warehouse.jobs()[-1])


def test_a_lost_reply_begins_no_second_run(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    before = len(warehouse.jobs())
    warehouse.fault("Jobs/submit", "reset_after")
    assert try_as_job(workspace, books).fault is None
    assert len(warehouse.jobs()) == before + 1


@pytest.mark.slow
def test_other_schemas_on_the_cluster_are_named(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    """What the job meets itself comes back as the job's own error."""
    warehouse.cluster(CLUSTER, environment_of(warehouse, DATABRICKS_GOLD_SCHEMA="silver"))
    fault = one_line(try_as_job(workspace, books).fault, BadUsage)
    assert "main.silver.audit" in fault
    assert "set them alike" in fault


def test_other_code_on_the_cluster_is_refused(
    workspace: Workspace, books: Books, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(heavy, "makings", lambda: {**job.makings(), "scikit-learn": "0.1"})
    fault = one_line(try_as_job(workspace, books).fault, WarehouseRejected)
    assert "in place of 0.1" in fault
    assert "upload the wheel again" in fault


@pytest.mark.slow
def test_a_cluster_without_the_package(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    uploaded(warehouse, "import no_such_package\n")
    fault = one_line(try_as_job(workspace, books).fault, WarehouseRejected)
    assert "No module named 'no_such_package'" in fault
    assert "docs/databricks.md" in fault


@pytest.mark.slow
def test_a_warehouse_that_the_job_cannot_reach_is_tried_again(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    warehouse.cluster(CLUSTER, {**environment_of(warehouse), "DATABRICKS_HOST": "127.0.0.1:9"})
    fault = one_line(try_as_job(workspace, books).fault, WarehouseUnavailable)
    assert "in a Databricks job: run " in fault


@pytest.mark.slow
def test_a_job_that_says_nothing_is_tried_again(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    """Success is what the job says it has made, not that it ended well."""
    uploaded(warehouse, "")
    one_line(try_as_job(workspace, books).fault, WarehouseUnavailable)


@pytest.mark.slow
def test_a_missing_entry_point(workspace: Workspace, books: Books):
    assert workspace.job is not None
    gone = replace(workspace, job=replace(workspace.job, file="/Workspace/gone.py"))
    fault = one_line(try_as_job(gone, books).fault, WarehouseRejected)
    assert "Cannot read the python file /Workspace/gone.py" in fault


def test_an_unknown_cluster(workspace: Workspace, books: Books):
    assert workspace.job is not None
    gone = replace(workspace, job=replace(workspace.job, cluster_id="gone"))
    fault = one_line(try_as_job(gone, books).fault, WarehouseRejected)
    assert "Cluster gone does not exist" in fault
    assert "DATABRICKS_JOB_CLUSTER_ID" in fault


@pytest.mark.slow
def test_a_refusal_waits_for_a_person(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    warehouse.fault("Jobs/submit", status=403)
    fault = one_line(try_as_job(workspace, books).fault, WarehouseUnauthorised)
    assert "CAN RESTART" in fault
    assert workspace.token not in fault


@pytest.mark.slow
def test_a_service_that_is_away_is_tried_again(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    warehouse.fault("Jobs", status=503, times=1000)
    fault = one_line(try_as_job(workspace, books).fault, WarehouseUnavailable)
    assert "is tried again" in fault


def test_a_cancelled_job_is_not_begun_again(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    uploaded(warehouse, "import time\ntime.sleep(600)\n")
    before = len(warehouse.jobs())

    def cancel_it() -> None:
        until = time.monotonic() + WAIT_SECONDS_MAX
        while len(warehouse.jobs()) == before and time.monotonic() < until:
            time.sleep(0.1)
        jobs.client_of(workspace).jobs.cancel_run(1001 + before)

    person = threading.Thread(target=cancel_it)
    person.start()
    fault = one_line(try_as_job(workspace, books).fault, WarehouseRejected)
    person.join()
    assert "was cancelled" in fault


@pytest.mark.slow
def test_a_run_that_cannot_be_watched_is_cancelled(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse
):
    """It must not make tables for a run worker that has gone."""
    uploaded(warehouse, "import time\ntime.sleep(600)\n")
    warehouse.fault("Jobs/get", status=503, times=1000)
    one_line(try_as_job(workspace, books).fault, WarehouseUnavailable)
    assert warehouse.jobs()[-1]["state"]["result_state"] == "CANCELED"


@pytest.mark.slow
def test_an_interrupted_run_stops(
    workspace: Workspace, books: Books, warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch
):
    """The client of dagster-databricks cancels the job, and would let the run go on."""
    from dagster_databricks.pipes import BasePipesDatabricksClient

    uploaded(warehouse, "import time\ntime.sleep(600)\n")

    def interrupted(*_: object) -> None:
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(BasePipesDatabricksClient, "_poll_til_success", interrupted)
    fault = try_as_job(workspace, books).fault
    assert isinstance(fault, dg.DagsterExecutionInterruptedError)
    assert warehouse.jobs()[-1]["state"]["result_state"] == "CANCELED"


@pytest.mark.slow
def test_what_a_job_has_made_goes_with_the_session(workspace: Workspace):
    with closing(DatabricksWarehouse(workspace)) as opened:
        books = Books(opened, load_rules(rules_text(None)), AUDIT_FROM, AUDIT_TO)
        assert try_as_job(workspace, books).fault is None
        assert f"{opened.prefix}_statements" in left_in_scratch(workspace)
    assert left_in_scratch(workspace) == []
    assert left_in_volume(workspace) == []


# ── settings and health ─────────────────────────────────────────────────────────────────────────


def test_health_names_what_is_not_there(workspace: Workspace):
    where = workspace.job
    assert where is not None
    assert jobs.check_jobs_health(workspace, where).is_well
    for wrong in (
        replace(where, cluster_id="gone"),
        replace(where, file="/Workspace/gone.py"),
        replace(where, volume="/Volumes/of/others"),
    ):
        found = jobs.check_jobs_health(workspace, wrong)
        assert not found.is_well
        assert "\n" not in found.said


def test_few_rows_need_no_job(place: Workplace, books: Books):
    from audit_pipeline.resources import DatabricksGold

    workspace = place.settings.workspace
    assert workspace is not None
    assert workspace.job is not None
    rows = sum(file.rows_kept for file in books.warehouse.state.files)
    for from_rows, is_job in ((rows, True), (rows + 1, False)):
        limited = replace(workspace, job=replace(workspace.job, from_rows=from_rows))
        gold = DatabricksGold.of(limited, data_dir=str(place.data_dir))
        with gold.process_config_and_initialize_cm() as opened:
            found = opened.elsewhere(None, books)  # pyright: ignore[reportArgumentType]
        assert (found is not None) is is_job


def test_every_wrong_setting_is_named():
    env = {
        "ENVIRONMENT": "staging",
        "DATABRICKS_HOST": "h",
        "DATABRICKS_WAREHOUSE_ID": "w",
        "DATABRICKS_TOKEN": "t",
        "DATABRICKS_CATALOG": "c",
    }
    assert Settings.workspace_of(env).job is None
    env |= {"DATABRICKS_JOB_CLUSTER": "[1]", "DATABRICKS_JOB_FROM_ROWS": "many"}
    with pytest.raises(BadUsage) as caught:
        Settings.workspace_of(env | {"DATABRICKS_JOB_CLUSTER_ID": "one"})
    for name in ("CLUSTER_ID", "CLUSTER: a JSON", "FILE", "VOLUME", "FROM_ROWS"):
        assert f"DATABRICKS_JOB_{name}" in str(caught.value)


def one_line(fault: BaseException | None, kind: type[Exception]) -> str:
    """What it says; of exactly this kind, which decides whether it is tried again."""
    assert type(fault) is kind, repr(fault)
    assert "\n" not in str(fault)
    return str(fault)
