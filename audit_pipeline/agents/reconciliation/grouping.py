"""What one-to-one matching leaves: entries that cancel out, batches, near amounts.

Names and days say which lines may belong together, amounts whether they do. A large set always
holds sums that fit by accident. So each group counts the accidents to be expected in its place,
and groups are taken only while the share of accidents among them stays below a stated level
(Benjamini and Hochberg, 1995). Everything is in whole cents. The order of the input never counts.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from audit_pipeline.agents.reconciliation.grouping_batches import batches
from audit_pipeline.agents.reconciliation.grouping_sides import (
    ALIKE,
    LINKS_MAX,
    NEARBY,
    USUAL,
    WORD,
    Group,
    Limits,
    Line,
    Links,
    Side,
    false_shares,
    round_steps,
)
from audit_pipeline.agents.reconciliation.grouping_sides import (
    links as linked_pairs,
)

__all__ = ["Group", "Limits", "Line", "group"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

REVERSAL = re.compile(
    r"\b(?:VOID|REVERS|CANCEL|CORRECT|RECLASS|OFFSET|RETURN|REFUND|STORNO|NSF)\w*"
)
"""What bookkeepers write on an entry that takes back another."""
REFERENCE_MIN = 4
"""Characters; a shorter reference is a code of the trade (`JE`, `AP`)."""
ALIKE_PERCENT = 85
"""For two texts of one side (rapidfuzz, 0 to 100): a typo in a word of seven letters."""
ROUNDS_MAX = 3
"""A batch that is found frees its neighbourhood of lines, so what is left is looked at again."""


def group(
    left: Sequence[Line],
    right: Sequence[Line],
    *,
    days_before: int = 3,
    days_after: int = 15,
    limits: Limits = USUAL,
    background_left: Sequence[Line] = (),
    background_right: Sequence[Line] = (),
) -> list[Group]:
    """Offsets, then batches, then near amounts among lines that no one-to-one match took.

    Args:
        left: lines of, say, the ledger, in any order, `id` unique.
        right: lines of, say, the bank.
        days_before: a right line may be this many days older than its left one: a weekend, when
            entries wait for Monday.
        days_after: and this many days younger: a mailed cheque takes two weeks.
        limits: how far from equal is still the same.
        background_left: the whole extract, which shows what words and amounts are rare.
        background_right: the same for the right side.

    Returns:
        Groups that share no line, in the order in which they were found.
    """
    ledger, bank = Side(left, background_left), Side(right, background_right)
    groups = [Group("offset", rows, (), sure, why) for rows, sure, why in _offsets(ledger, limits)]
    groups += [Group("offset", (), rows, sure, why) for rows, sure, why in _offsets(bank, limits)]
    if not (ledger.free.any() and bank.free.any()):
        return groups
    links = linked_pairs(ledger, bank, days_before, days_after)
    swapped = Links(links.right, links.left, links.likeness)
    paid: list[Group] = []
    split: list[Group] = []
    for _ in range(ROUNDS_MAX):
        found = len(paid), len(split)
        paid += batches(ledger, bank, links, (days_before, days_after), limits, len(paid))
        split += batches(bank, ledger, swapped, (days_after, days_before), limits, len(split))
        if (len(paid), len(split)) == found:
            break
    groups += [*paid, *(replace(one, left=one.right, right=one.left) for one in split)]
    return groups + _tolerant(ledger, bank, links, 1 + days_before + days_after, limits)


# ── offsets ───────────────────────────────────────────────────────────────────────────────────────


def _offsets(side: Side, limits: Limits) -> Iterator[tuple[tuple[int, ...], float, str]]:
    """Equal and opposite lines linked by reference, word or text: (indices, confidence, reason)."""
    rows_of: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(side.free).tolist():
        rows_of[int(side.cents[row]), int(side.inflow[row])].append(row)
    found: list[tuple[float, int, int, int, str]] = []
    for (cents, inflow), rows in rows_of.items():
        others = [] if inflow else rows_of.get((cents, 1), [])
        days = [side.lines[row].day for row in others]
        for row in rows if others else ():
            day = side.lines[row].day
            first = bisect_left(days, day - limits.offset_days_max)
            last = bisect_right(days, day + limits.offset_days_max)
            for other in others[first:last] if last - first <= LINKS_MAX else ():
                doubt, why = _link(side.lines[row], side.lines[other], alone=last - first == 1)
                if doubt < 1:
                    found.append((doubt, abs(day - side.lines[other].day), row, other, why))
    for doubt, lag, row, other, why in sorted(found):
        if side.free[[row, other]].all():
            reason = f"{side.cents[row] / 100:,.2f} in and out within {lag} days; {why}."
            yield side.take((row, other)), 1 - doubt, reason


def _link(one: Line, other: Line, *, alone: bool) -> tuple[float, str]:
    """How doubtful it is that two lines that cancel out belong together, and why they do.

    The doubts are a reviewer's order, not measured: a reference, a word and a text that is alike
    each more than halve it, and a word alone counts where no other line could be meant.
    """
    texts = one.text.upper(), other.text.upper()
    references = one.reference.upper(), other.reference.upper()
    short, long = sorted(references, key=len)
    word = next((hit.group() for text in texts for hit in REVERSAL.finditer(text)), "")
    bare = [" ".join(WORD.findall(REVERSAL.sub(" ", text))) for text in texts]
    alike = all(bare) and fuzz.token_set_ratio(*bare) >= ALIKE_PERCENT
    named = (len(short) >= REFERENCE_MIN and long.startswith(short)) or any(
        len(reference) >= REFERENCE_MIN and reference in text
        for reference, text in zip(references, texts[::-1], strict=True)
    )
    why = {"a shared reference": named, f"the word {word}": bool(word), "like texts": alike}
    doubt = 0.5 ** (2 * sum(why.values()))
    if not (named or alike or (word and alone)):
        doubt = 1.0
    return doubt, "linked by " + ", ".join(what for what, holds in why.items() if holds)


# ── near amounts ──────────────────────────────────────────────────────────────────────────────────


def _slip(one: Ints, other: Ints) -> Floats:
    """How many amounts a slip as small could make of `one`; infinite where none makes `other`.

    A slip swaps two neighbouring digits or mistypes one.
    """
    digits = np.floor(np.log10(one)) + 1
    slips: Floats = np.full(len(one), np.inf)
    for place in range(int(digits.max(initial=0))):
        unit = 10**place
        mistyped = (one // unit // 10 == other // unit // 10) & (one % unit == other % unit)
        slips[mistyped] = 9 * digits[mistyped]
        swapped = one + (one // unit % 10 - one // unit // 10 % 10) * 9 * unit == other
        slips[swapped] = digits[swapped] - 1
    slips[np.floor(np.log10(other)) + 1 != digits] = np.inf
    return slips


def _tolerant(
    left: Side, right: Side, links: Links, window_days: int, limits: Limits
) -> list[Group]:
    """Pairs of like names whose amounts differ by a fee, a rate or a digit."""
    free = left.free[links.left] & right.free[links.right] & (links.likeness >= ALIKE)
    one, other, likeness = links.left[free], links.right[free], links.likeness[free]
    cents, paid = left.cents[one], right.cents[other]
    difference, larger = np.abs(cents - paid), np.maximum(cents, paid)
    fee = np.minimum(limits.fee_cents_max, larger * NEARBY)
    within = difference <= np.maximum(fee, larger * limits.difference_share_max)
    # How many amounts would pass as being as near; how many lines of the extract, and how many of
    # the other lines linked, lie on each cent there; and how much of the window is as near in days.
    slips = _slip(paid, cents) * round_steps(left.amounts, paid)
    passing = np.where(within, np.minimum(2 * difference + 1, slips), slips)
    near = np.searchsorted(left.amounts, paid * (1 + NEARBY), side="right")
    near -= np.searchsorted(left.amounts, paid * (1 - NEARBY))
    linked = np.bincount(other)[other]
    lines = linked * (near + 1) / (len(left.amounts) + 1)
    lines = np.maximum(lines, np.bincount(other, difference <= NEARBY * paid)[other] - 1)
    lag = np.abs(left.day[one] - right.day[other])
    accidents = np.minimum(1, passing * lines / (2 * NEARBY * paid))
    accidents *= np.minimum(1, (2 * lag + 1) / window_days)
    weight = np.where(np.isfinite(passing), 1 / accidents, 0)
    rivalry = np.maximum(np.bincount(one, weight)[one], np.bincount(other, weight)[other])
    pairs: list[int] = []
    taken = left.free.copy(), right.free.copy()
    for pair in np.lexsort((other, one, -likeness, accidents)).tolist():
        if weight[pair] and taken[0][one[pair]] and taken[1][other[pair]]:
            pairs.append(pair)
            taken[0][one[pair]] = taken[1][other[pair]] = False
    shares = false_shares(accidents[pairs].tolist(), len(np.unique(other)))
    groups: list[Group] = []
    for pair, share in zip(pairs, shares, strict=True):
        if share > limits.false_share_max:
            break
        digits = sorted(str(cents[pair])) == sorted(str(paid[pair]))
        reason = (
            f"Names {likeness[pair]:.0%} alike, {lag[pair]} days apart; amounts differ by "
            f"{difference[pair] / 100:,.2f} ({difference[pair] / larger[pair]:.1%}"
            f"{', the same digits' if digits else ''}); {linked[pair] - 1} other lines like it."
        )
        rows = left.take([int(one[pair])]), right.take([int(other[pair])])
        groups.append(
            Group("tolerant", *rows, float((1 - share) * weight[pair] / rivalry[pair]), reason)
        )
    return groups
