"""Flags, for programs: the queue, one flag, and everything that a person can do to it."""

import datetime as dt
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from audit_pipeline.adapters.store import reviewing, reviews, worklist
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.decision import Decision
from audit_pipeline.model.errors import AuditError, FlagUnknown, TransitionRefused
from audit_pipeline.model.person import Role
from audit_pipeline.review.access import Approver, Person, Reviewer, Viewer
from audit_pipeline.review.desk import TheDesk
from audit_pipeline.review.documents import (
    Asked,
    AskedPage,
    BulkAssign,
    BulkDecide,
    BulkIn,
    BulkOut,
    BulkResult,
    CommentIn,
    DecideIn,
    FlagDetail,
    FlagOut,
    FlagPage,
    Refusal,
    SecondIn,
    Verdicts,
)

router = APIRouter(prefix="/api/v1/flags", tags=["flags"])


class Problem(BaseModel):
    """What went wrong."""

    code: str = Field(description="of the kind of error", examples=["own_charge"])
    message: str
    details: list[dict[str, str]]
    request_id: str


Responses = dict[int | str, dict[str, Any]]
UNKNOWN: Responses = {404: {"model": Problem, "description": "there is no such flag"}}
REFUSED: Responses = UNKNOWN | {
    409: {"model": Problem, "description": "this person may not, or not now"}
}

FlagIdInPath = Annotated[str, Path(max_length=36, description="of a flag")]


@router.get("", summary="The queue, page by page")
def list_flags(desk: TheDesk, person: Viewer, asked: Annotated[AskedPage, Query()]) -> FlagPage:
    """Critical ones first, then the one that has waited longest; open ones unless asked."""
    with desk.store.reading() as connection:
        page = worklist.page(connection, asked.filters, _now(), asked.cursor, asked.limit)
    return FlagPage(flags=[FlagOut.of(row) for row in page.rows], next=page.after)


@router.get("/{flag_id}", summary="One flag with everything about it", responses=UNKNOWN)
def read_flag(desk: TheDesk, person: Viewer, flag_id: FlagIdInPath) -> FlagDetail:
    """What led to it, who decided and what was said, all as of the same moment."""
    with desk.store.reading() as connection:
        return _whole(connection, flag_id, _now())


@router.post("/bulk", summary="The same for many flags")
def do_in_bulk(desk: TheDesk, person: Reviewer, given: BulkIn) -> BulkOut:
    """Each flag is done whole or not at all, and says which; an id sent twice is done once.

    All of them are one transaction, in which each flag has a savepoint: what is refused for one
    leaves no trace, the others are committed and signed together. (A transaction for each would
    wait for the disk and sign the trail 500 times.)
    """
    results: list[BulkResult] = []
    with desk.store.writing("bulk") as writer:
        action = _action(writer, person, given)
        for flag_id in dict.fromkeys(given.flag_ids):
            error: Refusal | None = None
            try:
                with writer.connection.begin_nested():
                    action(flag_id)
            except AuditError as refused:
                error = Refusal(kind=type(refused).__name__, message=str(refused))
            results.append(BulkResult(flag_id=flag_id, done=error is None, error=error))
    done = sum(result.done for result in results)
    return BulkOut(results=results, done=done, refused=len(results) - done)


@router.post(
    "/next",
    summary="Take the next flag",
    response_model=FlagDetail,
    responses={204: {"description": "there is nothing to do", "model": None}},
)
def take_next(desk: TheDesk, person: Reviewer, asked: Asked) -> FlagDetail | Response:
    """The first flag that this person can decide now; nobody else gets it for five minutes."""
    with desk.store.writing("next") as writer:
        may_approve = person.role.may(Role.APPROVER)
        taken = worklist.take_next(writer, asked.filters, person.user_id, may_approve=may_approve)
        if taken is None:
            return Response(status_code=204)
        return _whole(writer.connection, taken, writer.now)


@router.post("/{flag_id}/decision", summary="Decide", responses=REFUSED)
def decide(desk: TheDesk, person: Reviewer, flag_id: FlagIdInPath, given: DecideIn) -> FlagDetail:
    """A critical flag stays open until another person has agreed: see `awaits_second_person`."""
    with desk.store.writing("decide") as writer:
        reviewing.decide(writer, _decision(writer, person, flag_id, given), given.seen_at)
        return _whole(writer.connection, flag_id, writer.now)


@router.post("/{flag_id}/second", summary="Agree, or not, as the second person", responses=REFUSED)
def second(desk: TheDesk, person: Approver, flag_id: FlagIdInPath, given: SecondIn) -> FlagDetail:
    """To a decision on a critical flag, by somebody else than its reviewer and its cardholder."""
    with desk.store.writing("second") as writer:
        reviewing.flag_of(writer, flag_id)
        of_flag = reviews.decisions_of(writer.connection, flag_id)
        if given.decision_id not in {row.decision_id for row in of_flag}:
            raise TransitionRefused(f"there is no decision {given.decision_id} on this flag")
        reviewing.review_second(
            writer, given.decision_id, person.user_id, agrees=given.agrees, notes=given.notes
        )
        return _whole(writer.connection, flag_id, writer.now)


@router.post("/{flag_id}/withdraw", summary="Take one's decision back", responses=REFUSED)
def withdraw(desk: TheDesk, person: Reviewer, flag_id: FlagIdInPath) -> FlagDetail:
    """The decision before it stands again, if there was one."""
    with desk.store.writing("withdraw") as writer:
        reviewing.withdraw(writer, flag_id, person.user_id)
        return _whole(writer.connection, flag_id, writer.now)


@router.post("/{flag_id}/comments", summary="Say something", status_code=201, responses=UNKNOWN)
def comment(desk: TheDesk, person: Reviewer, flag_id: FlagIdInPath, given: CommentIn) -> FlagDetail:
    """Comments are added, never changed."""
    with desk.store.writing("comment") as writer:
        reviewing.comment(writer, flag_id, person.user_id, given.body)
        return _whole(writer.connection, flag_id, writer.now)


def _action(writer: Writer, person: Person, given: BulkIn) -> Callable[[str], object]:
    who = person.user_id
    match given:
        case BulkDecide():
            return lambda one: reviewing.decide(writer, _decision(writer, person, one, given))
        case BulkAssign():
            return lambda one: reviewing.assign(writer, [one], given.assignee_id, who)
        case _:
            return lambda one: reviewing.snooze(writer, [one], given.until_at, who)


def _decision(writer: Writer, person: Person, flag_id: str, given: Verdicts) -> Decision:
    return Decision(flag_id, given.verdict, given.reason, person.user_id, writer.now, given.notes)


def _whole(connection: Connection, flag_id: str, now: dt.datetime) -> FlagDetail:
    row = worklist.work_on(connection, flag_id, now)
    if row is None:
        raise FlagUnknown(f"there is no flag {flag_id}")
    return FlagDetail.whole(
        row,
        reviews.findings_of(connection, flag_id),
        reviews.decisions_of(connection, flag_id),
        reviews.comments_on(connection, flag_id),
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
