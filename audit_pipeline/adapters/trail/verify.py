"""The trail compared with what is signed of it outside the database; reads, and writes nothing."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from audit_pipeline.adapters.store import engine as engines
from audit_pipeline.adapters.store import trail_reader
from audit_pipeline.adapters.store.leaves import (
    RawRow,
    canonical_leaf,
    instant_of,
    leaves_of,
    number_of,
    stored_of,
)
from audit_pipeline.adapters.trail.folder import TrailFolder
from audit_pipeline.adapters.trail.outside import Outside, learn_leaves, read_outside
from audit_pipeline.model.alignment import EXIT_CODES, Fault, Kind, Row, faults, ranges, spans
from audit_pipeline.model.checkpoint import Head, Note, VerifierKey
from audit_pipeline.model.errors import StoreUnavailable

Say = Callable[[str], None]

SAID_EVERY = 10_000
"""After how many entries a verification says again how far it is."""


@dataclass
class Verified:
    """What a verification found.

    Attributes:
        entries: rows in the database.
        leaves: their leaf hashes, in the order of their numbers.
        head: the longest checkpoint that holds; None where none does.
        note: it, signed.
        sealed_at: when it was made, as its leaf file says.
        checkpoints: how many hold.
        faults: what is wrong, in the order of `Kind`.
    """

    entries: int
    leaves: Sequence[bytes]
    head: Head | None
    note: Note | None
    sealed_at: dt.datetime | None
    checkpoints: int
    faults: list[Fault]

    @property
    def open_entries(self) -> int:
        """How many entries no checkpoint covers yet: changes of these cannot be seen."""
        return max(0, self.entries - (self.head.tree_size if self.head else 0))

    @property
    def exit_code(self) -> int:
        """0, or that of the first fault."""
        return EXIT_CODES[self.faults[0].kind] if self.faults else 0


@dataclass
class _Rows:
    """The rows as they were read once.

    Attributes:
        misfits: numbers of rows whose stored hash is not that of what is stored.
        is_numbered: the numbers are 1, 2, 3, … without a gap.
    """

    numbers: list[object] = field(default_factory=list[object])
    leaves: list[bytes] = field(default_factory=list[bytes])
    misfits: list[object] = field(default_factory=list[object])
    is_numbered: bool = True


def verify(
    store_url: str,
    folder: Path,
    keys: Sequence[VerifierKey],
    given: Path | None = None,
    say: Say = lambda _: None,
) -> Verified:
    """Verify the trail of a store.

    Args:
        store_url: its address.
        folder: where its checkpoints are.
        keys: whose signatures count.
        given: one more checkpoint, which somebody kept elsewhere.
        say: told what is being done.

    Raises:
        StoreUnavailable: there is no such store, or it was written to in a way that needs another
            try.
    """
    engine = engines.read_only_engine(store_url)
    name = engines.shown(store_url)
    before = _written_at(store_url)
    try:
        with engines.read_connection(engine) as connection:
            found = _compare(connection, TrailFolder(folder), keys, given, say)
    except DBAPIError as fault:
        raise engines.unavailable(name, fault) from fault
    finally:
        engine.dispose()
    if _written_at(store_url) != before:
        raise StoreUnavailable(f"{name}: it was opened for writing meanwhile; verify again")
    return found


def _written_at(store_url: str) -> tuple[int, int] | None:
    """When the file of a SQLite store that nobody had open was last written."""
    path = engines.sqlite_file(store_url)
    if path is None or path.with_name(path.name + "-wal").exists():
        return None
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _compare(
    connection: Connection,
    folder: TrailFolder,
    keys: Sequence[VerifierKey],
    given: Path | None,
    say: Say,
) -> Verified:
    rows = _read(connection, say)
    say("checking the signatures")
    copies = trail_reader.checkpoints(connection)
    outside = read_outside(folder, keys, copies, given)
    learn_leaves(outside, folder, rows.leaves if rows.is_numbered else ())
    found = list(outside.faults)
    if rows.numbers and not outside.heads and not found:
        said = "no checkpoint lies outside the database: nothing vouches for its entries"
        found.append(Fault(Kind.ROLLED_BACK, said))
    say("comparing entries")
    found += _misplaced(connection, rows, outside)
    order = list(Kind)
    head = outside.newest
    return Verified(
        entries=len(rows.numbers),
        leaves=rows.leaves,
        head=head,
        note=outside.notes[head.tree_size] if head else None,
        sealed_at=outside.sealed_at(head.tree_size) if head else None,
        checkpoints=len(outside.heads),
        faults=sorted(found, key=lambda fault: order.index(fault.kind)),
    )


def _read(connection: Connection, say: Say) -> _Rows:
    found = _Rows()
    for rows in trail_reader.raw_rows(connection):
        done = len(found.leaves)
        if not done % SAID_EVERY:
            say(f"hashing entry {done + 1:,}")
        leaves = leaves_of(rows)
        numbers = [number_of(row) for row in rows]
        if [leaf.hex() for leaf in leaves] != [stored_of(row) for row in rows]:
            found.misfits += [
                number
                for number, leaf, row in zip(numbers, leaves, rows, strict=True)
                if leaf.hex() != stored_of(row)
            ]
        if found.is_numbered and numbers != list(range(done + 1, done + len(rows) + 1)):
            found.is_numbered = False
        found.numbers += numbers
        found.leaves += leaves
    return found


def _misplaced(connection: Connection, rows: _Rows, outside: Outside) -> list[Fault]:
    """Rows that are not what the outside knows, and hashes that do not fit."""
    known = outside.known
    if rows.is_numbered and rows.leaves[: len(known)] == known:
        return _hashes(rows.misfits)
    in_place = [_origin(n, leaf, known) for n, leaf in zip(rows.numbers, rows.leaves, strict=True)]
    strays = _strays(connection, in_place)
    found = faults(known, in_place, strays, outside.sealed_at)
    explained = {number for fault in found for number in fault.places}
    moved = {number for number, origin in zip(rows.numbers, in_place, strict=True) if not origin}
    kept = [
        n for n in rows.misfits if n not in explained and (n not in moved or _is_after(n, known))
    ]
    found += _hashes(kept)
    if not found and not rows.is_numbered:
        found.append(Fault(Kind.DELETED, _gaps(rows.numbers, len(known))))
    return found


def _origin(number: object, leaf: bytes, known: Sequence[bytes | None]) -> int:
    """The row's number where it is that entry, or nobody knows better; else 0."""
    if type(number) is not int or not 1 <= number <= len(known):
        return 0
    expected = known[number - 1]
    return number if expected is None or expected == leaf else 0


