"""Totals for the overview, each counted by the database; no flag is fetched.

A flag belongs to a period by its audit date. Superseded flags are in none of the totals but that
by rule. Conditions name every severity where an index has it between the columns that matter.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from audit_pipeline.adapters.store.schema import (
    AUDIT_PARTITIONS,
    DECISIONS,
    FINDINGS,
    FLAGS,
    LLM_CALLS,
    WORKLIST,
)
from audit_pipeline.model.decision import Reason, Verdict
from audit_pipeline.model.flag import FlagState, Severity
from audit_pipeline.model.sla import SLA_DAYS

PERIOD_DAYS = 90
VENDORS_SHOWN = 15
LOAD_DAYS = 7
AGES_DAYS = tuple(sorted(SLA_DAYS.values()))
"""The bounds between the ages of open flags: the service levels."""
_F = FLAGS.c


@dataclass(frozen=True)
class DayCount:
    """Flags of one audit date and severity."""

    audit_on: dt.date
    severity: Severity
    flags: int


@dataclass(frozen=True)
class RuleCount:
    """Flags, superseded ones too, to which a finding of a rule in the period leads."""

    rule_id: str
    flags: int


@dataclass(frozen=True)
class VendorCount:
    """Flags of one vendor, as the ledger writes it; None: of none that is known."""

    vendor: str | None
    flags: int
    amount_cents: int


@dataclass(frozen=True)
class AtRisk:
    """Open flags of a severity.

    Attributes:
        unread: of them, those whose amount could not be read; `amount_cents` has the others.
    """

    severity: Severity
    flags: int
    amount_cents: int
    unread: int


@dataclass(frozen=True)
class RuleVerdicts:
    """Decided flags that have a finding of a rule.

    Attributes:
        false_positives: of them, whatever the reason.
        wrong: false positives because the detector was wrong; only these say something of the rule.
    """

    rule_id: str
    decided: int
    false_positives: int
    wrong: int


@dataclass(frozen=True)
class Load:
    """What one person has to do, and has done lately; `person` None: what is nobody's yet."""

    person: str | None
    open_flags: int
    decided: int


@dataclass(frozen=True)
class Age:
    """Open flags of a severity and an age.

    Attributes:
        under_days: younger than this, and not younger than the age before; None: the oldest.
    """

    severity: Severity
    under_days: int | None
    flags: int

    @property
    def is_overdue(self) -> bool:
        """Their service level is over."""
        return self.under_days is None or self.under_days > SLA_DAYS[self.severity]


@dataclass(frozen=True)
class ModelCost:
    """What a language model was asked in the period, by purpose; US dollars."""

    purpose: str
    model: str
    attempts: int
    tokens: int
    dollars: Decimal


def last_days(connection: Connection, days: int = PERIOD_DAYS) -> tuple[dt.date, dt.date] | None:
    """The last so many days that end with the last audited day; None of an empty store."""
    last = connection.scalar(select(func.max(AUDIT_PARTITIONS.c.audit_on)))
    return None if last is None else (last - dt.timedelta(days=days - 1), last)


def flags_by_day(connection: Connection, from_on: dt.date, to_on: dt.date) -> list[DayCount]:
    """By audit date and severity, in this order; days without flags are left out."""
    keys = (_F.audit_on, _F.severity_level)
    query = select(*keys, func.count()).where(*_of_period(from_on, to_on)).group_by(*keys)
    counts = [DayCount(day, Severity(level), n) for day, level, n in connection.execute(query)]
    return sorted(counts, key=lambda one: (one.audit_on, -one.severity.rank))


def flags_by_rule(connection: Connection, from_on: dt.date, to_on: dt.date) -> list[RuleCount]:
    """By rule, those with the most first."""
    table = FINDINGS.c
    query = (
        select(table.rule_id, func.count(table.flag_id.distinct()))
        .where(table.audit_on.between(from_on, to_on))
        .group_by(table.rule_id)
    )
    counts = [RuleCount(*row) for row in connection.execute(query)]
    return sorted(counts, key=lambda one: (-one.flags, one.rule_id))


def flags_by_vendor(
    connection: Connection, from_on: dt.date, to_on: dt.date, limit: int = VENDORS_SHOWN
) -> list[VendorCount]:
    """The vendors with the most money in flagged charges, credits counted as what they are."""
    named = func.nullif(_F.vendor, "").label("named")
    amount = func.coalesce(func.sum(_F.amount_cents), 0)
    query = (
        select(named, func.count(), amount)
        .where(*_of_period(from_on, to_on))
        .group_by(named)
        .order_by(amount.desc(), func.count().desc(), named)
        .limit(limit)
    )
    return [VendorCount(vendor, n, int(cents)) for vendor, n, cents in connection.execute(query)]


def money_at_risk(connection: Connection) -> list[AtRisk]:
    """What stands open now, by severity; every severity is there."""
    query = (
        select(
            _F.severity_level,
            func.count(),
            func.coalesce(func.sum(_F.amount_cents), 0),
            func.count().filter(_F.amount_cents.is_(None)),
        )
        .where(_F.state == FlagState.OPEN.value)
        .group_by(_F.severity_level)
    )
    found = {row[0]: row for row in connection.execute(query)}
    return [
        AtRisk(level, found[level][1], int(found[level][2]), found[level][3])
        if level in found
        else AtRisk(level, 0, 0, 0)
        for level in Severity
    ]


