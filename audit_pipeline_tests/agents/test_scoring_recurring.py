"""Recurring payments of a closed extract: the patterns in SQL against the same in plain Python."""

import datetime as dt
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import ErrorLevel, exp

from audit_pipeline.agents.anomaly_detection import scoring
from audit_pipeline.agents.anomaly_detection.scoring.recurring import PATTERNS
from audit_pipeline.score import Wish, score

START = dt.datetime(2025, 1, 6, 9, tzinfo=dt.UTC)
RULES, HABITS = 0, 1


@dataclass(frozen=True)
class Payment:
    """A charge; cents, and days after the first."""

    after_days: int
    cents: int = 50_000
    entity: int = 1
    vendor: int = 1


def found(charges: Sequence[Payment]) -> tuple[dict[int, float | None], dict[int, int]]:
    """Place → spreads of every payment with a cadence; place → RULES or HABITS."""
    made_at = [START + dt.timedelta(days=charge.after_days) for charge in charges]
    told = pa.table({
        "id": pa.array(range(len(charges)), pa.int32()),
        "entity": pa.array([charge.entity for charge in charges], pa.int32()),
        "vendor": pa.array([charge.vendor for charge in charges], pa.int32()),
        "cents": pa.array([charge.cents for charge in charges], pa.int64()),
        "made_at": pa.array(made_at, pa.timestamp("us")),
        "day": pa.array([each.date() for each in made_at], pa.date32()),
    })  # fmt: skip
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("CREATE SCHEMA audit")
        connection.register("told", told)
        connection.execute("CREATE TABLE audit.timeline AS SELECT * FROM told")
        for name, sql in scoring.RECURRING:
            connection.execute(f"CREATE TABLE audit.{name} AS {sql}")
        spreads = connection.execute("SELECT id, spreads FROM audit.recurring_distances").fetchall()
        hits = connection.execute("SELECT id, rules, habits FROM audit.recurring_hits").fetchall()
    assert all([rules, habits].count(None) == 1 for _, rules, habits in hits)
    assert all((rules or habits) in PATTERNS for _, rules, habits in hits)
    return dict(spreads), {place: RULES if rules else HABITS for place, rules, _ in hits}


# ── plain Python ────────────────────────────────────────────────────────────────────────────────


def _stray(numbers: Sequence[float]) -> float:
    middle = statistics.median(numbers)
    return statistics.median(abs(number - middle) for number in numbers)


def by_hand(charges: Sequence[Payment]) -> tuple[dict[int, float], dict[int, int]]:
    series: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place in sorted(range(len(charges)), key=lambda n: (charges[n].after_days, n)):
        if charges[place].cents > 0:
            series[charges[place].entity, charges[place].vendor].append(place)
    spreads: dict[int, float] = {}
    odd: dict[int, list[int]] = {}
    for first, places in enumerate(series.values()):
        days = [charges[place].after_days for place in places]
        gaps = [later - day for day, later in pairwise(days)]
        if len(places) < 6 or statistics.median(gaps) < 7:
            continue
        if _stray(gaps) > max(2, 0.12 * statistics.median(gaps)):
            continue
        odd[first] = _odd([charges[place].cents for place in places], places, spreads)
    total = sum(map(len, odd.values())) / max(len(spreads), 1)
    sizes = {first: len(places) for first, places in enumerate(series.values())}
    hits = {
        place: HABITS if (len(each) - 1 + 10 * total) / (sizes[first] + 9) > 1 / 8 else RULES
        for first, each in odd.items()
        for place in each
    }
    return spreads, hits


def _odd(cents: Sequence[int], places: Sequence[int], spreads: dict[int, float]) -> list[int]:
    """Those of a series that are odd; their distances, in spreads, are put among the others'."""
    logs = [math.log(each) for each in cents]
    sides = [(logs[max(n - 3, 0) : n], logs[n + 1 : n + 4]) for n in range(len(logs))]
    usual = [statistics.median(before + after) for before, after in sides]
    distances = [log - level for log, level in zip(logs, usual, strict=True)]
    spread = max(_stray(distances), 0.05 / 6)
    odd: list[int] = []
    for n, (before, after) in enumerate(sides):
        spreads[places[n]] = abs(distances[n]) / spread
        if before and after:
            off = [logs[n] - statistics.median(side) for side in (before, after)]
            alone = off[0] * off[1] > 0 and min(map(abs, off)) > 6 * spread
            differs = abs(cents[n] - math.exp(usual[n])) >= 1_000
            if alone and differs and abs(distances[n]) > 6 * spread:
                odd.append(places[n])
    return odd


def charge_lists() -> st.SearchStrategy[list[Payment]]:
    """Few pairs, gaps that stray sometimes, amounts that change sometimes."""
    steps = st.tuples(
        st.sampled_from([7, 7, 7, 7, 7, 8, 6, 10, 14, 0]),
        st.sampled_from([50_000] * 8 + [52_600, 51_000, 90_000, 20_000, 900, -50_000, 0]),
    )
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2), st.lists(steps, max_size=40))

    def paid(pairs: list[tuple[int, int, list[tuple[int, int]]]]) -> list[Payment]:
        made: list[Payment] = []
        for entity, vendor, each in pairs:
            day = 0
            for gap, cents in each:
                day += gap
                made.append(Payment(day, cents, entity, vendor))
        return made

    return st.lists(pair, max_size=3, unique_by=lambda each: each[:2]).map(paid)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(charge_lists())
def test_the_pattern_is_that_of_plain_python(charges: list[Payment]):
    spreads, hits = found(charges)
    expected, expected_hits = by_hand(charges)
    assert spreads == pytest.approx(expected, abs=1e-6)
    assert hits == expected_hits


