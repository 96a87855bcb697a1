"""A card's statement lines, asked for sums and counts by day thousands of times."""

import datetime as dt
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Line(NamedTuple):
    """One line of a card's statement."""

    line_id: str
    on: dt.date
    cents: int
    vendor: str


class Lines:
    """A card's statement lines in their order; few of millions are ever looked at one by one.

    Args:
        days: the day of each line, ordinal, in order.
        cents: its amount, a whole number of any size.
        read: the lines from one position up to another.
    """

    def __init__(
        self,
        days: "Sequence[int]",
        cents: "Iterable[int]",
        read: "Callable[[int, int], list[Line]]",
    ) -> None:
        self._read = read
        self._first = days[0] if days else 1
        last = days[-1] if days else self._first
        totals = [0, *accumulate(cents)]
        # For each day, and the one before the first: asked for thousands of times.
        self._counts = [bisect_right(days, day) for day in range(self._first - 1, last + 1)]
        self._sums = [totals[count] for count in self._counts]

    @classmethod
    def of(cls, lines: "Iterable[Line]") -> "Lines":
        """Of lines in any order."""
        ordered = sorted(lines, key=lambda line: (line.on, line.line_id))
        days = [line.on.toordinal() for line in ordered]
        cents = (line.cents for line in ordered)
        return cls(days, cents, lambda start, end: ordered[start:end])

    def _at(self, day: dt.date) -> int:
        place = day.toordinal() - self._first + 1
        return min(max(place, 0), len(self._counts) - 1)

    def until(self, day: dt.date) -> int:
        """The sum of all lines up to and including that day."""
        return self._sums[self._at(day)]

    def count_until(self, day: dt.date) -> int:
        """How many lines there are up to and including that day."""
        return self._counts[self._at(day)]

    def vendor_counts(self, to: dt.date) -> "Counter[str]":
        """How often each vendor occurs up to and including that day."""
        return Counter(line.vendor for line in self._read(0, self.count_until(to)))

    def within(self, after: dt.date, to: dt.date) -> list[Line]:
        """The lines after one day, up to and including the other."""
        return self._read(self.count_until(after), self.count_until(to))
