"""The folder outside the database: one note for each checkpoint, and the leaf hashes beside it.

    keys                              public keys, one vkey a line
    00000000000000001042.checkpoint   a signed note, see `model.checkpoint`
    00000000000000001042.leaves       the leaf hashes since an earlier checkpoint, and the peaks

Files are written to a temporary name, synced, and linked to their own, which is never written
again. The note comes first: a leaf file shows that there was a note.
"""

import contextlib
import datetime as dt
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_pipeline.model.checkpoint import NoteInvalid
from audit_pipeline.model.merkle import HASH_BYTES, Peaks
from audit_pipeline.model.trail import canonical

READABLE = 0o444
NOTE, LEAVES = ".checkpoint", ".leaves"
_NAME = re.compile(r"([0-9]{20})\.(checkpoint|leaves)")


def write_once(path: Path, content: bytes, mode: int = READABLE) -> bool:
    """Write a file that is never written again; false where it is there already.

    Raises:
        OSError: it cannot be written.
    """
    arriving = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    _write_synced(arriving, content, mode)
    try:
        os.link(arriving, path)
    except FileExistsError:
        return False
    finally:
        arriving.unlink()
    sync(path.parent)
    return True


def replace(path: Path, content: bytes, mode: int = READABLE) -> None:
    """Write a file over another one, as a whole or not at all."""
    arriving = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    _write_synced(arriving, content, mode)
    arriving.replace(path)
    sync(path.parent)


def _write_synced(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        os.fsync(descriptor)
    os.close(descriptor)


@dataclass(frozen=True)
class LeafFile:
    """The leaf hashes of the entries begin + 1 … end, and the tree over the first `end`.

    Attributes:
        sealed_at: when it was written, UTC; nothing vouches for it.
    """

    begin: int
    tree: Peaks
    sealed_at: dt.datetime
    leaves: Sequence[bytes]

    @property
    def end(self) -> int:
        """The size of the checkpoint that it belongs to."""
        return self.tree.size

    def content(self) -> bytes:
        """As it is stored: a line of JSON, then 32 bytes for each leaf."""
        head = {
            "begin": self.begin,
            "end": self.end,
            "peaks": [peak.hex() for peak in self.tree.hashes],
            "sealed_at": self.sealed_at.isoformat(),
        }
        return canonical(head) + b"\n" + b"".join(self.leaves)

    @classmethod
    def parse(cls, raw: bytes) -> "LeafFile":
        """What `content` made.

        Raises:
            NoteInvalid: it did not make this.
        """
        line, _, body = raw.partition(b"\n")
        try:
            head = json.loads(line)
            begin, end = int(head["begin"]), int(head["end"])
            tree = Peaks(end, [bytes.fromhex(peak) for peak in head["peaks"]])
            sealed_at = dt.datetime.fromisoformat(head["sealed_at"]).astimezone(dt.UTC)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as fault:
            raise NoteInvalid("it is no leaf file") from fault
        if not 0 <= begin < end or len(body) != (end - begin) * HASH_BYTES:
            raise NoteInvalid(f"it does not hold the leaves {begin + 1} to {end}")
        leaves = [body[at : at + HASH_BYTES] for at in range(0, len(body), HASH_BYTES)]
        return cls(begin, tree, sealed_at, leaves)


@dataclass(frozen=True)
class TrailFolder:
    """The folder; it need not be there."""

    path: Path

    def sizes(self, suffix: str = NOTE) -> list[int]:
        """The tree sizes of which there is a file, ascending."""
        try:
            names = os.listdir(self.path)  # noqa: PTH208 - names, many of them
        except FileNotFoundError:
            return []
        found = (_NAME.fullmatch(name) for name in names if name.endswith(suffix))
        return sorted(int(match[1]) for match in found if match)

    def file(self, size: int, suffix: str = NOTE) -> Path:
        """Where the checkpoint of a tree size is, or its leaves."""
        return self.path / f"{size:020}{suffix}"

    def leaf_file(self, size: int) -> LeafFile | None:
        """The leaves beside a checkpoint; None where there are none.

        Raises:
            NoteInvalid: the file is not what it should be.
        """
        try:
            found = LeafFile.parse(self.file(size, LEAVES).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise NoteInvalid(f"it cannot be read: {fault.strerror}") from fault
        if found.end != size:
            raise NoteInvalid(f"it is the leaf file of checkpoint {found.end}")
        return found

    def add_key(self, vkey: str) -> None:
        """List a public key, unless it is listed."""
        file = self.path / "keys"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if vkey not in text.splitlines():
            replace(file, f"{text}{vkey}\n".encode())
