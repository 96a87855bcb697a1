"""The isolation forest: one more opinion on how unusual the combination of features is.

Source: the specification's `run_isolation_forest`. Trained for each month on a sample of the
charges before it, so a day audited alone meets the same forest as a year audited at once. What it
says is a rank among those earlier charges, in bits; it never decides alone.
"""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FEATURES = (
    "log_amount",
    "pair_distance",
    "vendor_distance",
    "category_distance",
    "payer_distance",
    "novelty_bits",
    "weekday_bits",
)
TREES = 100
"""scikit-learn's default, and that of Liu, Ting and Zhou (2008)."""
SEED = 20080815
DISTANCE_MAX = 20.0
"""Distances are clipped here: beyond it, one feature would be all the forest sees."""
BATCH_ROWS = 200_000


@dataclass(frozen=True)
class ForestScores:
    """One row per audited charge: bits of surprise, 0 where there was too little history."""

    transaction_ids: list[str]
    bits: "NDArray[np.float64]"
    trained_on: dict[dt.date, int]


def run_isolation_forest(features: "pa.Table", training_rows_min: int) -> ForestScores:
    """How rarely earlier charges were as easy to isolate as each audited charge.

    Args:
        features: `audit.features`: audited and training rows, with `baseline_on`, `training`,
            `transaction_id` and FEATURES; any order.
        training_rows_min: months with fewer earlier charges get 0 bits.

    Returns:
        Scores in the order of (baseline_on, transaction_id). Bits are −log2 of the share of
        training charges that score at least as high, so at most log2 of their number + 1.
    """
    from sklearn.ensemble import IsolationForest

    ordered = features.sort_by([("baseline_on", "ascending"), ("transaction_id", "ascending")])
    baseline = ordered.column("baseline_on").to_numpy(zero_copy_only=False).astype("datetime64[D]")
    training = ordered.column("training").to_numpy(zero_copy_only=False).astype(bool)
    ids = np.asarray(ordered.column("transaction_id").to_pylist(), dtype=object)
    columns = [
        np.nan_to_num(ordered.column(name).to_numpy(zero_copy_only=False).astype(np.float64))
        for name in FEATURES
    ]
    matrix = np.clip(np.column_stack(columns), -DISTANCE_MAX, DISTANCE_MAX)
    kept_ids: list[str] = []
    kept_bits: list[NDArray[np.float64]] = []
    trained_on: dict[dt.date, int] = {}
    for month in np.unique(baseline):
        audited = (baseline == month) & ~training
        known = matrix[(baseline == month) & training]
        kept_ids += ids[audited].tolist()
        month_on: dt.date = month.astype(dt.date)
        if len(known) < training_rows_min:
            kept_bits.append(np.zeros(int(audited.sum())))
            trained_on[month_on] = 0
            continue
        forest = IsolationForest(n_estimators=TREES, random_state=SEED).fit(known)
        reference = np.sort(-forest.score_samples(known))
        kept_bits += [
            _bits(-forest.score_samples(batch), reference) for batch in _batches(matrix[audited])
        ]
        trained_on[month_on] = len(known)
    bits = np.concatenate(kept_bits) if kept_bits else np.zeros(0)
    return ForestScores(kept_ids, np.round(bits, 4), trained_on)


def _batches(matrix: "NDArray[np.float64]") -> "list[NDArray[np.float64]]":
    return [matrix[at : at + BATCH_ROWS] for at in range(0, len(matrix), BATCH_ROWS)]


def _bits(scores: "NDArray[np.float64]", reference: "NDArray[np.float64]") -> "NDArray[np.float64]":
    at_least = len(reference) - np.searchsorted(reference, scores, side="left")
    return -np.log2((at_least + 1) / (len(reference) + 1))
