"""Candidate pairs, and what is known of matches: how likely each agreement is in one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.agents.reconciliation.likeness import EDGES
from audit_pipeline.agents.reconciliation.linkage_sql import EQUAL, HEAD, Window

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Smalls = NDArray[np.signedinteger]
"""Outcomes, in two bytes each: there are millions of pairs, and few outcomes."""

VERSION = 1
"""Of what the parameters mean; a model of another version is refused."""
LEVELS = EQUAL + 2 + len(EDGES)
"""Of text: 0 nothing to compare, HEAD … EQUAL a common beginning, then the bins of likeness."""
LIKE = EQUAL + 1
BOUNDARIES = 5
PERSONS = 3
"""0: one side does not name a person; 1: the same one; 2: two."""
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
    lag: Smalls
    level: Smalls
    amount_bin: Smalls
    boundary: Smalls
    amount_rarity: Floats
    day_rarity: Floats
    text_rarity: Floats
    person: Smalls

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
        text[LIKE : LIKE + 3] += (0.005, 0.015, 0.03)
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
