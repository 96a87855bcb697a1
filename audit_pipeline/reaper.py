"""Runs that Dagster takes for running although their processes are gone.

A run whose process is killed stays STARTED: the launcher of a single machine does not look after
it, and `max_runtime_seconds` is hours away. Who audits by the command line meets such a run at its
next start, the daemon's sensor twice a minute; it is marked as failed, so that its days are free
and Dagster's run retries, or a person, re-execute it from where it failed.
"""

import datetime as dt

import dagster as dg

from audit_pipeline.adapters.process import holder, is_gone
from audit_pipeline.adapters.store import Store, attempts

WORKER_TAG = "audit/worker"
"""Which run is executed by which process; see `executed_here`."""

LOOKED_AT = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def executed_here(run_id: str) -> dict[str, str]:
    """The tag that says that this process executes a run.

    With the run's id in it, because a re-execution has its parent's tags.
    """
    return {WORKER_TAG: f"{run_id} {holder()}"}


def reap(instance: dg.DagsterInstance, store: Store) -> list[str]:
    """Mark lost runs as failed, and give back the days of runs that have ended.

    Returns:
        A line for each run that was marked.
    """
    now = dt.datetime.now(dt.UTC)
    said: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=LOOKED_AT)):
        why = _why_lost(instance, store, run, now)
        if why is None or _has_ended(instance, run.run_id):
            continue
        instance.report_run_failed(run, f"The run is lost: {why}.")
        close_workflow(store, run)
        said.append(f"run {run.run_id[:8]} was lost: {why}")
    for attempt in attempts.held(store):
        run = instance.get_run_by_id(attempt.dagster_run_id)
        if run is not None and run.is_finished:
            with store.writing("release") as writer:
                attempts.release(writer, attempt.dagster_run_id)
    return said


def close_workflow(store: Store, run: dg.DagsterRun) -> None:
    """Mark the workflow of a run that failed as failed, unless it had ended or goes on."""
    with store.writing("failed") as writer:
        attempts.failed(writer, run.root_run_id or run.run_id, run.run_id)


def _has_ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether it has, since it was listed: its process is gone for that, and nothing is lost."""
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def _why_lost(
    instance: dg.DagsterInstance, store: Store, run: dg.DagsterRun, now: dt.datetime
) -> str | None:
    run_id, _, worker = run.tags.get(WORKER_TAG, "").partition(" ")
    if run_id == run.run_id and is_gone(worker):
        return f"its process {worker} is gone"
    if run.status is not dg.DagsterRunStatus.STARTED:
        return None  # run monitoring's start timeout is for these
    records = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    heard_at = dt.datetime.fromtimestamp(records[0].timestamp, dt.UTC) if records else now
    return attempts.why_lost(store, run.run_id, heard_at, now)
