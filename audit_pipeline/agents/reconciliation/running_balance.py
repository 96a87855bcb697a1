"""Running balances: where a bank statement's own arithmetic shows that a line is not as it was.

The balance after a line is the balance before it and the line's amount. Where it is not, a line
between the two was removed, added or altered, and the gap is the missing amount to the cent.

Nothing is taken for granted that statements do differently. The lines of a day may stand in any
order: the day holds when some order of its lines does. A line without a balance counts with its
amount. What a line adds is read off the statement: its amount, the opposite of it, or its size
with the sign that its type implies, whichever the account has followed most often so far.

Days are judged in order and from earlier lines only, so a day audited alone and a year audited at
once find the same.
"""

import datetime as dt
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

LINES = """SELECT account_number AS account, txn_id AS line_id, audit_on AS line_on,
  row_number AS place, amount, running_balance AS balance,
  lower(coalesce(transaction_type, '')) IN ('credit', 'deposit', 'refund', 'interest') AS is_credit
FROM gold.bank_accounts
WHERE amount IS NOT NULL AND date IS NOT NULL AND account_number IS NOT NULL
  AND CAST(date AS DATE) <= audit_on AND audit_on <= $to_on
QUALIFY count(running_balance) OVER (PARTITION BY account_number) > 1
  -- The first copy of an id; a line without one is a line of its own.
  AND row_number() OVER (
    PARTITION BY account_number, coalesce(txn_id, CAST(row_number AS VARCHAR)), txn_id IS NULL
    ORDER BY audit_on, row_number) = 1
ORDER BY account, line_on, place"""
"""The lines of every account that prints balances, by account and day, as the file lists them."""


class Line(NamedTuple):
    """One line of an account's statement; `place` is its row in the file.

    A line without an id counts with its amount, and no finding can hang on it.
    """

    line_id: str | None
    on: dt.date
    place: int
    amount: Decimal
    balance: Decimal | None
    is_credit: bool = False


class Break(NamedTuple):
    """A line whose balance does not follow from the last balance before it."""

    line: Line
    previous: Line
    expected: Decimal


_CONVENTIONS: "tuple[Callable[[Line], Decimal], ...]" = (
    lambda line: line.amount,
    lambda line: -line.amount,
    lambda line: abs(line.amount) if line.is_credit else -abs(line.amount),
)
"""What a line adds to the balance. Unsigned amounts are told apart by the line's type alone."""

SETTLED_AFTER = 20
"""A convention that explains so many balances fewer than another is not tried any longer."""

SILENT_MAX = 12
"""Lines of a day without a balance of which every set is tried: 4,096 sets."""


class _Edge(NamedTuple):
    """A line between the balance before it and the balance after it."""

    before: Decimal
    after: Decimal
    line: Line


class _Walk(NamedTuple):
    """A day's lines in one order: what breaks, and the balance and line that it ends with."""

    breaks: list[Break]
    closing: Decimal | None
    last: Line | None


@dataclass
class _Account:
    """One account under one convention, day by day.

    Attributes:
        adds: what a line adds to the balance.
        openings: the balance that the next day begins with → the line that last printed one. More
            than one only where the order of an earlier day is open; none before the first balance.
        held: how many balances followed from the one before, so far.
        broken: how many did not.
        last_place: of the last line so far, which tells a file that lists the newest line first.
    """

    adds: "Callable[[Line], Decimal]"
    openings: dict[Decimal, Line] = field(default_factory=dict[Decimal, Line])
    held: int = 0
    broken: int = 0
    last_place: int = 0

    def day(self, lines: "Sequence[Line]") -> list[Break]:
        """The breaks of the next day, in the order of its lines that has the fewest."""
        newest_first = lines[0].place < self.last_place
        self.last_place = lines[-1].place
        printed = [line for line in lines if line.balance is not None]
        if not printed:
            moved = sum(map(self.adds, lines), Decimal(0))
            self.openings = {start + moved: line for start, line in self.openings.items()}
            return []
        as_listed = lines[::-1] if newest_first else lines
        walks = list(self._walks(as_listed, printed))
        fewest = min(len(walk.breaks) for walk in walks)
        best = [walk for walk in walks if len(walk.breaks) == fewest]
        self.broken += fewest
        self.held += len(printed) - fewest - (not self.openings)
        self.openings = {}
        for walk in best:
            if walk.closing is not None and walk.last is not None:
                self.openings.setdefault(walk.closing, walk.last)
        return best[0].breaks

    def _walks(self, lines: "Sequence[Line]", printed: "Sequence[Line]") -> "Iterator[_Walk]":
        """The day from each opening: as listed, and unless that holds in every other way."""
        for opening, previous in self.openings.items() or ((None, None),):
            walk = self._walk(lines, opening, previous)
            yield walk
            if not walk.breaks and opening is not None:
                continue
            yield self._walk(lines[::-1], opening, previous)
            yield from self._any_order(lines, printed, opening, previous)
            yield from self._as_a_whole(lines, printed, opening)

    def _walk(
        self, lines: "Iterable[Line]", opening: Decimal | None, previous: Line | None
    ) -> _Walk:
        """The lines in this order; those without a balance count for the next that has one."""
        breaks: list[Break] = []
        expected = opening
        for line in lines:
            if expected is not None:
                expected += self.adds(line)
            if line.balance is None:
                continue
            if expected is not None and previous is not None and line.balance != expected:
                breaks.append(Break(line, previous, expected))
            expected, previous = line.balance, line
        return _Walk(breaks, expected, previous)

    def _any_order(
        self,
        lines: "Sequence[Line]",
        printed: "Sequence[Line]",
        opening: Decimal | None,
        previous: Line | None,
    ) -> "Iterator[_Walk]":
        """The order with the fewest breaks; lines without a balance fill one gap or come last."""
        trails = _Chains(
            _Edge(line.balance - self.adds(line), line.balance, line)
            for line in printed
            if line.balance is not None
        ).fewest(opening)
        silent = [line for line in lines if line.balance is None]
        silent_sum = sum(map(self.adds, silent), Decimal(0))
        placed = not silent
        ordered: list[Line] = []
        reached = opening
        for trail in trails:
            if not placed and reached is not None and trail[0].before == reached + silent_sum:
                ordered += silent
                placed = True
            ordered += [edge.line for edge in trail]
            reached = trail[-1].after
        yield self._walk(ordered if placed else [*ordered, *silent], opening, previous)
        if opening is None and not silent and len(trails) == 1 and trails[0][0].before == reached:
            # The day ends where it began, and it may have begun at any of its balances.
            yield from (_Walk([], edge.after, edge.line) for edge in trails[0])

    def _as_a_whole(
        self, lines: "Sequence[Line]", printed: "Sequence[Line]", opening: Decimal | None
    ) -> "Iterator[_Walk]":
        """A day that is right although its lines, as far as they print a balance, show no order.

        Each may print the day's closing balance; or balances are missing within the day, and what
        is printed last is the closing less some of the lines without one.
        """
        balances = {line.balance for line in printed}
        closing_everywhere = len(printed) > 1 and len(balances) == 1
        if opening is None:
            if closing_everywhere:
                yield _Walk([], printed[0].balance, printed[0])
            return
        closing = opening + sum(map(self.adds, lines), Decimal(0))
        silent = [self.adds(line) for line in lines if line.balance is None]
        after_last = {Decimal(0), sum(silent, Decimal(0))}
        for amount in silent[:SILENT_MAX]:
            after_last |= {others + amount for others in after_last}
        for line in printed:
            may_be_last = line.balance is not None and closing - line.balance in after_last
            if may_be_last and (silent or closing_everywhere):
                yield _Walk([], closing, line)
                return


