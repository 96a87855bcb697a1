"""The isolation forest: deterministic, in any order, silent without enough history."""

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest

from audit_pipeline.agents.anomaly_detection import forest
from audit_pipeline.agents.anomaly_detection.forest import FEATURES, ForestScores

APRIL, MAY = dt.date(2026, 4, 1), dt.date(2026, 5, 1)


def features(month: dt.date, known: int, audited: int, seed: int = 1) -> pa.Table:
    """Training rows around zero and audited ones, the first of which lies far outside."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(known + audited, len(FEATURES)))
    if audited:
        values[known] = 15.0
    return pa.table(
        {
            "baseline_on": pa.array([month] * (known + audited), pa.date32()),
            "training": pa.array([True] * known + [False] * audited, pa.bool_()),
            "transaction_id": [f"k{n:04}" for n in range(known)]
            + [f"{month.month}-{n:03}" for n in range(audited)],
            **{name: values[:, at] for at, name in enumerate(FEATURES)},
        }
    )


def same(one: ForestScores, other: ForestScores) -> bool:
    return by_id(one) == by_id(other) and one.trained_on == other.trained_on


def by_id(scores: ForestScores) -> dict[str, float]:
    return dict(zip(scores.transaction_ids.to_pylist(), scores.bits.tolist(), strict=True))


@pytest.fixture(scope="module")
def april() -> ForestScores:
    return forest.run_isolation_forest(features(APRIL, 300, 20), 256)


def test_the_odd_one_is_the_most_surprising(april: ForestScores) -> None:
    """As surprising as it can be: none of the 300 earlier charges is as easy to isolate."""
    assert april.transaction_ids.to_pylist() == [f"4-{n:03}" for n in range(20)]
    assert april.bits.argmax() == 0
    assert april.bits[0] == pytest.approx(math.log2(301), abs=1e-4)
    assert (april.bits >= 0).all()
    assert april.trained_on == {APRIL: 300}


def test_any_order_of_the_rows_gives_the_same(april: ForestScores) -> None:
    table = features(APRIL, 300, 20)
    shuffled = table.take(np.random.default_rng(5).permutation(table.num_rows))
    assert same(forest.run_isolation_forest(shuffled, 256), april)


def test_a_month_alone_meets_the_same_forest(april: ForestScores) -> None:
    """Audited with another month, or with fewer charges of its own, nothing changes."""
    both = pa.concat_tables([features(APRIL, 300, 20), features(MAY, 280, 5, seed=2)])
    together = forest.run_isolation_forest(both, 256)
    assert by_id(april).items() <= by_id(together).items()
    assert together.trained_on == {APRIL: 300, MAY: 280}
    fewer = features(APRIL, 300, 20).slice(0, 303)
    assert forest.run_isolation_forest(fewer, 256).bits.tolist() == april.bits[:3].tolist()


@pytest.mark.parametrize(("known", "silent"), [(255, True), (256, False)])
def test_too_little_history_gives_no_bits(known: int, *, silent: bool) -> None:
    scores = forest.run_isolation_forest(features(APRIL, known, 3), 256)
    assert (scores.bits == 0).all() == silent
    assert scores.trained_on == {APRIL: 0 if silent else known}
    assert len(scores.transaction_ids) == 3


def test_no_rows_give_no_scores() -> None:
    scores = forest.run_isolation_forest(features(APRIL, 0, 0), 256)
    assert by_id(scores) == {}
    assert scores.trained_on == {}


def test_nulls_and_infinities_are_no_more_than_the_clip(april: ForestScores) -> None:
    """A missing distance counts as none, an endless one as the largest that is looked at."""
    table = features(APRIL, 300, 20)
    values = table.column("pair_distance").to_pylist()
    values[300], values[301] = math.inf, None
    odd = table.set_column(
        table.column_names.index("pair_distance"), "pair_distance", pa.array(values, pa.float64())
    )
    scores = forest.run_isolation_forest(odd, 256)
    assert np.isfinite(scores.bits).all()
    assert scores.bits[2:].tolist() == april.bits[2:].tolist()
