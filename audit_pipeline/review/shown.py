"""What several pages show alike: verdicts and reasons in words, a row against its SLA, a toast."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from fastapi.responses import HTMLResponse
from sqlalchemy import select

from audit_pipeline.adapters.store import reviewing
from audit_pipeline.adapters.store.schema import USERS
from audit_pipeline.adapters.store.worklist import WorkRow
from audit_pipeline.model.decision import Reason, Verdict
from audit_pipeline.model.person import Role
from audit_pipeline.model.sla import due_at
from audit_pipeline.review.desk import Desk
from audit_pipeline.review.templating import render

VERDICTS = {
    Verdict.APPROVED: "approve",
    Verdict.REJECTED: "reject",
    Verdict.FALSE_POSITIVE: "false positive",
    Verdict.NEEDS_MORE_INFO: "needs more information",
}
REASONS = {
    Reason.POLICY_ALLOWS: "policy allows it",
    Reason.MANAGEMENT_EXCEPTION: "management exception",
    Reason.CORRECTED: "corrected, or to be corrected",
    Reason.DETECTOR_WRONG: "the detector is wrong",
    Reason.NOT_KNOWN: "not known yet",
}
USUAL_REASON = {
    Verdict.APPROVED: Reason.POLICY_ALLOWS,
    Verdict.REJECTED: Reason.CORRECTED,
    Verdict.FALSE_POSITIVE: Reason.DETECTOR_WRONG,
    Verdict.NEEDS_MORE_INFO: Reason.NOT_KNOWN,
}
"""Of a verdict that is given with one key."""


@dataclass(frozen=True)
class Shown:
    """A row of the queue, and how it stands against its SLA."""

    row: WorkRow
    due_at: dt.datetime
    left: dt.timedelta
    awaits: bool

    @property
    def is_late(self) -> bool:
        """Past its SLA."""
        return self.left < dt.timedelta(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def shown(row: WorkRow, now: dt.datetime) -> Shown:
    """The row as the queue shows it."""
    due = due_at(row.flag.severity_level, row.flag.created_at)
    return Shown(row, due, due - now, reviewing.awaits_second(row.flag))


def toast(
    said: str, *, flag_id: str | None = None, kind: str = "done", more: object = ""
) -> HTMLResponse:
    """A line that says what was done; the queue behind it is fetched again.

    Args:
        flag_id: offers to take the decision on it back.
        more: pieces of the page that changed with it.
    """
    text = render("toast.html", said=said, flag_id=flag_id, kind=kind, more=more)
    return HTMLResponse(text, headers={"HX-Trigger": "flags-changed"})


def people(desk: Desk) -> list[str]:
    """Who may decide."""
    asked_for = select(USERS.c.user_id).where(~USERS.c.disabled, USERS.c.role != Role.VIEWER.value)
    with desk.store.reading() as connection:
        return list(connection.scalars(asked_for.order_by(USERS.c.user_id)))
