"""The isolation forest: deterministic, in any order, silent without enough history."""

import math

import numpy as np
import pyarrow as pa
import pytest

from audit_pipeline.agents.anomaly_detection import forest
from audit_pipeline.agents.anomaly_detection.forest import FEATURES, ForestScores


def features(known: int, audited: int, seed: int = 1) -> pa.Table:
    """Training rows around zero and audited ones, the first of which lies far outside."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(known + audited, len(FEATURES)))
    if audited:
        values[known] = 15.0
    return pa.table(
        {
            "id": pa.array(range(known + audited), pa.int32()),
            "training": pa.array([True] * known + [False] * audited, pa.bool_()),
            **{name: values[:, at] for at, name in enumerate(FEATURES)},
        }
    )


@pytest.fixture(scope="module")
def april() -> ForestScores:
    return forest.run_isolation_forest(features(300, 20), 256)


def test_the_odd_one_is_the_most_surprising(april: ForestScores) -> None:
    """As surprising as it can be: none of the 300 earlier charges is as easy to isolate."""
    assert len(april.bits) == 320
    assert april.bits.argmax() == 300
    assert april.bits[300] == pytest.approx(math.log2(301), abs=1e-4)
    assert (april.bits >= 0).all()
    assert april.trained.charges == 300


def test_any_order_of_the_rows_gives_the_same(april: ForestScores) -> None:
    order = np.random.default_rng(5).permutation(320)
    shuffled = forest.run_isolation_forest(features(300, 20).take(order), 256)
    assert shuffled.bits.tolist() == april.bits[order].tolist()
    assert shuffled.trained == april.trained


def test_other_charges_make_another_version(april: ForestScores) -> None:
    table = features(300, 20)
    others = forest.run_isolation_forest(table.slice(1), 256)
    assert others.trained.version != april.trained.version
    assert len(others.trained.version) == 16


def test_fewer_charges_of_its_own_change_nothing(april: ForestScores) -> None:
    fewer = forest.run_isolation_forest(features(300, 20).slice(0, 303), 256)
    assert fewer.bits.tolist() == april.bits[:303].tolist()


@pytest.mark.parametrize(("known", "silent"), [(255, True), (256, False)])
def test_too_little_history_gives_no_bits(known: int, *, silent: bool) -> None:
    scores = forest.run_isolation_forest(features(known, 3), 256)
    assert (scores.bits == 0).all() == silent
    assert scores.trained.charges == (0 if silent else known)
    assert bool(scores.trained.version) != silent
    assert len(scores.bits) == known + 3


def test_no_rows_give_no_scores() -> None:
    scores = forest.run_isolation_forest(features(0, 0), 256)
    assert (scores.bits.tolist(), scores.trained) == ([], forest.Trained())


def test_nulls_and_infinities_are_no_more_than_the_clip(april: ForestScores) -> None:
    """A missing signal counts as none, an endless one as the largest that is looked at."""
    table = features(300, 20)
    values = table.column("amount_pair").to_pylist()
    values[300], values[301] = math.inf, None
    odd = table.set_column(
        table.column_names.index("amount_pair"), "amount_pair", pa.array(values, pa.float64())
    )
    scores = forest.run_isolation_forest(odd, 256)
    assert np.isfinite(scores.bits).all()
    assert scores.bits[302:].tolist() == april.bits[302:].tolist()
