"""Runs whose processes are gone: which are failed, which are left, and what becomes of their days.

Also the other side of it: an audit that finds its days held by a live run waits for them.
"""

import datetime as dt
import logging
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from audit_pipeline import reaper
from audit_pipeline.adapters import process
from audit_pipeline.adapters.store import Store, attempts
from audit_pipeline.reaper import WORKER_TAG, reap
from audit_pipeline.resources import AuditStore, close_books
from audit_pipeline_tests.adapters.test_attempts import ELSEWHERE, MONDAY, Clock, begin, bid, ends
from audit_pipeline_tests.environment import (
    QUIET,
    Command,
    Workplace,
    day,
    tags_of,
    why_not,
)

AUDITED_ON = day("2025-01-06")
"""A day before which there is too little to train a forest on: an audit of it is short."""

FAILED, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance(workplace: Workplace) -> Iterator[dg.DagsterInstance]:
    with workplace.instance() as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    """Noon of a day long ago: what is written by it was written long before `reap` looks."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'data' / 'audit.sqlite'}", clock=clock) as opened:
        yield opened


def started(
    instance: dg.DagsterInstance,
    worker: str | None = None,
    status: dg.DagsterRunStatus = STARTED,
    root: str | None = None,
    *,
    named: str | None = None,
) -> str:
    """A run that Dagster takes for running; its id.

    Args:
        worker: the process that its tag names.
        named: the run that its tag names, where that is another one.
    """
    run_id = str(uuid.uuid4())
    tags = {} if worker is None else {WORKER_TAG: f"{named or run_id} {worker}"}
    create_run_for_test(
        instance,
        "daily_audit",
        run_id=run_id,
        status=status,
        tags=tags,
        root_run_id=root,
        parent_run_id=root,
    )
    return run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def workflow(store: Store, run_id: str) -> str:
    return store.restore_workflow_state(run_id)["workflow_status"]


def failure_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the run's log says of its failure."""
    (record,) = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.RUN_FAILURE
    ).records
    event = record.event_log_entry.dagster_event
    assert event is not None
    return event.message or ""


# ── lost runs ───────────────────────────────────────────────────────────────────────────────────


def test_a_retry_is_not_judged_by_its_parents_process(
    instance: dg.DagsterInstance, store: Store, nobody: str
) -> None:
    """It has its parent's tags, so also the one that names a process that is gone."""
    parent = started(instance, nobody)
    retry = started(instance, nobody, root=parent, named=parent)
    assert [line.split()[1] for line in reap(instance, store)] == [parent[:8]]
    assert status_of(instance, retry) is STARTED


@pytest.mark.parametrize("status", reaper.LOOKED_AT)
def test_a_run_whose_process_is_gone_is_failed(
    instance: dg.DagsterInstance, store: Store, nobody: str, status: dg.DagsterRunStatus
) -> None:
    """Its log names the process, its workflow has failed, its days are free for another audit."""
    run_id = started(instance, nobody, status)
    store.save_workflow_state(run_id, {"workflow_status": "in_progress", "population": "acme"})
    begin(store, bid(run_id))
    assert reap(instance, store) == [f"run {run_id[:8]} was lost: its process {nobody} is gone"]
    assert status_of(instance, run_id) is FAILED
    assert failure_of(instance, run_id) == f"The run is lost: its process {nobody} is gone."
    assert workflow(store, run_id) == "failed"
    assert store.restore_workflow_state(run_id)["population"] == "acme"
    assert attempts.held(store) == []
    assert begin(store, bid("another")).epoch == 2
    assert reap(instance, store) == [], "it is found once"


def test_a_run_whose_process_is_there_is_left(instance: dg.DagsterInstance, store: Store) -> None:
    run_id = started(instance, process.holder())
    store.save_workflow_state(run_id, {"workflow_status": "in_progress"})
    asked = bid(run_id)
    attempt = begin(store, asked)
    ends(store, asked)
    assert reap(instance, store) == []
    assert status_of(instance, run_id) is STARTED
    assert workflow(store, run_id) == "in_progress"
    assert attempts.held(store) == [attempt]


def test_a_run_without_a_process_that_is_starting_is_left(
    instance: dg.DagsterInstance, store: Store, clock: Clock
) -> None:
    """Dagster's own run monitoring has a timeout for these; the same run, once started, is lost."""
    run_id = started(instance, status=dg.DagsterRunStatus.STARTING)
    begin(store, bid(run_id, holder=ELSEWHERE))
    assert reap(instance, store) == []
    assert status_of(instance, run_id) is dg.DagsterRunStatus.STARTING


