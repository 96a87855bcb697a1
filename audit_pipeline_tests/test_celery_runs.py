"""Runs over two workers, with the production instance: a worker is killed, the audit ends."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Table, select

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import AUDIT_STEPS, FINDINGS, FLAGS
from audit_pipeline_tests import redis_server
from audit_pipeline_tests.environment import DAYS, ROOT, VOLATILE, Row, Workplace, tags_of
from audit_pipeline_tests.postgres import PostgresServer
from audit_pipeline_tests.processes import child, end, workers
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

SECONDS_MAX = 280
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass
class Site:
    """Two workers and a daemon on one machine, each a process of its own."""

    environment: dict[str, str]
    log: Path
    workers: "list[subprocess.Popen[bytes]]"

    def launch(self) -> None:
        """One run over all days, queued as the web interface queues it."""
        arguments = [sys.executable, "-m", "dagster", "job", "launch", "-w", "workspace.yaml"]
        arguments += ["-j", "daily_audit", "--tags", json.dumps(tags_of(AUDIT_FROM, AUDIT_TO))]
        with child(arguments, self.log / "launch.log", self.environment) as launched:
            assert launched.wait(120) == 0, (self.log / "launch.log").read_text()


@pytest.fixture
def site(
    tmp_path: Path, small_books: Path, postgres_server: PostgresServer
) -> Iterator[Callable[[], Site]]:
    """A site over the small company, with databases of its own."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "deploy" / "dagster.yaml", home)
    names = [f"{name}_{tmp_path.name[-40:].replace('-', '_')}" for name in ("history", "store")]
    with closing(postgres_server.connect()) as admin, admin.cursor() as cursor:
        for name in names:
            cursor.execute(f'CREATE DATABASE "{name}"')
    history, store = map(postgres_server.url, names)
    with ExitStack() as stack:
        environment = DAYS | {
            "AUDIT_EXECUTOR": "celery",
            "AUDIT_BROKER_URL": stack.enter_context(redis_server.running()).url,
            "AUDIT_FIXTURES": str(small_books),
            "AUDIT_DATA_DIR": str(tmp_path / "data"),
            "AUDIT_STORE_URL": store,
            "DAGSTER_HOME": str(home),
            "DAGSTER_POSTGRES_URL": history,
        }

        def opened() -> Site:
            started = stack.enter_context(workers(2, tmp_path, environment))
            daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
            stack.enter_context(child(daemon, tmp_path / "daemon.log", environment))
            return Site(environment, tmp_path, started)

        yield opened
    with closing(postgres_server.connect()) as admin, admin.cursor() as cursor:
        for name in names:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


@pytest.fixture
def instance(
    site: Callable[[], Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Site, dg.DagsterInstance]]:
    running = site()
    for name, value in running.environment.items():
        if name.startswith("DAGSTER_"):
            monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as found:
        yield running, found


def _until(what: str, found: Callable[[], Any], log: Path) -> Any:
    deadline = time.monotonic() + SECONDS_MAX
    while not (value := found()):
        daemon = (log / "daemon.log").read_text(errors="replace")[-6000:]
        assert time.monotonic() < deadline, f"not within {SECONDS_MAX} s: {what}\n{daemon}"
        time.sleep(0.2)
    return value


def _ended(instance: dg.DagsterInstance, number: int) -> "list[dg.DagsterRun] | None":
    """All runs, first to last, when there are that many and all have ended."""
    runs = list(reversed(instance.get_runs()))
    done = len(runs) >= number and all(run.status in ENDED for run in runs)
    return runs if done else None


def _workers_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """Step → the worker that began it, as the run's events say."""
    found: dict[str, str] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.get_dagster_event()
        if event.step_key and (said := event.engine_event_data.metadata.get("Celery worker")):
            found[event.step_key] = str(said.value)
    return found


