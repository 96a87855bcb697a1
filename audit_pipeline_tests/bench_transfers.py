"""Bank transfers with a known truth, prepared and scored for the benchmark of `reconcile`.

    python -m audit_pipeline_tests.bench_transfers make FOLDER --seed 1 --without 0.1
    python -m audit_pipeline_tests.bench_transfers days FOLDER --seed 1 --without 0.1
    python -m audit_pipeline_tests.bench_transfers score FOLDER RESULT

In the raw files a line's id, and its place, say which line of the other side it belongs to. So each
side is shuffled and gets ids of its own, and the truth goes into a file that only `score` reads.
`score` prints a JSON object, and beside the result's score that of the anchor: what one SELECT
finds, lines of the same amount, each the nearest in time of the other.
"""

import argparse
import datetime as dt
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

pc: Any = compute
"""Its functions are made when it is imported, so that a type checker cannot know them."""

ROOT = Path(__file__).parent.parent
SOURCE = ROOT.parent / "shared" / "data" / "bank_transfers"
SIDES = {"left": "origin", "right": "destination"}
LINE = ["unique_id", "memo", "transaction_date", "amount"]
RAW = ["ground_truth", *LINE[1:]]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHIFTS = 11
"""Copies of the set that differ by the letters of their names; more are moved in time, too."""
SHIFT_DAYS = 150
"""Longer than the set spans with its lags, so that copies of the same letters do not meet."""
SHIFT_FACTOR = 0.06
"""By the logarithm of the amounts of one copy against the next."""
DAYS_BEFORE, DAYS_AFTER = 5, 31
"""The window that `reconcile` takes unless told otherwise; here for the anchor only."""
HISTORY_UNTIL = dt.date(2022, 2, 8)
DAYS_FROM, DAYS_TO, DAYS = dt.date(2022, 2, 10), dt.date(2022, 4, 20), 10
OPEN_DAYS = 36
ACCEPTED, REVIEW = 0.95, 0.5
BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Score:
    """Of all things that were said, how many are true, and of all that are true, how many said."""

    hits: int
    said: int
    true: int

    def __add__(self, other: "Score") -> "Score":
        return Score(self.hits + other.hits, self.said + other.said, self.true + other.true)

    @classmethod
    def of(cls, said: set[Any], true: set[Any]) -> "Score":
        """Of two sets."""
        return cls(len(said & true), len(said), len(true))

    @property
    def precision(self) -> float:
        """The share of what was said that is true; 1 where nothing was said."""
        return self.hits / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        """The share of what is true that was said; 1 where nothing is true."""
        return self.hits / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        """Their harmonic mean; 1 where nothing was to be said, and nothing was."""
        return 2 * self.hits / (self.said + self.true) if self.said + self.true else 1.0


@dataclass(frozen=True)
class Bin:
    """Pairs of about the same posterior."""

    at_least: float
    pairs: int
    posterior: float
    """Their mean."""
    precision: float


