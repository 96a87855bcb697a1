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
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.agents.reconciliation.assignment import best_assignment
from audit_pipeline.agents.reconciliation.likeness import EDGES, Likeness
from audit_pipeline.agents.reconciliation.linkage_sql import EQUAL, HEAD, Window

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TextsOf = Callable[[Ints], Sequence[str]]

VERSION = 1
"""Of what the parameters mean; a model of another version is refused."""
LEVELS = EQUAL + 2 + len(EDGES)
"""Of text: 0 nothing to compare, HEAD … EQUAL a common beginning, then the bins of likeness."""
LIKE = EQUAL + 1
BOUNDARIES = 5
PERSONS = 3
"""0: one side does not name a person; 1: the same one; 2: two."""
COMMON_BEGINNING = 3.0
"""Nats: a beginning that one line in twenty has (`ACH DEBIT`) says less than the rest of the text,
which is then compared by its trigrams."""
ROUNDS_MAX, ROUNDS_TOLERANCE = 15, 1e-4
MESSAGES = 10
"""Of belief propagation; damped messages settle within ten on every graph that was tried."""
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
TERMS = ("prior", "amount", "day", "text", "boundary", "person")


@dataclass(frozen=True)
class Candidates:
    """Pairs worth a look, in the order of (left, right); every array has one entry a pair.

    Attributes:
        left: number of the left line.
        right: number of the right line.
        lag: of the days, from 0 (window.days_before early).
        level: of the text, below LEVELS.
        amount_bin: 0 where the amounts are equal.
        boundary: of the common beginning; 0 and 4 carry no evidence of their own.
        amount_rarity, day_rarity, text_rarity: −ln of chance's probability.
        person: below PERSONS.
    """

    left: Ints
    right: Ints
    lag: Ints
    level: Ints
    amount_bin: Ints
    boundary: Ints
    amount_rarity: Floats
    day_rarity: Floats
    text_rarity: Floats
    person: Ints

    def __len__(self) -> int:
        return len(self.left)

    def take(self, at: Ints | NDArray[np.bool_]) -> "Candidates":
        """The pairs at these positions."""
        return Candidates(**{name: getattr(self, name)[at] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Model:
    """What was learned: how likely each outcome is between two records of one payment.

    Attributes:
        text: (LEVELS,); amount: (bins + 1,); lag: (window.lags,): probabilities, each sums to 1.
        boundary_match, boundary_chance: (BOUNDARIES,), with and without a match.
        person_match, person_chance: (PERSONS,), with and without a match.
        likeness_chance: (bins of likeness,), how alike unrelated texts are.
        rate: share of the shorter side's lines that have a partner.
        window: what the lags and bins mean.
        pairs: how many matches it was learned from, by expectation.
    """

    text: Floats
    amount: Floats
    lag: Floats
    boundary_match: Floats
    boundary_chance: Floats
    person_match: Floats
    person_chance: Floats
    likeness_chance: Floats
    rate: float = 0.9
    window: Window = field(default_factory=Window)
    pairs: float = 0.0
    version: int = VERSION

    @classmethod
    def unlearned(cls, window: Window) -> "Model":
        """Every outcome as likely as every other; only what is rare counts."""
        likeness = len(EDGES) + 1
        return cls(
            text=np.full(LEVELS, 1 / LEVELS),
            # Three of ten payments are recorded with one amount on both sides, to begin with.
            amount=np.r_[0.3, np.full(window.amount_bins, 0.7 / window.amount_bins)],
            lag=np.full(window.lags, 1 / window.lags),
            boundary_match=np.full(BOUNDARIES, 1 / BOUNDARIES),
            boundary_chance=np.full(BOUNDARIES, 1 / BOUNDARIES),
            person_match=np.full(PERSONS, 1 / PERSONS),
            person_chance=np.full(PERSONS, 1 / PERSONS),
            likeness_chance=np.full(likeness, 1 / likeness),
            window=window,
        )

    @classmethod
    def customary(cls, window: Window) -> "Model":
        """What a bookkeeper expects of two records of one payment, before there is history.

        Nine of ten have the same amount, nearer days are likelier in proportion, half have the
        same text, nineteen of twenty are alike in it, and the same person. Whether a line has a
        partner at all is an even chance.
        """
        like = len(EDGES) + 1
        text = np.full(LEVELS, 0.02 / LEVELS)
        text[EQUAL] += 0.5
        text[HEAD:EQUAL] += 0.28 / (EQUAL - HEAD)
        text[LIKE + 3 :] += 0.15 / (like - 3)
        text[LIKE : LIKE + 3] += 0.05 / 3
        lags = np.abs(np.arange(window.lags) - window.days_before)
        near = 1 / (1.0 + lags)
        return replace(
            cls.unlearned(window),
            text=text,
            amount=np.r_[0.9, np.full(window.amount_bins, 0.1 / window.amount_bins)],
            lag=near / near.sum(),
            person_match=np.array([0.5, 0.48, 0.02]),
            person_chance=np.array([0.5, 0.25, 0.25]),
            rate=0.5,
            # Unrelated vendor names share hardly a trigram.
            likeness_chance=np.array([0.93, 0.05, 0.015, 0.004, 0.0005, 0.0005]),
        )

    def terms(self, pairs: Candidates) -> dict[str, Floats]:
        """The waterfall of each pair but its prior, in nats; positive speaks for a match."""
        inside = (pairs.boundary >= 1) & (pairs.boundary <= 3)  # noqa: PLR2004  # as documented
        boundary = np.log(self.boundary_match / self.boundary_chance)
        person = np.log(self.person_match / self.person_chance)
        return {
            "amount": np.log(self.amount)[pairs.amount_bin] + pairs.amount_rarity,
            "day": np.log(self.lag)[pairs.lag] + pairs.day_rarity,
            # A text that says nothing, on either side, speaks neither for nor against.
            "text": np.where(pairs.level > 0, np.log(self.text)[pairs.level], 0.0)
            + pairs.text_rarity,
            "boundary": np.where(inside, boundary[pairs.boundary], 0.0),
            "person": np.where(pairs.person > 0, person[pairs.person], 0.0),
        }

    def as_json(self) -> dict[str, object]:
        """Everything as plain numbers and lists; `from_json` takes it back."""
        window = self.window
        return {
            "version": self.version,
            "pairs": self.pairs,
            "rate": self.rate,
            "window": {
                "days_before": window.days_before,
                "days_after": window.days_after,
                "tolerance": window.tolerance,
                "amount_bins": window.amount_bins,
            },
            **{name: getattr(self, name).tolist() for name in _LEARNED},
        }

    @classmethod
    def from_json(cls, said: Mapping[str, object]) -> "Model":
        """The model that `as_json` wrote.

        Raises:
            ValueError: it is of another version, or a part is missing or of another size.
        """
        if said.get("version") != VERSION:
            message = f"the model is of version {said.get('version')}, this program of {VERSION}"
            raise ValueError(message)
        try:
            window = _window(said["window"])
            arrays = {name: np.array(said[name], np.float64) for name in _LEARNED}
            pairs, rate = float(str(said["pairs"])), float(str(said["rate"]))
        except (KeyError, TypeError, ValueError) as error:
            message = f"the model is damaged ({error!r})"
            raise ValueError(message) from error
        fresh = cls.unlearned(window)
        for name, values in arrays.items():
            if values.shape != getattr(fresh, name).shape or not np.all(values > 0):
                message = f"the model is damaged ({name})"
                raise ValueError(message)
        return cls(
            arrays["text"],
            arrays["amount"],
            arrays["lag"],
            arrays["boundary_match"],
            arrays["boundary_chance"],
            arrays["person_match"],
            arrays["person_chance"],
            arrays["likeness_chance"],
            rate,
            window,
            pairs,
        )


def _window(said: object) -> Window:
    if not isinstance(said, Mapping):
        message = f"window: {said!r}"
        raise TypeError(message)
    return Window(
        int(said["days_before"]),
        int(said["days_after"]),
        float(said["tolerance"]),
        int(said["amount_bins"]),
    )


_LEARNED = (
    *("text", "amount", "lag", "boundary_match", "boundary_chance"),
    *("person_match", "person_chance", "likeness_chance"),
)


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
    lefts, left_at = np.unique(pairs.left[vague], return_inverse=True)
    rights, right_at = np.unique(pairs.right[vague], return_inverse=True)
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
    _, left_at = np.unique(pairs.left, return_inverse=True)
    _, right_at = np.unique(pairs.right, return_inverse=True)
    expected, before = model.rate * min(lines), np.inf
    posterior, prior = np.zeros(len(pairs)), 0.0
    terms = model.terms(pairs)
    score = sum(terms.values(), np.zeros(len(pairs)))
    for _ in range(ROUNDS_MAX if len(pairs) else 0):
        prior = _prior(expected, lines)
        posterior = _compete(np.exp(np.clip(score + prior, -60, 60)), left_at, right_at)
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
        _, place = np.unique(line, return_inverse=True)
        total = np.bincount(place, posterior)[place]
        best = np.zeros(total.size)
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


def _compete(odds: Floats, left: Ints, right: Ints) -> Floats:
    """Posterior of each pair, given that a line has at most one partner (Bethe approximation)."""
    to_right = np.ones(len(odds))
    to_left = to_right
    for _ in range(MESSAGES):
        weighed = odds * to_right
        to_left = 1 / (1 + np.maximum(np.bincount(right, weighed)[right] - weighed, 0))
        weighed = odds * to_left
        renewed = 1 / (1 + np.maximum(np.bincount(left, weighed)[left] - weighed, 0))
        to_right = np.sqrt(to_right * renewed)
    weighed = odds * to_right * to_left
    return weighed / (1 + weighed)


def _smoothed(counts: NDArray[np.float64] | Ints, pseudo_count: float) -> Floats:
    return (counts + pseudo_count) / (counts + pseudo_count).sum()


def _learned(model: Model, pairs: Candidates, posterior: Floats) -> Model:
    def seen(outcome: Ints, size: int, weight: Floats) -> Floats:
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
