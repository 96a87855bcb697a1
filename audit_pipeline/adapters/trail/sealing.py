"""Making checkpoints: the new entries, hashed from their rows, on top of what was signed before."""

import datetime as dt
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from audit_pipeline.adapters import failpoints
from audit_pipeline.adapters.store import Store, trail_reader
from audit_pipeline.adapters.store.leaves import leaves_of, number_of, stored_of
from audit_pipeline.adapters.store.trail import Checkpoint
from audit_pipeline.adapters.trail.folder import LEAVES, LeafFile, TrailFolder, write_once
from audit_pipeline.adapters.trail.keys import Signer, is_signed_by, signer_of
from audit_pipeline.model.checkpoint import Head, Note, NoteInvalid, Signature, encoded
from audit_pipeline.model.errors import AuditError, TrailBroken
from audit_pipeline.model.merkle import Peaks

SEALED_EVERY_SECONDS = 60
"""How old the last checkpoint may be before a commit makes another one."""

log = logging.getLogger(__name__)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class _Base:
    """Where the next checkpoint goes on.

    Attributes:
        begin: how many entries have their leaves in files; the next leaf file begins there.
        tree: over these.
        head: the last signed state; it may cover more.
    """

    begin: int
    tree: Peaks
    head: Head | None


class Sealer:
    """Seals the trail of one store into one folder."""

    def __init__(
        self, folder: Path, key_path: Path, clock: Callable[[], dt.datetime] = _utc_now
    ) -> None:
        self.folder = TrailFolder(folder)
        self.key_path = key_path
        self._clock = clock

    def committed(self, store: Store, *, urgent: bool) -> None:
        """After a commit that appended events: seal when it is time; a failure only warns.

        Args:
            urgent: whatever the time is.
        """
        try:
            if urgent or self._is_due():
                self.seal(store)
        except (AuditError, OSError) as fault:
            log.warning("the trail could not be sealed, the next commit tries again: %s", fault)

    def _is_due(self) -> bool:
        sizes = self.folder.sizes()
        if not sizes:
            return True
        sealed_at = self.folder.file(sizes[-1]).stat().st_mtime
        return self._clock().timestamp() - sealed_at >= SEALED_EVERY_SECONDS

    def seal(self, store: Store) -> Head | None:
        """Sign the trail as it stands; returns the newest signed state, None of an empty trail.

        Raises:
            TrailBroken: the trail does not extend what was signed last; nothing is signed.
            StoreUnavailable: the database cannot be read.
            OSError: a file cannot be written.
        """
        with store.reading() as connection:
            copy = trail_reader.newest_checkpoint(connection)
        # In this order: who seals at the same time writes the files first, then the copy, and
        # only of entries that are committed.
        sizes = self.folder.sizes()
        with store.reading() as connection:
            last = trail_reader.last_number(connection)
        if not sizes and copy is None and last == 0:
            return None
        self.folder.path.mkdir(parents=True, exist_ok=True)
        signer = signer_of(self.key_path, may_create=not sizes and copy is None)
        base = self._base(signer, sizes)
        _refuse_rollback(signer, base.head, copy)
        signed = base.head.tree_size if base.head else 0
        if last < signed:
            raise TrailBroken(
                f"{signed} entries were signed and the trail has {last}; "
                "`audit-pipeline verify` says which are gone"
            )
        if last == signed and base.begin == signed:
            return base.head
        leaves, tree = _grown(store, base, last)
        head = Head(signer.key.name, tree.size, tree.root())
        note = signer.sign(str(head))
        sealed_at = self._clock()
        self.folder.add_key(str(signer.key))
        failpoints.here("note.before")
        write_once(self.folder.file(head.tree_size), str(note).encode())
        failpoints.here("note.after")
        leaf_file = LeafFile(base.begin, tree, sealed_at, leaves)
        write_once(self.folder.file(head.tree_size, LEAVES), leaf_file.content())
        with store.writing("checkpoint") as writer:
            writer.put_checkpoint(copy_of(head, note, signer.key.key_id, sealed_at))
        return head

    def _base(self, signer: Signer, sizes: list[int]) -> _Base:
        """The last checkpoint, authenticated, and the last one before it that has its leaves."""
        if not sizes:
            return _Base(0, Peaks(), None)
        head = self._head(signer, sizes[-1])
        for size in reversed(sizes):
            known = head if size == head.tree_size else self._head(signer, size)
            with suppress(NoteInvalid):
                file = self.folder.leaf_file(size)
                if file is not None and file.tree.root() == known.root_hash:
                    return _Base(size, file.tree, head)
        return _Base(0, Peaks(), head)

    def _head(self, signer: Signer, size: int) -> Head:
        path = self.folder.file(size)
        try:
            note = Note.parse(path.read_bytes())
            if is_signed_by(note, signer.trusted) is None:
                raise NoteInvalid("it is signed by a key that the signing key does not know")  # noqa: TRY301
            head = Head.parse(note.body)
        except NoteInvalid as fault:
            raise TrailBroken(f"{path.name}: {fault}; nothing is signed on top of it") from fault
        if head.tree_size != size or head.origin not in {key.name for key in signer.trusted}:
            raise TrailBroken(f"{path.name} is the checkpoint of {head.origin} {head.tree_size}")
        return head


