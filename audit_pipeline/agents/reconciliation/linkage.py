"""The probability that two lines are the same payment, learned without labels.

A pair's score is a sum of log-likelihood ratios, one term for each thing compared: how likely the
agreement is between the two records of one payment, against how likely chance makes it (the rarity
of the amount, the day, the text). The first probability is learned by expectation maximisation
(Fellegi and Sunter's model), the second is counted (`linkage_sql.background`).

Scores become probabilities by letting pairs compete: a line has one partner or none. Belief
propagation on the graph of candidates, exact where it has no cycles, gives each pair its posterior
in the light of all its rivals.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.agents.reconciliation.assignment import best_assignment, distinct
from audit_pipeline.agents.reconciliation.likeness import EDGES, Likeness
from audit_pipeline.agents.reconciliation.linkage_model import (
    BOUNDARIES,
    LEVELS,
    LIKE,
    PERSONS,
    TERMS,
    Candidates,
    Floats,
    Ints,
    Model,
    Smalls,
)

__all__ = ["TERMS", "Candidates", "Linkage", "Model", "Texts", "link", "taken", "within_reach"]

TextsOf = Callable[[Ints], Sequence[str]]

COMMON_BEGINNING = 3.0
"""Nats: a beginning that one line in twenty has (`ACH DEBIT`) says less than the rest of the text,
which is then compared by its trigrams."""
ROUNDS_MAX, ROUNDS_TOLERANCE = 15, 1e-4
MESSAGES, MESSAGES_AGAIN = 10, 3
"""Of belief propagation; damped messages settle within ten on every graph that was tried. A round
that begins with those of the round before needs few: only the prior and the model have moved."""
NEGLIGIBLE = 1e-9
"""Odds of a pair that nobody would see, in a posterior of six digits or in a rival's."""
ORPHANS_MIN = 0.005
"""Share of lines without a partner that is thought possible even when all seem to have one."""
PSEUDO_COUNT, PSEUDO_COUNT_FEW = 0.5, 1.0
"""Jeffreys' prior for one of many outcomes; Laplace's for one of few."""
CHANCE_PAIRS, CHANCE_LINES, CHANCE_SEED = 20_000, 2_000, 1
"""Random pairs, of so many lines of each side, that tell how alike unrelated texts are."""
TOSS_UP = 0.5
"""A partner at least half as probable as the best is one of several equals."""
RATE_LINES = 20
"""How many lines the learned match rate weighs in a day: of two hundred lines, a tenth."""


@dataclass(frozen=True)
class Linkage:
    """What became of the candidates.

    Attributes:
        posterior: (pairs,) probability that the two lines are one payment, rivals considered.
        prior: the term that all pairs share: ln of the odds of a match before any evidence.
        terms: the other terms of each pair.
        chosen: indices of the pairs of the best one-to-one assignment.
        rivals: (pairs,) how many other candidates their two lines have.
        model: as learned, or as given.
        expected: number of matches by expectation.
    """

    pairs: Candidates
    posterior: Floats
    prior: float
    terms: dict[str, Floats]
    chosen: Ints
    rivals: Ints
    model: Model
    expected: float


class Texts:
    """The texts of both sides.

    Args:
        left: texts from which is learned what is rare on the left side.
        right: the same of the right side.
        of_left: numbers of left lines → their texts.
        of_right: numbers of right lines → theirs.
    """

    def __init__(
        self, left: Sequence[str], right: Sequence[str], of_left: TextsOf, of_right: TextsOf
    ) -> None:
        self.left, self.right = left, right
        self.of_left, self.of_right = of_left, of_right
        self.likeness = Likeness(left, right)

    def alike_by_chance(self) -> Floats:
        """How alike unrelated texts are: (bins of likeness,), counted on random pairs."""
        bins = len(EDGES) + 1
        if not (self.left and self.right):
            return np.full(bins, 1 / bins)
        rng = np.random.default_rng(CHANCE_SEED)
        lefts, rights = (
            [side[int(i)] for i in rng.integers(0, len(side), CHANCE_LINES)]
            for side in (self.left, self.right)
        )
        at = [rng.integers(0, CHANCE_LINES, CHANCE_PAIRS) for _ in range(2)]
        found = self.likeness.levels(lefts, rights, at[0], at[1])
        return _smoothed(np.bincount(found[found >= 0], minlength=bins), PSEUDO_COUNT_FEW)


