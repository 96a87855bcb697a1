"""Charges among which the unusual ones are known, made for the benchmark of `score`.

    python -m audit_pipeline_tests.anomaly_sets council FOLDER
    python -m audit_pipeline_tests.anomaly_sets injected FOLDER --seed 3
    python -m audit_pipeline_tests.anomaly_sets tiled FOLDER --rows 1000000

A set is `extract.parquet`, what a user would have, and `truth.parquet`, which only the scorer
reads: the ids of the unusual charges and their kinds. The rows stand in the order of time and get
ids that say nothing.

`card-fraud` and `council` are fixed data, `simulated` and `injected` our own in their manner, by a
seed. `phantoms` has charges that were never made, at amounts, vendors and days that suit their
card: nothing in such a row tells them from a true one. `tiled` is one simulation many times over,
for speed, and has no truth.
"""

import argparse
import datetime as dt
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline_tests import anomaly_faults, card_habits
from audit_pipeline_tests.anomaly_faults import Charge
from audit_pipeline_tests.bench_transfers import ROOT, connected

DATA = ROOT.parent / "shared" / "data"
LABELLED = DATA / "anomaly"
COUNCIL = DATA / "birmingham_pcard" / "credit_cards.parquet"
COUNCIL_FROM = dt.date(2016, 1, 1)
NORMAL = ""
TILE_FACTOR = 0.03
"""By the logarithm of the amounts of one copy against the next."""
TILE_SHIFTS = 11
"""Copies whose amounts differ."""


@dataclass(frozen=True)
class Kind:
    """How a set is made, and what must be there for it."""

    needs: Path | None
    make: Callable[[int], pa.Table]


def council(path: Path = COUNCIL) -> list[Charge]:
    """What the council's cards paid, refunds left out; in the order of time."""
    with connected() as connection:
        rows = connection.execute(
            "SELECT card_number, vendor, category, CAST(round(amount * 100) AS BIGINT), date"
            f" FROM read_parquet('{path}') WHERE amount > 0 AND date >= DATE '{COUNCIL_FROM}'"
            " ORDER BY date, txn_id"
        ).fetchall()
    return [Charge(card, vendor, category, cents, at) for card, vendor, category, cents, at in rows]


def table(charges: Sequence[Charge]) -> pa.Table:
    """One row a charge, its kind beside it."""
    return pa.table(
        {
            "entity": [charge.entity for charge in charges],
            "vendor": [charge.vendor for charge in charges],
            "category": pa.array([charge.category for charge in charges], pa.string()),
            "amount": [charge.cents / 100 for charge in charges],
            "time": pa.array([charge.at for charge in charges], pa.timestamp("us")),
            "kind": [charge.kind for charge in charges],
        }
    )


def _labelled(name: str) -> pa.Table:
    path = LABELLED / f"{name}.parquet"
    kind = "kind" if "kind" in pq.read_schema(path).names else "'fraud'"
    with connected() as connection:
        return connection.sql(
            "SELECT entity, vendor, cat AS category, amount, ts AS time,"
            f" CASE WHEN label = 1 THEN {kind} ELSE '{NORMAL}' END AS kind"
            f" FROM read_parquet('{path}')"
        ).to_arrow_table()


def _injected(seed: int) -> pa.Table:
    charges = council()
    return table(charges + anomaly_faults.injected(charges, random.Random(seed)))


def _phantoms(seed: int) -> pa.Table:
    charges = council()
    return table(charges + anomaly_faults.phantoms(charges, random.Random(seed)))


KINDS = {
    "card-fraud": Kind(
        LABELLED / "card_fraud_simulated.parquet", lambda _: _labelled("card_fraud_simulated")
    ),
    "council": Kind(
        LABELLED / "purchase_cards_injected.parquet", lambda _: _labelled("purchase_cards_injected")
    ),
    "simulated": Kind(None, lambda seed: table(card_habits.make(seed))),
    "injected": Kind(COUNCIL, _injected),
    "phantoms": Kind(COUNCIL, _phantoms),
}


def write(lines: pa.Table, folder: Path, seed: int) -> None:
    """`extract.parquet` and `truth.parquet`; which row is unusual shows in the second only."""
    chance = np.random.default_rng(seed)
    # Shuffled first, for the rows of one day.
    lines = lines.take(chance.permutation(len(lines)))
    lines = lines.take(np.argsort(lines["time"].to_numpy(), kind="stable"))
    ids = [f"c{number:08}" for number in chance.permutation(len(lines)).tolist()]
    lines = lines.add_column(0, "id", pa.array(ids))
    folder.mkdir(parents=True)
    pq.write_table(lines.drop_columns("kind"), folder / "extract.parquet")
    unusual = lines["kind"].to_numpy(zero_copy_only=False) != NORMAL
    pq.write_table(lines.select(["id", "kind"]).filter(unusual), folder / "truth.parquet")


def tile(folder: Path, rows: int, seed: int) -> None:
    """`extract.parquet` of so many rows: copies under other names, each with its own amounts."""
    folder.mkdir(parents=True)
    with connected() as connection:
        connection.register("lines", table(card_habits.make(seed)))
        ((size,),) = connection.execute("SELECT count(*) FROM lines").fetchall()
        copies = -(-rows // size)
        connection.execute(
            "COPY (SELECT 'c' || row_number() OVER () AS id, * FROM ("
            " SELECT copy || '-' || entity AS entity, copy || ' ' || vendor AS vendor, category,"
            f" round(amount * exp({TILE_FACTOR} * (copy % {TILE_SHIFTS} - {TILE_SHIFTS // 2})), 2)"
            " AS amount, time FROM lines CROSS JOIN range($copies) AS copies (copy)"
            f" LIMIT $rows)) TO '{folder / 'extract.parquet'}'",
            {"copies": copies, "rows": rows},
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one set."""
    parser = argparse.ArgumentParser(prog="python -m audit_pipeline_tests.anomaly_sets")
    parser.add_argument("what", choices=(*KINDS, "tiled"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="of tiled")
    asked = parser.parse_args(arguments)
    if asked.what == "tiled":
        tile(asked.folder, asked.rows, asked.seed)
    else:
        write(KINDS[asked.what].make(asked.seed), asked.folder, asked.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
