"""The scores in SQL against the same in plain Python, charge by charge and signal by signal."""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlglot
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlglot import ErrorLevel, exp

from audit_pipeline import scored
from audit_pipeline.agents.anomaly_detection import scoring
from audit_pipeline.agents.anomaly_detection.scoring.hits import COPIES_MAX, PARTS_MAX
from audit_pipeline_tests import scores_by_hand
from audit_pipeline_tests.charges_in_tables import (
    CATEGORIES,
    ENTITIES,
    LIMIT,
    START,
    VENDORS,
    busy,
    by_id,
    rows,
    run,
    splits,
    town,
)
from audit_pipeline_tests.scores_by_hand import Books, Charge

# An example takes half a second, and what fails is small already.
quickly = settings(
    max_examples=9, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)


def charge_lists(size: int) -> st.SearchStrategy[list[Charge]]:
    """Few names, amounts that repeat, slip and swap, times that collide."""
    amounts = st.one_of(
        st.sampled_from([0, 1, 99, 100, 999, 1_000, 10_000, 100_000, 230_000, 249_999, 250_000]),
        st.sampled_from([12_340, 13_240, 123_400, 1_234, -12_340, 25_000, 25_001, 10**12]),
        st.integers(-500, 300_000),
    )
    minutes = st.one_of(
        st.sampled_from([0, 60, 90, 1_440, 2_880, 10_080, 10_081, 40_000]),
        st.integers(0, 60 * 24 * 40),
    )
    return st.lists(
        st.tuples(
            *(st.sampled_from(names) for names in (ENTITIES, VENDORS, CATEGORIES)),
            amounts,
            minutes,
        ),
        max_size=size,
    ).map(
        lambda found: [
            Charge(n, entity, vendor, category, cents, START + dt.timedelta(minutes=after))
            for n, (entity, vendor, category, cents, after) in enumerate(found)
        ]
    )


# ── the oracle ──────────────────────────────────────────────────────────────────────────────────


def check_signals(books: Books) -> None:
    found = by_id("signals")
    scored = by_id("scored_charges")
    assert found.keys() == scored.keys()
    for charge in books.timeline:
        if charge.id in found:
            told, expected = found[charge.id], books.signals(charge)
            assert tuple(expected) == scoring.SIGNALS
            assert scores_by_hand.either(told["pair_distance"]) == pytest.approx(
                expected["amount_pair"], rel=1e-5, abs=1e-5
            )
            for name, bits in expected.items():
                assert told[name] == pytest.approx(bits, rel=1e-5, abs=1e-5), (name, charge)


def check_scores(books: Books) -> None:
    """From the signals that the SQL found, so that no rounding moves one to another bin."""
    signals, known = by_id("signals"), rows("known_signals")
    (calibration,) = rows("calibration")
    for name in scoring.SIGNALS:
        curve = scores_by_hand.curve([row[name] for row in known])
        assert calibration[name] == pytest.approx(curve, abs=1e-9), name
        assert calibration[name] == sorted(calibration[name])
    counted = by_id("counted")
    for place, told in signals.items():
        weighed = {
            name: calibration[name][scores_by_hand.bin_of(told[name])] for name in scoring.SIGNALS
        }
        bits, parts = scores_by_hand.combined(weighed)
        assert counted[place].pop("bits") == pytest.approx(bits, abs=1e-9)
        assert counted[place] == pytest.approx(parts, rel=1e-5, abs=1e-6)
    summed = {place: row["bits"] for place, row in by_id("summed").items()}
    expected, scored = scores_by_hand.raised(summed, books), by_id("scored")
    assert scored.keys() == expected.keys()
    for place, row in scored.items():
        assert row["companions"] == expected[place].companions
        assert row["units"] == pytest.approx(expected[place].units, abs=1e-6)
        assert row["score"] == pytest.approx(expected[place].score, abs=1e-6)
        assert 0 <= row["score"] <= 100


def check(books: Books, only: set[int] | None = None) -> None:
    run(books, only)
    check_signals(books)
    check_scores(books)


def test_the_oracle_knows_every_signal() -> None:
    assert [name for names in scores_by_hand.ASPECTS for name in names] == list(scoring.SIGNALS)


@pytest.mark.parametrize("timed", [True, False])
def test_a_closed_extract(timed: bool) -> None:  # noqa: FBT001
    """Every signal speaks in these charges, so every signal is compared."""
    check(Books(town(1, timed=timed), ahead=True, limit=LIMIT))
    spoken = [name for name in scoring.SIGNALS if any(row[name] for row in rows("signals"))]
    silent = set() if timed else {"hour_category", "hour_entity"}
    assert set(scoring.SIGNALS) - set(spoken) == silent
    assert any(row["companions"] for row in rows("scored"))