def with_likeness(pairs: Candidates, chance: Floats, texts: Texts) -> Candidates:
    """The candidates, those that begin alike only by chance compared by their trigrams instead.

    Args:
        pairs: from `linkage_sql.candidate_pairs`.
        chance: from `Texts.alike_by_chance`.
        texts: of both sides.
    """
    vague = np.flatnonzero((pairs.level == 0) | (pairs.text_rarity < COMMON_BEGINNING))
    if not len(vague):
        return pairs
    lefts, left_at = distinct(pairs.left[vague])
    rights, right_at = distinct(pairs.right[vague])
    likeness = texts.likeness.levels(
        texts.of_left(lefts), texts.of_right(rights), left_at, right_at
    )
    told = likeness >= 0
    at = vague[told]
    level, rarity = pairs.level.copy(), pairs.text_rarity.copy()
    # A rare word in common (found by the search) is stronger than likeness alone.
    word = np.where(pairs.level[at] == 0, pairs.text_rarity[at], 0.0)
    level[at] = LIKE + likeness[told]
    rarity[at] = np.maximum(word, -np.log(chance[likeness[told]]))
    return replace(pairs, level=level, text_rarity=rarity)


def within_reach(
    left_days: Ints, right_days: Ints, day_shares: Mapping[int, float], model: Model
) -> float:
    """How many left lines may have their partner among these right lines, as far as days tell.

    When right lines are a part of all (a day, a block of days), most left lines near them have
    their partner elsewhere. A line counts by the likelihood ratio of the days, on average over the
    right lines: that is 1 for every line where the right side is whole. Never more than there are:
    the mean of a ratio with a long tail says too much.

    Args:
        left_days: the day of each left line.
        right_days: the day of each right line.
        day_shares: day → the share of the background's lines on it.
        model: how lags are distributed.
    """
    if not (len(left_days) and len(right_days)):
        return 0.0
    days, counts = np.unique(left_days, return_counts=True)
    on, found = np.unique(right_days, return_counts=True)
    lag = on[None, :] - days[:, None] + model.window.days_before
    inside = (lag >= 0) & (lag < len(model.lag))
    likely = np.where(inside, model.lag[np.clip(lag, 0, len(model.lag) - 1)], 0.0)
    shares = np.array([day_shares[int(day)] for day in on])
    ratio = (likely / shares) @ (found / found.sum())
    return float(min(counts @ ratio, counts.sum()))


def link(pairs: Candidates, lines: tuple[float, float], model: Model, *, learn: bool) -> Linkage:
    """Posterior probabilities, and the best one-to-one assignment.

    Args:
        pairs: the candidates.
        lines: how many lines each side has; of the left, those `within_reach`.
        model: where learning begins, or what was learned before.
        learn: learn everything anew; otherwise only how many lines have a partner, which a day of
            two hundred lines tells well enough.
    """
    _, left_at = distinct(pairs.left)
    _, right_at = distinct(pairs.right)
    expected, before = model.rate * min(lines), np.inf
    posterior, prior = np.zeros(len(pairs)), 0.0
    messages: Floats | None = None
    terms = model.terms(pairs)
    score = sum(terms.values(), np.zeros(len(pairs)))
    for _ in range(ROUNDS_MAX if len(pairs) else 0):
        prior = _prior(expected, lines)
        odds = np.exp(np.clip(score + prior, -60, 60))
        posterior, messages = _compete(odds, left_at, right_at, messages)
        expected = max(float(posterior.sum()), 1e-9)
        if not learn:
            # A few lines say little about how many have a partner; history says the rest.
            known = RATE_LINES / (RATE_LINES + min(lines))
            expected += known * (model.rate * min(lines) - expected)
        if learn:
            model = replace(_learned(model, pairs, posterior), rate=expected / min(lines))
            terms = model.terms(pairs)
            score = sum(terms.values(), np.zeros(len(pairs)))
        if abs(expected - before) < ROUNDS_TOLERANCE * expected:
            break
        before = expected
    gain = np.where(posterior > ROUNDS_TOLERANCE, score + prior, -1.0)
    chosen = best_assignment(left_at, right_at, gain)
    of_left, of_right = np.bincount(left_at), np.bincount(right_at)
    rivals = of_left[left_at] + of_right[right_at] - 2
    return Linkage(pairs, posterior, prior, terms, chosen, rivals, model, expected)


