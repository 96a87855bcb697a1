"""Benford's law: the counts in SQL against plain Python, the measure against the book's bands."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.anomaly_detection import benford
from audit_pipeline.agents.anomaly_detection.benford import CHARGES_MIN, TWO_DIGITS_MIN, Benford

Charge = tuple[str, int]


def found(charges: Sequence[Charge]) -> Benford:
    """Of vendor and cents."""
    vendors, amounts = [name for name, _ in charges], [cents for _, cents in charges]
    table = pa.table({
        "vendor": pa.array(vendors, pa.string()), "cents": pa.array(amounts, pa.int64()),
    })  # fmt: skip
    with duckdb.connect() as connection:
        connection.register("charges", table)
        counts = connection.execute(benford.counts_sql("charges")).fetchall()
        parts = connection.execute(benford.parts_sql("charges", "vendor")).fetchall()
    return benford.judge(dict(counts), {"vendor": parts})


def lawful(count: int, vendor: str = "v") -> list[Charge]:
    """Evenly spread logarithms over three decades, which is the law itself."""
    return [(vendor, round(1_000 * 10 ** (3 * (n + 0.5) / count))) for n in range(count)]


def uniform(count: int, vendor: str = "v") -> list[Charge]:
    """Every first digit as often as any other."""
    chance = random.Random(count)
    return [(vendor, chance.randrange(1_000, 10_000)) for _ in range(count)]


def by_hand(charges: Sequence[Charge], leading: int) -> tuple[Counter[int], float]:
    """Digits are read off the amount as it is written."""
    seen = Counter(
        int(f"{cents / 100:.2f}".replace(".", "")[:leading])
        for _, cents in charges
        if cents >= 10_00
    )
    deviations = [
        abs(seen[digits] / seen.total() - math.log10((digits + 1) / digits))
        for digits in range(10 ** (leading - 1), 10**leading)
    ]
    return seen, math.fsum(deviations) / len(deviations)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([-5_000, 0, 999, 1_000, 1_999, 9_999, 10_000, 123_456]), max_size=30),
    st.integers(0, 999),
)
def test_the_counts_are_those_of_plain_python(edges: list[int], seed: int):
    chance = random.Random(seed)
    charges = [(chance.choice("ab"), round(10 ** chance.uniform(2, 8))) for _ in range(4_000)]
    charges += [("c", cents) for cents in edges]
    result = found(charges)
    assert result.first
    assert result.first_two
    for test in (result.first, result.first_two):
        counts, deviation = by_hand(charges, test.leading)
        assert test.amounts == result.amounts == counts.total()
        assert {digits: n for digits, n in test.counts.items() if n} == counts
        assert test.deviation == pytest.approx(deviation)
    for part in result.parts:
        own = [charge for charge in charges if charge[0] == part.name]
        assert part.first.deviation == pytest.approx(by_hand(own, 1)[1])
    assert {part.name for part in result.parts} == {"a", "b"}


def test_amounts_that_follow_the_law_conform():
    result = found(lawful(6_000))
    assert result.first
    assert result.first_two
    assert result.first.conformity == result.first_two.conformity == "close conformity"
    assert result.first.over == result.first_two.over == ()
    assert result.odd_parts == []
    assert not any("question" in sentence for sentence in result.sentences())


def test_uniform_digits_do_not_conform():
    result = found([*uniform(6_000), *lawful(6_000, "lawful")])
    assert result.first
    assert result.first_two
    assert result.first.conformity == result.first_two.conformity == "nonconformity"
    assert result.first.over == (9, 8, 7)
    assert [part.name for part in result.odd_parts] == ["v"]
    sentences = result.sentences()
    assert "Benford, first digit of 12,000 amounts from 10.00: nonconformity" in sentences[0]
    assert "too frequent: 9 (" in sentences[0]
    assert sentences[-1] == benford.CAUTION


def test_an_amount_that_comes_too_often_is_named():
    """Just below a limit of 500: the pair stands out, not only its first digit."""
    result = found([*lawful(6_000), *[("v", 49_000 + n % 900) for n in range(300)]])
    assert result.first_two
    assert result.first
    assert result.first_two.over[0] == 49
    assert result.first.over == (4,)


@pytest.mark.parametrize(
    ("count", "first", "two"),
    [
        (0, False, False),
        (CHARGES_MIN - 1, False, False),
        (CHARGES_MIN, True, False),
        (TWO_DIGITS_MIN - 1, True, False),
        (TWO_DIGITS_MIN, True, True),
    ],
)
def test_few_amounts_say_nothing(count: int, first: bool, two: bool):  # noqa: FBT001
    """Amounts below 10.00 and refunds are none."""
    result = found([*lawful(count), ("v", 999), ("v", -5_000), ("v", 0)])
    assert (result.first is not None, result.first_two is not None) == (first, two)
    assert result.amounts == count
    assert len(result.parts) == first
    if not first:
        assert result.sentences() == [f"Too few charges for Benford ({count}, needs 500)."]


def test_the_largest_parts_come_first():
    """The five largest, those with enough amounts only."""
    charges = [charge for n in range(7) for charge in lawful(500 + 10 * n, f"vendor {n}")]
    result = found([*charges, *lawful(499, "small")])
    assert [part.name for part in result.parts] == [f"vendor {n}" for n in (6, 5, 4, 3, 2)]


@pytest.mark.parametrize(
    ("leading", "shift", "band"),
    [
        (1, 0.0059, "close conformity"),
        (1, 0.0061, "acceptable conformity"),
        (1, 0.0119, "acceptable conformity"),
        (1, 0.0121, "marginal conformity"),
        (1, 0.0149, "marginal conformity"),
        (1, 0.0151, "nonconformity"),
        (2, 0.00119, "close conformity"),
        (2, 0.00121, "acceptable conformity"),
        (2, 0.00179, "acceptable conformity"),
        (2, 0.00181, "marginal conformity"),
        (2, 0.00219, "marginal conformity"),
        (2, 0.00221, "nonconformity"),
    ],
)
def test_both_sides_of_each_band(leading: int, shift: float, band: str):
    """So much is taken from some digits and given to others that the mean deviation is `shift`."""
    law = benford.expected(leading)
    digits = list(law)
    whole, moved = 10**9, shift * len(digits) / 2
    counts = {d: round(whole * share) for d, share in law.items()}
    counts[digits[0]] += round(whole * moved)
    takers = [d for d in digits if law[d] > 0.01][1:]
    for d in takers:
        counts[d] -= round(whole * moved / len(takers))
    test = benford.Digits(leading, counts)
    assert test.deviation == pytest.approx(shift, rel=1e-3)
    assert test.conformity == band
    assert test.over == (digits[0],)


def test_what_chance_does():
    """The mean of many samples that follow the law."""
    chance = random.Random(5)
    samples = [[round(1_000 * 10 ** chance.uniform(0, 3)) for _ in range(500)] for _ in range(300)]
    deviations = [by_hand([("v", cents) for cents in sample], 1)[1] for sample in samples]
    said = found(lawful(500)).first
    assert said
    assert said.by_chance == pytest.approx(sum(deviations) / len(deviations), rel=0.05)


def test_the_law_adds_up():
    for leading in (1, 2):
        assert math.fsum(benford.expected(leading).values()) == pytest.approx(1)


@pytest.mark.parametrize("sql", [benford.counts_sql("t"), benford.parts_sql("t", "vendor")])
def test_the_sql_can_be_said_to_databricks(sql: str):
    said = sqlglot.transpile(sql, read="duckdb", write="databricks")
    assert sqlglot.parse_one(said[0], read="databricks")
