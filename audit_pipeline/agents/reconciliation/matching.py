"""Cross-source matching: an additive score whose terms are shown, and one-to-one assignment.

Source: the specification's cross-source matcher (amount exact or ±5 %, date ±3 days, vendor by
entity), receipt matcher and orphan finder. Candidates come from SQL (`candidates.sql`); here the
vendor term is added, and each right line is given to at most one left line and the reverse.

A right line is decided on its day plus the window, when every left line that could claim it is
known; days are decided in order and a line once used is used up. So the decisions of a day need
nothing later, and a year decided at once gives what each day alone gives.
"""

import datetime as dt
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rapidfuzz import fuzz
from scipy.optimize import linear_sum_assignment

from audit_pipeline.model.query import Query, sql_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VENDOR_POINTS = 15
ABBREVIATION_POINTS = 12


class Pair(NamedTuple):
    """A candidate pair and the terms of its score (0 to 100), which add up to it.

    A named tuple, because a year of a large company makes hundreds of thousands of them.
    """

    left_id: str
    right_id: str
    left_on: dt.date
    right_on: dt.date
    left_cents: int
    right_cents: int
    left_vendor: str
    right_vendor: str
    same_vendor: bool
    amount_points: int
    days_points: int
    person_points: int

    @property
    def vendor_points(self) -> int:
        """Full for the same entity, otherwise by how alike the two names are."""
        if self.same_vendor:
            return VENDOR_POINTS
        if _abbreviates(self.left_vendor, self.right_vendor):
            return ABBREVIATION_POINTS
        alike = fuzz.token_set_ratio(self.left_vendor, self.right_vendor) / 100
        return round(VENDOR_POINTS * alike) if alike >= ALIKE_MIN else -VENDOR_POINTS

    @property
    def score(self) -> int:
        """The sum of the terms."""
        return self.amount_points + self.days_points + self.vendor_points + self.person_points


def _abbreviates(one: str, other: str) -> bool:
    """Whether one name is the initials of the other: `aws`, `amazon web services`."""
    short, long = sorted((one, other), key=len)
    words = long.split()
    return len(words) > 1 and short == "".join(word[0] for word in words)


ALIKE_MIN = 0.6
"""Names less alike than this speak against a pair; unrelated names reach 0.4 to 0.5."""


@dataclass(frozen=True)
class Match:
    """A pair that was accepted.

    Attributes:
        decided_on: the audit date on which it could be decided.
        rivals: how many other candidates the two lines had on that day.
        confidence: `matched`, or `low` between the two thresholds (context looks at those).
    """

    pair: Pair
    score: int
    vendor_points: int
    decided_on: dt.date
    rivals: int
    confidence: str


def candidates(
    left: str,
    right: str,
    to_on: dt.date,
    window_days: int,
    tolerance_below: float,
    tolerance_above: float,
    score_low: int = 0,
) -> Query:
    """Candidate pairs between two tables whose columns `sides.py` lists.

    Args:
        left: name of the left table; a name of this project, never a user's text.
        right: name of the right table.
        to_on: lines after this day are not seen.
        window_days: inclusive, UTC calendar days, either way.
        tolerance_below: how far the left amount may lie below the right one, as a share of it.
        tolerance_above: how far above (a tip, a fee).
        score_low: pairs that cannot reach this score are left out; `assign` would drop them.
    """
    sql = sql_of("audit_pipeline.agents.reconciliation", "candidates")
    return Query(
        sql.format(left=left, right=right),
        {
            "to_on": to_on,
            "window_days": window_days,
            "tolerance_below": tolerance_below,
            "tolerance_above": tolerance_above,
            "vendor_points": VENDOR_POINTS,
            "score_low": score_low,
        },
    )


def assign(
    pairs: "Iterable[Pair]", window_days: int, score_accept: int, score_low: int
) -> list[Match]:
    """The best one-to-one assignment, decided day by day.

    Args:
        pairs: candidates, any order; unique on (left_id, right_id).
        window_days: the window that made them.
        score_accept: pairs of at least this score are matched.
        score_low: pairs of at least this score are matched with low confidence.

    Returns:
        In the order of decision; no left or right line occurs twice; the same for any order of
        the input.
    """
    by_day: dict[dt.date, list[tuple[int, int, Pair]]] = defaultdict(list)
    for pair in pairs:
        vendor_points = pair.vendor_points
        score = pair.amount_points + pair.days_points + vendor_points + pair.person_points
        if score >= score_low:
            by_day[pair.right_on].append((score, vendor_points, pair))
    used: set[str] = set()
    matches: list[Match] = []
    for day in sorted(by_day):
        open_pairs = [entry for entry in by_day[day] if entry[2].left_id not in used]
        rivals = Counter(
            line
            for _, _, pair in open_pairs
            for line in (("l", pair.left_id), ("r", pair.right_id))
        )
        for score, vendor_points, pair in _best_of(open_pairs):
            used.add(pair.left_id)
            matches.append(
                Match(
                    pair,
                    score,
                    vendor_points,
                    day + dt.timedelta(days=window_days),
                    rivals["l", pair.left_id] + rivals["r", pair.right_id] - 2,
                    "matched" if score >= score_accept else "low",
                )
            )
    return matches


def _best_of(entries: "Sequence[tuple[int, int, Pair]]") -> list[tuple[int, int, Pair]]:
    """The assignment of highest total score; a pair without rivals is taken as it is."""
    lefts: dict[str, list[int]] = defaultdict(list)
    rights: dict[str, list[int]] = defaultdict(list)
    for index, (_, _, pair) in enumerate(entries):
        lefts[pair.left_id].append(index)
        rights[pair.right_id].append(index)
    chosen: list[tuple[int, int, Pair]] = []
    seen: set[int] = set()
    for index, (_, _, pair) in enumerate(entries):
        if index in seen:
            continue
        if len(lefts[pair.left_id]) == 1 and len(rights[pair.right_id]) == 1:
            chosen.append(entries[index])
            continue
        component = _component(index, entries, lefts, rights)
        seen |= component
        chosen += _optimal([entries[i] for i in component])
    return sorted(chosen, key=lambda entry: (entry[2].left_id, entry[2].right_id))


def _component(
    start: int,
    entries: "Sequence[tuple[int, int, Pair]]",
    lefts: dict[str, list[int]],
    rights: dict[str, list[int]],
) -> set[int]:
    found, todo = {start}, [start]
    while todo:
        pair = entries[todo.pop()][2]
        for index in (*lefts[pair.left_id], *rights[pair.right_id]):
            if index not in found:
                found.add(index)
                todo.append(index)
    return found


def _optimal(entries: "Sequence[tuple[int, int, Pair]]") -> list[tuple[int, int, Pair]]:
    ordered = sorted(entries, key=lambda entry: (entry[2].left_id, entry[2].right_id))
    rows = {left: i for i, left in enumerate(dict.fromkeys(e[2].left_id for e in ordered))}
    columns = {right: i for i, right in enumerate(sorted({e[2].right_id for e in ordered}))}
    scores = np.zeros((len(rows), len(columns)))
    at: dict[tuple[int, int], tuple[int, int, Pair]] = {}
    for entry in ordered:
        place = rows[entry[2].left_id], columns[entry[2].right_id]
        scores[place] = entry[0]
        at[place] = entry
    taken_rows, taken_columns = linear_sum_assignment(scores, maximize=True)
    places = zip(taken_rows.tolist(), taken_columns.tolist(), strict=True)
    return [at[place] for place in places if place in at]
