"""What people do to flags: decide, agree as the second person, take back, comment, share the work.

Each is done in the caller's transaction, with its event in the trail. `decisions`,
`second_reviews` and `withdrawals` only grow; the review columns of `flags` are what follows from
them, and are written in one place, `_project`.
"""

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import RowMapping, exists, insert, select, update

from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.adapters.store.refusals import refuse_own, refuse_taken
from audit_pipeline.adapters.store.rows import FlagRow, decision_id, instant_text
from audit_pipeline.adapters.store.schema import (
    COMMENTS,
    DECISIONS,
    FLAGS,
    SECOND_REVIEWS,
    USERS,
    WITHDRAWALS,
    WORKLIST,
)
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.decision import Decision, Verdict
from audit_pipeline.model.errors import (
    BadUsage,
    DecisionRefused,
    FlagUnknown,
    SamePerson,
    TransitionRefused,
)
from audit_pipeline.model.flag import FlagState, Severity, transition
from audit_pipeline.model.person import same_person, two_people
from audit_pipeline.model.trail import TrailEvent

LOCK_SECONDS = 300
"""How long a flag that somebody has opened to decide is kept from others."""


def decide(writer: Writer, decision: Decision, seen_at: dt.datetime | None = None) -> FlagRow:
    """Record a reviewer's decision: the row, the flag's review columns, a trail event.

    The same decision sent twice is recorded once. A later one replaces an earlier one in the
    flag; both stay in `decisions`. "Needs more information" leaves the flag open, or opens
    it again. A critical flag stays open until a second person agrees.

    Args:
        seen_at: the flag's `updated_at` when the reviewer looked at it; None does not ask.

    Returns:
        The flag as it now stands.

    Raises:
        FlagUnknown: there is no such flag.
        TransitionRefused: the flag is superseded.
        OwnCharge: the reviewer has spent the money.
        FlagTaken: somebody else has the flag, or it has changed since it was looked at.
    """
    said = replace(
        decision,
        reviewer_id=storable(decision.reviewer_id, 255),
        notes=storable(decision.notes),
    )
    identity = decision_id(said)
    before = flag_of(writer, said.flag_id)
    known = select(DECISIONS.c.decision_id).where(DECISIONS.c.decision_id == identity)
    if writer.connection.scalar(known) is not None:
        return before
    transition(before.state, FlagState.DECIDED)
    refuse_own(writer, before, said.reviewer_id)
    refuse_taken(writer, before, said.reviewer_id, seen_at)
    writer.connection.execute(
        insert(DECISIONS).values(
            decision_id=identity,
            flag_id=said.flag_id,
            verdict=said.verdict.value,
            reason=said.reason.value,
            reviewer_id=said.reviewer_id,
            decided_at=said.decided_at,
            notes=said.notes,
            recorded_at=writer.now,
        )
    )
    after = _project(writer, before)
    _unlock(writer, said.flag_id)
    _said(
        writer,
        before,
        after,
        said.reviewer_id,
        "decide",
        said.decided_at,
        decision_id=identity,
        verdict=said.verdict.value,
        reason=said.reason.value,
    )
    return after


def review_second(
    writer: Writer, identity: str, approver_id: str, *, agrees: bool, notes: str = ""
) -> FlagRow:
    """The second person's word on a decision about a critical flag.

    Args:
        identity: the decision's id, so that nobody agrees to another one than was looked at.
        agrees: false: the decision does not hold, and the flag stays open.

    Returns:
        The flag as it now stands.

    Raises:
        TransitionRefused: no such decision waits for a second person.
        SamePerson: it is the first person's own, or one of the two has no name.
        OwnCharge: the approver has spent the money, or, as the flag says by now, the first
            person has.
        FlagTaken: somebody else has the flag.
    """
    approver = storable(approver_id, 255)
    asked = select(DECISIONS).where(DECISIONS.c.decision_id == identity)
    decision = writer.connection.execute(asked).mappings().one_or_none()
    if decision is None:
        raise TransitionRefused(f"there is no decision {identity}")
    before = flag_of(writer, decision["flag_id"])
    standing = _standing(writer, before.flag_id)
    if not two_people(approver, decision["reviewer_id"]):
        raise SamePerson(f"{approver} made this decision; a critical flag takes a second person")
    if not awaits_second(before) or standing is None or standing["decision_id"] != identity:
        raise TransitionRefused("this decision does not wait for a second person any more")
    refuse_own(writer, before, approver)
    if agrees:
        refuse_own(writer, before, decision["reviewer_id"])
    refuse_taken(writer, before, approver, None)
    said = storable(notes)
    writer.connection.execute(
        insert(SECOND_REVIEWS).values(
            decision_id=identity,
            reviewer_id=decision["reviewer_id"],
            approver_id=approver,
            agrees=agrees,
            reviewed_at=writer.now,
            notes=said,
        )
    )
    after = _project(writer, before)
    _unlock(writer, before.flag_id)
    tool = "approve_decision" if agrees else "refuse_decision"
    _said(
        writer,
        before,
        after,
        approver,
        tool,
        writer.now,
        decision_id=identity,
        notes_sha256=_digest(said),
    )
    return after


