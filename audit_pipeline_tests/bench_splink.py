"""Splink on the two sides of a benchmark, in an interpreter that has it; the anchor of speed.

    PYTHON audit_pipeline_tests/bench_splink.py FOLDER RESULT

Its best honest model that we know: pairs from the same blocks as `reconcile`, term frequencies of
the amount and of the name's prefixes, trained on the data itself, no label read. FOLDER has
`left.parquet` and `right.parquet`; RESULT gets the predicted pairs with their posterior, made
one-to-one greedily, which Splink leaves to its user. Prints what it took, as JSON: seconds from the
first file to the predictions, and megabytes at the peak until then.
"""

import importlib
import json
import logging
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

THREADS = 2
PREFIXES = (15, 12, 10, 9, 8, 7, 6, 5, 4, 3)
AMOUNT_SHARES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.15)
DAYS_EXACT, DAYS_WITHIN = (1, 2, 3), (7, 14, 21, 31)
BUCKET = 0.16
"""ln of the amount; wider than ln 1.15, so that a partner is in the same bucket or the next."""
BUCKET_DAYS = 32
POSTERIOR_MIN = 0.001
"""Its posteriors are too low here, so that its best threshold lies far below an even chance."""
TRAINING_PAIRS, SEED = 1e6, 1


def predictions(splink: Any, folder: Path, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """left_id, right_id, posterior of the candidate pairs of at least POSTERIOR_MIN."""
    prefixes = ", ".join(
        f"CASE WHEN length(memo) >= {k} THEN left(memo, {k}) END AS p{k}" for k in PREFIXES
    )
    # A left line is put into its own bucket and those beside it, a right line into its own.
    amount, day = (
        f"CAST(floor(ln(amount) / {BUCKET}) AS INTEGER)",
        f"(transaction_date - DATE '2000-01-01') // {BUCKET_DAYS}",
    )
    buckets = {
        "left": f"[{amount} - 1, {amount}, {amount} + 1] AS amounts, [{day}] AS days",
        "right": f"[{amount}] AS amounts, [{day}, {day} - 1] AS days",
    }
    api = splink.DuckDBAPI(connection=connection)
    sides: list[Any] = []
    for side, added in buckets.items():
        path = folder / f"{side}.parquet"
        lines = connection.sql(f"SELECT *, {prefixes}, {added} FROM read_parquet('{path}')")
        # Splink orders the two sides of a pair by these names.
        name = f"{'a' if side == 'left' else 'b'}_{side}"
        sides.append(api.register(lines.to_arrow_table(), dataset_display_name=name))
    ((lines,),) = connection.execute(
        f"SELECT count(*) FROM read_parquet('{folder / 'left.parquet'}')"
    ).fetchall()
    linker = splink.Linker(sides, _settings(splink, lines))
    linker.training.estimate_u_using_random_sampling(max_pairs=TRAINING_PAIRS, seed=SEED)
    for column in ("memo", "amount"):
        linker.training.estimate_parameters_using_expectation_maximisation(splink.block_on(column))
    found = linker.inference.predict(threshold_match_probability=POSTERIOR_MIN)
    return connection.sql(
        "SELECT unique_id_l AS left_id, unique_id_r AS right_id, match_weight,"
        f" match_probability AS posterior FROM {found.physical_name}"
    ).to_arrow_table()


def _settings(splink: Any, lines: int) -> Any:
    levels = importlib.import_module("splink.comparison_level_library")

    def level(condition: str, label: str, frequency_of: str = "") -> dict[str, Any]:
        made: dict[str, Any] = {"sql_condition": condition, "label_for_charts": label}
        if frequency_of:
            made |= {"tf_adjustment_column": frequency_of, "tf_adjustment_weight": 1.0}
        return made

    def comparison(name: str, *between: dict[str, Any]) -> dict[str, Any]:
        every = [levels.NullLevel(name), *between, levels.ElseLevel()]
        return {"output_column_name": name, "comparison_levels": every}

    lag = "transaction_date_r - transaction_date_l"
    return splink.SettingsCreator(
        link_type="link_only",
        probability_two_random_records_match=1 / lines,
        blocking_rules_to_generate_predictions=[
            splink.block_on("p3", "amounts", "days", arrays_to_explode=["amounts", "days"]),
            (
                "l.amount = r.amount AND l.p3 <> r.p3 AND r.transaction_date"
                " BETWEEN l.transaction_date AND l.transaction_date + 31"
            ),
        ],
        comparisons=[
            comparison(
                "amount",
                level("amount_l = amount_r", "exact", "amount"),
                *(
                    level(f"abs(amount_l - amount_r) <= {share} * amount_l", f"<= {share}")
                    for share in AMOUNT_SHARES
                ),
            ),
            comparison(
                "memo",
                level("memo_l = memo_r", "exact", "memo"),
                *(level(f"p{k}_l = p{k}_r", f"first {k}", f"p{k}") for k in PREFIXES),
            ),
            comparison(
                "transaction_date",
                *(level(f"{lag} = {days}", f"= {days}") for days in DAYS_EXACT),
                *(level(f"{lag} BETWEEN 0 AND {days}", f"<= {days}") for days in DAYS_WITHIN),
            ),
        ],
        retain_intermediate_calculation_columns=False,
    )


def one_to_one(pairs: pa.Table) -> pa.Table:
    """The best pair first, then the best of what it leaves."""
    order = np.argsort(-pairs["match_weight"].to_numpy(), kind="stable")
    ids = (pairs[name].to_numpy()[order].tolist() for name in ("left_id", "right_id"))
    lefts: set[int] = set()
    rights: set[int] = set()
    kept: list[int] = []
    for place, (left, right) in zip(order.tolist(), zip(*ids, strict=True), strict=True):
        if left not in lefts and right not in rights:
            lefts.add(left)
            rights.add(right)
            kept.append(place)
    return pairs.take(kept)


def main() -> None:
    """Link, write, tell."""
    folder, result = map(Path, sys.argv[1:])
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    splink = importlib.import_module("splink")
    began = time.monotonic()
    with duckdb.connect(config={"threads": THREADS}) as connection:
        pairs = predictions(splink, folder, connection)
        seconds = time.monotonic() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e6 / 1_024)
        pq.write_table(one_to_one(pairs), result)
    version = importlib.import_module("importlib.metadata").version("splink")
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "version": version}))


if __name__ == "__main__":
    main()
