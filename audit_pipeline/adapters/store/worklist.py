"""The queue: which flags wait for whom, in the order in which they are worked through.

Critical ones first, then the one that has waited longest against its SLA, which is the same for
all flags of a severity; of those raised in the same run the highest score first.
"""

import base64
import binascii
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, or_, select

from audit_pipeline.adapters.store import reviewing
from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.adapters.store.schema import FINDINGS, FLAGS, USERS, WORKLIST
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.decision import Verdict
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.flag import FlagState, Severity
from audit_pipeline.model.person import same_person

ROWS_MAX = 500
STANDINGS = ("open", "awaiting", "decided", "superseded", "any")
NOBODY = "nobody"
SCORE_MAX = 100

_F, _W = FLAGS.c, WORKLIST.c


@dataclass(frozen=True)
class Filters:
    """What is asked for; an empty one is not asked.

    Attributes:
        rule: with a finding of this rule.
        vendor: a part of the vendor's name; `cardholder` of the person's.
        from_on: of the charge, inclusive, as is `to_on`.
        state: one of STANDINGS; awaiting: a second person.
        assignee: a user id, or NOBODY.
        snoozed: those that are put off for later, instead of the others.
        text: in the explanation, the vendor or the ids.
    """

    population: str = ""
    severity: Severity | None = None
    rule: str = ""
    vendor: str = ""
    cardholder: str = ""
    amount_min_cents: int | None = None
    amount_max_cents: int | None = None
    from_on: dt.date | None = None
    to_on: dt.date | None = None
    state: str = "open"
    assignee: str = ""
    snoozed: bool = False
    text: str = ""


@dataclass(frozen=True)
class WorkRow:
    """A flag, and who works on it.

    Attributes:
        locked_by: who has it open now; None when nobody has.
    """

    flag: FlagRow
    assignee_id: str | None
    snoozed_until_at: dt.datetime | None
    locked_by: str | None
    locked_until_at: dt.datetime | None


@dataclass(frozen=True)
class Page:
    """Some of the flags, in the queue's order; `after` asks for the following ones."""

    rows: list[WorkRow]
    after: str | None


def page(
    connection: Connection,
    filters: Filters,
    now: dt.datetime,
    after: str | None = None,
    limit: int = 50,
) -> Page:
    """The flags that are asked for, from the given place on.

    Args:
        now: UTC; what is snoozed or locked is so at that time.
        after: of the page before.
        limit: at most so many, and at most ROWS_MAX.

    Raises:
        BadUsage: `after` is none that was given, or a filter is none that there is.
    """
    place = None if after is None else _Place.read(after)
    wanted = _wanted(filters, now)
    most = min(limit, ROWS_MAX)
    rows: list[WorkRow] = []
    for level in _levels(filters, place):
        asked = _ordered(level, wanted, place if place and place.severity is level else None)
        found = connection.execute(asked.limit(most + 1 - len(rows))).mappings()
        rows.extend(_row(row, now) for row in found)
        if len(rows) > most:
            return Page(rows[:most], _Place.of(rows[most - 1].flag).written())
    return Page(rows, None)


def work_on(connection: Connection, flag_id: str, now: dt.datetime) -> WorkRow | None:
    """One flag and who works on it; None where there is no such flag."""
    row = connection.execute(_joined().where(_F.flag_id == flag_id)).mappings().one_or_none()
    return None if row is None else _row(row, now)


def counts(connection: Connection, now: dt.datetime) -> dict[str, int]:
    """Of open flags by severity, and of those awaiting a second person, snoozed and decided."""
    numbers: Counter[str] = Counter()
    grouped = select(_F.state, _F.severity_level, func.count()).group_by(
        _F.state, _F.severity_level
    )
    for state, severity, number in connection.execute(grouped):
        numbers[severity if state == FlagState.OPEN.value else state] += number
    for name, condition in (("awaiting", _awaiting()), ("snoozed", _W.snoozed_until_at > now)):
        asked = (
            select(func.count())
            .select_from(FLAGS.outerjoin(WORKLIST))
            .where(_F.state == FlagState.OPEN.value, condition)
        )
        numbers[name] = connection.scalar(asked) or 0
    return {
        name: numbers[name]
        for name in (*(level.value for level in Severity), "awaiting", "snoozed", "decided")
    }


def take_next(writer: Writer, filters: Filters, person_id: str, *, may_approve: bool) -> str | None:
    """Lock the first flag that this person can decide; its id, or None when there is none.

    One that nobody else has open, that is not somebody else's to do, not put off, not the
    person's own charge, and, where it awaits a second person, not decided by the same one.
    """
    is_free = or_(
        _W.locked_by.is_(None), _W.locked_until_at <= writer.now, _W.locked_by == person_id
    )
    is_theirs = or_(_W.assignee_id.is_(None), _W.assignee_id == person_id)
    second = and_(_awaiting(), func.lower(_F.reviewer_id) != person_id.lower())
    is_todo = or_(~_awaiting(), second) if may_approve else ~_awaiting()
    wanted = [*_wanted(filters, writer.now), is_free, is_theirs, is_todo]
    asked = select(USERS.c.cardholder, USERS.c.display_name).where(USERS.c.user_id == person_id)
    own = [person_id, *(name for name in writer.connection.execute(asked).one_or_none() or ())]
    for level in _levels(filters, None):
        for row in writer.connection.execute(_ordered(level, wanted, None)).mappings():
            if any(same_person(name or "", row["cardholder"] or "") for name in own):
                continue
            reviewing.lock(writer, row["flag_id"], person_id)
            return str(row["flag_id"])
    return None


