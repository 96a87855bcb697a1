"""One flag: everything that helps to decide, and the decision."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup
from starlette.responses import Response

from audit_pipeline.adapters.store import reviewing
from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.errors import AuditError, FlagUnknown
from audit_pipeline.model.flag import FlagState
from audit_pipeline.model.person import Role
from audit_pipeline.reperformance import reperform, source_rows
from audit_pipeline.review import flag_pictures
from audit_pipeline.review.access import Approver, Person, Reviewer, Viewer
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.flag_pictures import Bar
from audit_pipeline.review.flag_view import FlagView, agents_timeline, flag_view, severities
from audit_pipeline.review.pages_queue import SNOOZE_DAYS_MAX
from audit_pipeline.review.shown import REASONS, USUAL_REASON, VERDICTS, people, shown, toast
from audit_pipeline.review.templating import money, page, render
from audit_pipeline.vendor_profile import vendor_history

router = APIRouter(prefix="/flags/{flag_id}")
Page = Annotated[str, Query(max_length=10)]
"""Which page asks: "flag" gets its changed part with the answer."""
KEYS = dict(zip(Verdict, "arfm", strict=True))


@router.get("", response_class=HTMLResponse)
def flag_page(request: Request, flag_id: str, desk: TheDesk, person: Viewer) -> HTMLResponse:
    """The page of a flag."""
    context = _context(desk, person, flag_id)
    view: FlagView = context["view"]
    flag = view.row.flag
    points = [Bar(f"{p.rule_id} {p.reason}", Decimal(p.points)) for p in flag.points if p.points]
    total = sum((bar.value for bar in points), Decimal(0))
    points.append(Bar("together", total, is_sum=True))
    return page(
        request,
        **context,
        name="flag.html",
        shown=shown(view.row, dt.datetime.now(dt.UTC)),
        rules=desk.rules,
        score=flag_pictures.waterfall("How the score adds up", points),
        total=total,
        steps=[point for point in flag.points if not point.points],
        severities=severities(desk.rules),
        settlement=[(name, flag_pictures.waterfall(name, bars)) for name, bars in view.settlement],
        outcomes=[_outcome(one) for one in view.alike],
    )


@router.post("/decide", response_class=HTMLResponse)
def decide(
    flag_id: str,
    desk: TheDesk,
    person: Reviewer,
    verdict: Annotated[Verdict, Form()],
    reason: Annotated[Reason | None, Form()] = None,
    notes: Annotated[str, Form(max_length=10_000)] = "",
    seen_at: Annotated[dt.datetime | None, Form()] = None,
    page: Page = "",
) -> HTMLResponse:
    """One decision; without a reason it has the usual one of its verdict."""
    said = Decision(
        flag_id,
        verdict,
        reason or USUAL_REASON[verdict],
        person.user_id,
        dt.datetime.now(dt.UTC),
        notes,
    )
    with desk.store.writing("decide") as writer:
        flag = reviewing.decide(writer, said, seen_at)
    name = VERDICTS[verdict]
    text = f"{flag.transaction_id}: {name}."
    if reviewing.awaits_second(flag):
        text = f"{flag.transaction_id}: {name}, proposed. A second person has to agree."
    return toast(text, flag_id=flag_id, more=_decided(desk, person, flag_id, page))


@router.post("/undo", response_class=HTMLResponse)
def undo(flag_id: str, desk: TheDesk, person: Reviewer, page: Page = "") -> HTMLResponse:
    """Take one's own last decision back."""
    with desk.store.writing("withdraw") as writer:
        flag = reviewing.withdraw(writer, flag_id, person.user_id)
    said = f"{flag.transaction_id}: taken back, it is {flag.state} again."
    return toast(said, more=_decided(desk, person, flag_id, page))


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


@router.get("/source", response_class=HTMLResponse)
def source(
    flag_id: str,
    desk: TheDesk,
    person: Viewer,
    cell: Annotated[str, Query(max_length=200)],
    row: Annotated[str, Query(max_length=300)],
) -> HTMLResponse:
    """The whole row that a cell of the evidence was read from."""
    flag = _view(desk, flag_id, dt.datetime.now(dt.UTC)).row.flag
    rows = source_rows(flag, desk.store, desk.settings, cell, row)
    return HTMLResponse(render("source.html", rows=rows, cell=cell, row_id=row))


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
    page: Page = "",
) -> HTMLResponse:
    """The second person's word."""
    with desk.store.writing("approve") as writer:
        flag = reviewing.review_second(
            writer, decision_id, person.user_id, agrees=agrees, notes=notes
        )
    word = "agreed, it is decided" if agrees else "not agreed, it stays open"
    said = f"{flag.transaction_id}: {word}."
    return toast(said, more=_decided(desk, person, flag_id, page))


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


def _context(desk: Desk, person: Person, flag_id: str) -> dict[str, Any]:
    """What the page and its part with the decision need."""
    view = _view(desk, flag_id, dt.datetime.now(dt.UTC))
    return {
        "person": person,
        "view": view,
        "flag": view.row.flag,
        "may_decide": person.role.may(Role.REVIEWER),
        "may_approve": person.role.may(Role.APPROVER),
        "people": people(desk),
        "choices": [(v.value, n, USUAL_REASON[v].value, KEYS[v]) for v, n in VERDICTS.items()],
        "reasons": [(reason.value, name) for reason, name in REASONS.items()],
        "swapped": False,
    }


def _decided(desk: Desk, person: Person, flag_id: str, page: str) -> Markup:
    """The part of the flag's page that a decision changes, where that page is open."""
    if page != "flag":
        return Markup("")
    context = _context(desk, person, flag_id) | {"swapped": True}
    return render("flag_decision.html", **context)


def _view(desk: Desk, flag_id: str, now: dt.datetime) -> FlagView:
    view = flag_view(desk.store, flag_id, now)
    if view is None:
        raise FlagUnknown(f"there is no flag {flag_id}")
    return view


def _outcome(flag: FlagRow) -> tuple[FlagRow, str]:
    if flag.human_decision is None:
        return flag, "not decided yet"
    return flag, f"{VERDICTS[flag.human_decision]} by {flag.reviewer_id}"
