"""Dagster's event log as we keep it says what the stock one says, sooner."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from audit_pipeline.run_history import RunHistory
from audit_pipeline_tests.environment import ROOT, Workplace, day, why_not

FROM, TO = day("2025-03-31"), day("2025-04-01")
DAYS = {str(FROM), str(TO)}
KEY = dg.AssetKey("thing")
THREADS, BATCHES, BATCH = 4, 12, 5


@pytest.fixture(scope="module")
def ours(small_books: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Two days audited in one run, recorded by RunHistory."""
    place = Workplace(tmp_path_factory.mktemp("ours"), small_books)
    with place.instance() as instance:
        assert isinstance(instance.event_log_storage, RunHistory)
        result = place.audit(instance, FROM, TO)
        assert result.success, why_not(result)
    return place


@pytest.fixture(scope="module")
def stock(
    ours: Workplace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    """An instance of Dagster's own making, which was told the same events one by one."""
    home = tmp_path_factory.mktemp("stock")
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with ours.instance() as instance:
        (run,) = instance.get_runs()
        entries = instance.all_logs(run.run_id)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as told:
            assert type(told.event_log_storage) is not RunHistory
            for entry in entries:
                told.event_log_storage.store_event(entry)
            yield told


def _said(entries: Any) -> list[str]:
    return sorted(dg.serialize_value(entry) for entry in entries)


def _by_partition(tags: Any) -> list[list[tuple[str, str]]]:
    return sorted(sorted(each.items()) for each in tags)


def test_the_stock_log_says_the_same(ours: Workplace, stock: dg.DagsterInstance):
    graph = ours.definitions.resolve_asset_graph()
    with ours.instance() as instance:
        # the log of the run
        (run,) = instance.get_runs()
        log = _said(instance.all_logs(run.run_id))
        assert len(log) > 100
        assert log == _said(stock.all_logs(run.run_id))
        # the state of every asset
        assert instance.get_asset_keys() == stock.get_asset_keys()
        keys = sorted(graph.materializable_asset_keys)
        for key in keys:
            assert instance.get_materialized_partitions(key) == DAYS
            assert stock.get_materialized_partitions(key) == DAYS
            mine, theirs = (
                [r.event_log_entry for r in each.fetch_materializations(key, limit=100).records]
                for each in (instance, stock)
            )
            assert _said(mine) == _said(theirs)
            assert instance.get_latest_materialization_event(key) in mine
            tags, their_tags = (
                each.event_log_storage.get_event_tags_for_asset(key) for each in (instance, stock)
            )
            assert _by_partition(tags) == _by_partition(their_tags)
        records = instance.get_asset_records(keys)
        assert [r.asset_entry.last_run_id for r in records] == [run.run_id] * len(keys)
        # the evaluations of every check
        checks = list(graph.asset_check_keys)
        mine, theirs = (
            each.event_log_storage.get_latest_asset_check_execution_by_key(checks)
            for each in (instance, stock)
        )
        assert mine.keys() == theirs.keys() == set(checks)
        assert [mine[c].status for c in checks] == [theirs[c].status for c in checks]
        assert [mine[c].event for c in checks] == [theirs[c].event for c in checks]


def test_another_process_reads_it(ours: Workplace):
    reader = (
        "import dagster as dg\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    print(*sorted(instance.get_materialized_partitions(dg.AssetKey('flags'))))\n"
    )
    with ours.instance() as still_open:
        assert still_open.get_materialized_partitions(dg.AssetKey("flags"))
        shown = subprocess.run(
            [sys.executable, "-c", reader],
            env={"DAGSTER_HOME": str(ours.home / "dagster_home"), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert shown.stdout.split() == sorted(DAYS)


# ── many writers ────────────────────────────────────────────────────────────────────────────────


def _entry(run_id: str, number: int) -> dg.EventLogEntry:
    partition = f"{run_id}/{number}"
    # the only tag that Dagster keeps an index of
    tags = {"dagster/data_version": partition}
    materialised = dg.AssetMaterialization(KEY, partition=partition, tags=tags)
    return dg.EventLogEntry(
        error_info=None,
        level=10,
        user_message="",
        run_id=run_id,
        timestamp=1_700_000_000.0 + number,
        step_key="step",
        job_name="job",
        dagster_event=dg.DagsterEvent(
            dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            "job",
            step_key="step",
            event_specific_data=StepMaterializationData(materialised),
        ),
    )


def _write(storage: SqliteEventLogStorage, run_id: str) -> None:
    for batch in range(BATCHES):
        numbers = range(batch * BATCH, (batch + 1) * BATCH)
        storage.store_event_batch([_entry(run_id, number) for number in numbers])


@pytest.mark.parametrize("shared", [True, False], ids=["one object", "as in several processes"])
def test_writers_at_the_same_time(tmp_path: Path, shared: bool):  # noqa: FBT001 — a parameter
    """None is lost, none fails, and each tag stands with the event that it was written with."""
    first = RunHistory(str(tmp_path))
    storages = [first if shared else RunHistory(str(tmp_path)) for _ in range(THREADS)]
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            _write(storages[number], f"run_{number}")
        except BaseException as fault:  # noqa: BLE001 — a thread's own failure is silent
            failed.append(fault)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    assert len(first.get_materialized_partitions(KEY)) == THREADS * BATCHES * BATCH
    for number in range(THREADS):
        assert len(first.get_logs_for_run(f"run_{number}")) == BATCHES * BATCH
    for storage in {id(storage): storage for storage in storages}.values():
        storage.dispose()
    with closing(sqlite3.connect(tmp_path / "index.db")) as index:
        pairs = index.execute(
            "SELECT partition, value FROM event_logs"
            " JOIN asset_event_tags ON asset_event_tags.event_id = event_logs.id"
        ).fetchall()
    assert len(pairs) == THREADS * BATCHES * BATCH
    assert [pair for pair in pairs if pair[0] != pair[1]] == []


def test_more_runs_than_files_are_kept_open(tmp_path: Path):
    storage = RunHistory(str(tmp_path))
    runs = [f"run_{number}" for number in range(12)]
    for run_id in runs:
        storage.store_event_batch([_entry(run_id, 0), _entry(run_id, 1)])
    assert [len(storage.get_logs_for_run(run_id)) for run_id in runs] == [2] * 12
    assert len(list(tmp_path.glob("run_*.db"))) == 12
    storage.dispose()