def vendors_flags(connection: Connection, flag: FlagRow, limit: int) -> list[FlagRow]:
    """Other flags of the same vendor, the latest charge first: what became of them is a guide."""
    if not flag.vendor:
        return []
    asked = (
        select(FLAGS)
        .where(
            _F.vendor == flag.vendor,
            _F.population == flag.population,
            _F.flag_id != flag.flag_id,
            _F.state != FlagState.SUPERSEDED.value,
        )
        .order_by(_F.occurred_on.desc(), _F.flag_id)
        .limit(limit)
    )
    return [FlagRow.of(row) for row in connection.execute(asked).mappings()]


@dataclass(frozen=True)
class _Place:
    """Where a page ended: the key of its last flag."""

    severity: Severity
    created_at: dt.datetime
    score: int
    flag_id: str

    @classmethod
    def of(cls, flag: FlagRow) -> "_Place":
        return cls(flag.severity_level, flag.created_at, flag.severity_score, flag.flag_id)

    @classmethod
    def read(cls, text: str) -> "_Place":
        try:
            severity, at, score, flag_id = json.loads(base64.urlsafe_b64decode(text.encode()))
            created_at = dt.datetime.fromisoformat(at).astimezone(dt.UTC)
            within = max(0, min(int(score), SCORE_MAX))  # no database takes any number there is
            return cls(Severity(severity), created_at, within, str(flag_id))
        except (ValueError, TypeError, OverflowError, binascii.Error) as fault:
            raise BadUsage("this place in the list is unknown; begin at the first page") from fault

    def written(self) -> str:
        key = [self.severity.value, self.created_at.isoformat(), self.score, self.flag_id]
        return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()

    @property
    def following(self) -> ColumnElement[bool]:
        """After this one, within its severity."""
        return and_(
            _F.created_at >= self.created_at,  # what the index can be entered at
            or_(
                _F.created_at > self.created_at,
                _F.severity_score < self.score,
                and_(_F.severity_score == self.score, _F.flag_id > self.flag_id),
            ),
        )


def _levels(filters: Filters, place: _Place | None) -> Iterator[Severity]:
    """The severities that are asked for, the worst first, from the place on."""
    for level in Severity:
        is_before = place is not None and level.rank > place.severity.rank
        if filters.severity in (None, level) and not is_before:
            yield level


def _joined() -> Select[Any]:
    worked = (_W.assignee_id, _W.snoozed_until_at, _W.locked_by, _W.locked_until_at)
    return select(FLAGS, *worked).select_from(FLAGS.outerjoin(WORKLIST))


def _ordered(
    level: Severity, wanted: list[ColumnElement[bool]], place: _Place | None
) -> Select[Any]:
    following = [] if place is None else [place.following]
    return (
        _joined()
        .where(_F.severity_level == level.value, *wanted, *following)
        .order_by(_F.created_at, _F.severity_score.desc(), _F.flag_id)
    )


def _wanted(filters: Filters, now: dt.datetime) -> list[ColumnElement[bool]]:
    if filters.state not in STANDINGS:
        raise BadUsage(f"{filters.state!r} is no state of a flag: {', '.join(STANDINGS)}")
    wanted = list(_standing(filters.state))
    if filters.state in ("open", "awaiting"):
        later = and_(_W.snoozed_until_at.is_not(None), _W.snoozed_until_at > now)
        wanted.append(later if filters.snoozed else ~later)
    for value, condition in (
        (filters.population, _F.population == filters.population),
        (filters.vendor, _F.vendor.icontains(filters.vendor, autoescape=True)),
        (filters.cardholder, _F.cardholder.icontains(filters.cardholder, autoescape=True)),
        (filters.rule, _has_finding_of(filters.rule)),
        (filters.assignee, _is_of(filters.assignee)),
        (filters.text, _says(filters.text)),
    ):
        if value:
            wanted.append(condition)
    for bound, condition in (
        (filters.amount_min_cents, lambda cents: func.abs(_F.amount_cents) >= cents),
        (filters.amount_max_cents, lambda cents: func.abs(_F.amount_cents) <= cents),
        (filters.from_on, _F.occurred_on.__ge__),
        (filters.to_on, _F.occurred_on.__le__),
    ):
        if bound is not None:
            wanted.append(condition(bound))
    return wanted


def _standing(state: str) -> Iterator[ColumnElement[bool]]:
    if state == "awaiting":
        yield _F.state == FlagState.OPEN.value
        yield _awaiting()
    elif state != "any":
        yield _F.state == state


def _awaiting() -> ColumnElement[bool]:
    """As `reviewing.awaits_second`, of open flags."""
    return and_(
        _F.severity_level == Severity.CRITICAL.value,
        func.coalesce(_F.human_decision, Verdict.NEEDS_MORE_INFO.value)
        != Verdict.NEEDS_MORE_INFO.value,
    )


def _has_finding_of(rule: str) -> ColumnElement[bool]:
    found = select(FINDINGS.c.rule_id).where(
        FINDINGS.c.flag_id == _F.flag_id, FINDINGS.c.rule_id == rule
    )
    return found.exists()


def _is_of(assignee: str) -> ColumnElement[bool]:
    return _W.assignee_id.is_(None) if assignee == NOBODY else _W.assignee_id == assignee


def _says(text: str) -> ColumnElement[bool]:
    return or_(
        _F.explanation.icontains(text, autoescape=True),
        _F.vendor.icontains(text, autoescape=True),
        _F.transaction_id.icontains(text, autoescape=True),
        _F.flag_id.istartswith(text, autoescape=True),
    )


def _row(row: RowMapping, now: dt.datetime) -> WorkRow:
    until: dt.datetime | None = row["locked_until_at"]
    is_locked = until is not None and until > now
    return WorkRow(
        FlagRow.of(row),
        row["assignee_id"],
        row["snoozed_until_at"],
        row["locked_by"] if is_locked else None,
        until if is_locked else None,
    )