def withdraw(writer: Writer, flag_id: str, by: str) -> FlagRow:
    """Take back the decision that stands; the one before it stands again, if there was one.

    Returns:
        The flag as it now stands.

    Raises:
        FlagUnknown: there is no such flag.
        DecisionRefused: there is nothing to take back, or somebody else said it.
    """
    who = storable(by, 255)
    before = flag_of(writer, flag_id)
    standing = _standing(writer, flag_id)
    if standing is None:
        raise DecisionRefused("there is no decision to take back")
    if not same_person(standing["reviewer_id"], who):
        raise DecisionRefused(
            f"{standing['reviewer_id']} decided this; only that person takes it back"
        )
    writer.connection.execute(
        insert(WITHDRAWALS).values(
            decision_id=standing["decision_id"], withdrawn_by=who, withdrawn_at=writer.now
        )
    )
    after = _project(writer, before)
    taken = standing["decision_id"]
    _said(writer, before, after, who, "withdraw_decision", writer.now, decision_id=taken)
    return after


def comment(writer: Writer, flag_id: str, author_id: str, body: str) -> str:
    """Say something about a flag; returns the comment's id.

    Raises:
        FlagUnknown: there is no such flag.
        BadUsage: there are no words.
    """
    if not body.strip():
        raise BadUsage("a comment needs words")
    flag = flag_of(writer, flag_id)
    identity, who, words = str(uuid.uuid4()), storable(author_id, 255), storable(body)
    writer.connection.execute(
        insert(COMMENTS).values(
            comment_id=identity, flag_id=flag_id, author_id=who, said_at=writer.now, body=words
        )
    )
    _said(
        writer,
        flag,
        flag,
        who,
        "comment",
        writer.now,
        comment_id=identity,
        body_sha256=_digest(words),
    )
    return identity


def assign(writer: Writer, flag_ids: Iterable[str], assignee_id: str | None, by: str) -> None:
    """Say whose the flags are to decide; None: anybody's.

    Raises:
        FlagUnknown: there is no such flag.
        BadUsage: there is no such person.
    """
    whose = None if assignee_id is None else storable(assignee_id, 255)
    known = select(USERS.c.user_id).where(USERS.c.user_id == whose, ~USERS.c.disabled)
    if whose is not None and writer.connection.scalar(known) is None:
        raise BadUsage(f"nobody here is called {whose}")
    for flag_id in flag_ids:
        flag = flag_of(writer, flag_id)
        _work(writer, flag_id, assignee_id=whose)
        _said(writer, flag, flag, by, "assign", writer.now, assignee_id=whose)


def snooze(writer: Writer, flag_ids: Iterable[str], until_at: dt.datetime | None, by: str) -> None:
    """Leave the flags out of the queue until then; None: show them again.

    Raises:
        FlagUnknown: there is no such flag.
    """
    until = None if until_at is None else instant_text(until_at)
    for flag_id in flag_ids:
        flag = flag_of(writer, flag_id)
        _work(writer, flag_id, snoozed_until_at=until_at)
        _said(writer, flag, flag, by, "snooze", writer.now, until=until)


def lock(writer: Writer, flag_id: str, by: str, seconds: int = LOCK_SECONDS) -> None:
    """Keep a flag from others while one person decides; not an event, it passes by itself.

    Raises:
        FlagUnknown: there is no such flag.
        FlagTaken: somebody else has it.
    """
    refuse_taken(writer, flag_of(writer, flag_id), by, None)
    until = writer.now + dt.timedelta(seconds=seconds)
    _work(writer, flag_id, locked_by=storable(by, 255), locked_until_at=until)


