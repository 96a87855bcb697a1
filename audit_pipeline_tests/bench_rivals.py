"""Other detectors on the charges of a benchmark, in an interpreter that has them.

    PYTHON audit_pipeline_tests/bench_rivals.py score FOLDER RESULT --seed 1
    PYTHON audit_pipeline_tests/bench_rivals.py speed FOLDER

FOLDER has `extract.parquet` and `signals.parquet`, what `score` measured of each row; no label is
read. RESULT gets the ids and a column of scores for each detector and each set of features, named
`<detector>|<features>`:

    spec      what the specification's forest sees of a charge
    extended  the same, the hour, and what card, category and pair say
    signals   those of `score` itself, so that only the scorers differ

Where PyOD is missing only scikit-learn's forest is there. `score` prints its version, if any, and
each one's seconds, as JSON; `speed` prints rows, and seconds of the forest's training and of its
scores.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

THREADS = 2
TREES = 100
CLIPPED_AT = 20
"""Times the distance between the 5th and the 95th percentile."""
REFERENCE_ROWS, NEIGHBOURS = 20_000, 10
HISTOGRAM_BINS = 20
TIMED_SHARE = 0.01
"""Of rows that are not at midnight, from which on the time of the day is taken for known."""
SPEC = (
    "log_amount",
    "vendor_code",
    "weekday",
    "day_of_month",
    "month",
    "days_since_vendor",
    "vendor_deviation",
)
EXTENDED = (
    *SPEC,
    "hour",
    "days_since_card",
    "card_deviation",
    "category_deviation",
    "log_vendor",
    "log_category",
    "log_pair",
)
Matrix = Any
Scores = Any


def _deviation(of: str) -> str:
    """Standard deviations from the mean; 0 where all are the same."""
    own = f"OVER (PARTITION BY {of})"
    return f"coalesce((amount - avg(amount) {own}) / nullif(stddev_samp(amount) {own}, 0), 0)"


def _days_since(of: str) -> str:
    """Since the last charge of the same; −1 for the first."""
    last = f"lag(time) OVER (PARTITION BY {of} ORDER BY time, id)"
    return f"coalesce((epoch(time) - epoch({last})) / 86400, -1)"


def _log_rows(of: str) -> str:
    return f"ln(count(*) OVER (PARTITION BY {of}))"


FEATURES = {
    "log_amount": "ln(1 + greatest(amount, 0))",
    "vendor_code": "dense_rank() OVER (ORDER BY vendor)",
    "weekday": "isodow(time)",
    "day_of_month": "day(time)",
    "month": "month(time)",
    "days_since_vendor": _days_since("vendor"),
    "vendor_deviation": _deviation("vendor"),
    "hour": "hour(time)",
    "days_since_card": _days_since("entity"),
    "card_deviation": _deviation("entity"),
    "category_deviation": _deviation("category"),
    "log_vendor": _log_rows("vendor"),
    "log_category": _log_rows("category"),
    "log_pair": _log_rows("entity, vendor"),
}


def features(extract: Path, names: Iterable[str]) -> Matrix:
    """Rows in the order of their ids, one column a feature."""
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.execute(f"CREATE VIEW charges AS FROM read_parquet('{extract}')")
        ((timed,),) = connection.execute(
            "SELECT avg(CAST(CAST(time AS TIME) <> TIME '00:00' AS INTEGER)) FROM charges"
        ).fetchall()
        wanted = [name for name in names if name != "hour" or timed > TIMED_SHARE]
        columns = ", ".join(f"CAST({FEATURES[name]} AS DOUBLE) AS {name}" for name in wanted)
        return _matrix(connection.sql(f"SELECT id, {columns} FROM charges").to_arrow_table())


def signals(path: Path) -> Matrix:
    """Rows in the order of their ids, one column a signal; unknown ones are 0."""
    return _matrix(pq.read_table(path))


def _matrix(rows: pa.Table) -> Matrix:
    rows = rows.sort_by("id").drop_columns("id")
    columns = [column.cast(pa.float64()).to_numpy() for column in rows.columns]
    matrix = np.nan_to_num(np.column_stack(columns))
    return matrix[:, np.ptp(matrix, axis=0) > 0]


def prepared(matrix: Matrix) -> Matrix:
    """On one scale, nothing farther out than CLIPPED_AT."""
    scaling = importlib.import_module("sklearn.preprocessing")
    scaled = scaling.RobustScaler(quantile_range=(5, 95)).fit_transform(matrix)
    return scaling.StandardScaler().fit_transform(np.clip(scaled, -CLIPPED_AT, CLIPPED_AT))


def forest(seed: int) -> Any:
    """That of the specification, not yet trained."""
    module = importlib.import_module("sklearn.ensemble")
    return module.IsolationForest(n_estimators=TREES, random_state=seed, n_jobs=THREADS)


def detectors(seed: int) -> Iterable[tuple[str, Callable[[Matrix], Scores]]]:
    """Each by name: rows to scores, higher for the more unusual."""
    yield "forest", lambda rows: -forest(seed).fit(rows).score_samples(rows)
    if not has_pyod():
        return
    for name, options in (
        ("ECOD", {}),
        ("COPOD", {}),
        ("HBOS", {"n_bins": HISTOGRAM_BINS}),
        ("PCA", {"random_state": seed}),
    ):
        yield name, lambda rows, name=name, options=options: _fitted(name, rows, **options)
    yield "KNN", lambda rows: _neighbours(rows, seed)


def _pyod(name: str, **options: Any) -> Any:
    return getattr(importlib.import_module(f"pyod.models.{name.lower()}"), name)(**options)


def _fitted(name: str, rows: Matrix, **options: Any) -> Scores:
    detector = _pyod(name, **options)
    detector.fit(rows)
    return detector.decision_scores_


def _neighbours(rows: Matrix, seed: int) -> Scores:
    """Distances to the nearest of a sample; among all rows it takes hours."""
    chance = np.random.default_rng(seed)
    sample = rows[chance.choice(len(rows), min(REFERENCE_ROWS, len(rows)), replace=False)]
    detector = _pyod("KNN", n_neighbors=NEIGHBOURS, method="mean", n_jobs=THREADS)
    detector.fit(sample)
    return detector.decision_function(rows)


def has_pyod() -> bool:
    """Whether this interpreter does."""
    return importlib.util.find_spec("pyod") is not None


def score(folder: Path, result: Path, seed: int) -> dict[str, Any]:
    """Write RESULT; version and seconds."""
    extract = folder / "extract.parquet"
    ids = pq.read_table(extract, columns=["id"]).sort_by("id")
    seen = {
        "spec": features(extract, SPEC),
        "extended": features(extract, EXTENDED),
        "signals": signals(folder / "signals.parquet"),
    }
    columns: dict[str, Any] = {"id": ids["id"]}
    seconds: dict[str, float] = {}
    for kind, matrix in seen.items():
        rows = prepared(matrix)
        for name, scores in detectors(seed):
            began = time.monotonic()
            columns[f"{name}|{kind}"] = np.nan_to_num(scores(rows))
            seconds[f"{name}|{kind}"] = time.monotonic() - began
    pq.write_table(pa.table(columns), result)
    version = importlib.metadata.version("pyod") if has_pyod() else None
    return {"version": version, "seconds": seconds}


def speed(folder: Path, seed: int) -> dict[str, Any]:
    """The forest's seconds, its features being there already."""
    rows = prepared(features(folder / "extract.parquet", SPEC))
    began = time.monotonic()
    trained = forest(seed).fit(rows)
    fit = time.monotonic() - began
    began = time.monotonic()
    trained.score_samples(rows)
    return {"rows": len(rows), "fit": fit, "score": time.monotonic() - began}


def main() -> None:
    """Score, or time the forest; tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("score", "speed"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("result", type=Path, nargs="?")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if asked.what == "score":
        said = score(asked.folder, asked.result, asked.seed)
    else:
        said = speed(asked.folder, asked.seed)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