@pytest.mark.parametrize("timed", [True, False])
def test_later_days_against_history(timed: bool) -> None:  # noqa: FBT001
    check(Books(splits(town(2, timed=timed), 40), ahead=False, limit=LIMIT))
    assert {row["own"] for row in rows("scored_charges")} == {0, 1}


@pytest.mark.parametrize(("day", "ahead"), [(99, True), (20, False)])
def test_pairs_that_repeat_and_split_all_the_time(day: int, ahead: bool) -> None:  # noqa: FBT001
    check(Books(splits(busy(7), day), ahead=ahead, limit=LIMIT))
    assert max(row["copies"] for row in rows("hits_duplicate")) == COPIES_MAX
    assert max(row["parts"] for row in rows("hits_split")) == PARTS_MAX


@quickly
@given(charge_lists(14))
def test_a_small_closed_extract(charges: list[Charge]) -> None:
    check(Books(charges, ahead=True, limit=LIMIT))


@quickly
@given(charge_lists(14), st.sampled_from([0, 1, 7, 28]))
def test_a_few_days_against_little_history(charges: list[Charge], day: int) -> None:
    check(Books(splits(charges, day), ahead=False, limit=LIMIT))


@pytest.mark.parametrize("ahead", [True, False])
def test_in_one_moment_all_see_each_other(ahead: bool) -> None:  # noqa: FBT001
    """Which of the same moment stands first is nobody's doing: the slip is found either way."""
    for slipped in (0, 1):
        cents = [12_340, 12_340]
        cents[slipped] = 123_400
        charges = [Charge(n, "a", "v", "c", amount, START) for n, amount in enumerate(cents)]
        run(Books(charges, ahead=ahead, limit=LIMIT))
        assert [row["id"] for row in rows("hits_decimal_slip")] == [slipped]


DAY = 24 * 60
BOUNDARIES: dict[str, tuple[list[tuple[int, int]], dict[str, list[int]]]] = {
    "a week": ([(0, 1_000), (7 * DAY, 1_000)], {"duplicate": [0, 1]}),
    "more than a week": ([(0, 1_000), (7 * DAY + 1, 1_000)], {}),
    "small change": ([(0, 999), (0, 999)], {}),
    "paid back": ([(0, -5_000), (0, -5_000)], {}),
    "swapped": ([(0, 12_340), (7 * DAY, 13_240)], {"near_duplicate": [0, 1]}),
    "swapped later": ([(0, 12_340), (7 * DAY + 1, 13_240)], {}),
    "slipped": ([(0, 1_050), (90 * DAY, 10_500)], {"decimal_slip": [1]}),
    "slipped, small": ([(0, 999), (90 * DAY, 9_990)], {}),
    "slipped twice": ([(0, 123), (90 * DAY, 12_300)], {"decimal_slip": [1]}),
    "two days": ([(0, 130_000 + 7), (2 * DAY, 120_000 - 7)], {"split": [0, 1]}),
    "more than two days": ([(0, 130_000 + 7), (2 * DAY + 1, 120_000 - 7)], {}),
    "below the limit together": ([(0, 130_000 + 7), (DAY, 120_000 - 8)], {}),
    "a small part": ([(0, 225_000 - 1), (DAY, 25_001)], {"split": [0, 1]}),
    "too small a part": ([(0, 225_000 - 1), (DAY, 25_000)], {}),
    "five parts": ([(n, 50_001 + n) for n in range(5)], {"split": [0, 1, 2, 3, 4]}),
    "six parts": ([(n, 50_001 + n) for n in range(6)], {}),
    "two halves among seven": (
        [*((DAY + n, 40_001 + n) for n in range(5)), (0, 125_000), (2 * DAY, 125_001)],
        {"split": [5, 6]},
    ),
    "one half among seven": (
        [*((DAY + n, 40_001 + n) for n in range(5)), (0, 125_000), (2 * DAY, 124_999)],
        {},
    ),
    "two halves too far apart": (
        [*((DAY + n, 40_001 + n) for n in range(5)), (0, 125_000), (2 * DAY + 1, 125_001)],
        {},
    ),
    "just below": ([(0, 225_000)], {"below_limit": [0]}),
    "still below": ([(0, 249_999)], {"below_limit": [0]}),
    "the limit": ([(0, 250_001)], {}),
    "less": ([(0, 224_999)], {}),
    "round": ([(0, 10_000)], {"round_amount": [0]}),
    "hardly round": ([(0, 10_001)], {}),
    "nothing": ([(0, 0)], {}),
}
"""Case → minutes and cents of a card's charges at a vendor, and which show which pattern."""