class _Chains:
    """The lines of a day as edges from balance to balance, and the chains they can be put into.

    A day that holds is an Eulerian trail; a gap between two trails is a break (Hierholzer 1873).
    """

    def __init__(self, edges: "Iterable[_Edge]") -> None:
        self.edges = list(edges)
        self.leaving: dict[Decimal, list[_Edge]] = defaultdict(list)
        self.surplus: Counter[Decimal] = Counter()
        for edge in reversed(self.edges):
            self.leaving[edge.before].append(edge)
            self.surplus[edge.before] += 1
            self.surplus[edge.after] -= 1

    def fewest(self, opening: Decimal | None) -> list[list[_Edge]]:
        """The fewest chains that hold all lines, the one from `opening` first."""
        trails = [self._take(opening)] if opening is not None and self.leaving.get(opening) else []
        for edge in self.edges:
            while self.surplus[edge.before] > 0:
                trails.append(self._take(edge.before))
        # What is left are circles: each belongs into a trail that passes one of its balances.
        for trail in trails:
            self._insert_circles(trail)
        for edge in self.edges:
            circle = self._follow(edge.before)
            if circle:
                self._insert_circles(circle)
                trails.append(circle)
        return trails

    def _follow(self, balance: Decimal) -> list[_Edge]:
        """A chain from this balance, of lines that are in none yet; they are taken out."""
        trail: list[_Edge] = []
        while self.leaving.get(balance):
            trail.append(self.leaving[balance].pop())
            balance = trail[-1].after
        return trail

    def _take(self, balance: Decimal) -> list[_Edge]:
        trail = self._follow(balance)
        self.surplus[balance] -= 1
        self.surplus[trail[-1].after] += 1
        return trail

    def _insert_circles(self, trail: list[_Edge]) -> None:
        position = 0
        while position < len(trail):
            circle = self._follow(trail[position].before)
            trail[position:position] = circle
            position += not circle
        trail += self._follow(trail[-1].after)


def breaks(lines: "Iterable[Line]", followed_share_min: Decimal) -> list[Break]:
    """The breaks of one account.

    Args:
        lines: of one account, by day, within a day as the statement lists them.
        followed_share_min: what share of the balances so far must have followed, inclusive; below
            it the statement prints something else in that place, and nothing is said.

    Returns:
        In the order of the days. A break is known on the day of its line.
    """
    readings = [_Account(adds) for adds in _CONVENTIONS]
    found: list[Break] = []
    for _, day in groupby(lines, key=lambda line: line.on):
        # Without an id a balance could show a break that nobody can look up; the next one shows it.
        listed = [line if line.line_id else line._replace(balance=None) for line in day]
        today = [reading.day(listed) for reading in readings]
        usual = max(range(len(readings)), key=lambda n: readings[n].held)
        reading = readings[usual]
        if reading.held >= followed_share_min * (reading.held + reading.broken):
            found += today[usual]
        readings = [r for r in readings if r.held + SETTLED_AFTER > reading.held]
    return found