# ── examples ────────────────────────────────────────────────────────────────────────────────────

MONTHS = 16


def monthly(cents: dict[int, int] | None = None, *, every: int = 30) -> list[Payment]:
    """Of 500.00 each, but for those given."""
    return [Payment(every * n, (cents or {}).get(n, 50_000)) for n in range(MONTHS)]


def named(charges: Sequence[Payment]) -> dict[int, int]:
    return found(charges)[1]


@pytest.mark.parametrize(
    ("cents", "is_named"),
    [(50_000, False), (52_500, False), (52_600, True), (47_600, False), (47_500, True),
     (90_000, True), (20_000, True), (5_000_000, True)],
)  # fmt: skip
def test_one_amount_more_than_five_percent_off(cents: int, is_named: bool):  # noqa: FBT001
    """Of the logarithm, for series that hardly vary: 5.1 % above, 4.9 % below."""
    assert named(monthly({8: cents})) == ({8: RULES} if is_named else {})


@pytest.mark.parametrize("place", [0, MONTHS - 1])
def test_nobody_knows_whether_the_last_amount_will_last(place: int):
    """Nor what came before the first."""
    assert named(monthly({place: 90_000})) == {}
    inner = 1 if place == 0 else MONTHS - 2
    assert named(monthly({inner: 90_000})) == {inner: RULES}


@pytest.mark.parametrize("at", [3, 8, MONTHS - 2])
def test_a_rise_that_lasts_is_no_wrong_payment(at: int):
    assert named(monthly(dict.fromkeys(range(at, MONTHS), 80_000))) == {}


def test_growth_is_no_wrong_payment_and_hides_none():
    growing = {n: round(50_000 * 1.04**n) for n in range(MONTHS)}
    assert named(monthly(growing)) == {}
    assert named(monthly(growing | {8: 2 * growing[8]})) == {8: RULES}


def test_an_amount_is_measured_by_what_its_series_varies():
    """A third more is odd for a rent, and nothing for a bill that varies by a tenth."""
    varying = {n: 50_000 + 5_000 * (n % 3 - 1) for n in range(MONTHS)}
    assert named(monthly(varying | {8: 66_000})) == {}
    assert named(monthly(varying | {8: 150_000})) == {8: RULES}


def test_one_late_payment_does_not_blind():
    """Nor one that is missing, nor a second odd amount."""
    late = monthly({5: 90_000, 10: 20_000})
    late[7] = replace(late[7], after_days=late[7].after_days + 12)
    del late[9]
    assert named(late) == {5: RULES, 9: RULES}


def test_what_a_series_does_again_and_again_is_a_habit():
    again = dict.fromkeys(range(2, MONTHS - 1, 4), 90_000)
    assert named(monthly(again)) == dict.fromkeys(again, HABITS)


@pytest.mark.parametrize(
    ("charges", "seen"),
    [
        (monthly({3: 90_000}, every=7), True),
        (monthly({3: 90_000}, every=6), False),
        (monthly({3: 90_000})[:6], True),
        (monthly({3: 90_000})[:5], False),
        ([Payment(n * n, 90_000 if n == 8 else 50_000) for n in range(MONTHS)], False),
        ([replace(each, entity=n % 2) for n, each in enumerate(monthly({8: 90_000})[:10])], False),
        ([replace(each, vendor=n % 2) for n, each in enumerate(monthly({8: 90_000})[:10])], False),
        ([replace(each, cents=-each.cents) for each in monthly({8: 90_000})], False),
        ([replace(each, cents=each.cents // 50) for each in monthly({8: 90_000})], False),
    ],
)
def test_only_a_cadence_of_one_entity_and_vendor_is_looked_at(
    charges: list[Payment],
    seen: bool,  # noqa: FBT001
):
    """A week's gap at least, six payments, and no difference below ten units of money."""
    assert bool(named(charges)) is seen


def test_score_names_it_beside_the_other_patterns(tmp_path: Path):
    """In a column and in the summary; what it does not name has no rule here."""
    rents = monthly({8: 81_240})
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    made_at = [START + dt.timedelta(days=each.after_days) for each in rents]
    pq.write_table(pa.table({
        "id": [f"rent {n}" for n in range(MONTHS)], "entity": ["R"] * MONTHS,
        "vendor": ["[red]Rents, Ltd'; --"] * MONTHS, "category": ["rent"] * MONTHS,
        "amount": [each.cents / 100 for each in rents],
        "time": pa.array(made_at, pa.timestamp("us")),
    }), file)  # fmt: skip
    outcome = score(Wish(file, out), lambda _: None)
    rules = {row["id"]: row["rules"] for row in pq.read_table(out).to_pylist()}
    assert rules == dict.fromkeys(rules, "") | {"rent 8": "recurring_amount"}
    assert len(rules) == MONTHS
    assert outcome.patterns["recurring_amount"] == 1


def test_without_charges():
    assert found([]) == ({}, {})


@pytest.mark.parametrize(("name", "sql"), scoring.RECURRING)
def test_the_sql_can_be_said_to_databricks(name: str, sql: str):
    (tree,) = sqlglot.parse(sql, read="duckdb", error_level=ErrorLevel.RAISE)
    assert isinstance(tree, exp.Query), name
    said = tree.sql(dialect="databricks", unsupported_level=ErrorLevel.IGNORE)
    assert sqlglot.parse_one(said, read="databricks")
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    assert all(table.name in own or table.db == "audit" for table in tree.find_all(exp.Table))
