"""What is said of rows that differ from the known leaves, where no database is needed to see it."""

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence

import pytest

from audit_pipeline.model import alignment
from audit_pipeline.model.alignment import Fault, Kind, Row, faults, ranges

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
TOLD: dict[int, str] = {number: f"entry {number}" for number in range(1, 11)}
"""What ten entries said when they were sealed."""


def leaf(number: int, content: str) -> bytes:
    return hashlib.sha256(f"{number} {content}".encode()).digest()


def found(
    rows: Sequence[tuple[int | None, str]],
    *,
    written_at: dt.datetime | None = None,
    sealed_at: dt.datetime | None = NOON,
    stored_fits: bool = True,
    known: Sequence[bytes | None] | None = None,
) -> list[Fault]:
    """What happened to the ten entries, of which these rows (number, content) are left."""
    leaves = known or [leaf(number, content) for number, content in TOLD.items()]
    strays: list[Row] = []
    in_place: list[int] = []
    for position, (number, content) in enumerate(rows):
        own = leaf(number or 0, content)
        is_home = number is not None and number <= len(leaves) and leaves[number - 1] == own
        in_place.append(number if is_home and number else 0)
        if not is_home:
            stored = own if stored_fits else bytes(32)
            hashed_as: Callable[[int], bytes] = lambda n, content=content: leaf(n, content)  # noqa: E731
            strays.append(Row(position, number, own, stored, written_at, hashed_as))
    return faults(leaves, in_place, strays, lambda _: sealed_at)


def says(kind: Kind, words: str, *places: int) -> Fault:
    return Fault(kind, f"{ranges(places)}: {words}", places)


def whole(*but: int) -> list[tuple[int | None, str]]:
    return [(number, content) for number, content in TOLD.items() if number not in but]


def test_what_is_whole_has_no_fault() -> None:
    assert found(whole()) == []


def test_the_last_entries_edited_with_the_end_cut_off() -> None:
    """Both are said: the end is gone, and what stands before the cut is not what was written."""
    rows = [*whole(7, 8, 9, 10), (7, "other"), (8, "other")]
    assert found(rows) == [
        says(Kind.TRUNCATED, "cut off", 9, 10),
        says(Kind.EDITED, "changed", 7, 8),
    ]


def test_the_last_entries_edited_with_one_before_them_taken_out() -> None:
    """Rows follow the one that is gone, so nothing was cut off."""
    rows = [*whole(7, 8, 9, 10), (8, "other"), (9, "other"), (10, "other")]
    assert found(rows) == [
        says(Kind.DELETED, "gone", 7),
        says(Kind.EDITED, "changed", 8, 9, 10),
    ]


def test_the_last_sealed_entries_taken_out_while_the_trail_goes_on() -> None:
    rows = [*whole(9, 10), (9, "other"), (11, "new")]
    assert found(rows) == [says(Kind.DELETED, "gone", 10), says(Kind.EDITED, "changed", 9)]


@pytest.mark.parametrize("last", [9, 10])
def test_the_end_written_anew(last: int) -> None:
    """Several entries with hashes that fit are a chain made anew; one alone was edited."""
    rows = [*whole(*range(last, 11)), *((number, "other") for number in range(last, 11))]
    places = range(last, 11)
    expected = (
        says(Kind.RECHAINED, "written anew, with hashes that fit", *places)
        if len(places) > 1
        else says(Kind.EDITED, "changed", *places)
    )
    assert found(rows) == [expected]


def test_the_end_written_anew_with_hashes_that_do_not_fit() -> None:
    rows = [*whole(9, 10), (9, "other"), (10, "other")]
    assert found(rows, stored_fits=False) == [says(Kind.EDITED, "changed", 9, 10)]


@pytest.mark.parametrize(
    ("written_at", "sealed_at", "kind"),
    [
        (NOON + dt.timedelta(seconds=1), NOON, Kind.TRUNCATED),
        (NOON, NOON, Kind.RECHAINED),
        (None, NOON, Kind.RECHAINED),
        (NOON + dt.timedelta(seconds=1), None, Kind.RECHAINED),
    ],
)
def test_entries_that_were_written_after_the_seal_stand_in_place_of_what_was_cut_off(
    written_at: dt.datetime | None, sealed_at: dt.datetime | None, kind: Kind
) -> None:
    """Only where both times are known, and the entry is the later one."""
    rows = [*whole(9, 10), (9, "other"), (10, "other")]
    (fault,) = found(rows, written_at=written_at, sealed_at=sealed_at)
    assert (fault.kind, fault.places) == (kind, (9, 10))


def test_a_row_without_a_number_finds_its_entry() -> None:
    """Under no number at all it is that entry all the same, or one that nobody wrote."""
    rows: list[tuple[int | None, str]] = [(None, TOLD[4]), *whole(4)]
    assert [(fault.kind, fault.places) for fault in found(rows)] == [(Kind.REORDERED, (4,))]
    assert found([(None, "made up"), *whole()]) == [
        Fault(Kind.INSERTED, "1 rows whose number is none")
    ]


def test_every_number_shifted_is_another_number_of_the_same_entries() -> None:
    rows = [(number + 3, content) for number, content in TOLD.items()]
    assert found(rows) == [says(Kind.REORDERED, "under another number", *TOLD)]


def test_no_row_is_left() -> None:
    assert found([]) == [says(Kind.TRUNCATED, "cut off", *TOLD)]


def test_an_entry_that_nobody_knows_is_not_missed() -> None:
    """Where the leaf files are lost, what is not known can neither be gone nor changed."""
    known: list[bytes | None] = [leaf(number, content) for number, content in TOLD.items()]
    known[3] = None
    rows = [(number, content) for number, content in TOLD.items() if number != 4]
    assert found(rows, known=known) == []


def test_the_search_gives_up_far_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many hashes and no more: then a row is looked for near its number only.

    Two entries that are far apart were swapped, and all between them edited, so that each of
    these is a place to try.
    """
    known: list[bytes | None] = [leaf(number, f"entry {number}") for number in range(1, 301)]
    rows: list[tuple[int | None, str]] = [(n, f"entry {n}") for n in range(1, 301)]
    rows[100:250] = [(n, "other") for n in range(101, 251)]
    rows[100], rows[249] = (101, "entry 250"), (250, "entry 101")
    assert found(rows, known=known)[0] == says(Kind.REORDERED, "in another order", 101, 250)
    monkeypatch.setattr(alignment, "ATTEMPTS_MAX", 0)
    assert found(rows, known=known) == [says(Kind.EDITED, "changed", *range(101, 251))]


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ((3,), "entry 3"),
        ((3, 7, 8, 9), "entries 3, 7–9"),
        ((1_000, 1_001), "entries 1,000–1,001"),
        (
            tuple(range(1, 27, 2)),
            f"entries {', '.join(map(str, range(1, 25, 2)))} and 1 more places",
        ),
    ],
)
def test_numbers_as_a_person_writes_them(numbers: tuple[int, ...], written: str) -> None:
    assert ranges(numbers) == written