def release(writer: Writer, flag_id: str, by: str) -> None:
    """Let others have a flag that this person had."""
    writer.connection.execute(
        update(WORKLIST)
        .where(WORKLIST.c.flag_id == flag_id, WORKLIST.c.locked_by == storable(by, 255))
        .values(locked_by=None, locked_until_at=None)
    )


def awaits_second(flag: FlagRow) -> bool:
    """A decision stands on a critical flag, and nobody has agreed to it yet."""
    return (
        flag.state is FlagState.OPEN
        and flag.severity_level is Severity.CRITICAL
        and flag.human_decision is not None
        and flag.human_decision is not Verdict.NEEDS_MORE_INFO
    )


def flag_of(writer: Writer, identity: str) -> FlagRow:
    """The flag of this id, as the transaction sees it.

    Raises:
        FlagUnknown: there is none.
    """
    asked = select(FLAGS).where(FLAGS.c.flag_id == identity)
    row = writer.connection.execute(asked).mappings().one_or_none()
    if row is None:
        raise FlagUnknown(f"there is no flag {identity}; `audit-pipeline flags` lists them")
    return FlagRow.of(row)


def _standing(writer: Writer, flag_id: str) -> RowMapping | None:
    """The latest decision that was neither taken back nor refused, with its second person."""
    taken_back = exists().where(WITHDRAWALS.c.decision_id == DECISIONS.c.decision_id)
    asked = (
        select(DECISIONS, SECOND_REVIEWS.c.approver_id)
        .outerjoin(SECOND_REVIEWS, SECOND_REVIEWS.c.decision_id == DECISIONS.c.decision_id)
        .where(
            DECISIONS.c.flag_id == flag_id,
            ~taken_back,
            SECOND_REVIEWS.c.agrees.is_(None) | SECOND_REVIEWS.c.agrees,
        )
        .order_by(
            DECISIONS.c.decided_at.desc(),
            DECISIONS.c.recorded_at.desc(),
            DECISIONS.c.decision_id,
        )
        .limit(1)
    )
    return writer.connection.execute(asked).mappings().one_or_none()


def _project(writer: Writer, before: FlagRow) -> FlagRow:
    """Write what follows from the decisions on a flag into its review columns."""
    standing = _standing(writer, before.flag_id)
    holds = standing is not None and standing["verdict"] != Verdict.NEEDS_MORE_INFO.value
    if standing is not None and before.severity_level is Severity.CRITICAL:
        holds = holds and standing["approver_id"] is not None
    state = before.state
    if state is not FlagState.SUPERSEDED:
        state = transition(state, FlagState.DECIDED if holds else FlagState.OPEN)
    writer.connection.execute(
        update(FLAGS)
        .where(FLAGS.c.flag_id == before.flag_id)
        .values(
            state=state.value,
            reviewed=state is FlagState.DECIDED,
            human_decision=None if standing is None else standing["verdict"],
            reviewer_id=None if standing is None else standing["reviewer_id"],
            review_timestamp=None if standing is None else standing["decided_at"],
            reviewer_notes=None if standing is None else standing["notes"],
            approver_id=None if standing is None else standing["approver_id"],
            updated_at=writer.now,
        )
    )
    return flag_of(writer, before.flag_id)


def _digest(words: str) -> str:
    """What the trail holds of people's words: enough to show that they were changed."""
    return hashlib.sha256(words.encode()).hexdigest()


def _work(writer: Writer, flag_id: str, **values: object) -> None:
    changed = update(WORKLIST).where(WORKLIST.c.flag_id == flag_id).values(**values)
    if writer.connection.execute(changed).rowcount == 0:
        writer.connection.execute(insert(WORKLIST).values(flag_id=flag_id, **values))


def _unlock(writer: Writer, flag_id: str) -> None:
    writer.connection.execute(
        update(WORKLIST)
        .where(WORKLIST.c.flag_id == flag_id)
        .values(locked_by=None, locked_until_at=None)
    )


def _said(
    writer: Writer,
    before: FlagRow,
    after: FlagRow,
    who: str,
    tool: str,
    at: dt.datetime,
    **given: object,
) -> None:
    """The event; signed at once."""
    event = TrailEvent(
        audit_run_id=before.audit_run_id,
        agent_name=f"reviewer:{who}",
        tool_called=tool,
        occurred_at=at,
        input_data={"flag_id": before.flag_id, **given},
        output_summary={"state_before": before.state.value, "state": after.state.value},
    )
    writer.append_events([event])
    writer.urgent = True
