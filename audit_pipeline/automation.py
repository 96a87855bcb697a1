"""When the audit runs: one job, one daily schedule, and a sensor that closes failed runs."""

import datetime as dt

import dagster as dg

from audit_pipeline.resources import AuditStore

daily_audit = dg.define_asset_job(
    "daily_audit",
    selection=dg.AssetSelection.all(),
    description="The whole audit of one day, or of a range of days as one run.",
    tags={"audit/kind": "daily"},
)


@dg.schedule(job=daily_audit, cron_schedule="0 5 * * *", execution_timezone="UTC")
def daily_audit_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Audits yesterday (UTC) at 05:00 UTC, when the night's loads are in."""
    yesterday = (context.scheduled_execution_time - dt.timedelta(days=1)).date().isoformat()
    return dg.RunRequest(run_key=yesterday, partition_key=yesterday)


@dg.run_failure_sensor(minimum_interval_seconds=30)
def failed_audits(context: dg.RunFailureSensorContext, store: AuditStore) -> None:
    """Mark a failed run's workflow as failed, also when its process was killed."""
    run = context.dagster_run
    run_id = run.root_run_id or run.run_id
    with store.opened() as opened:
        state = opened.restore_workflow_state(run_id)
        if state and state.get("workflow_status") in ("in_progress", "paused"):
            opened.save_workflow_state(run_id, {**state, "workflow_status": "failed"})


JOBS = [daily_audit]
SCHEDULES = [daily_audit_schedule]
SENSORS = [failed_audits]
