"""Benford's law over a population: do its amounts begin with the digits that they should?

Amounts that grow by shares and span several decades begin with the digits d in log10(1 + 1/d) of
cases. Invented and rounded amounts do not, and neither do list prices, fees and what is kept below
a limit: nonconformity is a question about a population. It says nothing of a single charge, so it
raises no flag and counts in no score.

Source: Nigrini, "Benford's Law" (2012): mean absolute deviation and its bands.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

AMOUNT_MIN = 1_000
"""Cents. The amounts below ten units of money have too few digits, or say postage and parking."""
CHARGES_MIN, TWO_DIGITS_MIN = 500, 3_000
"""Charges from which the first digit, and the first two, are looked at."""
PARTS_MAX = 5
"""Of the largest vendors, or cards, those looked at by themselves."""
BANDS = {1: (0.006, 0.012, 0.015), 2: (0.0012, 0.0018, 0.0022)}
"""Leading digits → the greatest deviation of each but the last of CONFORMITY, inclusive."""
CONFORMITY = (
    *("close conformity", "acceptable conformity", "marginal conformity", "nonconformity"),
)
NONCONFORMITY = CONFORMITY[-1]
OVER_MAX, OVER_ERRORS = 3, 1.96
"""Digits that are named as too frequent, and by how many standard errors they must be."""
CAUTION = "Nonconformity is a question, not a finding: prices, fees and limits cause it too."


def expected(leading: int) -> dict[int, float]:
    """Leading digits → their share by Benford's law.

    Args:
        leading: how many digits, 1 or 2.
    """
    first = 10 ** (leading - 1)
    return {digits: math.log10(1 + 1 / digits) for digits in range(first, 10 * first)}


@dataclass(frozen=True)
class Digits:
    """How often amounts begin with each digit, or each two.

    Attributes:
        leading: how many digits, 1 or 2.
        counts: every one of the leading digits → amounts.
    """

    leading: int
    counts: Mapping[int, int]

    @cached_property
    def amounts(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @cached_property
    def shares(self) -> dict[int, float]:
        """Leading digits → their share of the amounts."""
        return {digits: count / self.amounts for digits, count in self.counts.items()}

    @cached_property
    def deviation(self) -> float:
        """The mean absolute deviation of the shares from Benford's."""
        law = expected(self.leading)
        return sum(abs(self.shares[digits] - law[digits]) for digits in law) / len(law)

    @cached_property
    def by_chance(self) -> float:
        """The deviation that as many amounts have on average where the law holds exactly."""
        law = expected(self.leading).values()
        spread = sum(math.sqrt(share * (1 - share)) for share in law) / len(law)
        return spread * math.sqrt(2 / (math.pi * self.amounts))

    @cached_property
    def conformity(self) -> str:
        """One of CONFORMITY."""
        bands = zip(CONFORMITY, BANDS[self.leading], strict=False)
        return next((name for name, most in bands if self.deviation <= most), NONCONFORMITY)

    @cached_property
    def over(self) -> tuple[int, ...]:
        """The digits that are too frequent by more than chance, the furthest above the law first.

        At most OVER_MAX.
        """
        law = expected(self.leading)
        excess = {digits: self.shares[digits] - law[digits] for digits in law}
        beyond = [
            digits
            for digits, share in law.items()
            if excess[digits] > OVER_ERRORS * math.sqrt(share * (1 - share) / self.amounts)
        ]
        return tuple(sorted(beyond, key=lambda digits: (-excess[digits], digits))[:OVER_MAX])

    def sentence(self) -> str:
        """What a reader should know of it; without names, so that it is our own text."""
        law = expected(self.leading)
        over = ", ".join(
            f"{digits} ({100 * self.shares[digits]:.1f} % for {100 * law[digits]:.1f} %)"
            for digits in self.over
        )
        what = "first digit" if self.leading == 1 else "first two digits"
        return (
            f"Benford, {what} of {self.amounts:,} amounts from {AMOUNT_MIN / 100:.2f}:"
            f" {self.conformity}, mean deviation {self.deviation:.4f}"
            f" ({self.by_chance:.4f} by chance){f'; too frequent: {over}' if over else ''}."
        )

    def as_json(self) -> dict[str, object]:
        """Its numbers; shares by digits as text."""
        return {
            "mean_absolute_deviation": round(self.deviation, 6),
            "by_chance": round(self.by_chance, 6),
            "conformity": self.conformity,
            "too_frequent": list(self.over),
            "shares": {str(digits): round(share, 6) for digits, share in self.shares.items()},
        }


