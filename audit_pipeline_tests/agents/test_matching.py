"""Matching: candidates are what the comment says, the assignment is the best one-to-one one."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from itertools import product
from random import Random

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.reconciliation.matching import Match, Pair, assign, candidates
from audit_pipeline_tests.books_of import day

Side = tuple[str, int, int, str]

quickly = settings(max_examples=150, deadline=None, derandomize=True)


def pair(left: str, right: str, points: int, on: int = 0, **more: object) -> Pair:
    """A candidate whose score is `points` plus five; the names say nothing more."""
    values: dict[str, object] = {
        "left_id": left,
        "right_id": right,
        "left_on": day(on),
        "right_on": day(on),
        "left_cents": 100,
        "right_cents": 100,
        "left_vendor": "acme",
        "right_vendor": "acme",
        "same_vendor": True,
        "amount_points": points - 15,
        "days_points": 0,
        "person_points": 5,
    }
    return Pair(**{**values, **more})  # pyright: ignore[reportArgumentType]


# ── the score ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("left", "right", "same", "points"),
    [
        ("acme", "zebra foods", True, 15),
        ("acme cloud services", "services acme cloud", False, 15),
        ("acme", "zzz qqq", False, -15),
        ("", "acme", False, -15),
    ],
)
def test_the_vendor_term_is_full_for_one_entity_and_negative_for_strangers(
    left: str, right: str, *, same: bool, points: int
) -> None:
    found = pair("l", "r", 50, left_vendor=left, right_vendor=right, same_vendor=same)
    assert found.vendor_points == points


def test_the_terms_add_up_to_the_score() -> None:
    one = pair("l", "r", 50, days_points=25, person_points=10)
    assert one.score == one.amount_points + one.days_points + one.vendor_points + 10


# ── the assignment ────────────────────────────────────────────────────────────────────────────────

pairs_lists = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), st.integers(40, 95), max_size=10
).map(
    lambda scores: [
        pair(f"l{left}", f"r{right}", points, on=right % 2)
        for (left, right), points in scores.items()
    ]
)


def best_total(pairs: Sequence[Pair], score_low: int) -> dict[dt.date, int]:
    """The highest total of each day, by trying everything; ties make later days incomparable."""
    rights = sorted({p.right_id for p in pairs})
    options = [
        [None, *(p for p in pairs if p.right_id == right and p.score >= score_low)]
        for right in rights
    ]
    best: dict[dt.date, int] = defaultdict(int)
    for chosen in product(*options):
        taken = [p for p in chosen if p is not None]
        if len({p.left_id for p in taken}) == len(taken):
            total = sum(p.score for p in taken)
            for p in pairs:
                best[p.right_on] = max(best[p.right_on], total)
    return best


@quickly
@given(pairs_lists)
def test_each_days_assignment_has_the_highest_total(pairs: list[Pair]) -> None:
    """Compared with all possible ones, given what earlier days have used up."""
    matches = assign(pairs, 3, 80, 65)
    used: set[str] = set()
    for on in sorted({p.right_on for p in pairs}):
        open_pairs = [p for p in pairs if p.right_on == on and p.left_id not in used]
        found = [m for m in matches if m.pair.right_on == on]
        assert sum(m.score for m in found) == best_total(open_pairs, 65)[on]
        used |= {m.pair.left_id for m in found}


@quickly
@given(pairs_lists)
def test_no_line_is_used_twice(pairs: list[Pair]) -> None:
    matches = assign(pairs, 3, 80, 65)
    assert len({m.pair.left_id for m in matches}) == len(matches)
    assert len({m.pair.right_id for m in matches}) == len(matches)
    for match in matches:
        assert match.pair in pairs
        assert match.score == match.pair.score >= 65
        assert match.vendor_points == match.pair.vendor_points
        assert match.confidence == ("matched" if match.score >= 80 else "low")
        assert match.decided_on == match.pair.right_on + dt.timedelta(days=3)


@quickly
@given(pairs_lists, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(pairs: list[Pair], random: Random) -> None:
    expected = assign(pairs, 3, 80, 65)
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert assign(shuffled, 3, 80, 65) == expected


@quickly
@given(pairs_lists)
def test_a_day_needs_nothing_later(pairs: list[Pair]) -> None:
    """What is decided of the first day's lines is the same without the second day's."""
    first = [p for p in pairs if p.right_on == day(0)]
    everything = assign(pairs, 3, 80, 65)
    assert [m for m in everything if m.pair.right_on == day(0)] == assign(first, 3, 80, 65)


@pytest.mark.parametrize(
    ("score", "confidence"), [(64, None), (65, "low"), (79, "low"), (80, "matched")]
)
def test_both_thresholds_are_inclusive(score: int, confidence: str | None) -> None:
    matches = assign([pair("l", "r", score - 5)], 3, 80, 65)
    assert [m.confidence for m in matches] == ([] if confidence is None else [confidence])


def test_rivals_are_counted() -> None:
    """The other candidates of either line, on the day of the decision, that reach the score."""
    matches = assign([pair("a", "r", 90), pair("b", "r", 80), pair("c", "r", 10)], 3, 80, 65)
    assert [(m.pair.left_id, m.rivals) for m in matches] == [("a", 1)]
    assert assign([], 3, 80, 65) == []


def test_the_best_total_beats_the_best_pair() -> None:
    """Two good matches are better than one perfect one and a line left over."""
    pairs = [pair("a", "x", 90), pair("a", "y", 85), pair("b", "x", 84)]
    matches: list[Match] = assign(pairs, 3, 80, 65)
    assert {(m.pair.left_id, m.pair.right_id) for m in matches} == {("a", "y"), ("b", "x")}


# ── the candidates ────────────────────────────────────────────────────────────────────────────────

COLUMNS = (
    "line_id VARCHAR, line_on DATE, cents BIGINT, vendor VARCHAR, vendor_key VARCHAR,"
    " vendor_id VARCHAR, person VARCHAR, counterpart_on DATE"
)


@cache
def one_connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def candidate_rows(
    left: Sequence[Side], right: Sequence[Side], window: int, below: float, above: float
) -> list[dict[str, object]]:
    """The rows of candidates.sql over two sides of (id, day, cents, vendor)."""
    connection = one_connection()
    for name, lines in (("left_side", left), ("right_side", right)):
        connection.execute(f"CREATE OR REPLACE TABLE {name} ({COLUMNS})")
        if lines:
            rows = ", ".join(
                f"('{line_id}', DATE '{day(on)}', {cents}, '{text}', '{text}', '{text}', '', NULL)"
                for line_id, on, cents, text in lines
            )
            connection.execute(f"INSERT INTO {name} VALUES {rows}")
    query = candidates("left_side", "right_side", day(90), window, below, above)
    return connection.sql(query.sql, params=dict(query.parameters)).to_arrow_table().to_pylist()


def expected_pairs(
    left: Sequence[Side], right: Sequence[Side], window: int, below: float, above: float
) -> set[tuple[str, str]]:
    """The same by comparing everything with everything."""
    return {
        (a, b)
        for a, a_on, a_cents, a_vendor in left
        for b, b_on, b_cents, b_vendor in right
        if abs(a_on - b_on) <= window
        and (
            a_cents == b_cents
            or (
                a_vendor == b_vendor
                and -below * abs(b_cents) <= a_cents - b_cents <= above * abs(b_cents)
            )
        )
    }


def sides(prefix: str) -> st.SearchStrategy[list[Side]]:
    amounts = st.one_of(st.integers(-300, 300), st.integers(9_000, 11_000))
    rows = st.tuples(st.integers(0, 12), amounts, st.sampled_from(["acme", "zebra"]))
    return st.lists(rows, max_size=12).map(
        lambda lines: [(f"{prefix}{n}", *line) for n, line in enumerate(lines)]
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    sides("l"),
    sides("r"),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.sampled_from([0.05, 0.3]),
)
def test_candidates_are_all_pairs_within_the_tolerance_and_the_window(
    left: list[Side], right: list[Side], window: int, below: float, above: float
) -> None:
    """The hashed keys leave nothing out that comparing everything would find, and add nothing."""
    rows = candidate_rows(left, right, window, below, above)
    found = {(row["left_id"], row["right_id"]) for row in rows}
    assert len(found) == len(rows)
    assert found == expected_pairs(left, right, window, below, above)


@pytest.mark.parametrize(("left_cents", "there"), [(9_500, True), (9_499, False), (9_600, True)])
@pytest.mark.parametrize("above", [0.01, 0.05, 0.3])
def test_the_lower_tolerance_does_not_lean_on_the_upper_one(
    left_cents: int, *, there: bool, above: float
) -> None:
    """5 % below is a candidate whatever may lie above."""
    rows = candidate_rows([("l", 0, left_cents, "a")], [("r", 0, 10_000, "a")], 3, 0.05, above)
    assert bool(rows) is there


def test_five_percent_below_is_a_candidate_whatever_the_amount() -> None:
    """19.20 is 5 % below 20.21, although their logarithms lie more than one bucket apart."""
    assert candidate_rows([("l", 0, 1_920, "a")], [("r", 0, 2_021, "a")], 3, 0.05, 0.05)


@pytest.mark.parametrize(
    ("days", "points"), [(0, 25), (1, 19), (3, 6), (-3, 6), (4, None), (-4, None)]
)
def test_the_window_is_inclusive_either_way(days: int, points: int | None) -> None:
    rows = candidate_rows([("l", 20, 500, "a")], [("r", 20 + days, 500, "b")], 3, 0.05, 0.05)
    assert [row["days_points"] for row in rows] == ([] if points is None else [points])


@pytest.mark.parametrize(
    ("cents", "points"),
    [(10_000, 50), (10_001, 40), (10_250, 20), (10_500, 0), (10_501, None), (9_750, 20)],
)
def test_the_amount_term_falls_to_nothing_at_the_tolerance(cents: int, points: int | None) -> None:
    rows = candidate_rows([("l", 0, cents, "a")], [("r", 0, 10_000, "a")], 3, 0.05, 0.05)
    assert [row["amount_points"] for row in rows] == ([] if points is None else [points])


def test_no_lines_make_no_candidates() -> None:
    assert candidate_rows([], [], 3, 0.05, 0.05) == []
    assert candidate_rows([("l", 0, 100, "a")], [], 3, 0.05, 0.05) == []
