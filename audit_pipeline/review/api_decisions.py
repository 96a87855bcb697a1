"""Decisions, for programs: who said what in a period, and what became of it."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from audit_pipeline.adapters.store import reviews
from audit_pipeline.model.decision import Verdict
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review import cursors
from audit_pipeline.review.access import Viewer
from audit_pipeline.review.desk import TheDesk
from audit_pipeline.review.documents import DecisionOut

router = APIRouter(prefix="/api/v1/decisions", tags=["decisions"])


class DecisionPage(BaseModel):
    """Decisions, the earliest first."""

    decisions: list[DecisionOut]
    next: str | None = Field(description="the cursor of the following page; none: the last one")


@router.get("", summary="Decisions of a period, page by page")
def list_decisions(
    desk: TheDesk,
    person: Viewer,
    from_on: Annotated[dt.date | None, Query(alias="from", description="UTC, inclusive")] = None,
    to_on: Annotated[dt.date | None, Query(alias="to", description="UTC, inclusive")] = None,
    reviewer: Annotated[str | None, Query(max_length=255)] = None,
    verdict: Verdict | None = None,
    cursor: cursors.Cursor = None,
    limit: cursors.Limit = 50,
) -> DecisionPage:
    """Also those that were refused, taken back or replaced: nothing that was said is left out."""
    if from_on is not None and to_on is not None and from_on > to_on:
        raise BadUsage(f"from {from_on} is after to {to_on}")
    ends_at = None if to_on in (None, dt.date.max) else _midnight(to_on + dt.timedelta(days=1))
    with desk.store.reading() as connection:
        rows = reviews.decisions(
            connection,
            from_at=None if from_on is None else _midnight(from_on),
            to_at=ends_at,
            reviewer_id=reviewer,
            verdict=verdict,
            after=cursors.read(cursor),
            limit=limit + 1,
        )
    more = len(rows) > limit
    return DecisionPage(
        decisions=[DecisionOut.of(row) for row in rows[:limit]],
        next=cursors.written(rows[limit - 1].key) if more else None,
    )


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)
