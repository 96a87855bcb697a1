"""What happened to a trail: its rows laid beside the leaf hashes that are known from outside.

A leaf hash covers the entry's number, so an entry that was moved has another one. It is recognised
all the same: its row is hashed as though it stood where it stood before. What is left when every
row has found its place tells apart what was edited, deleted, inserted, reordered, cut off at the
end, or written anew from some place on.
"""

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

ATTEMPTS_MAX = 400_000
"""How often a row is hashed with another number before the search for its place is given up."""

NEAR = 64
"""How far from its number a row is looked for when that has happened."""


class Kind(StrEnum):
    """What can be wrong with a trail; where there is more than one thing, the first names it."""

    KEY = "key"
    ROLLED_BACK = "rolled_back"
    FORKED = "forked"
    TRUNCATED = "truncated"
    RECHAINED = "rechained"
    REORDERED = "reordered"
    DELETED = "deleted"
    INSERTED = "inserted"
    EDITED = "edited"
    HASH = "hash"
    UNPLACED = "unplaced"
    OUTSIDE = "outside"


MEANINGS: dict[Kind, str] = {
    Kind.KEY: "a checkpoint's signature is broken, or of a key that is not trusted",
    Kind.ROLLED_BACK: "checkpoints are missing, or an old one was put in a newer one's place",
    Kind.FORKED: "an older checkpoint is not the beginning of this trail",
    Kind.TRUNCATED: "the last entries were cut off",
    Kind.RECHAINED: "every entry from some place on was written anew, with hashes that fit",
    Kind.REORDERED: "entries stand in another order",
    Kind.DELETED: "entries are gone",
    Kind.INSERTED: "entries were added that the audit never wrote",
    Kind.EDITED: "entries were changed",
    Kind.HASH: "a stored hash is not that of its entry",
    Kind.UNPLACED: "something differs from what was signed, and nothing is left that says where",
    Kind.OUTSIDE: "a leaf file beside a checkpoint was changed; the trail itself is whole",
}

EXIT_CODES: dict[Kind, int] = {kind: code for code, kind in enumerate(Kind, 10)}
"""What `audit-pipeline verify` ends with."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        places: the entries that it is about; those that are gone have the numbers they had.
    """

    kind: Kind
    said: str
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row of the trail whose hash is not the one that is known for its number.

    Attributes:
        position: in the order of the numbers, from 0.
        number: as stored; None where that is no number.
        stored: the stored hash; None where that is no hash.
        written_at: when the entry says that it was written.
        hashed_as: its leaf hash as though it had another number.
    """

    position: int
    number: int | None
    leaf: bytes
    stored: bytes | None
    written_at: dt.datetime | None
    hashed_as: Callable[[int], bytes]


@dataclass
class _Places:
    """Which entry each row is: the search."""

    known: Sequence[bytes | None]
    missing: list[int]
    attempts: int = 0
    shifts: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        self.by_hash = {self.known[q - 1]: q for q in self.missing}

    def of(self, row: Row) -> int | None:
        """The number that the row's entry had; None where it is none of the missing ones."""
        for number in self._candidates(row):
            self.attempts += 1
            found = self.by_hash.get(row.hashed_as(number))
            if found == number:
                del self.by_hash[self.known[number - 1]]
                if row.number is not None and number - row.number not in self.shifts:
                    self.shifts = [number - row.number, *self.shifts[:3]]
                return number
        return None

    def _candidates(self, row: Row) -> Iterator[int]:
        """Numbers to try: as its stored hash says, as its neighbours moved, then the nearest."""
        said = self.by_hash.get(row.stored)
        if said is not None:
            yield said
        if row.number is None:
            middle = 0
        else:
            yield from (row.number + shift for shift in self.shifts)
            middle = bisect_left(self.missing, row.number)
        reach = len(self.missing) if self.attempts < ATTEMPTS_MAX else NEAR
        for step in range(reach):
            for at in (middle + step, middle - 1 - step):
                if 0 <= at < len(self.missing) and self.known[self.missing[at] - 1] in self.by_hash:
                    yield self.missing[at]


def faults(
    known: Sequence[bytes | None],
    in_place: Sequence[int],
    strays: Iterable[Row],
    sealed_at: Callable[[int], dt.datetime | None],
) -> list[Fault]:
    """What happened between the known leaves and the rows.

    Args:
        known: leaf hash of entry 1, 2, …; None where it is not known.
        in_place: for each row in the order of the numbers: its number where it is that entry, or
            where that entry's leaf should be known and is not; 0 for a stray.
        strays: the other rows, in order, also those after the last known entry.
        sealed_at: when an entry was first covered by a checkpoint, as far as is known.

    Returns:
        Empty where all rows are in place and no known entry is missing.
    """
    origins = list(in_place)
    numbers: list[int | None] = list(in_place)
    present = {number for number in origins if number}
    missing = [q for q in range(1, len(known) + 1) if q not in present and known[q - 1] is not None]
    search = _Places(known, missing)
    unknown: dict[int, Row] = {}
    nameless = 0
    for row in strays:
        numbers[row.position] = row.number
        found = search.of(row)
        if found is None and row.number is None:
            nameless += 1
        elif found is None:
            unknown[row.position] = row
        else:
            origins[row.position] = found
            present.add(found)
    ordered = _longest_rising(origins)
    at_home = {at for at, q in enumerate(origins) if q and q == numbers[at]}
    if len(at_home) >= len(ordered):  # of two swapped entries both have moved, not what is between
        ordered = at_home
    moved = [at for at, q in enumerate(origins) if q and at not in ordered]
    said: list[Fault] = []
    if nameless:
        said.append(Fault(Kind.INSERTED, f"{nameless} rows whose number is none"))
    if moved:
        places = {origins[at] for at in moved} | {n for at in moved if (n := numbers[at])}
        said.append(_fault(Kind.REORDERED, "in another order", places))
    entries = [q for q in missing if q not in present]
    anchors = [(at, numbers[at] or 0, origins[at]) for at in sorted(ordered)]
    said += _between(anchors, unknown, entries)
    said += _at_the_end(anchors, unknown, entries, len(known), sealed_at)
    renumbered = [q for _, number, q in anchors if number != q]
    if renumbered and not said:
        said.append(_fault(Kind.REORDERED, "under another number", set(renumbered)))
    return said


