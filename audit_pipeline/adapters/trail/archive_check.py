"""An archived run, verified by itself: its files, its signatures, its way to the checkpoint."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_pipeline.adapters.trail.archive import CHECKPOINT, ENTRIES, MANIFEST, PROOF
from audit_pipeline.adapters.trail.keys import is_signed_by
from audit_pipeline.adapters.trail.outside import read_note
from audit_pipeline.model.alignment import Fault, Kind
from audit_pipeline.model.checkpoint import Note, NoteInvalid, VerifierKey
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.merkle import Peaks
from audit_pipeline.model.trail import leaf_hash


@dataclass
class Archive:
    """What an archive says, and what is wrong with it.

    Attributes:
        run: the manifest's word on the run.
        entries: how many trail entries of the run it holds.
    """

    run: dict[str, Any] = field(default_factory=dict[str, Any])
    retain_until: str = ""
    entries: int = 0
    faults: list[Fault] = field(default_factory=list[Fault])


def verify_archive(path: Path, keys: Sequence[VerifierKey]) -> Archive:
    """Verify an archive with nothing but its files and a key.

    Args:
        path: its folder, or the manifest in it.
        keys: whose signature counts; none: that of the manifest's own key, which shows that the
            files belong together, not who made them.

    Raises:
        BadUsage: there is no archive.
    """
    folder = path.parent if path.name == MANIFEST else path
    if not (folder / MANIFEST).is_file():
        raise BadUsage(f"{path}: no archive; name its folder or its manifest")
    found = Archive()
    try:
        note = Note.parse((folder / MANIFEST).read_bytes())
        manifest = _manifest(note)
        trusted = list(keys) or [VerifierKey.parse(manifest["run"]["vkey"])]
        if is_signed_by(note, trusted) is None:
            raise NoteInvalid("it is signed by no key that is trusted here")  # noqa: TRY301
    except NoteInvalid as fault:
        found.faults.append(Fault(Kind.KEY, f"{MANIFEST}: {fault}"))
        return found
    found.run, found.retain_until = manifest["run"], manifest["retain_until"]
    found.faults += _files(folder, manifest)
    if not found.faults:
        _entries(found, folder, trusted)
    return found


def _manifest(note: Note) -> dict[str, Any]:
    try:
        said = json.loads(note.body)
        run, files = said["run"], said["files"]
        words = [run["vkey"], run["audit_run_id"], said["retain_until"]]
        words += [file[field] for file in files for field in ("name", "sha256")]
        numbers = [run["first_entry"], run["last_entry"]]
        if all(type(word) is str for word in words) and all(type(n) is int for n in numbers):
            return said
    except (ValueError, TypeError, KeyError, RecursionError) as fault:
        raise NoteInvalid("it is no manifest") from fault
    raise NoteInvalid("it is no manifest")


def _files(folder: Path, manifest: dict[str, Any]) -> list[Fault]:
    """Files that differ from what the manifest says, are gone, or were added."""
    faults: list[Fault] = []
    named = {file["name"]: file["sha256"] for file in manifest["files"]}
    there = {file.name for file in folder.iterdir()}
    for name, digest in sorted(named.items()):
        if name not in there:
            faults.append(Fault(Kind.DELETED, f"{name}: gone"))
        elif _digest(folder / name) != digest:
            faults.append(Fault(Kind.EDITED, f"{name}: changed"))
    added = sorted(there - set(named) - {MANIFEST})
    faults += [Fault(Kind.INSERTED, f"{name!r}: not in the manifest") for name in added]
    return faults


def _digest(file: Path) -> str | None:
    """SHA-256 of its bytes; None of what is no file, or cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _entries(found: Archive, folder: Path, keys: Sequence[VerifierKey]) -> None:
    """The entries, hashed anew, lead to the root of the checkpoint."""
    run = found.run
    try:
        _, head = read_note(folder / CHECKPOINT, keys)
    except NoteInvalid as fault:
        found.faults.append(Fault(Kind.KEY, f"{CHECKPOINT}: {fault}"))
        return
    try:
        proof = json.loads((folder / PROOF).read_bytes())
        left = [bytes.fromhex(peak) for peak in proof["left_peaks"]]
        tree = Peaks(run["first_entry"] - 1, left)
        number = run["first_entry"]
        for line in (folder / ENTRIES).read_bytes().splitlines():
            entry = json.loads(line)
            document = entry.get("document")
            if document is not None:
                found.entries += 1
                _belongs(document, number, run["audit_run_id"])
            tree.extend([bytes.fromhex(leaf_hash(document) if document else entry["leaf_hash"])])
            number += 1
        tree.extend(bytes.fromhex(leaf) for leaf in proof["right_leaves"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        found.faults.append(Fault(Kind.UNPLACED, f"the entries cannot be read: {fault}"))
        return
    is_whole = number == run["last_entry"] + 1
    if not is_whole or (tree.size, tree.root()) != (head.tree_size, head.root_hash):
        said = f"the entries do not lead to the root of checkpoint {head.tree_size:,}"
        found.faults.append(Fault(Kind.UNPLACED, said))


def _belongs(document: dict[str, Any], number: int, audit_run_id: str) -> None:
    if (document["log_sequence_number"], document["audit_run_id"]) != (number, audit_run_id):
        raise ValueError(f"entry {number} is not that entry of the run")
