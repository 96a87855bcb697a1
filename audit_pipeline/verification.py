"""`audit-pipeline verify`: what is asked, what was found, and how a person reads it."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from audit_pipeline.adapters.store import engine as engines
from audit_pipeline.adapters.store import trail_reader
from audit_pipeline.adapters.trail.archive_check import Archive, verify_archive
from audit_pipeline.adapters.trail.keys import trusted_keys
from audit_pipeline.adapters.trail.outside import read_note
from audit_pipeline.adapters.trail.proofs import Proof, prove_entry, prove_growth
from audit_pipeline.adapters.trail.verify import Verified, verify
from audit_pipeline.model.alignment import EXIT_CODES, MEANINGS, Fault
from audit_pipeline.model.checkpoint import Head, Note, NoteInvalid, VerifierKey
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.report import plain

if TYPE_CHECKING:
    from rich.console import Console

    from audit_pipeline.settings import Settings

PLACES_IN_JSON_MAX = 10_000


@dataclass(frozen=True)
class Asked:
    """What is to be verified, and what is to be proved."""

    checkpoint: Path | None = None
    key: str | None = None
    prove: int | None = None
    consistency: Path | None = None
    archive: Path | None = None


@dataclass
class Outcome:
    """What was found; `trail` or `archive`, as asked.

    Attributes:
        keys: whose signatures counted.
        is_own_key: they came from the person who asked, not from beside the checkpoints.
    """

    keys: list[VerifierKey]
    is_own_key: bool
    trail: Verified | None = None
    archive: Archive | None = None
    proof: Proof | None = None
    faults: list[Fault] = field(default_factory=list[Fault])

    @property
    def exit_code(self) -> int:
        """0, or that of the first fault."""
        return min((EXIT_CODES[fault.kind] for fault in self.faults), default=0)

    def as_json(self) -> dict[str, object]:
        """The same for a program."""
        said: dict[str, object] = {
            "whole": not self.faults,
            "exit_code": self.exit_code,
            "faults": [
                {
                    "kind": str(fault.kind),
                    "said": fault.said,
                    "places": list(fault.places[:PLACES_IN_JSON_MAX]),
                }
                for fault in self.faults
            ],
            "keys": [str(key) for key in self.keys],
        }
        if self.trail is not None:
            said |= {
                "entries": self.trail.entries,
                "checkpoints": self.trail.checkpoints,
                "sealed_entries": self.trail.head.tree_size if self.trail.head else 0,
                "open_entries": self.trail.open_entries,
                "checkpoint": str(self.trail.note) if self.trail.note else None,
                "sealed_at": self.trail.sealed_at.isoformat() if self.trail.sealed_at else None,
            }
        if self.archive is not None:
            said |= {
                "run": self.archive.run,
                "entries": self.archive.entries,
                "retain_until": self.archive.retain_until,
            }
        return said if self.proof is None else said | {"proof": self.proof}


def verification(
    settings: "Settings", asked: Asked, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Verify what is asked.

    Raises:
        BadUsage: a key, a checkpoint or an archive is none.
        StoreUnavailable: there is no store, or it cannot be read.
    """
    keys = trusted_keys(asked.key, settings.trail_dir)
    outcome = Outcome(keys, asked.key is not None)
    if asked.archive is not None:
        outcome.archive = verify_archive(asked.archive, keys)
        outcome.faults = outcome.archive.faults
        return outcome
    found = verify(settings.store_url, settings.trail_dir, keys, asked.checkpoint, say)
    outcome.trail, outcome.faults = found, list(found.faults)
    if asked.prove is None and asked.consistency is None:
        return outcome
    note, head = _newest(found, asked.checkpoint, keys)
    if asked.consistency is not None:
        old_note, old = _signed(asked.consistency, keys)
        outcome.proof, faults = prove_growth(found, old, old_note, head, note)
    else:
        number = asked.prove or 0
        document = _document(settings.store_url, number)
        outcome.proof, faults = prove_entry(found, number, document, head, note)
    outcome.faults += faults
    return outcome


def _newest(found: Verified, given: Path | None, keys: list[VerifierKey]) -> tuple[Note, Head]:
    if given is not None:
        return _signed(given, keys)
    if found.note is None or found.head is None:
        raise BadUsage("there is no checkpoint to prove anything by")
    return found.note, found.head


def _signed(path: Path, keys: list[VerifierKey]) -> tuple[Note, Head]:
    try:
        return read_note(path, keys)
    except NoteInvalid as fault:
        raise BadUsage(f"{path}: {fault}") from fault


def _document(store_url: str, number: int) -> object:
    """What the entry says, as it is hashed; None where it is not there."""
    engine = engines.read_only_engine(store_url)
    with engines.read_connection(engine) as connection:
        return trail_reader.document(connection, number)


def show(console: "Console", outcome: Outcome) -> None:
    """A few lines: whole or not, what is wrong, and what cannot be said."""
    for line in _lines(outcome):
        console.print(plain(line), markup=False, highlight=False)


def _lines(outcome: Outcome) -> list[str]:
    lines = [f"{fault.kind.upper():11} {fault.said}" for fault in outcome.faults]
    if outcome.trail is not None:
        lines += _of_trail(outcome.trail, whole=not outcome.faults)
    if outcome.archive is not None:
        lines += _of_archive(outcome.archive)
    if outcome.proof is not None:
        verdict = "holds" if outcome.proof["holds"] else "DOES NOT HOLD"
        lines.append(f"the {outcome.proof['kind']} proof {verdict}; --json writes it")
    if outcome.faults:
        first = min(outcome.faults, key=lambda fault: EXIT_CODES[fault.kind]).kind
        lines.append(f"exit code {outcome.exit_code}: {MEANINGS[first]}")
    if not outcome.is_own_key:
        lines.append(
            "the keys are those that lie beside what they sign; bring the one you trust with --key"
        )
    return lines


def _of_trail(found: Verified, *, whole: bool) -> list[str]:
    sealed = found.head.tree_size if found.head else 0
    lines = [
        f"{found.entries:,} entries, {found.checkpoints:,} checkpoints, the last over {sealed:,}"
        + (": nothing was changed, removed, added or moved" if whole else "")
    ]
    if found.head is not None:
        age = "" if found.sealed_at is None else f", made {_ago(found.sealed_at)}"
        lines.append(
            f"{found.open_entries:,} entries lie after the last checkpoint{age}; "
            "changes of these cannot be seen yet"
        )
    return lines


def _ago(instant: dt.datetime) -> str:
    seconds = int((dt.datetime.now(dt.UTC) - instant).total_seconds())
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} seconds ago"


def _of_archive(found: Archive) -> list[str]:
    if not found.run:
        return []
    whole = "" if found.faults else ", whole"
    run = found.run.get("audit_run_id")
    return [f"run {run}: {found.entries:,} entries{whole}; to be kept until {found.retain_until}"]