def test_a_run_whose_step_is_silent_is_failed(
    instance: dg.DagsterInstance, store: Store, clock: Clock
) -> None:
    """By the name of the step, on whatever machine it was; not one whose step says that it is."""
    silent, heard = started(instance), started(instance)
    begin(store, bid(silent, holder=ELSEWHERE))
    clock.now = dt.datetime.now(dt.UTC)
    wednesday = MONDAY + dt.timedelta(days=2)
    at_work = begin(
        store, bid(heard, holder=ELSEWHERE, step_key="matches", from_on=wednesday, to_on=wednesday)
    )
    (said,) = reap(instance, store)
    why = f"step flags was last seen at 12:00:00 UTC, in process {ELSEWHERE}"
    assert said == f"run {silent[:8]} was lost: {why}"
    assert failure_of(instance, silent) == f"The run is lost: {why}."
    assert (status_of(instance, silent), status_of(instance, heard)) == (FAILED, STARTED)
    assert attempts.held(store) == [at_work]


@pytest.mark.parametrize(("minutes", "lost"), [(14, False), (16, True)])
def test_a_run_between_two_steps_is_lost_when_dagster_hears_nothing_of_it(
    instance: dg.DagsterInstance, store: Store, minutes: int, *, lost: bool
) -> None:
    """As long as its last event says, not its creation."""
    run_id = started(instance)
    at = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes)
    for heard_at in (at - dt.timedelta(hours=1), at):
        instance.handle_new_event(
            dg.EventLogEntry(
                error_info=None,
                user_message="waiting for a worker",
                level=logging.INFO,
                run_id=run_id,
                timestamp=heard_at.timestamp(),
            )
        )
    said = reap(instance, store)
    assert said == (
        [f"run {run_id[:8]} was lost: nothing was heard of it for 15 minutes"] if lost else []
    )
    assert (status_of(instance, run_id) is FAILED) is lost


def test_a_run_without_events_is_not_lost_yet(instance: dg.DagsterInstance, store: Store) -> None:
    """Nothing says since when it is silent."""
    run_id = started(instance)
    assert instance.get_records_for_run(run_id).records == []
    assert reap(instance, store) == []
    assert status_of(instance, run_id) is STARTED


