"""How alike two texts are when they do not begin alike: trigrams, weighted by their rarity.

Tolerates cut-off, reordered and misspelt words. A trigram that one side alone uses (the bank's
`ACH DEBIT`, its serial numbers) says little; one that is common on either side, too.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from audit_pipeline.agents.reconciliation.linkage_sql import LINES_LEAST

FOREIGN_WEIGHT = 0.15
"""Of a trigram that the other side never uses, relative to its rarity. Source: the sketch, which
measured .1 to .2 as equal on one generator of bank statements."""
INFORMATIVE = 6.0
"""Nats of rarity that a text needs to be compared at all: two or three uncommon trigrams."""
EDGES = (0.2, 0.4, 0.6, 0.8, 0.9)
"""Of the bins of likeness, 0 to 1; what a bin is worth is learned."""
BLOCK = 200_000
CHARS = 80
"""Of a text that are compared; descriptors and memos say who it was at their beginning."""
BUCKETS = 1 << 18
"""That trigrams are hashed to: some ten thousand occur, so that few share one."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Likeness:
    """Compares texts of two sides.

    Args:
        left: texts of the left side from which is learned what is rare there.
        right: the same of the right side.
    """

    def __init__(self, left: Sequence[str], right: Sequence[str]) -> None:
        on_left, on_right = _found(left), _found(right)
        left_rarity, right_rarity = _rarity(on_left, len(left)), _rarity(on_right, len(right))
        self._weight = np.minimum(left_rarity, right_rarity)
        if min(len(left), len(right)) >= LINES_LEAST:
            foreign = (on_left == 0) != (on_right == 0)
            most = np.maximum(left_rarity, right_rarity)
            self._weight = np.where(foreign, FOREIGN_WEIGHT * most, self._weight)

    def levels(
        self, left: Sequence[str], right: Sequence[str], left_at: Ints, right_at: Ints
    ) -> Ints:
        """The bin of each pair: 0 … len(EDGES), and −1 where a text says too little.

        The likeness is the weight of what both share, as a part of the lesser text's weight.
        Initials are as alike as can be to the name that they stand for.

        Args:
            left: the texts to compare.
            right: the texts to compare them with.
            left_at: (pairs,) positions in left.
            right_at: (pairs,) positions in right.
        """
        (left, of_left), (right, of_right) = _once(left), _once(right)
        left_at, right_at = of_left[left_at], of_right[right_at]
        initials = _initials(left, right, left_at, right_at)
        lefts, rights = _trigrams(left), _trigrams(right)
        shared = np.zeros(len(left_at))
        for start in range(0, len(left_at), BLOCK):
            at = slice(start, start + BLOCK)
            shared[at] = lefts[left_at[at]].multiply(rights[right_at[at]]) @ self._weight
        lesser = np.minimum((lefts @ self._weight)[left_at], (rights @ self._weight)[right_at])
        level = np.digitize(shared / np.maximum(lesser, 1e-9), EDGES)
        level = np.where(initials, len(EDGES), level)
        return np.where(initials | (lesser >= INFORMATIVE), level, -1)


def _rarity(found: Floats, texts: int) -> Floats:
    """−ln of the share of texts with it; never negative."""
    return np.maximum(np.log((max(texts, LINES_LEAST) + 1) / (found + 0.5)), 0)


def _initials(
    left: Sequence[str], right: Sequence[str], left_at: Ints, right_at: Ints
) -> NDArray[np.bool_]:
    """Which pairs are a name and its initials: `AWS`, `AMAZON WEB SERVICES`."""
    (length, words), (other_length, other_words) = _sizes(left), _sizes(right)
    length, words = length[left_at], words[left_at]
    other_length, other_words = other_length[right_at], other_words[right_at]
    # Initials are one word, as long as the name has words: few pairs are worth reading.
    is_short = (words == 1) & (other_words > 1) & (length == other_words)
    is_long = (other_words == 1) & (words > 1) & (other_length == words)
    found = np.zeros(len(left_at), np.bool_)
    for pair in np.flatnonzero(is_short | is_long).tolist():
        one, other = left[int(left_at[pair])], right[int(right_at[pair])]
        short, name = (one, other) if is_short[pair] else (other, one)
        found[pair] = short == "".join(word[0] for word in name.split())
    return found


def _sizes(texts: Sequence[str]) -> tuple[Ints, Ints]:
    """How many letters, and how many words, each text has."""
    words = np.array([text.count(" ") + 1 for text in texts], np.int64)
    return np.array([len(text) for text in texts], np.int64), words


def _once(texts: Sequence[str]) -> tuple[list[str], Ints]:
    """The different texts, and which of them each text is: names recur."""
    place: dict[str, int] = {}
    at = np.fromiter((place.setdefault(t, len(place)) for t in texts), np.int64, len(texts))
    return list(place), at


def _found(texts: Sequence[str]) -> Floats:
    """(BUCKETS,): how many texts have each trigram."""
    different, at = _once(texts)
    grams = _trigrams(different)
    return grams.T @ np.bincount(at, minlength=1).astype(np.float64)


def _trigrams(texts: Sequence[str]) -> csr_matrix:
    """(texts, BUCKETS): 1 for each trigram that a text has, spaces at both ends included."""
    letters = np.array([f" {text[:CHARS]} " for text in texts] or ["  "])
    codes = letters.view(np.uint32).reshape(len(letters), -1).astype(np.int64)
    # Odd multipliers spread neighbouring letters over all buckets.
    hashed = (codes[:, :-2] * 1_000_003 + codes[:, 1:-1] * 8_191 + codes[:, 2:]) % BUCKETS
    row, column = np.nonzero(codes[:, 2:])
    places = np.sort(row * BUCKETS + hashed[row, column])
    # Sorting is several times as fast as numpy's own search for unique values.
    places = places[np.r_[True, np.diff(places) > 0]] if len(places) else places
    starts = np.searchsorted(places, np.arange(len(letters) + 1) * BUCKETS)
    ones = np.ones(len(places))
    return csr_matrix((ones, places % BUCKETS, starts), (len(letters), BUCKETS))
