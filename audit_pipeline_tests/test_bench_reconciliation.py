"""What the benchmark of reconciliation measures with: its scores, and that no truth leaks."""

import datetime as dt
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline_tests import card_company
from audit_pipeline_tests.bench_anchors import repeats
from audit_pipeline_tests.bench_reconciliation import whole_batches
from audit_pipeline_tests.bench_transfers import Score, make, rekeyed, score

DAY = dt.date(2025, 3, 3)


def test_a_score_counts_what_was_said_and_what_is_true() -> None:
    """Two of three said are true, two of four true were said."""
    found = Score.of({1, 2, 9}, {1, 2, 3, 4})
    assert found == Score(hits=2, said=3, true=4)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(1 / 2)
    assert found.f1 == pytest.approx(4 / 7)


def test_nothing_said_of_nothing_is_right() -> None:
    """No day is spoilt by having nothing on it, and every miss counts when days are pooled."""
    assert Score(0, 0, 0).f1 == 1
    assert (Score(0, 0, 0) + Score(1, 1, 3)).f1 == pytest.approx(0.5)


def test_a_result_is_scored(tmp_path: Path) -> None:
    """Three lines a side, two true pairs; one said rightly, one wrongly, one too unsure to count.

    Left 3 and right 13 have no partner; of the left, 2 is taken for such a line as well.
    """
    for side, first in (("left", 1), ("right", 11)):
        lines = {
            "unique_id": [first, first + 1, first + 2],
            "memo": ["A", "B", "C"],
            "transaction_date": [DAY] * 3,
            "amount": [1.0, 2.0, 3.0],
        }
        pq.write_table(pa.table(lines), tmp_path / f"{side}.parquet")
    pq.write_table(pa.table({"left_id": [1, 2], "right_id": [11, 12]}), tmp_path / "truth.parquet")
    result = {
        "left_id": ["1", "3", "2", "2", None],
        "right_id": ["11", "13", "12", None, "12"],
        "posterior": [0.99, 0.7, 0.2, None, None],
    }
    pq.write_table(pa.table(result), tmp_path / "result.parquet")
    scored = score(tmp_path, tmp_path / "result.parquet")
    assert scored.lines == (3, 3)
    assert scored.pairs == Score(hits=1, said=2, true=2)
    assert scored.best == Score(hits=2, said=3, true=2)
    assert scored.accepted == Score(hits=1, said=1, true=2)
    assert scored.orphans == (Score(0, 1, 1), Score(0, 1, 1))
    assert [(one.at_least, one.pairs, one.precision) for one in scored.calibration] == [
        (0.7, 1, 0.0),
        (0.99, 1, 1.0),
    ]
    # The anchor takes every line of the same amount and day: the third pair is a false one.
    assert scored.anchor == Score(hits=2, said=3, true=2)
    assert type(scored).from_json(scored.as_json()) == scored


def test_new_keys_say_nothing_of_the_truth() -> None:
    """Neither the ids nor the order of the lines go with what they were; nothing else changes."""
    truth = np.arange(2_000)
    lines = pa.table({"truth": truth, "memo": [f"m{n}" for n in truth]})
    made = rekeyed(lines, np.random.default_rng(1), 101)
    assert sorted(made["unique_id"].to_pylist()) == list(range(101, 2_101))
    assert made.sort_by("truth").drop_columns("unique_id").equals(lines)
    columns = [made["truth"].to_numpy(), made["unique_id"].to_numpy(), np.arange(len(made))]
    for one, other in itertools.combinations(columns, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
        assert np.mean(np.diff(one) == 1) < 0.01


@pytest.mark.parametrize(("without", "rows"), [(0.0, 0), (0.25, 0), (0.0, 900)])
def test_made_sides_hold_their_truth_only_beside_them(
    tmp_path: Path, without: float, rows: int
) -> None:
    """The sides have no column of it; the pairs are those whose two lines were kept.

    Args:
        tmp_path: for the raw files and what is made of them.
        without: share of each side that is left out.
        rows: that are wanted of 400, by copies under other letters.
    """
    for name in ("origin", "destination"):
        raw = {
            "ground_truth": range(400),
            "memo": ["ABZ pay"] * 400,
            "transaction_date": [DAY + dt.timedelta(days=n % 60) for n in range(400)],
            "amount": [float(n + 10) for n in range(400)],
            "unique_id": range(400),
        }
        pq.write_table(pa.table(raw), tmp_path / f"transactions_{name}.parquet")
    make(tmp_path / "made", 3, without, rows, tmp_path)
    sides = {
        side: pq.read_table(tmp_path / "made" / f"{side}.parquet") for side in ("left", "right")
    }
    truth = pq.read_table(tmp_path / "made" / "truth.parquet").to_pylist()
    for lines in sides.values():
        assert lines.column_names == ["unique_id", "memo", "transaction_date", "amount"]
    left, right = ({line["unique_id"]: line for line in sides[side].to_pylist()} for side in sides)
    assert not left.keys() & right.keys()
    same = ("memo", "transaction_date", "amount")
    assert all(
        left[pair["left_id"]][name] == right[pair["right_id"]][name]
        for pair in truth
        for name in same
    )
    if without:
        assert 250 < len(left) < 350
        assert 180 < len(truth) < min(len(left), len(right))
    else:
        assert len(left) == len(right) == len(truth) == (rows or 400)


def test_a_batch_counts_when_it_is_whole() -> None:
    """Not when a line of it is missing, nor with one too many."""
    true = {"b1": {"g1", "g2"}, "b2": {"g3", "g4"}, "b3": {"g5", "g6"}}
    said = {("b1", "g1"), ("b1", "g2"), ("b2", "g3"), *(("b3", f"g{n}") for n in (5, 6, 7))}
    assert whole_batches(said, true) == Score(hits=1, said=2, true=3)


def test_the_card_company_has_its_faults() -> None:
    """Each payment leaves out what it should and no more, and the same seed gives the same rows."""
    company = card_company.make(5)
    again = card_company.make(5)
    assert list(company.ledger()) == list(again.ledger())
    truth = company.truth()
    statements = card_company.CARDS * card_company.MONTHS
    assert len(truth["duplicate"]) == statements * card_company.DUPLICATES
    assert len(truth["missing"]) == statements * card_company.MISSING
    assert statements <= len(truth["unsettled"]) <= 2 * statements
    lines = {row["txn_id"] for row in company.statement_lines()}
    ledger = {row["txn_id"] for row in company.ledger()}
    assert {entry for kind in truth.values() for entry in kind} <= ledger
    by_id = {charge.txn_id: charge for charge in company.charges}
    assert not {company.line_id(by_id[entry]) for entry in truth["missing"]} & lines
    assert {company.line_id(by_id[entry]) for entry in truth["unsettled"]} <= lines
    assert set(truth["duplicate"]) <= repeats(company)
