"""What scores are worth where the unusual charges are known; the only reader of the truth.

    python -m audit_pipeline_tests.bench_scores FOLDER [RIVALS]

FOLDER has `extract.parquet` and `truth.parquet` as `anomaly_sets` makes them, and
`scored.parquet` as `score` writes it; RIVALS is what `bench_rivals` writes. Prints a JSON object.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit_pipeline_tests.bench_transfers import connected

TOP_SHARES = (0.005, 0.01, 0.05)
RULE_OF = {
    "decimal_slip": "decimal_slip",
    "duplicate": "duplicate",
    "near_duplicate": "near_duplicate",
    "split_below_limit": "split",
}
"""Kind → the rule that names it."""
OURS = "ours"
Numbers = NDArray[np.float64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Ranking:
    """What an order of the rows is worth.

    Attributes:
        detector: OURS, or a rival's; features: what it saw.
        ap: average precision. Its expectation for an order by chance is the share of the unusual.
        at_k: precision among the first k, k being the number of the unusual.
    """

    detector: str
    features: str
    ap: float
    at_k: float


@dataclass(frozen=True)
class Kind:
    """How many charges of a kind were found.

    Attributes:
        rows: of the kind.
        within: of these, among the first TOP_SHARES of all rows.
        named: by the rule of the kind; seen: by it, or as a habit.
    """

    name: str
    rows: int
    within: tuple[int, ...]
    named: int = 0
    seen: int = 0

    def __add__(self, other: "Kind") -> "Kind":
        within = tuple(one + two for one, two in zip(self.within, other.within, strict=True))
        named, seen = self.named + other.named, self.seen + other.seen
        return Kind(self.name, self.rows + other.rows, within, named, seen)


@dataclass(frozen=True)
class Scored:
    """What a set's scores are worth.

    Attributes:
        rows: of the set; unusual: of these.
        rankings: OURS first.
        flagged: rows that any rule named; habits: those that show habits only.
    """

    rows: int
    unusual: int
    rankings: list[Ranking]
    kinds: list[Kind]
    flagged: int
    habits: int

    def of(self, features: str) -> list[Ranking]:
        """Of the rivals that saw these, the best one first."""
        found = [one for one in self.rankings[1:] if one.features == features]
        return sorted(found, key=lambda one: -one.ap)

    def as_json(self) -> str:
        """For `from_json` in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Scored":
        """What `as_json` wrote."""
        said: dict[str, Any] = json.loads(text)
        said["rankings"] = [Ranking(**one) for one in said["rankings"]]
        said["kinds"] = [Kind(**{**one, "within": tuple(one["within"])}) for one in said["kinds"]]
        return cls(**said)


def average_precision(scores: Numbers, unusual: Marks) -> float:
    """The mean over the unusual of the precision at their score; rows of one score count at once.

    As scikit-learn's, without what it costs to import.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(unusual[order])[last]
    said = np.flatnonzero(last) + 1
    return float(np.sum(np.diff(hits, prepend=0) * hits / said) / hits[-1])


def precision_at(scores: Numbers, unusual: Marks, k: int) -> float:
    """Among the first k; of the rows of one score at the end as many as their share."""
    edge = np.partition(scores, -k)[-k]
    above, tied = scores > edge, scores == edge
    room = k - np.count_nonzero(above)
    return float((unusual[above].sum() + unusual[tied].mean() * room) / k)


def places(scores: Numbers) -> Numbers:
    """Share of the rows whose score is as high or higher."""
    return 1 - np.searchsorted(np.sort(scores), scores, side="left") / len(scores)


def score(folder: Path, rivals: Path | None) -> Scored:
    """The folder's `scored.parquet`, and those of the rivals, against its truth.

    Raises:
        ValueError: not one score for each row.
    """
    with connected() as connection:
        rows = connection.sql(
            "SELECT id, coalesce(kind, '') AS kind, coalesce(score, 0) AS score,"
            " coalesce(rules, '') AS rules, coalesce(habits, '') AS habits"
            f" FROM read_parquet('{folder / 'extract.parquet'}') AS extract"
            f" JOIN read_parquet('{folder / 'scored.parquet'}') AS scored USING (id)"
            f" LEFT JOIN read_parquet('{folder / 'truth.parquet'}') AS truth USING (id) ORDER BY id"
        ).to_arrow_table()
    wanted = pq.read_metadata(folder / "extract.parquet").num_rows
    if len(rows) != wanted:
        raise ValueError(f"{len(rows):,} scores for {wanted:,} rows")
    scores = np.asarray(rows["score"].to_numpy(), float)
    kinds: list[str] = rows["kind"].to_pylist()
    unusual = np.array([kind != "" for kind in kinds])
    rankings = [_ranking(OURS, OURS, scores, unusual)]
    if rivals:
        others = pq.read_table(rivals).sort_by("id")
        if others["id"].to_pylist() != rows["id"].to_pylist():
            raise ValueError(f"{rivals.name} has other rows")
        for name in others.column_names[1:]:
            detector, features = name.split("|")
            rankings.append(_ranking(detector, features, others[name].to_numpy(), unusual))
    rules, habits = (
        [_rules(text) for text in rows[name].to_pylist()] for name in ("rules", "habits")
    )
    return Scored(
        len(rows),
        int(unusual.sum()),
        rankings,
        _found(kinds, places(scores), rules, habits),
        sum(map(bool, rules)),
        sum(bool(habit) and not named for named, habit in zip(rules, habits, strict=True)),
    )


def _ranking(detector: str, features: str, scores: Numbers, unusual: Marks) -> Ranking:
    at_k = precision_at(scores, unusual, int(unusual.sum()))
    return Ranking(detector, features, average_precision(scores, unusual), at_k)


def _rules(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _found(
    kinds: Sequence[str], at: Numbers, rules: Sequence[set[str]], habits: Sequence[set[str]]
) -> list[Kind]:
    found: dict[str, Kind] = {}
    for kind, place, named, habit in zip(kinds, at.tolist(), rules, habits, strict=True):
        if kind:
            rule = RULE_OF.get(kind, "")
            within = tuple(int(place <= share) for share in TOP_SHARES)
            one = Kind(kind, 1, within, int(rule in named), int(rule in named | habit))
            found[kind] = found[kind] + one if kind in found else one
    return [found[kind] for kind in sorted(found)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, tell."""
    parser = argparse.ArgumentParser(prog="python -m audit_pipeline_tests.bench_scores")
    parser.add_argument("folder", type=Path)
    parser.add_argument("rivals", type=Path, nargs="?")
    asked = parser.parse_args(arguments)
    print(score(asked.folder, asked.rivals).as_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
