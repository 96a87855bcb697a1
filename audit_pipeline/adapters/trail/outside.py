"""What the folder knows: every checkpoint that holds, and the leaf hashes under them."""

import datetime as dt
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit_pipeline.adapters.store.trail import Checkpoint
from audit_pipeline.adapters.trail.folder import LEAVES, LeafFile, TrailFolder
from audit_pipeline.adapters.trail.keys import is_signed_by
from audit_pipeline.adapters.trail.sealing import note_of
from audit_pipeline.model.alignment import Fault, Kind, ranges
from audit_pipeline.model.checkpoint import Head, Note, NoteInvalid, VerifierKey
from audit_pipeline.model.merkle import Peaks


@dataclass
class Outside:
    """Checkpoints whose signatures hold, and what is wrong with the others.

    Attributes:
        heads: by tree size.
        notes: the signed notes, by tree size.
        faults: what is wrong with the files.
        known: leaf hash of entry 1, 2, … up to the longest checkpoint; None where it is unknown.
        sealed: tree size and time of the leaf files, ascending.
    """

    heads: dict[int, Head] = field(default_factory=dict[int, Head])
    notes: dict[int, Note] = field(default_factory=dict[int, Note])
    faults: list[Fault] = field(default_factory=list[Fault])
    known: list[bytes | None] = field(default_factory=list[bytes | None])
    sealed: list[tuple[int, dt.datetime]] = field(default_factory=list[tuple[int, dt.datetime]])

    @property
    def newest(self) -> Head | None:
        """The longest signed state."""
        return self.heads[max(self.heads)] if self.heads else None

    def sealed_at(self, number: int) -> dt.datetime | None:
        """When an entry was first covered, as the leaf files say."""
        at = bisect_left(self.sealed, number, key=lambda known: known[0])
        return self.sealed[at][1] if at < len(self.sealed) else None


def read_note(path: Path, keys: Sequence[VerifierKey]) -> tuple[Note, Head]:
    """A checkpoint of which one of the keys vouches.

    Raises:
        NoteInvalid: it is none, or none of them does.
    """
    try:
        note = Note.parse(path.read_bytes())
    except OSError as fault:
        raise NoteInvalid(f"it cannot be read: {fault.strerror}") from fault
    head = Head.parse(note.body)
    if is_signed_by(note, keys) is None:
        by = ", ".join(f"{line.name}+{line.key_hash.hex()}" for line in note.signatures)
        raise NoteInvalid(f"it is signed by {by}, which is no key that is trusted here")
    return note, head


def read_outside(
    folder: TrailFolder,
    keys: Sequence[VerifierKey],
    copies: Sequence[Checkpoint],
    given: Path | None,
) -> Outside:
    """Every checkpoint of the folder, and the one that somebody brought along."""
    found = Outside()
    origins: dict[str, int] = {}
    sizes = folder.sizes()
    for size in sizes:
        _take(found, folder.file(size), keys, size)
    if given is not None:
        _take(found, given, keys, None)
    for head in found.heads.values():
        origins[head.origin] = origins.get(head.origin, 0) + 1
    if len(origins) > 1:
        said = f"checkpoints of {len(origins)} trails lie here: {', '.join(sorted(origins))}"
        found.faults.append(Fault(Kind.KEY, said))
    _missing(found, folder, sizes, copies, keys)
    return found


def _take(found: Outside, path: Path, keys: Sequence[VerifierKey], size: int | None) -> None:
    try:
        note, head = read_note(path, keys)
    except NoteInvalid as fault:
        found.faults.append(Fault(Kind.KEY, f"{path.name}: {fault}"))
        return
    if size is not None and head.tree_size != size:
        said = f"{path.name} holds the checkpoint of {head.tree_size:,} entries"
        found.faults.append(Fault(Kind.ROLLED_BACK, said, (size,)))
        return
    other = found.heads.get(head.tree_size)
    if other is not None and other.root_hash != head.root_hash:
        said = f"{path.name}: two checkpoints of {head.tree_size:,} entries have different roots"
        found.faults.append(Fault(Kind.ROLLED_BACK, said, (head.tree_size,)))
        return
    found.heads[head.tree_size], found.notes[head.tree_size] = head, note