def test_a_run_that_ends_while_it_is_looked_at_is_not_lost(
    instance: dg.DagsterInstance, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is gone because it has ended well; success is not overwritten."""
    run_id = started(instance, process.holder())
    store.save_workflow_state(run_id, {"workflow_status": "completed"})

    def ends_just_now(worker: str) -> bool:
        instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "daily_audit"), run_id
        )
        return True

    monkeypatch.setattr(reaper, "is_gone", ends_just_now)
    assert reap(instance, store) == []
    assert status_of(instance, run_id) is dg.DagsterRunStatus.SUCCESS


# ── what becomes of the workflow and of the days ────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("in_progress", "failed"),
        ("paused", "failed"),
        ("completed", "completed"),
        ("failed", "failed"),
        (None, None),
    ],
)
def test_a_workflow_fails_with_its_run_unless_it_has_ended(
    instance: dg.DagsterInstance,
    store: Store,
    nobody: str,
    was: str | None,
    becomes: str | None,
) -> None:
    """The workflow is that of the root run, also where a re-execution of it is lost."""
    root = started(instance, status=FAILED)
    if was is not None:
        store.save_workflow_state(root, {"workflow_status": was})
    lost = started(instance, nobody, root=root)
    assert len(reap(instance, store)) == 1
    assert status_of(instance, lost) is FAILED
    assert store.restore_workflow_state(root).get("workflow_status") == becomes
    assert store.restore_workflow_state(lost) == {}


@pytest.mark.parametrize("ended", [FAILED, dg.DagsterRunStatus.SUCCESS])
def test_the_days_of_a_run_that_has_ended_are_given_back(
    instance: dg.DagsterInstance, store: Store, ended: dg.DagsterRunStatus
) -> None:
    """Nothing is said of it; what another Dagster runs, and what runs, keeps its days."""
    wednesday = MONDAY + dt.timedelta(days=2)
    friday = MONDAY + dt.timedelta(days=4)
    begin(store, bid(started(instance, status=ended)))
    runs = begin(
        store, bid(started(instance, process.holder()), from_on=wednesday, to_on=wednesday)
    )
    ends(store, bid(runs.dagster_run_id))
    unknown = begin(store, bid(str(uuid.uuid4()), from_on=friday, to_on=friday))
    assert reap(instance, store) == []
    assert attempts.held(store) == [runs, unknown]


# ── who looks ───────────────────────────────────────────────────────────────────────────────────


def test_the_sensor_says_what_it_did(
    workplace: Workplace, instance: dg.DagsterInstance, store: Store, nobody: str
) -> None:
    url = f"sqlite:///{workplace.data_dir / 'audit.sqlite'}"
    sensor = workplace.definitions.resolve_sensor_def("lost_audits")

    def looks() -> str | None:
        with dg.build_sensor_context(
            instance=instance, resources={"store": AuditStore(url=url)}
        ) as context:
            return sensor.evaluate_tick(context).skip_message

    assert looks() == "every run that is under way has its processes"
    run_id = started(instance, nobody)
    assert looks() == f"run {run_id[:8]} was lost: its process {nobody} is gone"
    assert status_of(instance, run_id) is FAILED
    assert looks() == "every run that is under way has its processes"


def test_an_audit_looks_before_it_begins(
    command: Command, workplace: Workplace, instance: dg.DagsterInstance, store: Store, nobody: str
) -> None:
    """By the command line there is no daemon: the next audit of the day finds what was killed."""
    lost = started(instance, nobody)
    store.save_workflow_state(lost, {"workflow_status": "in_progress"})
    begin(store, bid(lost, population="small company", from_on=AUDITED_ON, to_on=AUDITED_ON))
    ended = command(
        "audit", "--fixtures", workplace.fixtures, "--data", workplace.data_dir,
        "--from", AUDITED_ON, "--to", AUDITED_ON,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert status_of(instance, lost) is FAILED
    assert workflow(store, lost) == "failed"
    assert attempts.held(store) == []
    assert [run.workflow_status for run in store.runs(status="completed")] == ["completed"]


# ── days that a live run holds ──────────────────────────────────────────────────────────────────


class Watched:
    """A run of the whole job, and what a person sees at its events."""

    def __init__(self, place: Workplace, instance: dg.DagsterInstance, store: Store) -> None:
        self.place, self.instance, self.store = place, instance, store
        self.run_id = str(uuid.uuid4())
        self.counts: Counter[str] = Counter()
        self.held_at_the_end_of: dict[str, list[str]] = {}
        self.workflow_while_waiting: list[str] = []
        self.waited_for: list[str] = []

    def event(self, entry: dg.EventLogEntry) -> None:
        happened = entry.dagster_event
        if happened is None:
            return
        self.counts[happened.event_type_value] += 1
        if happened.event_type_value == "STEP_SUCCESS":
            holders = [attempt.dagster_run_id for attempt in attempts.held(self.store)]
            self.held_at_the_end_of[str(happened.step_key)] = holders
        elif happened.event_type_value == "STEP_UP_FOR_RETRY":
            self.workflow_while_waiting.append(workflow(self.store, self.run_id))
            error = happened.step_retry_data.error
            assert error is not None
            assert error.cause is not None
            self.waited_for.append(error.cause.message)
            if self.counts["STEP_UP_FOR_RETRY"] == 2:
                with self.store.writing() as writer:
                    attempts.release(writer, "live")

    def audit(self, *selected: str) -> dg.ExecuteInProcessResult:
        self.instance.add_event_listener(self.run_id, self.event)
        try:
            return self.place.definitions.resolve_job_def("daily_audit").execute_in_process(
                instance=self.instance,
                run_id=self.run_id,
                raise_on_error=False,
                run_config=QUIET,
                tags=tags_of(AUDITED_ON, AUDITED_ON),
                asset_selection=[dg.AssetKey(name) for name in selected] or None,
            )
        finally:
            close_books()


def test_an_audit_waits_for_the_days_that_a_live_run_holds(
    workplace: Workplace,
    instance: dg.DagsterInstance,
    store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first step is tried again and says so; it gives its own days back when it closes."""
    first = workplace.definitions.get_assets_def(dg.AssetKey("quality_report")).op
    assert first.retry_policy is not None
    at_once = dg.RetryPolicy(max_retries=first.retry_policy.max_retries, delay=0)
    monkeypatch.setattr(first, "_retry_policy", at_once)
    clock.now = dt.datetime.now(dt.UTC)
    population = "small company"
    begin(store, bid("live", population=population, from_on=AUDITED_ON, to_on=AUDITED_ON))
    watched = Watched(workplace, instance, store)
    result = watched.audit()
    assert result.success, why_not(result)
    assert watched.counts["STEP_UP_FOR_RETRY"] == 2
    assert watched.workflow_while_waiting == ["paused", "paused"]
    for said in watched.waited_for:
        assert "PartitionBusy" in said
        assert "2025-01-06 of small company are being audited by run live" in said
    assert watched.held_at_the_end_of["flags"] == [watched.run_id]
    assert watched.held_at_the_end_of["audit_log"] == []
    assert workflow(store, watched.run_id) == "completed"
    again = Watched(workplace, instance, store)
    assert again.audit("quality_report").success
    assert again.counts["STEP_UP_FOR_RETRY"] == 0