@dataclass(frozen=True)
class Part:
    """One of the largest vendors or entities; `by` says which, `name` is the ledger's own text."""

    by: str
    name: str
    first: Digits


@dataclass(frozen=True)
class Benford:
    """What Benford's law says of a population.

    Attributes:
        amounts: that are positive and large enough.
        first: None below CHARGES_MIN amounts; first_two: None below TWO_DIGITS_MIN.
        parts: the largest vendors and entities, each of CHARGES_MIN amounts or more.
    """

    amounts: int = 0
    first: Digits | None = None
    first_two: Digits | None = None
    parts: tuple[Part, ...] = ()

    @property
    def odd_parts(self) -> list[Part]:
        """The parts that do not conform, the worst first."""
        odd = [part for part in self.parts if part.first.conformity == NONCONFORMITY]
        return sorted(odd, key=lambda part: -part.first.deviation)

    def sentences(self) -> list[str]:
        """What a reader should know, one line each; without names."""
        if self.first is None:
            return [f"Too few charges for Benford ({self.amounts:,}, needs {CHARGES_MIN:,})."]
        tests = [test for test in (self.first, self.first_two) if test is not None]
        said = [test.sentence() for test in tests]
        if self.odd_parts or any(test.conformity == NONCONFORMITY for test in tests):
            said.append(CAUTION)
        return said

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "amounts": self.amounts,
            "amounts_needed": CHARGES_MIN,
            "first_digit": self.first.as_json() if self.first else None,
            "first_two_digits": self.first_two.as_json() if self.first_two else None,
            "parts": [
                {"by": part.by, "name": part.name, "amounts": part.first.amounts}
                | part.first.as_json()
                for part in self.parts
            ],
        }


_DIGITS = "CAST(left(CAST(cents AS VARCHAR), 2) AS INTEGER) AS digits"


def counts_sql(source: str) -> str:
    """SQL of the first two digits and how many amounts have them.

    Args:
        source: what stands after FROM; has cents, a whole number.
    """
    return f"""SELECT digits, count(*) AS amounts
FROM (SELECT {_DIGITS} FROM {source} WHERE cents >= {AMOUNT_MIN}) AS amounts
GROUP BY digits
ORDER BY digits"""


def parts_sql(source: str, key: str) -> str:
    """SQL of the same for the largest parts, each of CHARGES_MIN amounts or more.

    Args:
        source: what stands after FROM; has cents and the key.
        key: the column that says whose an amount is.

    Returns:
        key, digits, amounts; the largest parts first.
    """
    return f"""WITH amounts AS (
  SELECT {key}, {_DIGITS} FROM {source} WHERE cents >= {AMOUNT_MIN}
),
largest AS (
  SELECT {key}, count(*) AS size FROM amounts
  GROUP BY {key} HAVING count(*) >= {CHARGES_MIN} ORDER BY size DESC, {key} LIMIT {PARTS_MAX}
)
SELECT amounts.{key}, amounts.digits, count(*) AS amounts
FROM amounts
JOIN largest ON largest.{key} = amounts.{key}
GROUP BY largest.size, amounts.{key}, amounts.digits
ORDER BY largest.size DESC, amounts.{key}, amounts.digits"""


def judge(
    counts: Mapping[int, int], parts: Mapping[str, Iterable[tuple[str, int, int]]] | None = None
) -> Benford:
    """What the counts of `counts_sql` and `parts_sql` say.

    Args:
        counts: first two digits → amounts.
        parts: what the parts are → name, first two digits and amounts of each row.
    """
    amounts = sum(counts.values())
    by_part: dict[tuple[str, str], dict[int, int]] = {}
    for by, rows in (parts or {}).items():
        for name, digits, count in rows:
            by_part.setdefault((by, name), {})[digits] = count
    return Benford(
        amounts,
        _leading(counts, 1) if amounts >= CHARGES_MIN else None,
        _leading(counts, 2) if amounts >= TWO_DIGITS_MIN else None,
        tuple(Part(by, name, _leading(own, 1)) for (by, name), own in by_part.items()),
    )


def _leading(counts: Mapping[int, int], leading: int) -> Digits:
    own = dict.fromkeys(expected(leading), 0)
    for digits, count in counts.items():
        own[digits // 10 ** (2 - leading)] += count
    return Digits(leading, own)