@dataclass(frozen=True)
class Scored:
    """What a result is worth.

    Attributes:
        lines: of the two sides.
        pairs: all rows that name a line of each side, of a posterior of at least REVIEW.
        best: the same for the posterior that suits the truth best, which nobody could know.
        accepted: those among them whose posterior is at least ACCEPTED.
        orphans: lines without a partner, by side.
        calibration: pairs by their posterior.
        anchor: pairs of what one SELECT finds.
    """

    lines: tuple[int, int]
    pairs: Score
    best: Score
    accepted: Score
    orphans: tuple[Score, Score]
    calibration: list[Bin]
    anchor: Score

    def as_json(self) -> str:
        """For `from_json` in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Scored":
        """What `as_json` wrote."""
        said = json.loads(text)
        return cls(
            (said["lines"][0], said["lines"][1]),
            Score(**said["pairs"]),
            Score(**said["best"]),
            Score(**said["accepted"]),
            (Score(**said["orphans"][0]), Score(**said["orphans"][1])),
            [Bin(**one) for one in said["calibration"]],
            Score(**said["anchor"]),
        )


# ── made ────────────────────────────────────────────────────────────────────────────────────────


def make(folder: Path, seed: int, without: float, rows: int, source: Path = SOURCE) -> None:
    """`left.parquet`, `right.parquet` and `truth.parquet` in the folder.

    Args:
        folder: is made.
        seed: of the ids, the order and what is left out.
        without: share of each side that is left out, each side for itself.
        rows: of each side, about; 0: as many as the source has.
        source: the raw files.
    """
    sides: dict[str, pa.Table] = {}
    for number, (side, name) in enumerate(SIDES.items()):
        chance = np.random.default_rng((seed, number))
        lines = pq.read_table(source / f"transactions_{name}.parquet", columns=RAW)
        lines = lines.rename_columns(["truth", *LINE[1:]]).sort_by("truth")
        sides[side] = lines.filter(pa.array(chance.random(len(lines)) >= without))
    if rows:
        sides = _multiplied(sides, rows)
    first = 1
    for number, side in enumerate(SIDES):
        sides[side] = rekeyed(sides[side], np.random.default_rng((seed, 2 + number)), first)
        first += len(sides[side])
    folder.mkdir(parents=True)
    for side, lines in sides.items():
        pq.write_table(lines.select(LINE), folder / f"{side}.parquet")
    with connected() as connection:
        for side, lines in sides.items():
            connection.register(f"{side}_lines", lines)
        truth = connection.sql(
            "SELECT l.unique_id AS left_id, r.unique_id AS right_id"
            " FROM left_lines AS l JOIN right_lines AS r USING (truth) ORDER BY left_id"
        ).to_arrow_table()
    pq.write_table(truth, folder / "truth.parquet")


def rekeyed(lines: pa.Table, chance: np.random.Generator, first: int) -> pa.Table:
    """The lines in another order, under ids from `first` on; neither says what a line was."""
    ids = first + chance.permutation(len(lines))
    return lines.append_column("unique_id", pa.array(ids)).take(chance.permutation(len(lines)))


def make_days(folder: Path, seed: int, without: float, source: Path = SOURCE) -> None:
    """`history/` until a day, and ten single days after it, each a folder as `make` makes it.

    The right lines of a day are booked on it. The left lines are those of the five weeks before
    that were still open that morning; of later days nothing is known.
    """
    make(folder / "all", seed, without, 0, source)
    with connected() as connection:
        for name in (*SIDES, "truth"):
            path = folder / "all" / f"{name}.parquet"
            connection.execute(f"CREATE TABLE all_{name} AS SELECT * FROM '{path}'")
        until = f"transaction_date < DATE '{HISTORY_UNTIL}'"
        _slice(connection, folder / "history", until, until)
        step = (DAYS_TO - DAYS_FROM) / (DAYS - 1)
        for day in (DAYS_FROM + step * number for number in range(DAYS)):
            is_open = (
                f"transaction_date BETWEEN DATE '{day}' - {OPEN_DAYS} AND DATE '{day}'"
                " AND unique_id NOT IN (SELECT left_id FROM all_truth JOIN all_right"
                f" ON unique_id = right_id WHERE transaction_date < DATE '{day}')"
            )
            _slice(connection, folder / str(day), is_open, f"transaction_date = DATE '{day}'")


def _multiplied(sides: dict[str, pa.Table], rows: int) -> dict[str, pa.Table]:
    """Copies under other letters, with other amounts, at other times; the last one in part."""
    copies = rows / len(sides["left"])
    most = max(pc.max(lines["truth"]).as_py() for lines in sides.values()) + 1
    shifts = [
        (LETTERS[n + 1 :] + LETTERS[: n + 1], float(np.exp((n - SHIFTS // 2) * SHIFT_FACTOR)))
        for n in range(SHIFTS)
    ]
    made: dict[str, pa.Table] = {}
    with connected() as connection:
        connection.execute("CREATE TABLE copies (copy INTEGER, letters VARCHAR, factor DOUBLE)")
        for copy in range(math.ceil(copies)):
            connection.execute(
                "INSERT INTO copies VALUES (?, ?, ?)", [copy, *shifts[copy % SHIFTS]]
            )
        for side, lines in sides.items():
            connection.register("lines", lines)
            made[side] = connection.sql(
                f"SELECT truth + {most} * copy AS truth,"
                f" translate(memo, '{LETTERS}', letters) AS memo, transaction_date"
                f" + CAST({SHIFT_DAYS} * (copy // {SHIFTS}) AS INTEGER) AS transaction_date,"
                " round(amount * factor, 2) AS amount FROM lines CROSS JOIN copies"
                f" WHERE truth + {most} * copy < {int(most * copies)} ORDER BY 1"
            ).to_arrow_table()
            connection.unregister("lines")
    return made


def _slice(connection: duckdb.DuckDBPyConnection, folder: Path, left: str, right: str) -> None:
    folder.mkdir()
    for side, condition in (("left", left), ("right", right)):
        connection.execute(
            f"CREATE OR REPLACE TABLE {side}_lines AS SELECT * FROM all_{side} WHERE {condition}"
        )
        connection.execute(f"COPY {side}_lines TO '{folder / side}.parquet'")
    connection.execute(
        "COPY (SELECT * FROM all_truth WHERE left_id IN (SELECT unique_id FROM left_lines)"
        f" AND right_id IN (SELECT unique_id FROM right_lines)) TO '{folder}/truth.parquet'"
    )


# ── scored ──────────────────────────────────────────────────────────────────────────────────────


def score(folder: Path, result: Path) -> Scored:
    """A result of `reconcile` on the folder's two sides, or of anything that names pairs like it.

    The result has `left_id` and `right_id`, text or numbers, null where a side has no line in it,
    and `posterior`, which may be absent: then all pairs are sure.
    """
    with connected() as connection:
        _load(connection, folder, result)

        def count(query: str) -> int:
            return connection.execute(f"SELECT count(*) FROM {query}").fetchall()[0][0]

        true = count("truth")
        orphans: list[Score] = []
        for side in SIDES:
            said = f"{side}_lines WHERE unique_id NOT IN (SELECT {side}_id FROM pairs)"
            really = f"unique_id NOT IN (SELECT {side}_id FROM truth)"
            lone = count(f"{side}_lines WHERE {really}")
            orphans.append(Score(count(f"{said} AND {really}"), count(said), lone))
        connection.execute(_ANCHOR)
        sure = f"pairs WHERE posterior >= {ACCEPTED}"
        return Scored(
            (count("left_lines"), count("right_lines")),
            Score(count("pairs WHERE hit"), count("pairs"), true),
            _best(connection, true),
            Score(count(f"{sure} AND hit"), count(sure), true),
            (orphans[0], orphans[1]),
            _calibration(connection),
            Score(count("anchor SEMI JOIN truth USING (left_id, right_id)"), count("anchor"), true),
        )


def _load(connection: duckdb.DuckDBPyConnection, folder: Path, result: Path) -> None:
    for name in SIDES:
        path = folder / f"{name}.parquet"
        connection.execute(f"CREATE VIEW {name}_lines AS SELECT * FROM read_parquet('{path}')")
    truth = f"read_parquet('{folder}/truth.parquet')"
    connection.execute(f"CREATE VIEW truth AS SELECT * FROM {truth}")
    names = [column[0] for column in connection.sql(f"FROM read_parquet('{result}')").description]
    posterior = "posterior" if "posterior" in names else "1"
    connection.execute(
        f"CREATE TABLE predicted AS SELECT said.*, truth.left_id IS NOT NULL AS hit FROM ("
        " SELECT DISTINCT CAST(left_id AS BIGINT) AS left_id, CAST(right_id AS BIGINT) AS right_id,"
        f" CAST({posterior} AS DOUBLE) AS posterior FROM read_parquet('{result}')"
        " WHERE left_id IS NOT NULL AND right_id IS NOT NULL) AS said"
        f" LEFT JOIN {truth} AS truth USING (left_id, right_id)"
    )
    connection.execute(f"CREATE VIEW pairs AS FROM predicted WHERE posterior >= {REVIEW}")


def _best(connection: duckdb.DuckDBPyConnection, true: int) -> Score:
    found = connection.execute(
        "SELECT CAST(hits AS BIGINT), said FROM (SELECT sum(CAST(hit AS INTEGER)) OVER ranked"
        " AS hits, count(*) OVER ranked AS said FROM predicted"
        " WINDOW ranked AS (ORDER BY posterior DESC))"
        " ORDER BY hits / (said + $true) DESC, said LIMIT 1",
        {"true": true},
    ).fetchall()
    hits, said = found[0] if found else (0, 0)
    return Score(hits, said, true)


_ANCHOR = f"""CREATE TABLE anchor AS SELECT left_id, right_id FROM (
SELECT l.unique_id AS left_id, r.unique_id AS right_id,
  row_number() OVER (PARTITION BY l.unique_id ORDER BY {{lag}}, r.unique_id) AS of_left,
  row_number() OVER (PARTITION BY r.unique_id ORDER BY {{lag}}, l.unique_id) AS of_right
FROM left_lines AS l JOIN right_lines AS r ON r.amount = l.amount
WHERE r.transaction_date BETWEEN l.transaction_date - {DAYS_BEFORE}
  AND l.transaction_date + {DAYS_AFTER}
) WHERE of_left = 1 AND of_right = 1""".format(lag="abs(r.transaction_date - l.transaction_date)")


def _calibration(connection: duckdb.DuckDBPyConnection) -> list[Bin]:
    edges = ", ".join(map(str, BINS))
    rows = connection.execute(
        f"SELECT list_max(list_filter([0, {edges}], lambda edge: edge <= posterior)) AS at_least,"
        " count(*), avg(posterior), avg(CAST(hit AS INTEGER)) FROM pairs GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return [Bin(float(at), int(pairs), float(mean), float(hit)) for at, pairs, mean, hit in rows]


def connected() -> duckdb.DuckDBPyConnection:
    """To a database in memory that fetches nothing."""
    return duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 2})


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, or score."""
    parser = argparse.ArgumentParser(prog="python -m audit_pipeline_tests.bench_transfers")
    parser.add_argument("what", choices=("make", "days", "score"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("result", type=Path, nargs="?", help="a Parquet file, to score")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--rows", type=int, default=0, metavar="N")
    asked = parser.parse_args(arguments)
    if asked.what == "make":
        make(asked.folder, asked.seed, asked.without, asked.rows)
    elif asked.what == "days":
        make_days(asked.folder, asked.seed, asked.without)
    else:
        print(score(asked.folder, asked.result).as_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