def verdicts_by_rule(
    connection: Connection, from_on: dt.date, to_on: dt.date
) -> list[RuleVerdicts]:
    """Decided flags of the period by the rules that have a finding on them, by rule id.

    The decision is the one that stands: of its verdict, person and instant, as the flag shows it.
    """
    is_false = _F.human_decision == Verdict.FALSE_POSITIVE.value
    stands = and_(
        DECISIONS.c.flag_id == _F.flag_id,
        DECISIONS.c.decided_at == _F.review_timestamp,
        DECISIONS.c.reviewer_id == _F.reviewer_id,
        DECISIONS.c.verdict == _F.human_decision,
        DECISIONS.c.reason == Reason.DETECTOR_WRONG.value,
    )
    is_wrong = and_(is_false, select(DECISIONS.c.flag_id).where(stands).exists())
    decided = (
        select(
            _F.flag_id,
            case((is_false, 1), else_=0).label("false_positive"),
            case((is_wrong, 1), else_=0).label("wrong"),
        )
        .where(*_of_period(from_on, to_on, FlagState.DECIDED))
        .subquery()
    )
    rules = (
        select(FINDINGS.c.rule_id, decided)
        .join(decided, FINDINGS.c.flag_id == decided.c.flag_id)
        .distinct()
        .subquery()
    )
    query = (
        select(
            rules.c.rule_id,
            func.count(),
            func.sum(rules.c.false_positive),
            func.sum(rules.c.wrong),
        )
        .group_by(rules.c.rule_id)
        .order_by(rules.c.rule_id)
    )
    return [RuleVerdicts(rule, n, int(f), int(w)) for rule, n, f, w in connection.execute(query)]


def load(connection: Connection, now: dt.datetime) -> list[Load]:
    """Each person's open flags, and what each decided in the last seven days; nobody's last."""
    assigned = (
        select(WORKLIST.c.assignee_id, func.count())
        .join(FLAGS, _F.flag_id == WORKLIST.c.flag_id)
        .where(_F.state == FlagState.OPEN.value, WORKLIST.c.assignee_id.is_not(None))
        .group_by(WORKLIST.c.assignee_id)
    )
    since = now - dt.timedelta(days=LOAD_DAYS)
    done = (
        select(DECISIONS.c.reviewer_id, func.count(DECISIONS.c.flag_id.distinct()))
        .where(DECISIONS.c.decided_at > since, DECISIONS.c.decided_at <= now)
        .group_by(DECISIONS.c.reviewer_id)
    )
    count = select(func.count()).select_from(FLAGS).where(_F.state == FlagState.OPEN.value)
    open_flags: dict[str, int] = {row[0]: row[1] for row in connection.execute(assigned)}
    decided: dict[str, int] = {row[0]: row[1] for row in connection.execute(done)}
    nobodys = (connection.scalar(count) or 0) - sum(open_flags.values())
    people = sorted({*open_flags, *decided})
    loads = [Load(who, open_flags.get(who, 0), decided.get(who, 0)) for who in people]
    return [*loads, Load(None, nobodys, 0)]


def ages(connection: Connection, now: dt.datetime) -> list[Age]:
    """Open flags by severity and age; every severity and age is there."""
    younger = [
        func.count().filter(_F.created_at > now - dt.timedelta(days=days)) for days in AGES_DAYS
    ]
    query = (
        select(_F.severity_level, *younger, func.count())
        .where(_F.state == FlagState.OPEN.value)
        .group_by(_F.severity_level)
    )
    found: dict[str, list[int]] = {row[0]: list(row[1:]) for row in connection.execute(query)}
    under: list[int | None] = [*AGES_DAYS, None]
    return [
        Age(level, days, older - below)
        for level in Severity
        for days, below, older in zip(
            under,
            [0, *found.get(level.value, [0] * len(under))],
            found.get(level.value, [0] * len(under)),
            strict=False,
        )
    ]


def model_cost(connection: Connection, from_on: dt.date, to_on: dt.date) -> list[ModelCost]:
    """What was asked of language models on these days, by purpose and model."""
    table = LLM_CALLS.c
    tokens = func.coalesce(func.sum(table.tokens_in), 0) + func.coalesce(
        func.sum(table.tokens_out), 0
    )
    keys = (table.purpose, table.model)
    query = (
        select(*keys, func.count(), tokens, func.coalesce(func.sum(table.cost_dollars), 0))
        .where(table.started_at >= _midnight(from_on), table.started_at < _midnight(to_on, 1))
        .group_by(*keys)
        .order_by(*keys)
    )
    # SQLite adds the decimals as floats; rounded at their scale, the sum is exact again
    return [
        ModelCost(purpose, model, n, int(count), round(Decimal(str(dollars)), 6))
        for purpose, model, n, count, dollars in connection.execute(query)
    ]


def _midnight(day: dt.date, later_days: int = 0) -> dt.datetime:
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    return start + dt.timedelta(days=later_days)


def _of_period(
    from_on: dt.date, to_on: dt.date, *states: FlagState
) -> tuple[ColumnElement[bool], ...]:
    return (
        _F.state.in_(states or (FlagState.OPEN, FlagState.DECIDED)),
        _F.severity_level.in_(list(Severity)),
        _F.audit_on.between(from_on, to_on),
    )
