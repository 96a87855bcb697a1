"""When the audit runs: one job, one daily schedule, and sensors for runs that failed or died."""

import datetime as dt

import dagster as dg

from audit_pipeline.reaper import close_workflow, reap
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


@dg.run_failure_sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def failed_audits(context: dg.RunFailureSensorContext, store: AuditStore) -> None:
    """Mark a failed run's workflow as failed, also when its process was killed."""
    with store.opened() as opened:
        close_workflow(opened, context.dagster_run)


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def lost_audits(context: dg.SensorEvaluationContext, store: AuditStore) -> dg.SkipReason:
    """Marks a run as failed whose processes are gone, so that it is retried."""
    with store.opened() as opened:
        said = reap(context.instance, opened)
    return dg.SkipReason("; ".join(said) or "every run that is under way has its processes")


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def sealed_trail(store: AuditStore) -> dg.SkipReason:
    """Signs what has come to the trail since the last checkpoint, where no commit has done so.

    A trail that is not what was signed before makes it fail, where the data engineer sees it.
    """
    return dg.SkipReason(store.seal())


JOBS = [daily_audit]
SCHEDULES = [daily_audit_schedule]
SENSORS = [failed_audits, lost_audits, sealed_trail]
