"""Left-over lines as columns, and which of the two sides name the same party near in days.

A text is compared by its trigrams, the rarer the more they say; cut ends and typing errors do
little harm.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WORD = re.compile(r"[^\W\d_]+")
NUMBER = re.compile(r"(?<!\d)0*([1-9]\d{2,})(?!\d)")
"""A cheque or document number; shorter ones are dates and quantities."""
ALIKE = 0.5
"""For texts of two sides: more of the shorter one's information is shared than not."""
FAINT = 0.25
"""Half of it, when a name is both cut and mistyped: enough to be asked whether the amount fits. A
batch is found as well from 0.1 as from 0.35."""
UNSHARED = 0.15
"""Weight of letters the other side never writes: a channel or a place more often than a name. The
value is an earlier trial's on a published task; twice as much changes little."""
LINKS_MAX = 100
"""A text that fits more lines of its days than this names nothing."""
PRODUCTS_MAX = 200_000_000
"""Multiplications spent on comparing texts, about two seconds; the commonest trigrams go first."""
TEXTS_KEPT, BACKGROUNDS_KEPT = 50_000, 8
"""The days of an audit ask about the same texts; some megabytes."""
BLOCK = 512
"""Lines compared at once with those of their days, so that memory stays small."""
NEARBY = 0.25
"""Amounts within a quarter of another show how densely sums, or lines, lie there."""
ROUND_CENTS = (1, 100, 1_000, 10_000, 100_000)
"""People round to these, so that round sums meet by accident more often."""


class Line(NamedTuple):
    """One line of an extract; `day` is ordinal; money in has one sign of `cents` on both sides."""

    id: str
    day: int
    cents: int
    text: str
    reference: str = ""


@dataclass(frozen=True)
class Group:
    """Lines that explain each other.

    Attributes:
        kind: `offset`, `batch` or `tolerant`.
        left: indices into the left lines; empty for an offset within right.
        right: indices into the right lines; empty for an offset within left.
        confidence: 0 to 1.
        reason: for the reviewer: what adds up, and why these lines.
    """

    kind: str
    left: tuple[int, ...]
    right: tuple[int, ...]
    confidence: float
    reason: str


@dataclass(frozen=True)
class Limits:
    """How far from equal is still the same.

    Attributes:
        offset_days_max: an accrual is taken back in the next month.
        parts_max: lines in a set picked from others; the whole of a day, text or reference may
            have more.
        fee_cents_max: an international wire costs about 50 dollars; never over a quarter of the
            amount.
        difference_share_max: a card's 3 % for foreign currency and up to 2 % of spread.
        false_share_max: of batches, and of near amounts, the share that may be accidents.
    """

    offset_days_max: int = 31
    parts_max: int = 6
    fee_cents_max: int = 5_000
    difference_share_max: float = 0.05
    false_share_max: float = 0.05


USUAL = Limits()


class Side:
    """One side's lines in the order of their content, as columns; `cents` without sign.

    `at` is each line's index in the caller's sequence, `amounts` those of the whole extract,
    sorted, `name` which of the side's texts, and `free` says it is in no group yet. A line of
    nothing explains nothing and is never free.
    """

    def __init__(self, lines: Sequence[Line], background: Sequence[Line]) -> None:
        self.at = sorted(range(len(lines)), key=lambda i: (*lines[i][1:], lines[i].id))
        self.lines = [lines[i] for i in self.at]
        self.background = background or self.lines
        self.day: Ints = np.array([line.day for line in self.lines], dtype=np.int64)
        signed: Ints = np.array([line.cents for line in self.lines], dtype=np.int64)
        self.cents: Ints = np.abs(signed)
        self.inflow: Ints = (signed > 0).astype(np.int64)
        self.name: Ints = np.zeros(len(lines), dtype=np.int64)
        self.free: NDArray[np.bool_] = self.cents > 0
        self.amounts: Ints = np.sort([abs(line.cents) for line in self.background])

    def take(self, rows: Sequence[int]) -> tuple[int, ...]:
        """Marks rows as grouped and returns the caller's indices."""
        self.free[list(rows)] = False
        return tuple(sorted(self.at[row] for row in rows))


class Links(NamedTuple):
    """Pairs of a left and a right line that are alike and near in days; three columns."""

    left: Ints
    right: Ints
    likeness: Floats


def false_shares(accidents: Sequence[float], tried: int, found: int = 0) -> list[float]:
    """For ascending expected accidents: the share of accidents if all up to here are taken.

    Args:
        accidents: expected in the place of each.
        tried: places that were looked at.
        found: how many were taken before these.
    """
    shares = np.array(accidents) * tried / np.arange(found + 1, found + len(accidents) + 1)
    return np.minimum.accumulate(np.minimum(shares, 1)[::-1])[::-1].tolist()


def round_steps(amounts: Ints, cents: Ints) -> Floats:
    """For each of `cents`, how many cents share one outcome: its unit, by how many are so round."""
    steps: Floats = np.ones(len(cents))
    for unit in ROUND_CENTS:
        share = (np.count_nonzero(amounts % unit == 0) + 1) / (len(amounts) + 1)
        steps = np.where(cents % unit == 0, np.maximum(steps, unit * share), steps)
    return steps


@lru_cache(TEXTS_KEPT)
def _words(text: str) -> str:
    return " ".join(WORD.findall(text.upper()))


@lru_cache(TEXTS_KEPT)
def words_of(text: str) -> tuple[str, ...]:
    """The different words of a text, in capitals."""
    return tuple(dict.fromkeys(WORD.findall(text.upper())))


