"""Candidates are what the windows say, probabilities compete, days stand alone."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from audit_pipeline.agents.reconciliation import linkage, linkage_sql, matching
from audit_pipeline.agents.reconciliation.assignment import best_assignment
from audit_pipeline.agents.reconciliation.likeness import EDGES, Likeness
from audit_pipeline.agents.reconciliation.linkage import Candidates, Model
from audit_pipeline.agents.reconciliation.linkage_sql import EQUAL, HEAD, Window

Side = tuple[int, int, str]
"""Day, cents, text."""

quickly = settings(max_examples=60, deadline=None, derandomize=True)
NO_WORDS = Window(3, 3, 0.05)


@cache
def one_connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def fill(left: Sequence[Side], right: Sequence[Side]) -> duckdb.DuckDBPyConnection:
    connection = one_connection()
    for name, lines in (("l", left), ("r", right)):
        connection.execute(
            f"CREATE OR REPLACE TABLE {name} (n INTEGER, day INTEGER, cents BIGINT, text VARCHAR)"
        )
        if lines:
            connection.executemany(
                f"INSERT INTO {name} VALUES (?, ?, ?, ?)",
                [(n, *line) for n, line in enumerate(lines)],
            )
    connection.execute(f"CREATE OR REPLACE TABLE b AS {linkage_sql.background('r').sql}")
    return connection


def found_rows(left: Sequence[Side], right: Sequence[Side], window: Window) -> dict[str, Any]:
    query = linkage_sql.candidate_pairs("l", "r", "b", window)
    return fill(left, right).sql(query.sql, params=dict(query.parameters)).fetchnumpy()


def found_pairs(
    left: Sequence[Side], right: Sequence[Side], window: Window
) -> set[tuple[int, int]]:
    rows = found_rows(left, right, window)
    pairs = list(zip(rows["left_n"].tolist(), rows["right_n"].tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


def expected_pairs(
    left: Sequence[Side], right: Sequence[Side], window: Window
) -> set[tuple[int, int]]:
    """The same by comparing everything with everything; texts of one word, which is its head."""
    return {
        (i, j)
        for i, (a_on, a, a_text) in enumerate(left)
        for j, (b_on, b, b_text) in enumerate(right)
        if -window.days_before <= b_on - a_on <= window.days_after
        and a * b > 0
        and (
            a == b
            or (a_text[:HEAD] == b_text[:HEAD] != "" and abs(np.log(b / a)) <= window.log_tolerance)
        )
    }


def sides() -> st.SearchStrategy[list[Side]]:
    amounts = st.one_of(st.integers(-300, 300), st.integers(9_000, 11_000))
    texts = st.sampled_from(["ACME", "ACMEX", "ZEBRA", "", "ÜBER"])
    return st.lists(st.tuples(st.integers(0, 40), amounts, texts), max_size=12)


@quickly
@given(sides(), sides(), st.integers(0, 5), st.integers(0, 31), st.sampled_from([0.01, 0.15, 0.3]))
def test_candidates_are_all_pairs_within_the_windows(
    left: list[Side], right: list[Side], before: int, after: int, tolerance: float
) -> None:
    """The hashed keys leave nothing out that comparing everything would find, and add nothing."""
    window = Window(before, after, tolerance)
    assert found_pairs(left, right, window) == expected_pairs(left, right, window)


def test_a_rare_word_is_a_key_too() -> None:
    """Another beginning and another amount, but a name that few lines have."""
    crowd = [(n % 30, 70_000 + n, f"PAYMENT TO VENDOR{n}") for n in range(60)]
    left = [(3, 10_000, "INVOICE 77 GLOBEX CORP")]
    pairs = found_pairs(left, [*crowd, (4, 10_300, "ACH DEBIT GLOBEX")], Window())
    assert pairs == {(0, 60)}


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("ACME", "ACME", EQUAL),
        ("ACME", "ACMX", 3),
        ("ACME CORP 1", "ACME CORP 2", 10),
        ("AC", "AX", 0),
        ("ACME", "", 0),
        ("", "", EQUAL),
        ("X" * 40, "X" * 40 + "Y", 28),
        ("ACM", "ACME", 3),
        ("ÜBERX", "ÜBERY", 4),
    ],
)
def test_the_level_is_the_length_of_the_common_beginning(one: str, other: str, level: int) -> None:
    sql = f"SELECT {linkage_sql.common_prefix('a', 'b')} FROM (SELECT ? AS a, ? AS b)"
    assert one_connection().execute(sql, [one, other]).fetchall() == [(level,)]


# ── assignment ──────────────────────────────────────────────────────────────────────────────────


@quickly
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 6), st.integers(0, 6)),
        st.integers(-5, 50).map(float),
        max_size=30,
    )
)
def test_the_assignment_has_the_highest_total(gains: dict[tuple[int, int], float]) -> None:
    keys = sorted(gains)
    left = np.array([a for a, _ in keys], np.int64)
    right = np.array([b for _, b in keys], np.int64)
    gain = np.array([gains[key] for key in keys])
    chosen = best_assignment(left, right, gain)
    assert len(set(left[chosen])) == len(set(right[chosen])) == len(chosen)
    matrix = np.zeros((7, 7))
    for (a, b), value in gains.items():
        matrix[a, b] = max(value, 0)
    assert gain[chosen].sum() == matrix[linear_sum_assignment(matrix, maximize=True)].sum()


def test_a_large_component_is_solved_sparsely_and_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    left, right = rng.integers(0, 60, 400), rng.integers(0, 60, 400)
    key = np.unique(left * 60 + right)
    left, right, gain = key // 60, key % 60, rng.random(len(key))
    dense = best_assignment(left, right, gain)
    monkeypatch.setattr("audit_pipeline.agents.reconciliation.assignment.DENSE_CELLS_MAX", 0)
    sparse = best_assignment(left, right, gain)
    assert gain[dense].sum() == pytest.approx(gain[sparse].sum())


# ── likeness ────────────────────────────────────────────────────────────────────────────────────

NAMES = [f"{first} {second}" for first in "GLOBEX INITECH HOOLI UMBRELLA WAYNE STARK".split()
         for second in "CORP LLC GROUP LABS SUPPLY".split()] * 10  # fmt: skip


def test_likeness_forgives_what_bookkeepers_do() -> None:
    bank = [f"ACH DEBIT {name} 0{n}" for n, name in enumerate(NAMES)]
    compared = Likeness(bank, NAMES)
    left = ["ACH DEBIT GLOBEX CORP 01", "ACH DEBIT UMBRELA GROUP", "ACH DEBIT CORP", ""]
    right = ["GLOBEX CORP", "UMBRELLA GROUP", "HOOLI LABS", "AA"]
    at = np.arange(4)
    same, typing_error, stranger, nothing = compared.levels(left, right, at, at).tolist()
    assert same == len(EDGES)
    assert typing_error >= 3
    assert stranger <= 1
    assert nothing == -1


def test_initials_are_as_alike_as_can_be() -> None:
    compared = Likeness(NAMES, NAMES)
    left = ["AWS", "AMAZON WEB SERVICES", "AWS", "A", ""]
    right = ["AMAZON WEB SERVICES", "AWS", "GLOBEX CORP", "AMAZON", ""]
    at = np.arange(5)
    levels = compared.levels(left, right, at, at).tolist()
    assert levels[:2] == [len(EDGES)] * 2
    assert len(EDGES) not in levels[2:]


def test_likeness_of_nothing() -> None:
    assert Likeness([], []).levels([], [], np.zeros(0, np.int64), np.zeros(0, np.int64)).size == 0


# ── the posterior ───────────────────────────────────────────────────────────────────────────────


def candidates(
    pairs: Sequence[tuple[int, int]], rarity: Sequence[float] | None = None
) -> Candidates:
    """Pairs with one amount, day and text, whose amount is as rare as said (nats)."""
    size = len(pairs)
    zeros = np.zeros(size, np.int64)
    return Candidates(
        left=np.array([a for a, _ in pairs], np.int64),
        right=np.array([b for _, b in pairs], np.int64),
        lag=zeros + 3,
        level=zeros + EQUAL,
        amount_bin=zeros,
        boundary=zeros,
        amount_rarity=np.array(rarity if rarity is not None else [5.0] * size),
        day_rarity=np.full(size, 3.0),
        text_rarity=np.full(size, 4.0),
        person=zeros,
    )


def test_the_terms_add_up_to_the_score_of_a_lone_pair() -> None:
    """Without a rival the posterior is the logistic of the sum of the terms."""
    found = linkage.link(candidates([(0, 0)]), (50, 50), Model.customary(NO_WORDS), learn=False)
    total = found.prior + sum(float(term[0]) for term in found.terms.values())
    assert found.posterior[0] == pytest.approx(1 / (1 + np.exp(-total)))


def test_equal_rivals_share_the_probability() -> None:
    """Two lines, one partner: each has half, one is taken, and it is no orphan."""
    pairs = candidates([(0, 0), (1, 0)], [9.0, 9.0])
    found = linkage.link(pairs, (50, 50), Model.customary(NO_WORDS), learn=False)
    assert found.posterior.tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert len(linkage.taken(found, 0.5)) == 1
    assert found.rivals.tolist() == [1, 1]


def test_the_better_rival_takes_it_and_leaves_the_other_without() -> None:
    pairs = candidates([(0, 0), (1, 0)], [9.0, 3.0])
    found = linkage.link(pairs, (50, 50), Model.customary(NO_WORDS), learn=False)
    assert found.posterior[0] > 0.98
    assert found.posterior[1] < 0.02
    assert linkage.taken(found, 0.5).tolist() == [0]


def test_the_best_total_beats_the_best_pair() -> None:
    """Two good matches are likelier than one perfect one and a line left over."""
    pairs = candidates([(0, 0), (0, 1), (1, 0)], [9.0, 8.5, 8.4])
    found = linkage.link(pairs, (30, 30), Model.customary(NO_WORDS), learn=False)
    assert {(pairs.left[i], pairs.right[i]) for i in linkage.taken(found, 0.5)} == {(0, 1), (1, 0)}


def test_belief_propagation_is_exact_on_a_chain() -> None:
    """Against the sum over all matchings of the graph a–x–b–y."""
    odds = np.array([3.0, 0.5, 7.0])
    left, right = np.array([0, 1, 1]), np.array([0, 0, 1])
    matchings = [(), (0,), (1,), (2,), (0, 2)]
    weights = [float(np.prod(odds[list(m)])) for m in matchings]
    exact = [
        sum(w for m, w in zip(matchings, weights, strict=True) if edge in m) / sum(weights)
        for edge in range(3)
    ]
    assert linkage._compete(odds, left, right)[0].tolist() == pytest.approx(exact, abs=2e-3)


def test_nothing_in_common_is_no_evidence_and_another_person_is() -> None:
    silent = replace(candidates([(0, 0)]), level=np.array([0]), text_rarity=np.array([0.0]))
    assert Model.customary(NO_WORDS).terms(silent)["text"].tolist() == [0.0]
    terms = [
        float(Model.customary(NO_WORDS).terms(replace(silent, person=np.array([p])))["person"][0])
        for p in (0, 1, 2)
    ]
    assert terms[0] == 0 < terms[1]
    assert terms[2] < -2


def test_learning_finds_the_lag_and_that_amounts_agree() -> None:
    """Five hundred payments booked two days later, among wrong pairs of every lag."""
    rng = Random(5)
    left = [(rng.randrange(300), rng.randrange(1_000, 90_000), f"NAME{n}") for n in range(500)]
    right = [(day + 2, cents, text) for day, cents, text in left]
    rows = found_rows(left, right, Window(3, 3, 0.15))
    pairs = matching.as_candidates(rows, Window(3, 3, 0.15))
    model = linkage.link(pairs, (500, 500), Model.unlearned(Window(3, 3, 0.15)), learn=True).model
    assert model.lag.argmax() == 3 + 2
    assert model.lag.max() > 0.98
    assert model.amount[0] > 0.95
    assert model.rate > 0.98
    assert model.pairs == pytest.approx(500, abs=5)


# ── the saved model ─────────────────────────────────────────────────────────────────────────────


def test_a_model_survives_its_file() -> None:
    model = replace(Model.customary(NO_WORDS), pairs=12.5)
    again = Model.from_json(json.loads(json.dumps(model.as_json())))
    assert again.window == model.window
    assert again.as_json() == model.as_json()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"text": [0.5]},
        {"lag": None},
        {"amount": [-1.0] * 31},
        {"window": {"days_before": "x"}},
        {"window": None},
        {"pairs": "many"},
    ],
)
def test_a_damaged_model_is_refused(change: dict[str, object]) -> None:
    said = {**Model.customary(NO_WORDS).as_json(), **change}
    with pytest.raises(ValueError, match="the model"):
        Model.from_json(said)


# ── days ────────────────────────────────────────────────────────────────────────────────────────


def random_days(seed: int) -> tuple[Candidates, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Lines over thirty days and random candidate pairs within three days."""
    rng = np.random.default_rng(seed)
    left_day, right_day = np.sort(rng.integers(0, 30, 40)), np.sort(rng.integers(0, 30, 40))
    pairs = [
        (a, b)
        for a in range(40)
        for b in range(40)
        if abs(left_day[a] - right_day[b]) <= 3 and rng.random() < 0.3
    ]
    return candidates(pairs, rng.uniform(-4, 8, len(pairs)).tolist()), left_day, right_day


