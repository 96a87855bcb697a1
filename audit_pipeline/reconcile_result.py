"""What `reconcile` leaves behind: the result file, and what is told of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from audit_pipeline.adapters.results import export
from audit_pipeline.agents.reconciliation import linkage

ACCEPTED, REVIEW = 0.95, 0.5
"""Posterior from which a pair is accepted, and from which a person should look at it; a pair below
is no match. Source: the design's three ways, and an even chance."""
TERMS = linkage.TERMS[:-1]
"""An extract names no person."""
OUTPUT = (
    *("kind", "status", "left_id", "right_id", "posterior", "score"),
    *(f"{term}_term" for term in TERMS),
    *("rivals", "group_id", "reason"),
)


@dataclass
class Reconciled:
    """What became of the lines; counts of lines, and cents.

    Attributes:
        lines: read and usable, by side; rejected: put aside, by side.
        flipped: the right side prints money with the other sign.
        pairs: status → how many one-to-one pairs; groups: kind → how many groups.
        unmatched: lines, by side; unmatched_cents: by side.
        least_certain: the pairs that a person should look at first, as rows of the output.
    """

    lines: dict[str, int] = field(default_factory=dict[str, int])
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    flipped: bool = False
    pairs: dict[str, int] = field(default_factory=dict[str, int])
    groups: dict[str, int] = field(default_factory=dict[str, int])
    unmatched: dict[str, int] = field(default_factory=dict[str, int])
    unmatched_cents: dict[str, int] = field(default_factory=dict[str, int])
    least_certain: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    model: linkage.Model | None = None
    notes: list[str] = field(default_factory=list[str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def as_json(self) -> dict[str, object]:
        """All of it but the least certain pairs, which stand in the result."""
        return {
            "lines": self.lines,
            "rejected": self.rejected,
            "signs_turned": self.flipped,
            "pairs": self.pairs,
            "groups": self.groups,
            "unmatched": self.unmatched,
            "unmatched_cents": self.unmatched_cents,
            "notes": self.notes,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "model": self.model.as_json() if self.model else None,
        }


class Result:
    """Writes the tables of a reconciliation to a file.

    Args:
        connection: with left_lines, right_lines, left_rejected, right_rejected, matched, grouped.
        out: the file.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, out: Path) -> None:
        self._connection = connection
        self._out = out

    def write(self) -> None:
        """Everything as one table, and the file.

        Raises:
            BadUsage: it cannot be written.
        """
        terms = ", ".join(f"round({term}_term, 3) AS {term}_term" for term in TERMS)
        nothing = ", ".join(f"NULL AS {term}_term" for term in TERMS)
        unmatched = " UNION ALL ".join(
            f"SELECT '{side}_only' AS kind, 'unmatched' AS status, "
            + ("id AS left_id, NULL AS right_id" if side == "left" else "NULL, id")
            + f", NULL::DOUBLE AS posterior, NULL::FLOAT AS score, {nothing},"
            " NULL::INTEGER AS rivals, NULL AS group_id, NULL AS reason, n AS place"
            f" FROM {_unmatched(side)}"
            for side in ("left", "right")
        )
        rejected = " UNION ALL ".join(
            f"SELECT 'rejected', '{side}', "
            + ("id, NULL" if side == "left" else "NULL, id")
            + f", NULL, NULL, {nothing}, NULL, NULL, reason, NULL FROM {side}_rejected"
            for side in ("left", "right")
        )
        self._do(
            "CREATE TABLE result AS SELECT 'pair' AS kind,"
            f" CASE WHEN posterior >= {ACCEPTED} THEN 'accepted' ELSE 'review' END AS status,"
            " l.id AS left_id, r.id AS right_id, round(posterior, 6) AS posterior,"
            f" round(score, 3) AS score, {terms}, rivals, CAST(NULL AS VARCHAR) AS group_id,"
            " CAST(NULL AS VARCHAR) AS reason, left_n AS place FROM matched"
            " JOIN left_lines AS l ON l.n = left_n JOIN right_lines AS r ON r.n = right_n"
            " UNION ALL SELECT kind,"
            f" CASE WHEN posterior >= {ACCEPTED} THEN 'accepted' ELSE 'review' END,"
            f" l.id, r.id, round(posterior, 6), NULL, {nothing}, NULL, group_id, reason,"
            " left_n FROM grouped LEFT JOIN left_lines AS l ON l.n = left_n"
            " LEFT JOIN right_lines AS r ON r.n = right_n"
            f" UNION ALL {unmatched} UNION ALL {rejected}"
        )
        columns = ", ".join(OUTPUT)
        export(
            self._connection,
            f"SELECT {columns} FROM result ORDER BY kind, place, left_id, right_id",
            self._out,
        )

    def tell(self, told: Reconciled) -> None:
        """Count the pairs and what is left over, and name the least certain pairs."""
        told.pairs = dict(
            self._do("SELECT status, count(*) FROM result WHERE kind = 'pair' GROUP BY status")
        )
        for side in ("left", "right"):
            ((lines, cents),) = self._do(
                f"SELECT count(*), coalesce(sum(cents), 0) FROM {_unmatched(side)}"
            )
            told.unmatched[side], told.unmatched_cents[side] = int(lines), int(cents)
        told.least_certain = (
            self._connection.sql(
                f"SELECT {', '.join(OUTPUT)} FROM result WHERE kind = 'pair'"
                " ORDER BY posterior, left_id, right_id LIMIT 3"
            )
            .to_arrow_table()
            .to_pylist()
        )

    def _do(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()


def _unmatched(side: str) -> str:
    """The lines of a side that are neither in a pair nor in a group, after an SQL FROM."""
    return (
        f"{side}_lines WHERE n NOT IN (SELECT {side}_n FROM matched)"
        f" AND n NOT IN (SELECT {side}_n FROM grouped WHERE {side}_n IS NOT NULL)"
    )
