"""Reading what people said about flags, and the runs, page by page.

A page begins after the key of the row that the page before ended with.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select

from audit_pipeline.adapters.store.rows import RunRow, finding_of
from audit_pipeline.adapters.store.schema import (
    COMMENTS,
    DECISIONS,
    FINDINGS,
    SECOND_REVIEWS,
    WITHDRAWALS,
    WORKFLOW_STATE,
)
from audit_pipeline.model.decision import Reason, Verdict
from audit_pipeline.model.finding import Finding

Key = tuple[dt.datetime, str]
"""An instant and an id: what a page is continued from."""


@dataclass(frozen=True)
class DecisionRow:
    """One decision, with what became of it. Instants are UTC.

    Attributes:
        recorded_at: when the store took it.
        approver_id: the second person, where one spoke; `agrees`, `seconded_at` and
            `approver_notes` are theirs.
        withdrawn_at: when it was taken back; None while it was not.
    """

    decision_id: str
    flag_id: str
    verdict: Verdict
    reason: Reason
    reviewer_id: str
    decided_at: dt.datetime
    notes: str
    recorded_at: dt.datetime
    approver_id: str | None
    agrees: bool | None
    seconded_at: dt.datetime | None
    approver_notes: str | None
    withdrawn_at: dt.datetime | None

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "DecisionRow":
        """From a row of `_joined`."""
        values = {field.name: row[field.name] for field in fields(cls)}
        agrees = row["agrees"]
        return cls(
            **values
            | {
                "verdict": Verdict(row["verdict"]),
                "reason": Reason(row["reason"]),
                "agrees": None if agrees is None else bool(agrees),
            }
        )

    @property
    def key(self) -> Key:
        """Where a page may end."""
        return self.decided_at, self.decision_id


@dataclass(frozen=True)
class CommentRow:
    """What somebody said about a flag."""

    comment_id: str
    author_id: str
    said_at: dt.datetime
    body: str


def _joined() -> Select[Any]:
    return (
        select(
            DECISIONS,
            SECOND_REVIEWS.c.approver_id,
            SECOND_REVIEWS.c.agrees,
            SECOND_REVIEWS.c.reviewed_at.label("seconded_at"),
            SECOND_REVIEWS.c.notes.label("approver_notes"),
            WITHDRAWALS.c.withdrawn_at,
        )
        .select_from(DECISIONS)
        .outerjoin(SECOND_REVIEWS, SECOND_REVIEWS.c.decision_id == DECISIONS.c.decision_id)
        .outerjoin(WITHDRAWALS, WITHDRAWALS.c.decision_id == DECISIONS.c.decision_id)
        .order_by(DECISIONS.c.decided_at, DECISIONS.c.decision_id)
    )


def decisions_of(connection: Connection, flag_id: str) -> list[DecisionRow]:
    """Every decision on a flag, the latest last."""
    rows = connection.execute(_joined().where(DECISIONS.c.flag_id == flag_id)).mappings()
    return [DecisionRow.of(row) for row in rows]


def decisions(
    connection: Connection,
    *,
    from_at: dt.datetime | None = None,
    to_at: dt.datetime | None = None,
    reviewer_id: str | None = None,
    verdict: Verdict | None = None,
    after: Key | None = None,
    limit: int,
) -> list[DecisionRow]:
    """Decisions of a period, the earliest first, at most `limit`.

    Args:
        from_at: inclusive.
        to_at: exclusive.
    """
    at = DECISIONS.c.decided_at
    asked = _joined().limit(limit)
    if from_at is not None:
        asked = asked.where(at >= from_at)
    if to_at is not None:
        asked = asked.where(at < to_at)
    if reviewer_id is not None:
        asked = asked.where(DECISIONS.c.reviewer_id == reviewer_id)
    if verdict is not None:
        asked = asked.where(DECISIONS.c.verdict == verdict.value)
    if after is not None:
        later = and_(at == after[0], DECISIONS.c.decision_id > after[1])
        asked = asked.where(or_(at > after[0], later))
    return [DecisionRow.of(row) for row in connection.execute(asked).mappings()]


def comments_on(connection: Connection, flag_id: str) -> list[CommentRow]:
    """What people said about a flag, the latest last."""
    names = [field.name for field in fields(CommentRow)]
    asked = (
        select(*[COMMENTS.c[name] for name in names])
        .where(COMMENTS.c.flag_id == flag_id)
        .order_by(COMMENTS.c.said_at, COMMENTS.c.comment_id)
    )
    return [CommentRow(**row) for row in connection.execute(asked).mappings()]


def findings_of(connection: Connection, flag_id: str) -> list[tuple[Finding, str | None]]:
    """What led to a flag, each with the id of its query, by audit date and rule."""
    asked = (
        select(FINDINGS)
        .where(FINDINGS.c.flag_id == flag_id)
        .order_by(FINDINGS.c.audit_on, FINDINGS.c.rule_id)
    )
    rows = connection.execute(asked).mappings()
    return [(finding_of(row), row["query_id"]) for row in rows]


def runs(
    connection: Connection,
    *,
    population: str | None = None,
    status: str | None = None,
    after: Key | None = None,
    limit: int,
) -> list[RunRow]:
    """The audit runs, the newest first, at most `limit`."""
    began, identity = WORKFLOW_STATE.c.created_at, WORKFLOW_STATE.c.audit_run_id
    asked = select(WORKFLOW_STATE).order_by(began.desc(), identity).limit(limit)
    if population is not None:
        asked = asked.where(WORKFLOW_STATE.c.population == population)
    if status is not None:
        asked = asked.where(WORKFLOW_STATE.c.workflow_status == status)
    if after is not None:
        earlier = or_(began < after[0], and_(began == after[0], identity > after[1]))
        asked = asked.where(earlier)
    return [RunRow.of(row) for row in connection.execute(asked).mappings()]


def run_of(connection: Connection, audit_run_id: str) -> RunRow | None:
    """One of them; None where there is none."""
    asked = select(WORKFLOW_STATE).where(WORKFLOW_STATE.c.audit_run_id == audit_run_id)
    row = connection.execute(asked).mappings().one_or_none()
    return None if row is None else RunRow.of(row)