def decided(pairs: Candidates, left_day: Any, right_day: Any) -> dict[tuple[int, int], float]:
    used = np.zeros(len(left_day), np.bool_)
    found = matching.decide(pairs, Model.customary(NO_WORDS), left_day, right_day, used, 0.5)
    at = np.flatnonzero(found.matched)
    assert len(set(pairs.left[at])) == len(set(pairs.right[at])) == len(at)
    assert set(np.flatnonzero(used)) == set(pairs.left[at])
    keys = zip(pairs.left[at].tolist(), pairs.right[at].tolist(), strict=True)
    return dict(zip(keys, found.posterior[at].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_a_day_needs_nothing_later(seed: int) -> None:
    """What is decided of the first days does not change when later lines are known."""
    pairs, left_day, right_day = random_days(seed)
    whole = decided(pairs, left_day, right_day)
    last = 15
    lefts, rights = int((left_day <= last + 3).sum()), int((right_day <= last).sum())
    early = pairs.take((pairs.left < lefts) & (pairs.right < rights))
    assert whole
    assert decided(early, left_day[:lefts], right_day[:rights]) == {
        key: value for key, value in whole.items() if right_day[key[1]] <= last
    }


def test_near_misses_name_the_most_probable_pair_of_the_day() -> None:
    pairs = candidates([(0, 0), (1, 0), (2, 0)], [9.0, 2.0, 1.0])
    days = np.zeros(3, np.int64)
    found = matching.decide(
        pairs, Model.customary(NO_WORDS), days, days[:1], np.zeros(3, np.bool_), 0.5
    )
    near = matching.near_misses(pairs, found, days[:1], "left")
    assert {int(pairs.left[i]) for i in near} <= {1, 2}
    assert not set(near) & set(np.flatnonzero(found.matched))


def test_too_little_history_means_what_is_customary() -> None:
    names = ["ACME"] * 10
    texts = linkage.Texts(names, names, lambda at: ["ACME"] * len(at), lambda at: [""] * len(at))
    model = matching.learned(candidates([(0, 0)]), (10, 10), texts, NO_WORDS)
    assert model.as_json() == Model.customary(NO_WORDS).as_json()
