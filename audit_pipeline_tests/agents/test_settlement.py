"""Statement settlement: exact sums are found, and what a payment left out is named."""

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.reconciliation import settlement
from audit_pipeline.agents.reconciliation.settlement import (
    Payment,
    Statement,
    card_named_in,
    month_after,
    month_before,
    smallest_explanation,
)
from audit_pipeline.agents.reconciliation.statement_lines import Line, Lines
from audit_pipeline_tests.books_of import day


def settle(
    card: str,
    lines: Iterable[Line],
    payments: Iterable[Payment],
    first_on: dt.date,
    explain_max: int,
) -> list[Statement]:
    return settlement.settle(card, Lines.of(lines), payments, first_on, explain_max)


quickly = settings(max_examples=120, deadline=None, derandomize=True)
JANUARY = dt.date(2026, 1, 1)


# ── the smallest explanation ──────────────────────────────────────────────────────────────────────

line_lists = st.lists(
    st.tuples(st.integers(0, 5), st.integers(-3, 9).filter(bool), st.sampled_from(["a", "b", "c"])),
    max_size=9,
).map(
    lambda rows: sorted(
        (Line(f"l{i}", day(on), cents, name) for i, (on, cents, name) in enumerate(rows)),
        key=lambda line: (line.on, line.line_id),
    )
)


def brute_force(lines: Sequence[Line], difference: int, size_max: int) -> list[set[str]]:
    """All of the smallest sets of lines that sum to the difference."""
    for size in range(1, size_max + 1):
        found = [
            {line.line_id for line in chosen}
            for chosen in combinations(lines, size)
            if sum(line.cents for line in chosen) == difference
        ]
        if found:
            return found
    return []


@quickly
@given(line_lists, st.integers(-8, 30), st.integers(1, 4))
def test_the_smallest_explanation_is_that_of_all_combinations(
    lines: list[Line], difference: int, size_max: int
) -> None:
    """Same size, same number of rivals, and the named set is one of them."""
    counts = Counter(line.vendor for line in lines)
    named, rivals = smallest_explanation(lines, difference, size_max, counts)
    expected = brute_force(lines, difference, size_max)
    assert rivals == max(len(expected) - 1, 0)
    assert set(named) in expected if expected else named == ()


@quickly
@given(line_lists, st.integers(-8, 30))
def test_the_named_set_has_the_rarest_vendors(lines: list[Line], difference: int) -> None:
    """Among equally small sets none has vendors that occur less, nor equally rare later lines."""
    counts = Counter(line.vendor for line in lines)
    named, _ = smallest_explanation(lines, difference, 3, counts)
    by_id = {line.line_id: line for line in lines}

    def rank(ids: set[str]) -> tuple[int, list[int]]:
        rarity = sum(counts[by_id[i].vendor] for i in ids)
        return rarity, sorted(-by_id[i].on.toordinal() for i in ids)

    for other in brute_force(lines, difference, 3):
        assert rank(set(named)) <= rank(other)


def test_nothing_explains_what_no_small_set_makes_up() -> None:
    lines = [Line(f"l{i}", day(i), 100, "v") for i in range(5)]
    assert smallest_explanation(lines, 400, 3, Counter()) == ((), 0)
    assert smallest_explanation(lines, 400, 4, Counter())[1] == 4
    assert smallest_explanation([], 0, 3, Counter()) == ((), 0)


# ── months ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("on", "before"),
    [("2026-03-31", "2026-02-28"), ("2024-03-30", "2024-02-29"), ("2026-01-15", "2025-12-15")],
)
def test_month_before_ends_with_a_short_month(on: str, before: str) -> None:
    assert month_before(dt.date.fromisoformat(on)) == dt.date.fromisoformat(before)


@pytest.mark.parametrize(
    ("on", "wanted", "after"),
    [
        ("2026-01-31", 31, "2026-02-28"),
        ("2026-02-28", 31, "2026-03-31"),
        ("2025-12-05", 5, "2026-01-05"),
    ],
)
def test_month_after_returns_to_the_wanted_day(on: str, wanted: int, after: str) -> None:
    assert month_after(dt.date.fromisoformat(on), wanted) == dt.date.fromisoformat(after)