def _kept(url: str, table: Table, without: tuple[str, ...]) -> list[Row]:
    with Store.open(url) as store, store.reading() as connection:
        rows = [dict(row) for row in connection.execute(select(table)).mappings()]
    return sorted(({k: v for k, v in r.items() if k not in without} for r in rows), key=repr)


def _same_as(audited: Workplace, url: str) -> None:
    alone = audited.settings.store_url
    assert _kept(url, FLAGS, VOLATILE) == _kept(alone, FLAGS, VOLATILE)
    assert _kept(url, FINDINGS, ("query_id",)) == _kept(alone, FINDINGS, ("query_id",))
    assert _kept(url, FLAGS, VOLATILE)


def test_two_workers_do_one_audit(
    instance: tuple[Site, dg.DagsterInstance], audited: Workplace, tmp_path: Path
):
    """Undisturbed: both take steps, and the flags are those of one process."""
    site, dagster = instance
    site.launch()
    (run,) = _until("the run ends", lambda: _ended(dagster, 1), tmp_path)
    assert run.status == dg.DagsterRunStatus.SUCCESS
    names = {worker.split("@")[0] for worker in _workers_of(dagster, run.run_id).values()}
    assert names == {"one", "two"}
    _same_as(audited, site.environment["AUDIT_STORE_URL"])


def test_a_killed_worker_does_not_end_the_audit(
    instance: tuple[Site, dg.DagsterInstance],
    audited: Workplace,
    tmp_path: Path,
    postgres_server: PostgresServer,
):
    """The run is found lost, its process ends, the daemon resumes it, and nothing is different."""
    site, dagster = instance
    store_url = site.environment["AUDIT_STORE_URL"]
    with Store.open(store_url):
        pass  # its tables are there
    database = store_url.rsplit("/", 1)[1]
    with closing(postgres_server.connect(database)) as holding, holding.cursor() as cursor:
        # Whoever takes escalated_flags reads findings, and stands still until it is killed.
        holding.autocommit = False
        cursor.execute("LOCK TABLE findings IN ACCESS EXCLUSIVE MODE")
        site.launch()
        (run,) = _until("a run is there", dagster.get_runs, tmp_path)
        held = "escalated_flags"
        name = _until(
            f"{held} begins", lambda: _workers_of(dagster, run.run_id).get(held), tmp_path
        )
        _until(f"{held} is at work", lambda: _at_work(store_url, held), tmp_path)
        killed = site.workers[("one", "two").index(name.split("@")[0])]
        end(killed, signal.SIGKILL)
        holding.rollback()
    failed, resumed = _until("the runs end", lambda: _ended(dagster, 2), tmp_path)
    assert (failed.status, resumed.status) == (
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.SUCCESS,
    )
    assert resumed.root_run_id == failed.run_id
    [why] = dagster.all_logs(failed.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "escalated_flags was last seen" in str(why.get_dagster_event().message)
    assert held not in {
        entry.get_dagster_event().step_key
        for entry in dagster.all_logs(failed.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    }
    again = _workers_of(dagster, resumed.run_id)
    assert held in again
    assert "matches" not in again, "what was done before is kept"
    assert {worker.split("@")[0] for worker in again.values()} == {"one", "two"} - {
        name.split("@")[0]
    }
    _same_as(audited, store_url)
    _until("the failed run's process ends", lambda: _gave_up(dagster, failed.run_id), tmp_path)


def _at_work(store_url: str, step_key: str) -> bool:
    """Whether the step has said that it began."""
    with Store.open(store_url) as store, store.reading() as connection:
        rows = connection.execute(
            select(AUDIT_STEPS.c.holder).where(
                AUDIT_STEPS.c.step_key == step_key, AUDIT_STEPS.c.ended_at.is_(None)
            )
        )
        return rows.first() is not None


def _gave_up(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run's own process has ended, instead of waiting for a step that is lost."""
    said = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return any("interrupted for a run that was already" in entry.message for entry in said)
