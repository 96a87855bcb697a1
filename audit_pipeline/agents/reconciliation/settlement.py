"""Statement settlement: which charges a card payment pays, to the cent.

A payment settles a period when it equals the sum of the card's statement lines in it. Neither the
closing day nor the payment's lag is given anywhere, so both are found: the closing day is the one
for which the sum is exact. A payment with no exact closing day names the difference and the
smallest set of lines that explains it. Everything is in whole cents.

Periods are judged in the order of the payments and from earlier data only, so a day audited alone
and a year audited at once find the same.
"""

import datetime as dt
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from audit_pipeline.agents.reconciliation.statement_lines import Line, Lines

FOUR_DIGITS = re.compile(r"(?<!\d)\d{4}(?!\d)")

PERIOD_DAYS = (*range(27, 34), 7, 14, 15, 16)
"""Lengths of a statement period that are tried while none is known: a month, a week, a half."""
SHORT_DAYS_MAX = 16
"""The longest period that is counted in days rather than by the day of the month."""
LAG_DAYS_MAX = 45
"""A statement is due within this many days of its closing (Regulation Z: at least 21 to pay)."""
DRIFT_DAYS = 3
"""How far a closing day moves around weekends and short months."""


@dataclass(frozen=True)
class Payment:
    """One bank line that pays a card."""

    payment_id: str
    on: dt.date
    cents: int


@dataclass(frozen=True)
class Statement:
    """One payment and what it pays.

    Attributes:
        audit_on: the day on which this is known: the payment's own, or that of a later payment
            whose exact period showed where this one's ended.
        status: `settled` (exact), `short` (paid less than the lines; `explained_by` names the
            smallest set of lines that makes up the difference), `over` (paid more than the lines),
            `unexplained` (no small set fits), `before_data` (its period begins before the data),
            `no_pattern` (no period is known yet).
        period_from: first day of the period, inclusive; None where unknown.
        period_to: the closing day, inclusive; None where unknown.
        difference_cents: lines − payment.
        rivals: how many other sets of the same size explain the difference as well.
    """

    audit_on: dt.date
    payment_id: str
    payment_on: dt.date
    card: str
    paid_cents: int
    status: str
    period_from: dt.date | None = None
    period_to: dt.date | None = None
    lines: int = 0
    lines_cents: int = 0
    difference_cents: int = 0
    explained_by: tuple[str, ...] = ()
    rivals: int = 0


def month_before(day: dt.date) -> dt.date:
    """The same day of the month before, or that month's last day."""
    last_of_before = day.replace(day=1) - dt.timedelta(days=1)
    return last_of_before.replace(day=min(day.day, last_of_before.day))


@dataclass(frozen=True)
class _Habit:
    """When statements close: every `days` days, or on a day of the month where `days` is 0."""

    day: int
    days: int

    @classmethod
    def of(cls, start: dt.date, end: dt.date) -> "_Habit":
        """The habit that one period from the closing `start` to the closing `end` shows."""
        length = (end - start).days
        if length <= SHORT_DAYS_MAX:
            return cls(0, length)
        is_last = (end + dt.timedelta(days=1)).day == 1
        return cls(max(end.day, start.day) if is_last else end.day, 0)

    def after(self, close: dt.date) -> dt.date:
        """The closing that follows `close`."""
        return close + dt.timedelta(days=self.days) if self.days else month_after(close, self.day)

    def before(self, close: dt.date) -> dt.date:
        """The closing before `close`."""
        return close - dt.timedelta(days=self.days) if self.days else month_before(close)