@lru_cache(TEXTS_KEPT)
def _numbers_in(text: str) -> frozenset[str]:
    return frozenset(NUMBER.findall(text))


def _numbers(line: Line) -> frozenset[str]:
    return _numbers_in(line.text) | _numbers_in(line.reference)


@lru_cache(TEXTS_KEPT)
def _grams(words: str) -> tuple[str, ...]:
    """The different trigrams of a text's words."""
    padded = f" {words} "
    return tuple(dict.fromkeys(padded[i : i + 3] for i in range(len(padded) - 2)))


@lru_cache(BACKGROUNDS_KEPT)
def _found(texts: tuple[str, ...]) -> Counter[str]:
    """How many of the texts have each trigram."""
    counts: Counter[str] = Counter()
    for words, count in Counter(texts).items():
        counts.update(dict.fromkeys(_grams(words), count))
    return counts


def _trigrams(sides: Sequence[Side]) -> tuple[list[sparse.csr_matrix], Floats]:
    """A 0-1 matrix of lines by trigrams for each side, and the trigrams' weights.

    A text is its words and the numbers that both sides know. The rarer a trigram on the side where
    it is more common, the more it says; the logarithm is squared, as in a cosine of tf-idf.
    """
    known = set.intersection(*(set[str]().union(*map(_numbers, x.lines)) for x in sides))
    column: dict[str, int] = {}
    cells: list[list[list[int]]] = []
    for side in sides:
        texts = [(_words(x.text), *sorted(_numbers(x) & known)) for x in side.lines]
        ids = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        side.name = np.array([ids[text] for text in texts], dtype=np.int64)
        of = [
            [column.setdefault(x, len(column)) for x in (*_grams(words), *numbers)]
            for words, *numbers in ids
        ]
        cells.append([of[name] for name in side.name])
    matrices: list[sparse.csr_matrix] = []
    for rows in cells:
        ends = np.cumsum([0, *map(len, rows)])
        flat = np.array([cell for row in rows for cell in row], dtype=np.int64)
        shape = len(rows), len(column)
        matrices.append(sparse.csr_matrix((np.ones(len(flat)), flat, ends), shape=shape))
    weight: Floats = np.zeros(len(column))
    backgrounds = [
        (
            len(x.background) + 1,
            _found(tuple(_words(line.text) for line in x.background)),
            Counter(number for line in x.background for number in _numbers(line) & known),
        )
        for x in sides
    ]
    for gram, i in column.items():
        # No trigram is a number: words have no digits.
        rare = [
            math.log(lines / count)
            for lines, grams, numbers in backgrounds
            if (count := grams.get(gram) or numbers.get(gram))
        ]
        weight[i] = min(rare, default=0) ** 2 * (1 if len(rare) > 1 else UNSHARED)
    used = np.prod([np.bincount(m.indices, minlength=len(column)) for m in matrices], axis=0)
    cheap = np.argsort(used, kind="stable")
    weight[cheap[np.cumsum(used[cheap]) > PRODUCTS_MAX]] = 0
    return matrices, weight


def links(left: Side, right: Side, before: int, after: int) -> Links:
    """Free lines of like texts and the same sign, the right one −before … +after days later.

    Likeness is the share of the shorter text's weight that the other has too: cut ends do no harm.
    """
    (ours, theirs), weight = _trigrams((left, right))
    whole = ours @ weight, theirs @ weight
    theirs = theirs.multiply(weight).tocsr()
    found: list[tuple[Ints, Ints, Floats]] = []
    for start in range(0, len(right.lines), BLOCK):
        days = right.day[start : start + BLOCK]
        first = int(np.searchsorted(left.day, days[0] - after))
        last = int(np.searchsorted(left.day, days[-1] + before, side="right"))
        block = (theirs[start : start + BLOCK] @ ours[first:last].T).tocoo()
        rows, columns = block.col.astype(np.int64) + first, block.row.astype(np.int64) + start
        likeness = block.data / np.minimum(whole[0][rows], whole[1][columns]).clip(1e-9)
        lag = right.day[columns] - left.day[rows]
        keep = (likeness >= FAINT) & (lag >= -before) & (lag <= after)
        keep &= left.free[rows] & right.free[columns] & (left.inflow[rows] == right.inflow[columns])
        rows, columns, likeness = rows[keep], columns[keep], likeness[keep].round(6)
        # A faint one serves only the batch that the larger line might be.
        whole_line = np.where(left.cents[rows] < right.cents[columns], columns, -1 - rows)
        keep = (likeness >= ALIKE) | (_rank(whole_line, -likeness) < LINKS_MAX)
        found.append((rows[keep], columns[keep], likeness[keep]))
    rows, columns, likeness = (np.concatenate(parts) for parts in zip(*found, strict=True))
    crowd = np.maximum(*(np.bincount(x, likeness >= ALIKE)[x] for x in (rows, columns)))
    keep = crowd <= LINKS_MAX
    return Links(rows[keep], columns[keep], likeness[keep])


def _rank(of: Ints, by: Floats) -> Ints:
    """Each one's place among those of the same number, from 0, the least first."""
    order = np.lexsort((by, of))
    first = np.flatnonzero(np.diff(of[order], prepend=of[order][:1] - 1))
    rank: Ints = np.empty(len(of), dtype=np.int64)
    rank[order] = np.arange(len(of)) - np.repeat(first, np.diff(first, append=len(of)))
    return rank
