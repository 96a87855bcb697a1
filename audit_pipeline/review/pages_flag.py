"""One flag: everything that helps to decide, and the decision."""

import datetime as dt
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from audit_pipeline.adapters.store import reviewing
from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.model.decision import Verdict
from audit_pipeline.model.errors import AuditError, FlagUnknown
from audit_pipeline.model.flag import FlagState
from audit_pipeline.model.person import Role
from audit_pipeline.reperformance import reperform
from audit_pipeline.review import flag_pictures
from audit_pipeline.review.access import Approver, Reviewer, Viewer
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.flag_pictures import Bar
from audit_pipeline.review.flag_view import FlagView, agents_timeline, flag_view, severities
from audit_pipeline.review.pages_queue import (
    REASONS,
    SNOOZE_DAYS_MAX,
    USUAL_REASON,
    VERDICTS,
    people,
    shown,
    toast,
)
from audit_pipeline.review.templating import money, page, render
from audit_pipeline.vendor_profile import vendor_history

router = APIRouter(prefix="/flags/{flag_id}")
KEYS = dict(zip(Verdict, "arfm", strict=True))


@router.get("", response_class=HTMLResponse)
def flag_page(request: Request, flag_id: str, desk: TheDesk, person: Viewer) -> HTMLResponse:
    """The page of a flag."""
    now = dt.datetime.now(dt.UTC)
    view = _view(desk, flag_id, now)
    flag = view.row.flag
    points = [Bar(f"{p.rule_id} {p.reason}", Decimal(p.points)) for p in flag.points if p.points]
    total = sum((bar.value for bar in points), Decimal(0))
    points.append(Bar("together", total, is_sum=True))
    return page(
        request,
        person,
        "flag.html",
        view=view,
        flag=flag,
        shown=shown(view.row, now),
        rules=desk.rules,
        score=flag_pictures.waterfall("How the score adds up", points),
        total=total,
        steps=[point for point in flag.points if not point.points],
        severities=severities(desk.rules),
        settlement=[(name, flag_pictures.waterfall(name, bars)) for name, bars in view.settlement],
        may_decide=person.role.may(Role.REVIEWER),
        may_approve=person.role.may(Role.APPROVER),
        people=people(desk),
        choices=[(v.value, n, USUAL_REASON[v].value, KEYS[v]) for v, n in VERDICTS.items()],
        reasons=[(reason.value, name) for reason, name in REASONS.items()],
        outcomes=[_outcome(one) for one in view.alike],
    )


@router.get("/history", response_class=HTMLResponse)
def history(flag_id: str, desk: TheDesk, person: Viewer) -> HTMLResponse:
    """The vendor's other charges, and this one among them."""
    flag = _view(desk, flag_id, dt.datetime.now(dt.UTC)).row.flag
    try:
        found = vendor_history(flag, desk.store, desk.settings, desk.live)
    except AuditError as fault:
        return HTMLResponse(render("history.html", said=str(fault), picture=None, charges=[]))
    if found is None or not found.charges:
        said = "No query of this flag is kept, so its vendor's history cannot be looked up."
        return HTMLResponse(render("history.html", said=said, picture=None, charges=[]))
    entries = [one.transaction_id for one in found.charges]
    flagged = {
        one["transaction_id"]
        for one in desk.store.flags_of_transactions(flag.population, entries)
        if one["state"] != FlagState.SUPERSEDED.value
    }
    charges = [
        flag_pictures.Charge(
            one.on,
            one.cents,
            is_this=one.transaction_id == flag.transaction_id,
            is_flagged=one.transaction_id in flagged,
        )
        for one in found.charges
    ]
    low, high = found.usual_cents
    said = (
        f"{len(charges):,} payments to {found.vendor} up to {found.as_of}; usually "
        f"{money(low)} to {money(high)}."
    )
    picture = flag_pictures.history(f"Payments to {found.vendor}", charges)
    latest = sorted(charges, key=lambda one: one.on, reverse=True)[:12]
    return HTMLResponse(render("history.html", said=said, picture=picture, charges=latest))


@router.get("/agents", response_class=HTMLResponse)
def agents(flag_id: str, desk: TheDesk, person: Viewer) -> HTMLResponse:
    """What agents did, from the trail."""
    flag = _view(desk, flag_id, dt.datetime.now(dt.UTC)).row.flag
    return HTMLResponse(render("happenings.html", timeline=agents_timeline(desk.store, flag)))


@router.post("/reperform", response_class=HTMLResponse)
def again(flag_id: str, desk: TheDesk, person: Viewer) -> HTMLResponse:
    """Run the stored queries on the stored inputs, and compare."""
    flag = _view(desk, flag_id, dt.datetime.now(dt.UTC)).row.flag
    try:
        compared = reperform(flag, desk.store, desk.settings)
    except AuditError as fault:
        return HTMLResponse(render("reperformed.html", compared=[], fault=str(fault)))
    return HTMLResponse(render("reperformed.html", compared=compared, fault=None))


@router.post("/second", response_class=HTMLResponse)
def second(
    flag_id: str,
    desk: TheDesk,
    person: Approver,
    decision_id: Annotated[str, Form(max_length=64)],
    agrees: Annotated[bool, Form()],
    notes: Annotated[str, Form(max_length=10_000)] = "",
) -> HTMLResponse:
    """The second person's word."""
    with desk.store.writing("approve") as writer:
        flag = reviewing.review_second(
            writer, decision_id, person.user_id, agrees=agrees, notes=notes
        )
    word = "agreed, it is decided" if agrees else "not agreed, it stays open"
    return toast(f"{flag.transaction_id}: {word}.")


@router.post("/comments")
def comment(
    flag_id: str,
    desk: TheDesk,
    person: Reviewer,
    body: Annotated[str, Form(min_length=1, max_length=10_000)],
) -> Response:
    """Say something."""
    with desk.store.writing("comment") as writer:
        reviewing.comment(writer, flag_id, person.user_id, body)
    return RedirectResponse(f"/flags/{flag_id}#timeline", 303)


@router.post("/assign")
def assign(
    flag_id: str, desk: TheDesk, person: Reviewer, assignee: Annotated[str, Form()] = ""
) -> Response:
    """Say whose it is."""
    with desk.store.writing("assign") as writer:
        reviewing.assign(writer, [flag_id], assignee or None, person.user_id)
    return RedirectResponse(f"/flags/{flag_id}", 303)


@router.post("/snooze")
def snooze(
    flag_id: str,
    desk: TheDesk,
    person: Reviewer,
    days: Annotated[int, Form(ge=0, le=SNOOZE_DAYS_MAX)],
) -> Response:
    """Put it off."""
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=days) if days else None
    with desk.store.writing("snooze") as writer:
        reviewing.snooze(writer, [flag_id], until, person.user_id)
    return RedirectResponse(f"/flags/{flag_id}", 303)


@router.post("/release")
def release(flag_id: str, desk: TheDesk, person: Reviewer) -> Response:
    """Let others have it."""
    with desk.store.writing("lock") as writer:
        reviewing.release(writer, flag_id, person.user_id)
    return RedirectResponse("/flags", 303)


def _view(desk: Desk, flag_id: str, now: dt.datetime) -> FlagView:
    view = flag_view(desk.store, flag_id, now)
    if view is None:
        raise FlagUnknown(f"there is no flag {flag_id}")
    return view


def _outcome(flag: FlagRow) -> tuple[FlagRow, str]:
    if flag.human_decision is None:
        return flag, "not decided yet"
    return flag, f"{VERDICTS[flag.human_decision]} by {flag.reviewer_id}"
