"""Matching in the audit: the learned linkage, decided day by day.

Source: the specification's cross-source matcher (amount exact or ±5 %, date ±3 days, vendor by
entity), receipt matcher and orphan finder. What a pair's agreement is worth is learned
(`linkage.py`) from the months before; here the days are decided in their order.

A right line is decided on its day plus the window, when every left line that could claim it is
known; a line once used is used up. So the decisions of a day need nothing later, and a year decided
at once gives what each day alone gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.agents.reconciliation import linkage, linkage_sql
from audit_pipeline.agents.reconciliation.linkage import Candidates, Model
from audit_pipeline.agents.reconciliation.linkage_model import Smalls
from audit_pipeline.agents.reconciliation.linkage_sql import Window
from audit_pipeline.model.query import Query

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HISTORY_LINES = 2_500
"""Right lines before a month from which is learned: a share of one half is then known to 2 %."""
PAIRS_LEAST = 30.0
"""Matches by expectation that are needed to learn from; with fewer, what is customary holds."""
NEAR_MISS = 0.001
"""Posterior of a rival that is worth showing to a reviewer."""


@dataclass
class Decisions:
    """What was decided of candidate pairs, one entry a pair in every array.

    Attributes:
        posterior: probability of a match among the lines still open on the day of the decision;
            0 for a pair one of whose lines was used up before.
        prior: the term that the pairs of a day share.
        rivals: how many other candidates the two lines had on that day.
        matched: whether the pair was taken.
    """

    posterior: Floats
    prior: Floats
    rivals: Ints
    matched: NDArray[np.bool_]


def decide(
    pairs: Candidates,
    model: Model,
    left_day: Ints,
    right_day: Ints,
    used: NDArray[np.bool_],
    posterior_low: float,
) -> Decisions:
    """The matches of some days, one after the other.

    Args:
        pairs: the candidates of those days, in the order of (left, right).
        model: as learned before those days; only the share of lines with a partner is refitted.
        left_day: (left lines,) the day of every left line.
        right_day: (right lines,) the same of the right.
        used: (left lines,) which are used up; added to.
        posterior_low: pairs of at least this posterior are taken (`linkage.taken`).
    """
    found = Decisions(
        np.zeros(len(pairs)),
        np.zeros(len(pairs)),
        np.zeros(len(pairs), np.int64),
        np.zeros(len(pairs), np.bool_),
    )
    window = model.window
    rights_on = np.bincount(right_day[right_day >= 0]) if len(right_day) else np.zeros(1, np.int64)
    by_day = right_day[pairs.right]
    order = np.argsort(by_day, kind="stable")
    edges = np.flatnonzero(np.diff(by_day[order])) + 1
    for members in np.split(order, edges) if len(pairs) else ():
        day = int(by_day[members[0]])
        still_open = members[~used[pairs.left[members]]]
        if not len(still_open):
            continue
        first, last = np.searchsorted(
            left_day, [day - window.days_after, day + window.days_before + 1]
        )
        today = pairs.take(still_open)
        share = float(np.exp(-today.day_rarity[0]))
        near = left_day[first:last][~used[first:last]]
        lefts = linkage.within_reach(near, right_day[today.right[:1]], {day: share}, model)
        outcome = linkage.link(today, (lefts, float(rights_on[day])), model, learn=False)
        taken = linkage.taken(outcome, posterior_low)
        found.posterior[still_open] = outcome.posterior
        found.prior[still_open] = outcome.prior
        found.rivals[still_open] = outcome.rivals
        found.matched[still_open[taken]] = True
        used[today.left[taken]] = True
    return found


def learned(
    pairs: Candidates, lines: tuple[int, int], texts: linkage.Texts, window: Window
) -> Model:
    """The model of a month, from the lines before it; what is customary where they say too little.

    Args:
        pairs: their candidates.
        lines: how many lines each side has.
        texts: of both sides.
        window: what lags and bins mean.
    """
    customary = Model.customary(window)
    if min(lines) < linkage_sql.LINES_LEAST:
        return customary
    chance = texts.alike_by_chance()
    customary = replace(customary, likeness_chance=chance)
    pairs = linkage.with_likeness(pairs, chance, texts)
    outcome = linkage.link(pairs, lines, customary, learn=True)
    return outcome.model if outcome.expected >= PAIRS_LEAST else customary


def near_misses(pairs: Candidates, found: Decisions, right_day: Ints, side: str) -> Ints:
    """For each line and day of decision: its most probable pair, where none was taken; indices.

    Args:
        pairs: all candidates.
        found: what was decided of them.
        right_day: (right lines,) the day of every right line.
        side: `left` or `right`.
    """
    line, other = (pairs.left, pairs.right) if side == "left" else (pairs.right, pairs.left)
    day = right_day[pairs.right]
    at = np.flatnonzero(~found.matched & (found.posterior >= NEAR_MISS))
    order = at[np.lexsort((other[at], -found.posterior[at], day[at], line[at]))]
    if not len(order):
        return order
    first = np.r_[True, (np.diff(line[order]) != 0) | (np.diff(day[order]) != 0)]
    return order[first]


def candidates(left: str, right: str, background: str, window: Window) -> Query:
    """The candidate pairs of two sides, with what `sides.py` knows beyond the amount and the text.

    Args:
        left: name of the left table: n, day, cents, text, person, line_on, counterpart_on.
        right: name of the right table.
        background: name of the table that `linkage_sql.background` filled.
        window: days, and how far amounts may differ.

    Returns:
        As `linkage_sql.candidate_pairs`, and person (below linkage.PERSONS).
    """
    allowed = "l.cents - r.cents BETWEEN -$below * abs(r.cents) AND $above * abs(r.cents)"
    found = linkage_sql.candidate_pairs(left, right, background, window, allowed)
    return Query(
        f"""SELECT pairs.*,
  CASE WHEN l.person = '' OR r.person = '' THEN 0 WHEN l.person = r.person THEN 1 ELSE 2 END
    AS person
FROM ({found.sql}) AS pairs
JOIN {left} AS l ON l.n = pairs.left_n
JOIN {right} AS r ON r.n = pairs.right_n
-- A line whose own counterpart is there by the day of the decision needs no other one.
WHERE coalesce(l.counterpart_on > r.line_on + CAST($before AS INTEGER), true)
  AND coalesce(r.counterpart_on > r.line_on + CAST($before AS INTEGER), true)""",
        found.parameters,
    )


def as_candidates(found: Mapping[str, NDArray[np.generic]], window: Window) -> Candidates:
    """Rows of `candidates` or `linkage_sql.candidate_pairs`, in the order of (left, right)."""
    # One number for both; there are some millions of pairs, and no two are alike.
    left, right = (found[name].astype(np.int64) for name in ("left_n", "right_n"))
    order = np.argsort((left << 32) + right)

    def small(name: str) -> Smalls:
        return found[name][order].astype(np.int16)

    def real(name: str) -> Floats:
        return found[name][order].astype(np.float64)

    return Candidates(
        left=left[order],
        right=right[order],
        lag=small("lag") + np.int16(window.days_before),
        level=small("level"),
        amount_bin=small("amount_bin"),
        boundary=small("boundary"),
        amount_rarity=real("amount_rarity"),
        day_rarity=real("day_rarity"),
        text_rarity=real("text_rarity"),
        person=small("person") if "person" in found else np.zeros(len(order), np.int16),
    )
