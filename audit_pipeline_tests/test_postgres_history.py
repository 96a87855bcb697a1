"""The production instance on a real Postgres: what it keeps, and that it is the stock tables."""

import datetime as dt
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._serdes import pack_value
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy import create_engine, make_url, text

from audit_pipeline.postgres_history import PostgresHistory
from audit_pipeline.resources import close_books
from audit_pipeline_tests.environment import QUIET, ROOT, Workplace, day, tags_of, why_not

pytestmark = pytest.mark.postgres

FROM, TO = day("2025-03-31"), day("2025-04-01")
TABLES = ("event_logs", "asset_event_tags", "asset_keys")


@contextmanager
def _instance(home: Path, url: str) -> Iterator[dg.DagsterInstance]:
    """The instance of `deploy/dagster.yaml` over that database."""
    home.mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "deploy" / "dagster.yaml", home / "dagster.yaml")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", str(home))
        patched.setenv("DAGSTER_POSTGRES_URL", url)
        with dg.DagsterInstance.get() as instance:
            yield instance


def _audited(place: Workplace, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    try:
        return place.definitions.resolve_job_def("daily_audit").execute_in_process(
            instance=instance, raise_on_error=False, run_config=QUIET, tags=tags_of(FROM, TO)
        )
    finally:
        close_books()


def test_a_run_is_read_back_from_postgres(workplace: Workplace, postgres_url: str):
    """Run, events and materializations, by an instance that has not seen them happen."""
    home = workplace.home / "home"
    with _instance(home, postgres_url) as instance:
        result = _audited(workplace, instance)
        assert result.success, why_not(result)
    with _instance(home, postgres_url) as instance:
        (run,) = instance.get_runs()
        assert (run.run_id, run.status) == (result.run_id, dg.DagsterRunStatus.SUCCESS)
        kinds = Counter(
            entry.dagster_event.event_type_value
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event
        )
        assert kinds["STEP_SUCCESS"] == 18
        assert kinds["ASSET_MATERIALIZATION"] == 12 * 2
        assert kinds["ASSET_MATERIALIZATION_PLANNED"] == 12 * 2
        assert kinds["ASSET_CHECK_EVALUATION"] == 6
        assert instance.get_materialized_partitions(dg.AssetKey("flags")) == {str(FROM), str(TO)}
        event = instance.get_latest_materialization_event(dg.AssetKey("flags"))
        assert event is not None
        assert event.asset_materialization is not None
        assert "dagster/row_count" in event.asset_materialization.metadata
    assert not (home / "history").exists(), "nothing is kept in files"
    assert not (home / "schedules").exists()


def test_the_tables_are_those_of_the_stock_storage(
    workplace: Workplace, postgres_url: str, postgres_server: Any
):
    """The same events, told one by one to Dagster's own class, leave the same rows."""
    with _instance(workplace.home / "home", postgres_url) as instance:
        result = _audited(workplace, instance)
        assert result.success, why_not(result)
        entries = instance.all_logs(result.run_id)
    ours = _rows(postgres_url)
    stock = PostgresEventLogStorage.create_clean_storage(postgres_url)
    for entry in entries:
        stock.store_event(entry)
    assert _rows(postgres_url) == ours
    assert all(ours.values())


def _rows(url: str) -> dict[str, list[Any]]:
    """Without what numbers them: the order in which events of one batch stand may differ."""
    said = {
        "event_logs": "SELECT run_id, event, dagster_event_type, step_key, asset_key, partition"
        " FROM event_logs ORDER BY event",
        "asset_event_tags": "SELECT asset_key, key, value, count(*) FROM asset_event_tags"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        "asset_keys": "SELECT asset_key, last_run_id, last_materialization IS NULL"
        " FROM asset_keys ORDER BY 1",
    }
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {name: [tuple(r) for r in connection.execute(text(q))] for name, q in said.items()}
    engine.dispose()
    return found


def test_a_schedule_that_is_turned_on_stays_on(workplace: Workplace, postgres_url: str):
    home = workplace.home / "home"
    schedule = workplace.definitions.resolve_schedule_def("daily_audit_schedule")
    with _instance(home, postgres_url) as instance:
        storage = instance.schedule_storage
        assert storage is not None
        origin, began_at = _origin(schedule.name), dt.datetime.now(dt.UTC).timestamp()
        storage.add_instigator_state(
            InstigatorState(
                origin,
                InstigatorType.SCHEDULE,
                InstigatorStatus.RUNNING,
                ScheduleInstigatorData(str(schedule.cron_schedule), began_at),
            )
        )
    with _instance(home, postgres_url) as instance:
        (state,) = instance.all_instigator_state()
        assert (state.name, state.status) == (schedule.name, InstigatorStatus.RUNNING)


def _origin(name: str) -> RemoteInstigatorOrigin:
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    target = LoadableTargetOrigin(
        executable_path=sys.executable, module_name="audit_pipeline.definitions"
    )
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, "audit_pipeline.definitions")
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)


def test_dagster_migrates_it(workplace: Workplace, postgres_url: str):
    """`dagster instance migrate`, which an upgrade of Dagster asks for, runs on it."""
    home = workplace.home / "home"
    with _instance(home, postgres_url):
        pass
    ended = subprocess.run(
        [sys.executable, "-m", "dagster", "instance", "migrate"],
        env=os.environ | {"DAGSTER_HOME": str(home), "DAGSTER_POSTGRES_URL": postgres_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    for kept in ("run_storage", "event_log_storage", "schedule_storage"):
        assert f"{kept}:\n    current: " in ended.stdout, ended.stdout


def test_a_bare_postgres_address_is_psycopg2(workplace: Workplace, postgres_url: str):
    bare = make_url(postgres_url).set(drivername="postgresql").render_as_string(False)
    assert bare.startswith("postgresql://")
    with _instance(workplace.home / "home", bare) as instance:
        assert instance.get_runs() == []
        assert instance.event_log_storage._engine.driver == "psycopg2"  # pyright: ignore[reportAttributeAccessIssue]


def test_what_workers_are_told_holds_no_password(workplace: Workplace, postgres_url: str):
    """An instance travels to a worker as its configuration: with the variable, not its value."""
    password = make_url(postgres_url).password
    assert password
    with _instance(workplace.home / "home", postgres_url) as instance:
        told = repr(pack_value(instance.get_ref()))
    assert PostgresHistory.__name__ in told
    assert "DAGSTER_POSTGRES_URL" in told
    assert password not in told


def test_one_pool_serves_every_instance_of_a_process(workplace: Workplace, postgres_url: str):
    home = workplace.home / "home"
    with _instance(home, postgres_url) as one, _instance(home, postgres_url) as other:
        engines = {
            id(storage._engine)  # pyright: ignore[reportAttributeAccessIssue]
            for instance in (one, other)
            for storage in (instance.run_storage, instance.event_log_storage)
        }
    assert len(engines) == 1


def test_what_is_killed_is_run_again_and_what_fails_is_not(workplace: Workplace, postgres_url: str):
    with _instance(workplace.home / "home", postgres_url) as instance:
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 7200
        assert not instance.telemetry_enabled
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        limited = {limit["key"]: limit["limit"] for limit in queue.tag_concurrency_limits}
        assert limited["dagster/partition"] == 1