# ── which card ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("VISA PAYMENT 1111", "1111"),
        ("PAYMENT 2026 CARD 1111", "1111"),
        ("CARD ending 2222, 12345678", "2222"),
        ("payment of 1111 to 2222", "2222"),
        ("AMEX AUTOPAY 9999", "all"),
        ("card 11112222", "all"),
        ("", "all"),
    ],
)
def test_a_payment_names_a_card_that_has_lines(text: str, card: str) -> None:
    """Years, amounts and account numbers name no card; the last card named counts."""
    assert card_named_in(text, ["1111", "2222"]) == card


# ── settling ──────────────────────────────────────────────────────────────────────────────────────


def statement_lines(per_day: Sequence[int], seed: int) -> list[Line]:
    """Lines on consecutive days whose amounts are powers of two: every set has its own sum."""
    order = list(range(sum(per_day)))
    random.Random(seed).shuffle(order)
    days = [at for at, count in enumerate(per_day) for _ in range(count)]
    return [
        Line(f"l{n:03}", day(at), 1 << power, f"v{n}")
        for n, (at, power) in enumerate(zip(days, order, strict=True))
    ]


def billed(lines: Sequence[Line], closing_day: int, lag: int) -> list[tuple[Payment, list[Line]]]:
    """What each monthly statement sums up to, paid `lag` days after its closing."""
    close = JANUARY.replace(day=closing_day)
    start, bills = JANUARY - dt.timedelta(days=1), []
    while close <= max(line.on for line in lines):
        inside = [line for line in lines if start < line.on <= close]
        if inside:
            total = sum(line.cents for line in inside)
            paid = Payment(f"p{len(bills)}", close + dt.timedelta(days=lag), total)
            bills.append((paid, inside))
        start, close = close, month_after(close, closing_day)
    return bills


def last_of(statements: Sequence[Statement]) -> dict[str, Statement]:
    return {statement.payment_id: statement for statement in statements}


dense = st.lists(st.integers(1, 2), min_size=130, max_size=150)
closings = st.integers(1, 28)
lags = st.integers(1, 25)


@settings(quickly, max_examples=60)
@given(st.lists(st.integers(0, 2), min_size=130, max_size=150), closings, lags, st.integers(0, 9))
def test_exact_payments_settle(per_day: list[int], closing_day: int, lag: int, seed: int) -> None:
    """After the first, whose period may begin before the data, every payment is its lines' sum."""
    lines = statement_lines([1, *per_day], seed)
    bills = billed(lines, closing_day, lag)
    statements = settle("1111", lines, [paid for paid, _ in bills], JANUARY, 3)
    found = last_of(statements)
    for paid, inside in bills[1:]:
        statement = found[paid.payment_id]
        assert statement.status == "settled"
        assert statement.lines == len(inside)
        assert statement.lines_cents == statement.paid_cents == paid.cents
        assert statement.period_from is not None
        assert statement.period_to is not None
        covered = [x for x in lines if statement.period_from <= x.on <= statement.period_to]
        assert covered == inside


@settings(quickly, max_examples=60)
@given(dense, closings, lags, st.integers(0, 9), st.data())
def test_the_line_that_a_payment_leaves_out_is_named(
    per_day: list[int], closing_day: int, lag: int, seed: int, data: st.DataObject
) -> None:
    """To the cent and alone, wherever in the period it lies but on its last day."""
    lines = statement_lines(per_day, seed)
    bills = billed(lines, closing_day, lag)
    at = data.draw(st.integers(2, len(bills) - 1), "payment")
    paid, inside = bills[at]
    line = data.draw(st.sampled_from([x for x in inside if x.on < inside[-1].on]), "line")
    payments = [p for p, _ in bills]
    payments[at] = Payment(paid.payment_id, paid.on, paid.cents - line.cents)
    found = last_of(settle("1111", lines, payments, JANUARY, 3))
    statement = found[paid.payment_id]
    assert statement.status == "short"
    assert statement.explained_by == (line.line_id,)
    assert statement.rivals == 0
    assert statement.difference_cents == line.cents
    assert statement.lines_cents - statement.paid_cents == line.cents
    others = [p.payment_id for n, p in enumerate(payments) if n not in (0, at)]
    assert {found[other].status for other in others} == {"settled"}


