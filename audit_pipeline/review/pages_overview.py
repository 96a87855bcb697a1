"""The overview: what was flagged in a period, how right it was, and what stands open now."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from audit_pipeline.adapters.store import overview
from audit_pipeline.adapters.store.rows import PartitionRow
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.flag import Severity
from audit_pipeline.model.sla import SLA_DAYS
from audit_pipeline.review import pictures
from audit_pipeline.review.access import Viewer
from audit_pipeline.review.desk import TheDesk
from audit_pipeline.review.templating import page

router = APIRouter()
Z_95 = 1.959964
"""The normal distribution's quantile of an interval of 95 %."""
Row = Sequence[object]


@dataclass(frozen=True)
class Figure:
    """A picture and the table that says the same.

    Attributes:
        texts: how many of the first columns are no numbers.
    """

    picture: Markup
    header: tuple[str, ...]
    rows: Sequence[Row]
    texts: int = 1


def wilson(right: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, from 0 to 1; all of it where there is nothing.

    Source: Wilson 1927, "Probable inference", JASA 22, p. 209.
    """
    if not of:
        return 0.0, 1.0
    share, z2 = right / of, Z_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def period(
    usual: tuple[dt.date, dt.date] | None, from_on: dt.date | None, to_on: dt.date | None
) -> tuple[dt.date, dt.date]:
    """The days that are asked for; where one is not said, that of the usual period.

    Raises:
        BadUsage: it ends before it begins.
    """
    first, last = usual or (dt.datetime.now(dt.UTC).date(),) * 2
    begin = min(first, to_on or first) if from_on is None else from_on
    end = max(last, begin) if to_on is None else to_on
    if end < begin:
        raise BadUsage(f"the period ends on {end}, before it begins on {begin}")
    return begin, end


@router.get("/overview", response_class=HTMLResponse)
def show(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    from_on: Annotated[dt.date | None, Query(alias="from")] = None,
    to_on: Annotated[dt.date | None, Query(alias="to")] = None,
) -> HTMLResponse:
    """The page, by default of the last 90 days that have data."""
    now = dt.datetime.now(dt.UTC)
    with desk.store.reading() as connection:
        begin, end = period(overview.last_days(connection), from_on, to_on)
        by_day = overview.flags_by_day(connection, begin, end)
        by_rule = overview.flags_by_rule(connection, begin, end)
        by_vendor = overview.flags_by_vendor(connection, begin, end)
        verdicts = overview.verdicts_by_rule(connection, begin, end)
        costs = overview.model_cost(connection, begin, end)
        at_risk = overview.money_at_risk(connection)
        ages = overview.ages(connection, now)
        load = overview.load(connection, now)
    days = desk.store.partitions(from_on=begin, to_on=end)
    return page(
        request,
        person,
        "overview.html",
        from_on=begin,
        to_on=end,
        by_day=_days(by_day),
        by_rule=_rules(by_rule, {rule_id: rule.title for rule_id, rule in desk.rules}),
        by_vendor=_vendors(by_vendor),
        precision=[_precision(one) for one in verdicts],
        ledger=_ledger(days),
        imbalanced=sum(not _is_balanced(day) for day in days),
        days=len(days),
        model_cost=[
            (one.purpose, one.model, f"{one.attempts:,}", f"{one.tokens:,}", f"{one.dollars:.4f}")
            for one in costs
        ],
        at_risk=_at_risk(at_risk),
        ages=_ages(ages),
        load=[
            (one.person or "nobody yet", f"{one.open_flags:,}", f"{one.decided:,}") for one in load
        ],
    )


def _days(counts: Sequence[overview.DayCount]) -> Figure:
    flags = {(one.audit_on, one.severity): one.flags for one in counts}
    rows = [
        (day, *(f"{flags.get((day, level), 0):,}" for level in Severity))
        for day in sorted({day for day, _ in flags})
    ]
    picture = pictures.columns_by_day("days", "Flags by day and severity", flags)
    return Figure(picture, ("day", *(level.value for level in Severity)), rows)


def _rules(counts: Sequence[overview.RuleCount], titles: dict[str, str]) -> Figure:
    picture = pictures.bars(
        "rules",
        "Flags by rule",
        [(one.rule_id, one.flags, f"{one.flags:,}") for one in counts],
    )
    rows = [(one.rule_id, titles.get(one.rule_id, ""), f"{one.flags:,}") for one in counts]
    return Figure(picture, ("rule", "what it looks for", "flags"), rows, 2)


def _vendors(counts: Sequence[overview.VendorCount]) -> Figure:
    picture = pictures.bars(
        "vendors",
        "Money flagged, by vendor",
        [
            (one.vendor or "(no vendor)", one.amount_cents, f"{_money(one.amount_cents)}")
            for one in counts
        ],
    )
    rows = [
        (one.vendor or "(no vendor)", f"{one.flags:,}", _money(one.amount_cents)) for one in counts
    ]
    return Figure(picture, ("vendor", "flags", "amount"), rows)


def _precision(one: overview.RuleVerdicts) -> Row:
    right = one.decided - one.wrong
    shares = (right / one.decided, *wilson(right, one.decided))
    counts = (one.decided, one.false_positives, one.wrong)
    return (one.rule_id, *(f"{n:,}" for n in counts), *(f"{share:.1%}" for share in shares))


def _at_risk(found: Sequence[overview.AtRisk]) -> Figure:
    picture = pictures.bars(
        "risk",
        "Money at risk: open flags by severity",
        [(one.severity.value, one.amount_cents, _money(one.amount_cents)) for one in found],
        [one.severity for one in found],
    )
    rows = [
        (one.severity.value, f"{one.flags:,}", _money(one.amount_cents), f"{one.unread:,}")
        for one in found
    ]
    return Figure(picture, ("severity", "flags", "amount", "amount not readable"), rows)


def _ages(found: Sequence[overview.Age]) -> Figure:
    rows: list[tuple[str, float, str]] = []
    severities: list[Severity] = []
    under = 0
    for one in found:
        days = f"{under} to {one.under_days} days" if one.under_days else f"{under} days and more"
        late = ", overdue" if one.is_overdue and one.flags else ""
        rows.append((f"{one.severity.value}, {days}", one.flags, f"{one.flags:,}{late}"))
        severities.append(one.severity)
        under = one.under_days or 0
    table = [
        (
            label,
            f"{one.flags:,}",
            "overdue" if one.is_overdue else "in time",
            SLA_DAYS[one.severity],
        )
        for (label, *_), one in zip(rows, found, strict=True)
    ]
    picture = pictures.bars("ages", "Age of open flags", rows, severities)
    return Figure(
        picture, ("severity and age", "flags", "standing", "to be decided within days"), table
    )


def _ledger(days: Sequence[PartitionRow]) -> list[Row]:
    return [
        (
            name,
            f"{sum(getattr(day, count) for day in days):,}",
            f"{sum((getattr(day, amount) for day in days), Decimal(0)):,.2f}",
        )
        for name, count, amount in (
            ("received", "transactions", "amount"),
            ("flagged", "flagged", "flagged_amount"),
            ("cleared", "cleared", "cleared_amount"),
            ("quarantined", "quarantined", "quarantined_amount"),
        )
    ]


def _is_balanced(day: PartitionRow) -> bool:
    return (
        day.transactions == day.flagged + day.cleared + day.quarantined
        and day.amount == day.flagged_amount + day.cleared_amount + day.quarantined_amount
    )


def _money(cents: int) -> str:
    return f"{Decimal(cents).scaleb(-2):,.2f}"
