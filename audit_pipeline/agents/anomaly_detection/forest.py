"""The isolation forest: one more opinion on how unusual the combination of features is.

Source: the specification's `run_isolation_forest`. Trained for each month on a sample of the
charges before it, so a day audited alone meets the same forest as a year audited at once. What it
says is a rank among those earlier charges, in bits; it never decides alone.
"""

import datetime as dt
import os
from concurrent.futures import ThreadPoolExecutor
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


@dataclass(frozen=True)
class ForestScores:
    """One row per audited charge: bits of surprise, 0 where there was too little history."""

    transaction_ids: "pa.ChunkedArray"
    bits: "NDArray[np.float64]"
    trained_on: dict[dt.date, int]


def run_isolation_forest(features: "pa.Table", training_rows_min: int) -> ForestScores:
    """How rarely earlier charges were as easy to isolate as each audited charge.

    Args:
        features: `audit.features`: audited and training rows, with `baseline_on`, `training`,
            `transaction_id` and FEATURES; any order.
        training_rows_min: months with fewer earlier charges get 0 bits.

    Returns:
        Scores in the order of the audited rows. Bits are −log2 of the share of training charges
        that score at least as high, so at most log2 of their number + 1.
    """
    import pyarrow.compute as pc
    from sklearn.ensemble import IsolationForest

    audited = features.filter(~pc.field("training"))
    # In one order, whatever that of the features is: a forest draws its samples by position.
    training = features.filter(pc.field("training")).sort_by(
        [("baseline_on", "ascending"), ("transaction_id", "ascending")]
    )
    rows, row_months = _matrix(audited), _months(audited)
    known_rows, known_months = _matrix(training), _months(training)
    bits = np.zeros(len(rows))
    trained_on: dict[dt.date, int] = {}

    def score(month: np.datetime64) -> None:
        known, at = known_rows[known_months == month], row_months == month
        enough = len(known) >= training_rows_min
        trained_on[month.astype(dt.date)] = len(known) if enough else 0
        if enough:
            trained = IsolationForest(n_estimators=TREES, random_state=SEED).fit(known)
            bits[at] = _bits(-trained.score_samples(rows[at]), -trained.score_samples(known))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        # Each month writes its own places; what one of them raises is raised here.
        list(threads.map(score, np.unique(np.concatenate([row_months, known_months]))))
    return ForestScores(audited.column("transaction_id"), np.round(bits, 4), trained_on)


def _months(features: "pa.Table") -> "NDArray[np.datetime64]":
    return features.column("baseline_on").to_numpy(zero_copy_only=False).astype("datetime64[D]")


def _matrix(features: "pa.Table") -> "NDArray[np.float32]":
    """(rows, FEATURES), as the forest keeps them."""
    columns = [features.column(name).to_numpy(zero_copy_only=False) for name in FEATURES]
    found = np.nan_to_num(np.column_stack(columns).astype(np.float64))
    return np.clip(found, -DISTANCE_MAX, DISTANCE_MAX).astype(np.float32)


def _bits(
    scores: "NDArray[np.float64]", training_scores: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    reference = np.sort(training_scores)
    at_least = len(reference) - np.searchsorted(reference, scores, side="left")
    return -np.log2((at_least + 1) / (len(reference) + 1))
