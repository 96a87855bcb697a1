"""What `reconcile` compares at once: all lines, or block after block of the right side's days.

A block's candidates depend on no decision, so that they can be made ahead of it (`ahead`). A left
line that an earlier block took is among them once more; whoever decides leaves it out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from audit_pipeline.adapters.warehouse import joins_as_written
from audit_pipeline.agents.reconciliation import linkage, linkage_sql, matching
from audit_pipeline.agents.reconciliation.linkage_model import Candidates, Ints
from audit_pipeline.agents.reconciliation.linkage_sql import Window

LINES_AT_ONCE = 300_000
"""Right lines that are matched in one go; the candidates of more fill a gigabyte."""
LINES_A_BLOCK = 100_000
POPULATION = 10_000
"""Lines of a side whose texts tell what is rare."""


@dataclass(frozen=True)
class Lines:
    """Lines of one side that follow each other in the order of the days.

    Attributes:
        first: the number of the first of them.
        days: (lines,) rising; texts: (lines,).
    """

    first: int
    days: Ints
    texts: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.days)

    def texts_of(self, numbers: Ints) -> list[str]:
        """The texts of some lines, by their numbers."""
        return self.texts.take(pa.array(numbers - self.first)).to_pylist()

    def population(self) -> list[str]:
        """Texts evenly over all days; enough to tell what is rare."""
        step = max(1, len(self) // POPULATION)
        return self.texts.take(pa.array(np.arange(0, len(self), step))).to_pylist()


@dataclass
class Block:
    """Lines that are compared at once.

    Attributes:
        pairs: their candidates; `open_pairs` lets go of them.
        day_shares: day of a right line → the share of the background's lines on it.
        done: percent of the right side's days that come before this block.
    """

    left: Lines
    right: Lines
    pairs: Candidates
    texts: linkage.Texts
    day_shares: Mapping[int, float]
    done: int

    def open_pairs(self, used: "np.ndarray[Any, np.dtype[np.bool_]]") -> Candidates:
        """The candidates whose left line is not used up; once, for they fill much memory."""
        pairs, self.pairs = self.pairs, self.pairs.take(np.zeros(0, np.int64))
        return pairs.take(~used[pairs.left]) if used.any() else pairs


def blocks(
    connection: duckdb.DuckDBPyConnection, window: Window, *, background_known: bool
) -> Iterator[Block]:
    """The blocks of `left_lines` and `right_lines` (n, day, cents, text), in the order of days.

    Args:
        connection: used by nobody else meanwhile; another cursor of the same database may be.
        window: how far apart two lines may lie.
        background_known: the table `background` holds already; otherwise each block makes its own,
            and the last one stays.
    """

    def do(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    def numbers(side: str, first_day: int, last_day: int) -> tuple[int, int]:
        """Of the first line of these days, and of the one after the last."""
        days, ends = calendar[side]
        at = np.searchsorted(days, (first_day, last_day + 1))
        first, end = (int(ends[place - 1]) if place else 0 for place in at.tolist())
        return first, end

    def lines(side: str, first: int, end: int) -> Lines:
        do(
            f"CREATE OR REPLACE TABLE {side}_block AS SELECT n, day, cents, text"
            f" FROM {side}_lines WHERE n >= {first} AND n < {end}"
        )
        found = connection.sql(f"SELECT day, text FROM {side}_block ORDER BY n").to_arrow_table()
        return Lines(first, found.column("day").to_numpy().astype(np.int64), found.column("text"))

    calendar: dict[str, tuple[Ints, Ints]] = {}
    for side in ("left", "right"):
        counts = do(f"SELECT day, count(*) FROM {side}_lines GROUP BY day ORDER BY day")
        days, found = np.array(counts, np.int64).reshape(-1, 2).T
        calendar[side] = days, np.cumsum(found)
    for first_day, last_day, done in _spans(*calendar["right"]):
        right = lines("right", *numbers("right", first_day, last_day))
        near = first_day - window.days_after, last_day + window.days_before
        left = lines("left", *numbers("left", *near))
        if not background_known:
            made = linkage_sql.background("right_block").sql
            do(f"CREATE OR REPLACE TABLE background AS {made}")
        query = linkage_sql.candidate_pairs("left_block", "right_block", "background", window)
        with joins_as_written(connection):
            found = connection.sql(query.sql, params=dict(query.parameters)).fetchnumpy()
        pairs = matching.as_candidates(found, window)
        texts = linkage.Texts(left.population(), right.population(), left.texts_of, right.texts_of)
        shares = do(
            "SELECT day, coalesce(share, 1.0 / (SELECT nullif(count(*), 0) FROM background"
            f" WHERE kind = 'day'), 1 / {linkage_sql.MONTH_DAYS})"
            " FROM (SELECT DISTINCT day FROM right_block) AS days"
            " LEFT JOIN background ON kind = 'day' AND number = day"
        )
        yield Block(left, right, pairs, texts, dict(shares), done)


def _spans(days: Ints, ends: Ints) -> Iterator[tuple[int, int, int]]:
    """First and last day of each block, and how many percent of the days come before it.

    Args:
        days: (days,) with lines, rising.
        ends: (days,) how many lines there are until the end of each.
    """
    most = LINES_A_BLOCK if ends[-1] > LINES_AT_ONCE else LINES_AT_ONCE
    start = 0
    for at, end in enumerate(ends.tolist()):
        held = end - (int(ends[start - 1]) if start else 0)
        if held >= most or at + 1 == len(days):
            yield int(days[start]), int(days[at]), 100 * start // len(days)
            start = at + 1