def _missing(
    found: Outside,
    folder: TrailFolder,
    sizes: Sequence[int],
    copies: Sequence[Checkpoint],
    keys: Sequence[VerifierKey],
) -> None:
    """Checkpoints that there were: the database has a copy, or the leaves lie there alone."""
    there = set(sizes) | set(found.heads)
    names = {key.key_id for key in keys}
    alone = [size for size in folder.sizes(LEAVES) if size not in there]
    copied = [copy for copy in copies if copy.tree_size not in there]
    given = [size for size in found.heads if sizes and size not in sizes]
    gone = sorted({*alone, *(copy.tree_size for copy in copied), *given})
    if gone:
        said = f"{len(gone)} checkpoints are missing from the folder: of {ranges(gone)}"
        found.faults.append(Fault(Kind.ROLLED_BACK, said, tuple(gone)))
    for copy in copies:
        head = found.heads.get(copy.tree_size)
        if head is None or copy.tree_size in gone:
            continue
        said = _other_copy(copy, head, keys, names)
        if said:
            found.faults.append(Fault(Kind.KEY, said, (copy.tree_size,)))


def _other_copy(
    copy: Checkpoint, head: Head, keys: Sequence[VerifierKey], names: set[str]
) -> str | None:
    """How the database's copy differs from the file; None where it does not."""
    what = f"the database's copy of checkpoint {copy.tree_size:,}"
    if copy.key_id not in names:
        return f"{what} was signed by {copy.key_id}, which is no key that is trusted here"
    if copy.root_hash != head.root_hash.hex():
        return f"{what} has another root than its file"
    note = note_of(copy, head.origin)
    try:
        if note is None or is_signed_by(note, keys) is None:
            return f"{what} is not signed"
    except NoteInvalid as fault:
        return f"{what}: {fault}"
    return None


def learn_leaves(found: Outside, folder: TrailFolder, in_database: Sequence[bytes]) -> None:
    """Fill `known` and check every root on the way.

    Where the leaves of a checkpoint are not there, or do not give its root, those of the database
    are tried; where they do not either, nobody can say which entry differs.

    Args:
        in_database: the leaf hash of entry 1, 2, … as far as the numbers have no gap.
    """
    tree: Peaks | None = Peaks()
    at = 0
    for size in sorted(found.heads):
        head = found.heads[size]
        file = _leaf_file(found, folder, head)
        if file is not None:
            found.sealed.append((size, file.sealed_at))
        grown = tree and _grown(tree, _outer(file, at), head)
        if grown is None:
            grown = tree and _grown(tree, in_database[at:size], head)
            leaves: Sequence[bytes | None] = in_database[at:size]
            if grown is not None and _outer(file, at):
                said = (
                    f"{folder.file(size, LEAVES).name}: its leaves are not those that were signed"
                )
                found.faults.append(Fault(Kind.OUTSIDE, said, (size,)))
        else:
            leaves = _outer(file, at)
        if grown is None:
            said = f"between {at + 1:,} and {size:,} something differs from what was signed"
            found.faults.append(Fault(Kind.UNPLACED, said, (at + 1, size)))
            leaves = [None] * (size - at)
            grown = file.tree.copy() if file is not None else None
        found.known += leaves
        tree, at = grown, size


def _leaf_file(found: Outside, folder: TrailFolder, head: Head) -> LeafFile | None:
    name = folder.file(head.tree_size, LEAVES).name
    try:
        file = folder.leaf_file(head.tree_size)
        if file is not None and file.tree.root() != head.root_hash:
            raise NoteInvalid("its peaks are not those of the checkpoint")  # noqa: TRY301
    except NoteInvalid as fault:
        found.faults.append(Fault(Kind.OUTSIDE, f"{name}: {fault}", (head.tree_size,)))
        return None
    return file


def _outer(file: LeafFile | None, at: int) -> Sequence[bytes]:
    """The leaves after entry `at`; none where the file begins later."""
    if file is None or file.begin > at:
        return ()
    return file.leaves[at - file.begin :]


def _grown(tree: Peaks, leaves: Sequence[bytes], head: Head) -> Peaks | None:
    """The tree with these leaves, where it is the signed one."""
    if tree.size + len(leaves) != head.tree_size:
        return None
    grown = tree.copy()
    grown.extend(leaves)
    return grown if grown.root() == head.root_hash else None