def taken(found: Linkage, posterior_low: float) -> Ints:
    """The chosen pairs that are probable enough; indices of the candidates.

    Lines with equally good partners (a charge made twice, one receipt; four equal entries, four
    equal lines) have one, though which of them is a toss-up. So a pair is taken too when it is as
    probable as any other of either line, and the one line surely has a partner.
    """
    pairs, posterior, at = found.pairs, found.posterior, found.chosen
    sure = posterior[at] >= posterior_low
    for line in (pairs.left, pairs.right):
        lines, place = distinct(line)
        total = np.bincount(place, posterior)[place]
        best = np.zeros(len(lines))
        np.maximum.at(best, place, posterior)
        even = posterior >= TOSS_UP * best[place]
        sure |= even[at] & (total[at] >= posterior_low)
    return at[sure]


def _prior(expected: float, lines: tuple[float, float]) -> float:
    """Logarithm of a pair's activity: what makes this many matches likely among so many lines."""
    most = (1 - ORPHANS_MIN) * min(lines)
    matched = min(expected, most)
    # One line more on each side than are there: a lone pair is not a certain one.
    free = (lines[0] - matched + 1) * (lines[1] - matched + 1)
    return float(np.log(expected / free))


def _compete(
    odds: Floats, left: Ints, right: Ints, before: Floats | None = None
) -> tuple[Floats, Floats]:
    """Posterior of each pair, given that a line has at most one partner (Bethe approximation).

    Args:
        odds: of each pair, rivals aside.
        before: (pairs,) the messages that a round before came to.

    Returns:
        The posteriors, and the messages to begin the next round with.
    """
    real = np.flatnonzero(odds > NEGLIGIBLE)
    messages = np.ones(len(odds)) if before is None else before
    odds, left, right, to_right = odds[real], left[real], right[real], messages[real]
    to_left = to_right
    for _ in range(MESSAGES if before is None else MESSAGES_AGAIN):
        weighed = odds * to_right
        to_left = 1 / (1 + np.maximum(np.bincount(right, weighed)[right] - weighed, 0))
        weighed = odds * to_left
        renewed = 1 / (1 + np.maximum(np.bincount(left, weighed)[left] - weighed, 0))
        to_right = np.sqrt(to_right * renewed)
    weighed = odds * to_right * to_left
    posterior, settled = np.zeros(len(messages)), np.ones(len(messages))
    posterior[real], settled[real] = weighed / (1 + weighed), to_right
    return posterior, settled


def _smoothed(counts: NDArray[np.float64] | Ints, pseudo_count: float) -> Floats:
    return (counts + pseudo_count) / (counts + pseudo_count).sum()


def _learned(model: Model, pairs: Candidates, posterior: Floats) -> Model:
    def seen(outcome: Smalls, size: int, weight: Floats) -> Floats:
        return np.bincount(outcome, weight, size).astype(np.float64)

    inside = ((pairs.boundary >= 1) & (pairs.boundary <= 3)).astype(float)  # noqa: PLR2004
    matched, chance = posterior * inside, (1 - posterior) * inside
    named = (pairs.person > 0).astype(float)
    few = PSEUDO_COUNT_FEW
    return replace(
        model,
        text=_smoothed(seen(pairs.level, LEVELS, posterior * (pairs.level > 0)), PSEUDO_COUNT),
        lag=_smoothed(seen(pairs.lag, len(model.lag), posterior), PSEUDO_COUNT),
        amount=_smoothed(seen(pairs.amount_bin, len(model.amount), posterior), PSEUDO_COUNT),
        boundary_match=_smoothed(seen(pairs.boundary, BOUNDARIES, matched), few),
        boundary_chance=_smoothed(seen(pairs.boundary, BOUNDARIES, chance), few),
        person_match=_smoothed(seen(pairs.person, PERSONS, posterior * named), few),
        person_chance=_smoothed(seen(pairs.person, PERSONS, (1 - posterior) * named), few),
        pairs=float(posterior.sum()),
    )