@settings(quickly, max_examples=30)
@given(dense, closings, lags, st.integers(0, 9), st.integers(0, 99))
def test_the_order_of_lines_and_payments_does_not_matter(
    per_day: list[int], closing_day: int, lag: int, seed: int, shuffle: int
) -> None:
    lines = statement_lines(per_day, seed)
    payments = [paid for paid, _ in billed(lines, closing_day, lag)]
    expected = settle("1111", lines, payments, JANUARY, 3)
    other_lines, other_payments = list(lines), list(payments)
    random.Random(shuffle).shuffle(other_lines)
    random.Random(shuffle + 1).shuffle(other_payments)
    assert settle("1111", other_lines, other_payments, JANUARY, 3) == expected


@settings(quickly, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 40), st.sampled_from("abc"))),
    st.lists(st.tuples(st.integers(0, 110), st.integers(1, 400)), max_size=6),
    st.integers(0, 110),
)
def test_a_day_sees_nothing_later(
    rows: list[tuple[int, int, str]], paid: list[tuple[int, int]], until: int
) -> None:
    """What is known up to a day is the same whether or not later lines and payments are there."""
    lines = [Line(f"l{i:03}", day(on), cents, name) for i, (on, cents, name) in enumerate(rows)]
    payments = [Payment(f"p{i}", day(on), cents) for i, (on, cents) in enumerate(paid)]
    first_on = min((line.on for line in lines), default=JANUARY)
    known = [line for line in lines if line.on <= day(until)]
    seen = [payment for payment in payments if payment.on <= day(until)]
    everything = settle("1111", lines, payments, first_on, 3)
    alone = settle("1111", known, seen, first_on, 3)
    assert [s for s in everything if s.audit_on <= day(until)] == alone


def test_the_named_line_does_not_depend_on_later_charges() -> None:
    """Of two lines of one amount the rarer vendor's is named; rare as of the payment's day."""
    base = [Line(x.line_id, x.on, 8 * x.cents, x.vendor) for x in statement_lines([1] * 80, 1)]
    twins = [Line("t-rare", day(60), 3, "rare"), Line("u-usual", day(61), 3, "usual")]
    known = [*base, *twins, Line("before", day(2), 5, "usual")]
    payments = [paid for paid, _ in billed(known, 15, 10)]
    payments[2] = Payment("p2", payments[2].on, payments[2].cents - 3)
    alone = settle("1111", known, payments, JANUARY, 3)
    assert alone[-1].explained_by == ("t-rare",)
    assert alone[-1].rivals == 1
    later = [Line(f"z{at}", day(100 + at), 7, "rare") for at in range(5)]
    assert settle("1111", [*known, *later], payments, JANUARY, 3) == alone


def third_payment(less: int) -> tuple[list[Line], list[Payment], list[Line]]:
    """Three statements that close on the 15th, the last one paid by so much less."""
    lines = statement_lines([1] * 80, 1)
    bills = billed(lines, 15, 10)
    payments = [paid for paid, _ in bills]
    payments[2] = Payment("p2", payments[2].on, payments[2].cents - less)
    return lines, payments, bills[2][1]


def test_more_paid_than_charged_is_over() -> None:
    lines, payments, inside = third_payment(-(1 << 90))
    statement = settle("1111", lines, payments, JANUARY, 3)[-1]
    assert statement.status == "over"
    assert statement.difference_cents == -(1 << 90)
    assert statement.lines == len(inside)
    assert statement.explained_by == ()


def test_a_difference_that_no_small_set_makes_up_is_unexplained() -> None:
    """Four lines left out, with three as the most that are tried."""
    _, _, inside = third_payment(0)
    four = inside[3:7]
    lines, payments, _ = third_payment(sum(line.cents for line in four))
    statement = settle("1111", lines, payments, JANUARY, 3)[-1]
    assert statement.status == "unexplained"
    assert statement.difference_cents == sum(line.cents for line in four)
    named = settle("1111", lines, payments, JANUARY, 4)[-1]
    assert named.explained_by == tuple(line.line_id for line in four)