def month_after(day: dt.date, wanted_day: int) -> dt.date:
    """`wanted_day` of the month after, or that month's last day."""
    first = (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    last = (first + dt.timedelta(days=32)).replace(day=1) - dt.timedelta(days=1)
    return first.replace(day=min(wanted_day, last.day))


def smallest_explanation(
    lines: "Sequence[Line]", difference: int, size_max: int, suspicion: "Counter[str]"
) -> tuple[tuple[str, ...], int]:
    """The fewest lines that sum to `difference` cents, and how many rival sets are as small.

    Among equally small sets the most suspicious one is named: the one whose vendors occur least on
    the card, then the later one.

    Returns:
        Line ids (empty when no set of up to `size_max` lines fits) and the number of rivals.
    """

    def rank(found: "tuple[Line, ...]") -> tuple[int, list[int], tuple[str, ...]]:
        rarity = sum(suspicion[line.vendor] for line in found)
        return (
            rarity,
            sorted(-line.on.toordinal() for line in found),
            tuple(line.line_id for line in found),
        )

    for size in range(1, size_max + 1):
        sets = list(_sets_of(lines, difference, size))
        if sets:
            best = min(sets, key=rank)
            return tuple(sorted(line.line_id for line in best)), len(sets) - 1
    return (), 0


RIVALS_COUNTED_MAX = 1_000
"""Past this many the reader knows that a set of that size proves nothing."""


def _sets_of(
    lines: "Sequence[Line]", target: int, size: int, start: int = 0
) -> "Iterable[tuple[Line, ...]]":
    if size == 1:
        yield from ((line,) for line in lines[start:] if line.cents == target)
        return
    if size == 2:  # noqa: PLR2004 — a pair
        seen: dict[int, list[Line]] = {}
        count = 0
        for line in lines[start:]:
            for other in seen.get(target - line.cents, ()):
                yield other, line
                count += 1
                if count >= RIVALS_COUNTED_MAX:
                    return
            seen.setdefault(line.cents, []).append(line)
        return
    for position in range(start, len(lines) - size + 1):
        first = lines[position]
        for rest in _sets_of(lines, target - first.cents, size - 1, position + 1):
            yield first, *rest


def _exact_period(
    lines: "Lines",
    payment: Payment,
    close: dt.date | None,
    first_on: dt.date,
    habit: _Habit | None,
) -> tuple[dt.date, dt.date] | None:
    """(the closing before, the closing) for which the lines sum to the payment exactly.

    Days without a line give equal sums; the closing nearest to the habit is meant then.
    """
    expected = habit.after(close) if close is not None and habit is not None else None
    found: list[tuple[int, dt.date, dt.date]] = []
    for lag in range(LAG_DAYS_MAX + 1):
        end = payment.on - dt.timedelta(days=lag)
        starts = (
            [close]
            if close is not None
            else [month_before(end), *(end - dt.timedelta(days=n) for n in PERIOD_DAYS)]
        )
        total = lines.until(end)
        for order, start in enumerate(starts):
            if start >= end or start < first_on - dt.timedelta(days=1):
                continue
            exact = total - lines.until(start) == payment.cents
            if exact and lines.count_until(start) < lines.count_until(end):
                off_habit = abs((end - expected).days) if expected is not None else lag
                found.append((off_habit * 100 + order, start, end))
    if not found:
        return None
    _, start, end = min(found)
    return start, end


def _differing(
    card: str,
    book: "Lines",
    payment: Payment,
    close: dt.date,
    expected: dt.date,
    size_max: int,
    known_on: dt.date,
) -> Statement:
    """A payment whose period is known by habit, and whose amount is not the sum of its lines."""
    suspicion = book.vendor_counts(known_on)
    options: list[tuple[tuple[int, int, int], Statement]] = []
    for drift in sorted(range(-DRIFT_DAYS, DRIFT_DAYS + 1), key=abs):
        end = expected + dt.timedelta(days=drift)
        if not close < end <= payment.on:
            continue
        lines = book.within(close, end)
        total = sum(line.cents for line in lines)
        difference = total - payment.cents
        explained, rivals = (
            smallest_explanation(lines, difference, size_max, suspicion)
            if difference > 0
            else ((), 0)
        )
        status = "short" if explained else ("over" if difference < 0 else "unexplained")
        size = len(explained) or size_max + 1
        options.append(
            (
                # A day off the habit is as unlikely as one more line that was left out; unlucky
                # sums are found on some day nearly always.
                (size + abs(drift), size, drift),
                Statement(
                    payment.on,
                    payment.payment_id,
                    payment.on,
                    card,
                    payment.cents,
                    status,
                    close + dt.timedelta(days=1),
                    end,
                    len(lines),
                    total,
                    difference,
                    explained,
                    rivals,
                ),
            )
        )
    if not options:
        return Statement(
            payment.on, payment.payment_id, payment.on, card, payment.cents, "no_pattern"
        )
    return min(options, key=lambda option: option[0])[1]


def settle(
    card: str,
    lines: "Lines",
    payments: "Iterable[Payment]",
    first_on: dt.date,
    explain_max: int,
) -> list[Statement]:
    """The statements of one card, one per payment, in the order of the payments.

    Args:
        card: what the payments name it by (its last four digits), or `all` for one bill.
        lines: its statement lines.
        payments: the bank lines that pay it, any order.
        first_on: the first day of the data; a period that begins earlier cannot be tested.
        explain_max: how many lines may explain a difference.

    Returns:
        One statement per payment; a payment whose period only a later one made known has a second
        one, dated on that later day.
    """
    statements: list[Statement] = []
    close: dt.date | None = None
    habit: _Habit | None = None
    waiting: list[Payment] = []
    for payment in sorted(payments, key=lambda p: (p.on, p.payment_id)):
        exact = _exact_period(lines, payment, close, first_on, habit)
        if exact is not None:
            start, end = exact
            # A period before which the card has no line may have begun later: no length is shown.
            begun = close is not None or bool(lines.count_until(start))
            habit = _Habit.of(start, end) if begun else _Habit(end.day, 0)
            statements += _late(
                card, lines, waiting, start, habit, payment.on, first_on, explain_max
            )
            waiting = []
            inside = lines.count_until(end) - lines.count_until(start)
            statements.append(
                Statement(
                    payment.on,
                    payment.payment_id,
                    payment.on,
                    card,
                    payment.cents,
                    "settled",
                    start + dt.timedelta(days=1),
                    end,
                    inside,
                    payment.cents,
                )
            )
            close = end
        elif close is not None and habit is not None:
            expected = habit.after(close)
            statement = _differing(card, lines, payment, close, expected, explain_max, payment.on)
            statements.append(statement)
            close = statement.period_to or (expected if expected <= payment.on else close)
        else:
            reaches_back = payment.on - dt.timedelta(days=LAG_DAYS_MAX) < first_on
            status = "before_data" if reaches_back else "no_pattern"
            statements.append(
                Statement(payment.on, payment.payment_id, payment.on, card, payment.cents, status)
            )
            waiting.append(payment)
    return statements


def _late(
    card: str,
    lines: "Lines",
    waiting: "Sequence[Payment]",
    known_close: dt.date,
    habit: _Habit,
    known_on: dt.date,
    first_on: dt.date,
    explain_max: int,
) -> list[Statement]:
    """The last waiting payment, judged now that the closing day of its period is known."""
    if not waiting:
        return []
    payment = waiting[-1]
    start = habit.before(known_close)
    if start < first_on - dt.timedelta(days=1):
        before = first_on - dt.timedelta(days=1)
        return [
            Statement(
                known_on,
                payment.payment_id,
                payment.on,
                card,
                payment.cents,
                "before_data",
                None,
                known_close,
                lines.count_until(known_close) - lines.count_until(before),
                lines.until(known_close) - lines.until(before),
            )
        ]
    judged = _differing(card, lines, payment, start, known_close, explain_max, known_on)
    return [replace(judged, audit_on=known_on)]


def card_named_in(text: str, cards: "Iterable[str]") -> str:
    """The card (last four digits) that a payment's text names, or `all` where it names none.

    Only a card that has statement lines counts, so a year or an amount in the text does no harm.
    """
    known = set(cards)
    named = [digits for digits in FOUR_DIGITS.findall(text) if digits in known]
    return named[-1] if named else "all"
