"""The isolation forest: one more opinion on how unusual the combination of signals is.

Source: the specification's `run_isolation_forest`. Trained for each month on a sample of the
charges before it, so a day audited alone meets the same forest as a year audited at once. What it
says is a rank among those earlier charges, in bits; it never decides alone.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit_pipeline.agents.anomaly_detection.scoring import ASPECTS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FEATURES = tuple(name for aspect, names in ASPECTS.items() if aspect != "pattern" for name in names)
"""Patterns are found by themselves; a forest would only see that they are rare."""
TREES = 100
"""scikit-learn's default, and that of Liu, Ting and Zhou (2008)."""
SEED = 20080815
BITS_MAX = 20.0
"""Signals are clipped here: beyond it, one of them would be all the forest sees."""


@dataclass(frozen=True)
class Trained:
    """Which forest it was.

    Attributes:
        version: the same for the same charges, features, settings and scikit-learn; empty where
            there was too little history.
        charges: that it was trained on.
    """

    version: str = ""
    charges: int = 0


@dataclass(frozen=True)
class ForestScores:
    """What the forest says of each charge, and which forest that was.

    Attributes:
        bits: (charges,) of surprise; 0 where there was too little history.
    """

    bits: "NDArray[np.float64]"
    trained: Trained


def run_isolation_forest(features: "pa.Table", training_rows_min: int) -> ForestScores:
    """How rarely earlier charges were as easy to isolate as each charge.

    Args:
        features: id, training and FEATURES; any order.
        training_rows_min: with fewer earlier charges there are 0 bits.

    Returns:
        Scores in the order of the rows. Bits are −log2 of the share of training charges that score
        at least as high, so at most log2 of their number + 1.
    """
    from sklearn.ensemble import IsolationForest

    rows = _matrix(features)
    training = features.column("training").to_numpy(zero_copy_only=False)
    # In one order, whatever that of the features is: a forest draws its samples by position.
    order = np.argsort(features.column("id").to_numpy(), kind="stable")
    known = rows[order[training[order]]]
    if len(known) < training_rows_min:
        return ForestScores(np.zeros(len(rows)), Trained())
    trained = IsolationForest(n_estimators=TREES, random_state=SEED).fit(known)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = np.array_split(rows, os.cpu_count() or 1)
        scores = -np.concatenate(list(threads.map(trained.score_samples, filter(len, parts))))
    bits = np.round(_bits(scores, scores[training]), 4)
    return ForestScores(bits, Trained(_version(known), len(known)))


def _version(known: "NDArray[np.float32]") -> str:
    import sklearn

    made_by = repr((sklearn.__version__, TREES, SEED, FEATURES, known.shape))
    return hashlib.sha256(made_by.encode() + known.tobytes()).hexdigest()[:16]


def _matrix(features: "pa.Table") -> "NDArray[np.float32]":
    """(rows, FEATURES), as the forest keeps them."""
    columns = [features.column(name).to_numpy(zero_copy_only=False) for name in FEATURES]
    found = np.nan_to_num(np.column_stack(columns).astype(np.float64))
    return np.clip(found, -BITS_MAX, BITS_MAX).astype(np.float32)


def _bits(
    scores: "NDArray[np.float64]", training_scores: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    reference = np.sort(training_scores)
    at_least = len(reference) - np.searchsorted(reference, scores, side="left")
    return -np.log2((at_least + 1) / (len(reference) + 1))