def _longest_rising(origins: Sequence[int]) -> set[int]:
    """The positions of the longest rising sequence among the origins that are not 0."""
    tails: list[int] = []
    ends: list[int] = []
    before: dict[int, int] = {}
    for at, origin in enumerate(origins):
        if not origin:
            continue
        place = bisect_left(tails, origin)
        tails[place : place + 1] = [origin]
        ends[place : place + 1] = [at]
        before[at] = ends[place - 1] if place else -1
    found: set[int] = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        found.add(at)
        at = before[at]
    return found


Anchors = Sequence[tuple[int, int, int]]
"""Position, number and origin of rows that are in order."""


def _between(anchors: Anchors, unknown: dict[int, Row], entries: list[int]) -> list[Fault]:
    """What happened before the last row that is in order."""
    edited: set[int] = set()
    deleted: set[int] = set()
    inserted: set[int] = set()
    positions = sorted(unknown)
    at_row = at_entry = 0
    shift = 0
    for position, number, origin in anchors:
        upto_row = bisect_left(positions, position, at_row)
        upto_entry = bisect_left(entries, origin, at_entry)
        if upto_row > at_row or upto_entry > at_entry:
            numbers = [unknown[p].number or 0 for p in positions[at_row:upto_row]]
            gone = set(entries[at_entry:upto_entry])
            for moved in (shift, origin - number):
                same = {n + moved for n in numbers} & gone
                edited |= same
                gone -= same
                numbers = [n for n in numbers if n + moved not in same]
            edited.update(sorted(gone)[: len(numbers)])
            deleted.update(sorted(gone)[len(numbers) :])
            inserted.update(numbers[len(gone) :])
        at_row, at_entry, shift = upto_row, upto_entry, origin - number
    return [
        _fault(kind, words, places)
        for kind, words, places in (
            (Kind.DELETED, "gone", deleted),
            (Kind.INSERTED, "never written by the audit", inserted),
            (Kind.EDITED, "changed", edited),
        )
        if places
    ]


def _at_the_end(
    anchors: Anchors,
    unknown: dict[int, Row],
    entries: list[int],
    last: int,
    sealed_at: Callable[[int], dt.datetime | None],
) -> list[Fault]:
    """What happened after the last row that is in order, up to the last known entry."""
    position, number, origin = anchors[-1] if anchors else (-1, 0, 0)
    shift = origin - number
    tail = entries[bisect_right(entries, origin) :]
    if not tail:
        return []
    after = [unknown[at] for at in sorted(unknown) if at > position]
    there = {(row.number or 0) + shift: row for row in after}
    beyond = any(place > last for place in there)
    replaced = [q for q in tail if q in there]
    gone = [q for q in tail if q not in there]
    if not replaced:
        # rows go on after what is gone: it was taken out, not cut off
        kind, words = (Kind.DELETED, "gone") if beyond else (Kind.TRUNCATED, "cut off")
        return [_fault(kind, words, set(gone))]
    first = there[replaced[0]]
    sealed = sealed_at(replaced[0])
    if first.written_at is not None and sealed is not None and first.written_at > sealed:
        words = "cut off, and later entries stand in their place"
        return [_fault(Kind.TRUNCATED, words, set(tail))]
    if gone and gone[0] > replaced[-1] and not beyond:
        said = [_fault(Kind.TRUNCATED, "cut off", set(gone))]
    elif gone:
        said = [_fault(Kind.DELETED, "gone", set(gone))]
    elif len(replaced) > 1 and all(there[q].stored == there[q].leaf for q in replaced):
        return [_fault(Kind.RECHAINED, "written anew, with hashes that fit", set(replaced))]
    else:
        said = []
    return [*said, _fault(Kind.EDITED, "changed", set(replaced))]


def _fault(kind: Kind, words: str, places: set[int]) -> Fault:
    ordered = tuple(sorted(places))
    return Fault(kind, f"{ranges(ordered)}: {words}", ordered)


def ranges(numbers: Sequence[int], shown_max: int = 12) -> str:
    """Ascending numbers as a person writes them: `entries 3, 7–9`."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return spans(found, shown_max)


def spans(found: Sequence[tuple[int, int]], shown_max: int = 12) -> str:
    """The same for spans of numbers, the last one of each included."""
    words = [f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in found[:shown_max]]
    more = f" and {len(found) - shown_max} more places" if len(found) > shown_max else ""
    is_one = len(found) == 1 and found[0][0] == found[0][1]
    return f"{'entry' if is_one else 'entries'} {', '.join(words)}{more}"