def _is_after(number: object, known: Sequence[bytes | None]) -> bool:
    return type(number) is int and number > len(known)


def _strays(connection: Connection, in_place: Sequence[int]) -> Iterator[Row]:
    """The rows that are not in place, read again."""
    position = 0
    for rows in trail_reader.raw_rows(connection):
        for row in rows:
            if not in_place[position]:
                yield _row(row, position)
            position += 1


def _row(row: RawRow, position: int) -> Row:
    number, stored = number_of(row), stored_of(row)
    hashed_as = partial(_hashed_as, row)
    try:
        stored_hash = bytes.fromhex(stored)
    except (TypeError, ValueError):
        stored_hash = None
    return Row(
        position,
        number if type(number) is int else None,
        hashed_as(None),
        stored_hash,
        _instant(instant_of(row)),
        hashed_as,
    )


def _hashed_as(row: RawRow, number: int | None) -> bytes:
    return hashlib.sha256(b"\x00" + canonical_leaf(row, number)).digest()


def _instant(value: object) -> dt.datetime | None:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, dt.datetime):
        return None
    try:
        return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    except OverflowError:
        return None


def _hashes(misfits: Sequence[object]) -> list[Fault]:
    numbers = sorted(n for n in misfits if type(n) is int)
    if not numbers:
        return []
    said = f"{ranges(numbers)}: the stored hash is not that of what is stored"
    return [Fault(Kind.HASH, said, tuple(numbers))]


def _gaps(numbers: Sequence[object], sealed: int) -> str:
    """Where the numbering breaks after the last checkpoint."""
    there = sorted({n for n in numbers if type(n) is int and n > sealed})
    # By spans, never number by number: an edited one may be as large as the database can hold.
    gone = [(a + 1, b - 1) for a, b in pairwise([sealed, *there]) if b - a > 1]
    return f"{spans(gone)}: gone, after the last checkpoint" if gone else "numbers are not 1, 2, …"