def test_both_sides_of_every_boundary() -> None:
    charges = [
        Charge(100 * at + n, case, case, "", cents, START + dt.timedelta(minutes=minutes))
        for at, (case, (lines, _)) in enumerate(BOUNDARIES.items())
        for n, (minutes, cents) in enumerate(lines)
    ]
    run(Books(charges, ahead=True, limit=LIMIT))
    found: dict[str, dict[str, list[int]]] = {case: {} for case in BOUNDARIES}
    for row in sorted(rows("hits"), key=lambda row: row["id"]):
        case = list(BOUNDARIES)[row["id"] // 100]
        for name in scores_by_hand.PATTERNS:
            if row[name]:
                found[case].setdefault(name, []).append(row["id"] % 100)
    assert found == {case: shown for case, (_, shown) in BOUNDARIES.items()}


# ── edges ───────────────────────────────────────────────────────────────────────────────────────


def alike(count: int, **changed: Any) -> list[Charge]:
    one = Charge(0, "a", "v", "", 12_345, START)
    return [replace(one, **changed, id=n) for n in range(count)]


def spaced(count: int) -> list[Charge]:
    return [
        replace(charge, entity=f"card {n}", vendor=f"vendor {n}", category=f"category {n}",
                made_at=START + dt.timedelta(hours=7 * n))
        for n, charge in enumerate(alike(count))
    ]  # fmt: skip


EDGES: dict[str, list[Charge]] = {
    "nothing": [],
    "one charge": alike(1),
    "one charge of nothing": alike(1, cents=0),
    "two of a moment": alike(2),
    "all alike": alike(40),
    "all of nothing": alike(40, cents=0),
    "all paid back": alike(40, cents=-5_000_000),
    "nothing in common": spaced(40),
    "the largest": [*spaced(3), replace(spaced(4)[3], cents=99_999_999_999_999_999)],
}


@pytest.mark.parametrize(("day", "ahead"), [(99, True), (0, False)])
@pytest.mark.parametrize("name", EDGES)
def test_every_number_is_one(name: str, day: int, ahead: bool) -> None:  # noqa: FBT001
    """No null, no infinity, nothing left out, whether all is history or nothing is."""
    charges = splits(EDGES[name], day)
    run(Books(charges, ahead=ahead, limit=LIMIT))
    for table in ("signals", "counted", "scored"):
        found = by_id(table)
        assert found.keys() == {charge.id for charge in charges}
        assert all(math.isfinite(value) for row in found.values() for value in row.values())
    for row in rows("scored"):
        assert 0 <= row["score"] < 100


# ── what must hold ──────────────────────────────────────────────────────────────────────────────


def test_a_second_time_says_the_same() -> None:
    books = Books(town(3), ahead=True, limit=LIMIT)
    run(books)
    first = by_id("scored")
    run(books)
    assert by_id("scored") == first


@pytest.mark.parametrize("ahead", [True, False])
def test_a_larger_amount_is_never_less_surprising(ahead: bool) -> None:  # noqa: FBT001
    """One charge a year later, with ever larger amounts, against the same history."""
    history = town(4, 120)
    usual = next(charge for charge in history if charge.vendor == "ACME" and charge.cents > 0)
    later = START + dt.timedelta(days=365)
    amounts = [10 ** (n / 7) * 100 for n in range(36)]
    tried = [
        # a charge a month, so that none is in the window of another
        replace(usual, id=10_000 + n, cents=round(amount), known=False,
                made_at=later + dt.timedelta(days=28 * n))
        for n, amount in enumerate(amounts)
    ]  # fmt: skip
    books = Books([*history, *tried], ahead=ahead, limit=LIMIT)
    run(books)
    signals, counted = by_id("signals"), by_id("counted")
    middles = {
        "amount_category": books.categories[usual.category].middle,
        "amount_pair": max(c.log_amount for c in history),
        "amount_vendor": max(c.log_amount for c in history),
        "amount_entity": max(c.log_amount for c in history),
    }
    (calibration,) = rows("calibration")
    for name in (*scores_by_hand.AMOUNT, *scores_by_hand.SIZE):
        from_log = middles.get(name, -math.inf)
        bits = [signals[c.id][name] for c in tried if c.log_amount > from_log]
        assert len(bits) > 8
        assert bits == sorted(bits), name
        assert bits[-1] > bits[0], name
        weighed = [calibration[name][scores_by_hand.bin_of(b)] for b in bits]
        assert weighed == sorted(weighed)
    assert all(counted[c.id]["bits"] >= 0 for c in tried)


def paid_in_a_day(days: list[dt.date], *, count: int = 6) -> list[Charge]:
    """Of one card, so many on each of these days and one on every other day of the year."""
    year = [dt.date(2025, 1, 1) + dt.timedelta(days=n) for n in range(365)]
    moments = [
        dt.datetime.combine(day, dt.time(9 + n))
        for day in year
        for n in range(count if day in days else 1)
    ]
    return [Charge(n, "a", "v", "", 10_000, at) for n, at in enumerate(moments)]


def pace_of(charges: list[Charge], day: dt.date, *names: str) -> float:
    run(Books(charges, ahead=True, limit=LIMIT))
    signals = by_id("signals")
    return max(signals[c.id][name] for c in charges if c.day == day for name in names)


def test_a_month_that_ends_with_many_payments_is_usual() -> None:
    ends = [dt.date(2025, month, 28) + dt.timedelta(days=3) for month in range(1, 12)]
    ends = [day.replace(day=1) - dt.timedelta(days=1) for day in ends]
    middles = [dt.date(2025, month, 15) for month in range(1, 12)]
    for name in ("velocity", "spent"):
        at_the_end = pace_of(paid_in_a_day(ends), ends[5], name)
        in_the_middle = pace_of(paid_in_a_day(middles), middles[5], name)
        assert at_the_end < 0.8 * in_the_middle, name


def test_a_busy_month_of_the_year_is_usual() -> None:
    december = [dt.date(2025, 12, day) for day in range(3, 28)]
    alone = [dt.date(2025, 12, 15)]
    busy = pace_of(paid_in_a_day(december, count=3), alone[0], "velocity")
    assert busy < 0.8 * pace_of(paid_in_a_day(alone, count=3), alone[0], "velocity")


def test_day_by_day_is_all_at_once() -> None:
    """Against one history the signals and bits of a day are the same, whatever comes after it."""
    charges = splits(town(5), 45)
    run(Books(charges, ahead=False, limit=LIMIT))
    signals, counted = by_id("signals"), by_id("counted")
    days = sorted({charge.day for charge in charges if not charge.known})
    assert len(days) > 5
    for day in days[::4]:
        until = [charge for charge in charges if charge.known or charge.day <= day]
        only = {charge.id for charge in until if not charge.known and charge.day == day}
        run(Books(until, ahead=False, limit=LIMIT), only, calibrated=True)
        assert by_id("signals") == {place: signals[place] for place in only}
        assert by_id("counted") == {place: counted[place] for place in only}


def test_a_charge_is_compared_with_the_others_only() -> None:
    """A copy of history without the charge, which is then scored against it, counts the same."""
    charges = town(6, 100)
    chosen = charges[7]
    run(Books(charges, ahead=True, limit=LIMIT))
    within = by_id("signals")[chosen.id]
    apart = [replace(c, known=c.id != chosen.id) for c in charges]
    run(Books(apart, ahead=True, limit=LIMIT))
    beside = by_id("signals")[chosen.id]
    for name in ("vendor_rare", "category_entity", "category_vendor"):
        assert within[name] == pytest.approx(beside[name], rel=1e-5), name


# ── Databricks ──────────────────────────────────────────────────────────────────────────────────


def form(sight: scoring.Sight, aspects: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {
        **dict(scoring.of_timeline(sight, LIMIT, aspects)),
        **dict(scoring.of_history(sight, aspects)),
        **dict(scoring.scores(sight, aspects)),
        **dict(scoring.reasons(sight, LIMIT, aspects)),
    }


def all_sql() -> dict[str, str]:
    texts = form(scoring.Sight(ahead=True), scoring.ASPECTS)
    audited = form(scoring.Sight(ahead=False), scored.ASPECTS)
    texts |= {f"{name} of an audit": sql for name, sql in audited.items() if sql != texts[name]}
    columns = scoring.timeline_columns("cents", "made_at")
    return texts | {"timeline": f"SELECT {columns} FROM audit.lines"}


@pytest.mark.parametrize(("name", "sql"), sorted(all_sql().items()))
def test_the_sql_can_be_said_to_databricks(name: str, sql: str) -> None:
    (tree,) = sqlglot.parse(sql, read="duckdb", error_level=ErrorLevel.RAISE)
    assert isinstance(tree, exp.Query)
    assert not list(tree.find_all(exp.Command))
    said = tree.sql(dialect="databricks", unsupported_level=ErrorLevel.IGNORE)
    assert sqlglot.parse_one(said, read="databricks")
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        assert table.name in own or table.db == "audit", table.sql()
