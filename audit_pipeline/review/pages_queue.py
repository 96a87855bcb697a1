"""The queue: what waits, filtered, decided with a key or many at once."""

import datetime as dt
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import delete, insert, select

from audit_pipeline.adapters.store import reviewing, worklist
from audit_pipeline.adapters.store.schema import SAVED_VIEWS
from audit_pipeline.adapters.store.worklist import STANDINGS
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.errors import AuditError, BadUsage
from audit_pipeline.model.flag import Severity
from audit_pipeline.model.person import Role
from audit_pipeline.review.access import Person, Reviewer, Viewer
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.queue_form import Asked, asked
from audit_pipeline.review.shown import REASONS, VERDICTS, people, shown, toast
from audit_pipeline.review.templating import page, render

router = APIRouter()
ROWS = 50
BULK_MAX = 500
SNOOZE_DAYS_MAX = 90


@router.get("/flags", response_class=HTMLResponse)
def queue(
    request: Request, desk: TheDesk, person: Viewer, after: Annotated[str | None, Query()] = None
) -> HTMLResponse:
    """The queue."""
    wanted = asked(request.query_params, person.user_id)
    rows = _rows(desk, person, wanted, after)
    with desk.store.reading() as connection:
        kept = select(SAVED_VIEWS.c.name, SAVED_VIEWS.c.query).where(
            SAVED_VIEWS.c.user_id == person.user_id
        )
        views = connection.execute(kept.order_by(SAVED_VIEWS.c.name)).mappings().all()
    texts = wanted.texts
    return page(
        request,
        person,
        "queue.html",
        **rows,
        numbers=_numbers(desk),
        views=views,
        people=people(desk),
        rules=list(desk.rules),
        severities=list(Severity),
        standings=STANDINGS,
        verdicts=[(verdict.value, name) for verdict, name in VERDICTS.items()],
        reasons=[(reason.value, name) for reason, name in REASONS.items()],
        more=any(texts[n] for n in texts if n not in ("q", "severity", "state", "rule")),
    )


@router.get("/flags/rows", response_class=HTMLResponse)
def rows_only(
    request: Request, desk: TheDesk, person: Viewer, after: Annotated[str | None, Query()] = None
) -> HTMLResponse:
    """The rows of the queue, again."""
    wanted = asked(request.query_params, person.user_id)
    return HTMLResponse(render("queue_rows.html", **_rows(desk, person, wanted, after)))


@router.get("/flags/counts", response_class=HTMLResponse)
def counts_only(desk: TheDesk, person: Viewer) -> HTMLResponse:
    """How many there are of each, again."""
    return HTMLResponse(render("queue_counts.html", numbers=_numbers(desk)))


@router.post("/bulk", response_class=HTMLResponse)
def bulk(
    desk: TheDesk,
    person: Reviewer,
    action: Annotated[str, Form()],
    ids: Annotated[list[str] | None, Form()] = None,
    verdict: Annotated[Verdict, Form()] = Verdict.APPROVED,
    reason: Annotated[Reason, Form()] = Reason.POLICY_ALLOWS,
    notes: Annotated[str, Form(max_length=10_000)] = "",
    assignee: Annotated[str, Form()] = "",
    days: Annotated[int, Form(ge=0, le=SNOOZE_DAYS_MAX)] = 1,
) -> HTMLResponse:
    """The same for many flags; each by itself, so that one that is refused stops no other."""
    chosen = list(dict.fromkeys(ids or ()))
    if not 0 < len(chosen) <= BULK_MAX:
        raise BadUsage(f"select 1 to {BULK_MAX} flags")
    if action not in ("decide", "assign", "snooze"):
        raise BadUsage(f"{action!r} is none of decide, assign, snooze")
    now = dt.datetime.now(dt.UTC)
    until = now + dt.timedelta(days=days) if days else None
    refused: list[str] = []
    for flag_id in chosen:
        try:
            with desk.store.writing(action) as writer:
                if action == "decide":
                    said = Decision(flag_id, verdict, reason, person.user_id, now, notes)
                    reviewing.decide(writer, said)
                elif action == "assign":
                    reviewing.assign(writer, [flag_id], assignee or None, person.user_id)
                else:
                    reviewing.snooze(writer, [flag_id], until, person.user_id)
        except AuditError as fault:
            refused.append(str(fault))
    done = {"decide": "decided", "assign": "assigned", "snooze": "snoozed"}[action]
    text = f"{len(chosen) - len(refused)} {done}."
    if refused:
        text += f" {len(refused)} refused: {'; '.join(dict.fromkeys(refused))}"
    return toast(text, kind="refused" if refused else "done")


@router.post("/next")
def take_next(
    request: Request, desk: TheDesk, person: Reviewer, query: Annotated[str, Form()] = ""
) -> Response:
    """Lock the next flag and open it."""
    wanted = asked(dict(parse_qsl(query)), person.user_id)
    with desk.store.writing("lock") as writer:
        found = worklist.take_next(
            writer, wanted.filters, person.user_id, may_approve=person.role.may(Role.APPROVER)
        )
    if found is None:
        return page(request, person, "nothing_left.html", query=wanted.query)
    return RedirectResponse(f"/flags/{found}", 303)


@router.post("/views")
def save_view(
    desk: TheDesk,
    person: Viewer,
    name: Annotated[str, Form(min_length=1, max_length=100)],
    query: Annotated[str, Form(max_length=2_000)],
) -> RedirectResponse:
    """Keep these filters under a name; another view of that name is replaced."""
    wanted = asked(dict(parse_qsl(query)), person.user_id)
    with desk.store.writing("view") as writer:
        writer.connection.execute(_view(person, name))
        writer.connection.execute(
            insert(SAVED_VIEWS).values(
                user_id=person.user_id, name=name, query=wanted.query, updated_at=writer.now
            )
        )
    return RedirectResponse(f"/flags?{wanted.query}", 303)


@router.post("/views/delete")
def delete_view(
    desk: TheDesk, person: Viewer, name: Annotated[str, Form(max_length=100)]
) -> RedirectResponse:
    """Forget a view."""
    with desk.store.writing("view") as writer:
        writer.connection.execute(_view(person, name))
    return RedirectResponse("/flags", 303)


def _view(person: Person, name: str) -> Any:
    return delete(SAVED_VIEWS).where(
        SAVED_VIEWS.c.user_id == person.user_id, SAVED_VIEWS.c.name == name
    )


def _rows(desk: Desk, person: Person, wanted: Asked, after: str | None) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    with desk.store.reading() as connection:
        found = worklist.page(connection, wanted.filters, now, after, ROWS)
    return {
        "rows": [shown(row, now) for row in found.rows],
        "following": found.after,
        "after": after,
        "asked": wanted,
        "may_decide": person.role.may(Role.REVIEWER),
    }


def _numbers(desk: Desk) -> dict[str, int]:
    with desk.store.reading() as connection:
        return worklist.counts(connection, dt.datetime.now(dt.UTC))