def test_an_unlucky_line_on_another_closing_day_is_not_named() -> None:
    """Two lines left out on the usual day are likelier than one, had it closed three days later."""
    _, _, inside = third_payment(0)
    first, second = inside[3], inside[7]
    lines, payments, _ = third_payment(0)
    after = sum(x.cents for x in lines if 0 < (x.on - inside[-1].on).days <= settlement.DRIFT_DAYS)
    left_out = first.cents + second.cents
    unlucky = Line("unlucky", inside[5].on, left_out + after, "v")
    paid = payments[2].cents + unlucky.cents - left_out
    payments[2] = Payment("p2", payments[2].on, paid)
    lines = sorted([*lines, unlucky], key=lambda line: (line.on, line.line_id))
    statement = settle("1111", lines, payments, JANUARY, 3)[-1]
    assert statement.explained_by == (first.line_id, second.line_id)


def test_a_short_first_period_sets_no_habit() -> None:
    """A card used from the 1st that closes on the 15th closes on the 15th again, not on the 31st.

    Its second payment leaves a line out, so that its period is known by habit only.
    """
    lines = statement_lines([1] * 80, 1)
    (first, _), (second, inside), *_ = billed(lines, 15, 10)
    short = Payment(second.payment_id, second.on, second.cents - inside[5].cents)
    statements = settle("1111", lines, [first, short], JANUARY, 3)
    assert [s.status for s in statements] == ["settled", "short"]
    assert statements[1].explained_by == (inside[5].line_id,)


@pytest.mark.parametrize("length", [7, 14])
def test_a_card_paid_every_week_or_two_keeps_its_rhythm(length: int) -> None:
    """A line left out of one payment is named, and the payments after it settle."""
    lines = statement_lines([1] * (length * 6), 1)
    payments: list[Payment] = []
    for n in range(6):
        inside = lines[n * length : (n + 1) * length]
        left_out = inside[2].cents if n == 3 else 0
        total = sum(line.cents for line in inside) - left_out
        payments.append(Payment(f"p{n}", inside[-1].on + dt.timedelta(days=3), total))
    found = last_of(settle("1111", lines, payments, JANUARY, 3))
    assert found["p3"].status == "short"
    assert found["p3"].explained_by == (lines[3 * length + 2].line_id,)
    assert [found[f"p{n}"].status for n in (0, 1, 2, 4, 5)] == ["settled"] * 5


@pytest.mark.parametrize(("lag", "status"), [(45, "settled"), (46, "no_pattern")])
def test_a_payment_settles_up_to_45_days_after_the_closing(lag: int, status: str) -> None:
    """No lines after the closing would otherwise hide how late the payment is."""
    lines = statement_lines([1] * 120, 2)
    close = dt.date(2026, 2, 15)
    inside = [x for x in lines if dt.date(2026, 1, 15) < x.on <= close]
    payment = Payment("p", close + dt.timedelta(days=lag), sum(x.cents for x in inside))
    statement = settle("1111", lines, [payment], JANUARY, 3)[0]
    assert statement.status == status


def test_without_a_pattern_nothing_is_claimed() -> None:
    """A payment that fits no period names none, before the data as well as within it."""
    lines = statement_lines([1] * 120, 2)
    payments = [Payment("early", day(30), 1 << 200), Payment("late", day(110), 1 << 200)]
    statements = settle("1111", lines, payments, JANUARY, 3)
    assert [s.status for s in statements] == ["before_data", "no_pattern"]
    assert all(s.period_from is None and s.explained_by == () for s in statements)
    assert settle("1111", [], payments, JANUARY, 3)[1].status == "no_pattern"
    assert settle("1111", lines, [], JANUARY, 3) == []


def test_a_first_payment_is_judged_once_its_closing_is_known() -> None:
    """The next payment's period shows where its own ended; that day it becomes known."""
    lines = statement_lines([1] * 120, 3)
    (_, _), (second, inside), (third, _), *_ = billed(lines, 15, 10)
    short = Payment(second.payment_id, second.on, second.cents - inside[4].cents)
    statements = settle("1111", lines, [short, third], JANUARY, 3)
    assert [s.status for s in statements] == ["no_pattern", "short", "settled"]
    assert statements[1].audit_on == third.on
    assert statements[1].payment_on == second.on
    assert statements[1].explained_by == (inside[4].line_id,)