def _grown(store: Store, base: _Base, last: int) -> tuple[list[bytes], Peaks]:
    """The leaves after the base, hashed from their rows, and the tree with them.

    Raises:
        TrailBroken: a number is missing, or the tree passes the last checkpoint with another root.
    """
    tree, leaves = base.tree.copy(), list[bytes]()
    head = base.head
    signed = head.tree_size if head else 0
    with store.reading() as connection:
        for rows in trail_reader.raw_rows(connection, after=base.begin, upto=last):
            done = base.begin + len(leaves)
            if [number_of(row) for row in rows] != list(range(done + 1, done + len(rows) + 1)):
                raise TrailBroken(f"the numbers after {done} have a gap; nothing is signed")
            hashed = leaves_of(rows)
            for row, leaf in zip(rows, hashed, strict=True):
                if stored_of(row) != leaf.hex():
                    log.warning("entry %s does not fit its stored hash", number_of(row))
            leaves += hashed
    tree.extend(leaves[: max(0, signed - base.begin)])
    if head is not None and tree.root() != head.root_hash:
        raise TrailBroken(
            f"the entries up to {signed} are not those that were signed; "
            "`audit-pipeline verify` says which differ"
        )
    tree.extend(leaves[max(0, signed - base.begin) :])
    return leaves, tree


def _refuse_rollback(signer: Signer, head: Head | None, copy: Checkpoint | None) -> None:
    """The database knows a longer checkpoint, signed by us, than the folder has."""
    if copy is None or copy.tree_size <= (head.tree_size if head else 0):
        return
    note = note_of(copy, signer.key.name)
    with suppress(NoteInvalid):
        if note is not None and is_signed_by(note, signer.trusted) is not None:
            raise TrailBroken(
                f"there was a checkpoint of {copy.tree_size} entries, and the folder's last is "
                f"{head.tree_size if head else 'none'}; put the folder back, nothing is signed"
            )


def copy_of(head: Head, note: Note, key_id: str, sealed_at: dt.datetime) -> Checkpoint:
    """What the database keeps of a checkpoint."""
    signature = encoded(note.signatures[0].signature)
    return Checkpoint(head.tree_size, head.root_hash.hex(), signature, key_id, sealed_at)


def note_of(copy: Checkpoint, origin: str) -> Note | None:
    """The note that the database has a copy of; None where it spells none."""
    name, _, key_hash = copy.key_id.partition("+")
    try:
        head = Head(origin, copy.tree_size, bytes.fromhex(copy.root_hash))
        return Note(str(head), (Signature.of(name, key_hash, copy.signature),))
    except ValueError:
        return None
