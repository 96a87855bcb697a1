"""Audits, for programs: start one, see how far it is, cancel it."""

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from audit_pipeline.adapters.store import reviews
from audit_pipeline.model.trail import TrailEvent
from audit_pipeline.review import cursors
from audit_pipeline.review.access import Approver, Person, Viewer
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.jobs import Dagster, DagsterUnavailable, Job, JobStatus, JobUnknown

JOBS_MAX = 50

Responses = dict[int | str, dict[str, Any]]
UNAVAILABLE: Responses = {503: {"description": "no Dagster answers; `make ui` starts one"}}
UNKNOWN: Responses = UNAVAILABLE | {404: {"description": "there is no such job"}}

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"], responses=UNAVAILABLE)


class JobIn(BaseModel):
    """Which days to audit, as one run."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["audit", "backfill"] = Field(description="why: kept with the run")
    from_on: dt.date = Field(alias="from", description="the first audited day, inclusive")
    to_on: dt.date = Field(alias="to", description="the last audited day, inclusive")


class JobOut(BaseModel):
    """An audit that was started here, on a schedule or in Dagster itself."""

    job_id: str = Field(description="the audit run's id too")
    status: JobStatus
    kind: str | None
    from_on: str | None = Field(serialization_alias="from")
    to_on: str | None = Field(serialization_alias="to")
    started_by: str | None = Field(description="who started it from the desk")
    percentage: int = Field(ge=0, le=100, description="steps done of the steps to do")
    stage: str | None = Field(description="the agent at work")
    created_at: dt.datetime | None
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    error: str | None = Field(description="what failed first; of one job, not in the list")


class JobPage(BaseModel):
    """Audits, the newest first."""

    jobs: list[JobOut]
    next: str | None = Field(description="the cursor of the following page; none: the last one")


JobId = Annotated[str, Path(max_length=36)]


@router.post("", summary="Start an audit", status_code=202)
def start_job(desk: TheDesk, person: Approver, given: JobIn) -> JobOut:
    """It waits in Dagster's queue; ask for it by its id.

    The trail says first that it was asked for, then what came of it.
    """
    request_id = str(uuid.uuid4())
    asked = {
        "request_id": request_id,
        "kind": given.kind,
        "from": given.from_on.isoformat(),
        "to": given.to_on.isoformat(),
    }
    _tell(desk, person, request_id, "request_audit", asked)
    dagster = _dagster(desk)
    try:
        with _answers():
            job_id = dagster.start(
                given.kind, given.from_on, given.to_on, person.user_id, request_id
            )
    except Exception as fault:
        said = str(getattr(fault, "detail", fault))
        _tell(desk, person, request_id, "start_audit", asked, said)
        raise
    _tell(desk, person, job_id, "start_audit", asked | {"job_id": job_id})
    with _answers():
        return _out(desk, dagster.job(job_id))


@router.get("", summary="The audits, page by page")
def list_jobs(
    desk: TheDesk,
    person: Viewer,
    cursor: cursors.Cursor = None,
    limit: Annotated[int, Query(ge=1, le=JOBS_MAX)] = 10,
) -> JobPage:
    """The newest first, also those of the schedule."""
    with _answers():
        jobs = _dagster(desk).jobs(limit + 1, cursor)
    return JobPage(
        jobs=[_out(desk, job) for job in jobs[:limit]],
        next=jobs[limit - 1].job_id if len(jobs) > limit else None,
    )


@router.get("/{job_id}", summary="How far an audit is", responses=UNKNOWN)
def read_job(desk: TheDesk, person: Viewer, job_id: JobId) -> JobOut:
    """A run that Dagster has started again after a fault is a job of its own."""
    with _answers():
        return _out(desk, _dagster(desk).job(job_id))


@router.delete("/{job_id}", summary="Cancel an audit", responses=UNKNOWN)
def cancel_job(desk: TheDesk, person: Approver, job_id: JobId) -> JobOut:
    """What it has written stays; the days are audited whole by the next run over them."""
    with _answers():
        job = _dagster(desk).cancel(job_id)
    _tell(desk, person, job.job_id, "cancel_audit", {"job_id": job.job_id})
    return _out(desk, job)


def _dagster(desk: Desk) -> Dagster:
    return Dagster(desk.settings.dagster_url)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except DagsterUnavailable as fault:
        raise HTTPException(503, str(fault)) from fault
    except JobUnknown as fault:
        raise HTTPException(404, str(fault)) from fault


def _tell(
    desk: Desk, person: Person, run_id: str, tool: str, given: Mapping[str, object], error: str = ""
) -> None:
    """The event, signed at once: in a transaction of its own, since Dagster takes its time."""
    with desk.store.writing("job") as writer:
        event = TrailEvent(
            audit_run_id=run_id,
            agent_name=f"reviewer:{person.user_id}",
            tool_called=tool,
            occurred_at=writer.now,
            input_data=dict(given),
            error_message=error or None,
        )
        writer.append_events([event])
        writer.urgent = True


def _out(desk: Desk, job: Job) -> JobOut:
    return JobOut(
        job_id=job.job_id,
        status=job.status,
        kind=job.kind,
        from_on=job.from_on,
        to_on=job.to_on,
        started_by=job.started_by,
        percentage=job.percentage,
        stage=None if job.status.has_ended else _stage(desk, job),
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        error=job.error,
    )


def _stage(desk: Desk, job: Job) -> str | None:
    """The agent that the audit itself says is at work, else the step that Dagster names."""
    with desk.store.reading() as connection:
        run = reviews.run_of(connection, job.job_id)
    return (run.current_agent if run else None) or job.at_work
