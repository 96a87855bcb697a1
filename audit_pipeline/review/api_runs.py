"""Audit runs, for programs: how far each is, and how its days balance."""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, Field

from audit_pipeline.adapters.store import reviews
from audit_pipeline.adapters.store.rows import PartitionRow, RunRow
from audit_pipeline.review import cursors
from audit_pipeline.review.access import Viewer
from audit_pipeline.review.desk import TheDesk

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])

Status = Literal["pending", "in_progress", "completed", "failed", "paused"]


class RunOut(BaseModel):
    """An audit run, as far as it got."""

    audit_run_id: str
    status: str
    population: str | None
    from_on: dt.date | None = Field(description="the first audited day")
    to_on: dt.date | None = Field(description="the last audited day")
    current_agent: str | None
    completed_agents: list[str]
    pending_agents: list[str]
    created_at: dt.datetime
    updated_at: dt.datetime

    @classmethod
    def of(cls, row: RunRow) -> "RunOut":
        """From a row of the store."""
        return cls(**_run_fields(row))


class DayOut(BaseModel):
    """A day of the disposition ledger: flagged + cleared + quarantined = gold."""

    population: str
    audit_on: dt.date
    transactions: int
    amount: str
    flagged: int
    flagged_amount: str
    cleared: int
    cleared_amount: str
    quarantined: int
    quarantined_amount: str

    @classmethod
    def of(cls, row: PartitionRow) -> "DayOut":
        """From a row of the ledger; amounts to the cent."""
        return cls(
            population=row.population,
            audit_on=row.audit_on,
            transactions=row.transactions,
            amount=f"{row.amount:.2f}",
            flagged=row.flagged,
            flagged_amount=f"{row.flagged_amount:.2f}",
            cleared=row.cleared,
            cleared_amount=f"{row.cleared_amount:.2f}",
            quarantined=row.quarantined,
            quarantined_amount=f"{row.quarantined_amount:.2f}",
        )


class RunDetail(RunOut):
    """A run with the days that it was the last to audit."""

    days: list[DayOut]


class RunPage(BaseModel):
    """Runs, the newest first."""

    runs: list[RunOut]
    next: str | None = Field(description="the cursor of the following page; none: the last one")


@router.get("", summary="The runs, page by page")
def list_runs(
    desk: TheDesk,
    person: Viewer,
    status: Status | None = None,
    population: Annotated[str | None, Query(max_length=255)] = None,
    cursor: cursors.Cursor = None,
    limit: cursors.Limit = 50,
) -> RunPage:
    """The newest first."""
    with desk.store.reading() as connection:
        rows = reviews.runs(
            connection,
            population=population,
            status=status,
            after=cursors.read(cursor),
            limit=limit + 1,
        )
    last = rows[limit - 1] if len(rows) > limit else None
    return RunPage(
        runs=[RunOut.of(row) for row in rows[:limit]],
        next=None if last is None else cursors.written((last.created_at, last.audit_run_id)),
    )


@router.get(
    "/{run_id}",
    summary="One run and its days",
    responses={404: {"description": "there is no such run"}},
)
def read_run(
    desk: TheDesk,
    person: Viewer,
    run_id: Annotated[str, Path(max_length=36)],
) -> RunDetail:
    """A day that a later run has audited again is that run's."""
    with desk.store.reading() as connection:
        row = reviews.run_of(connection, run_id)
    if row is None:
        raise HTTPException(404, f"there is no run {run_id}")
    days = [DayOut.of(day) for day in desk.store.partitions(audit_run_id=run_id)]
    return RunDetail(**_run_fields(row), days=days)


def _run_fields(row: RunRow) -> dict[str, Any]:
    return {
        "audit_run_id": row.audit_run_id,
        "status": row.workflow_status,
        "population": row.population,
        "from_on": row.from_on,
        "to_on": row.to_on,
        "current_agent": row.current_agent,
        "completed_agents": list(row.completed_agents),
        "pending_agents": list(row.pending_agents),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
