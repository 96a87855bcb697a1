"""An audit run, exported so that it can be verified alone: without the database and for years.

    archive/<run>-<last entry>/
        entries.jsonl     the run's trail entries; entries of others between them by hash alone
        flags.jsonl       the flags that the run wrote, with their findings and decisions
        ledger.jsonl      the disposition of the days that it audited
        proof.json        what leads from the entries to the root of the checkpoint
        checkpoint        the signed note of the first checkpoint that covers them
        manifest          all of the above by name, SHA-256 and count, signed

A folder is made under another name and renamed, so there is a whole one or none.
"""

import datetime as dt
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select

from audit_pipeline.adapters import failpoints
from audit_pipeline.adapters.store import Store, trail_reader
from audit_pipeline.adapters.store.leaves import (
    COLUMNS,
    RawRow,
    leaves_of,
    number_of,
)
from audit_pipeline.adapters.store.rows import in_lots, instant_text, json_text
from audit_pipeline.adapters.store.schema import (
    AUDIT_PARTITIONS,
    AUDIT_TRAIL,
    DECISIONS,
    FINDINGS,
    FLAGS,
)
from audit_pipeline.adapters.store.trail import LEAF_COLUMNS, leaf_document
from audit_pipeline.adapters.trail.folder import READABLE, TrailFolder, sync, write_once
from audit_pipeline.adapters.trail.keys import signer_of
from audit_pipeline.adapters.trail.outside import read_note
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.model.checkpoint import NoteInvalid, VerifierKey
from audit_pipeline.model.errors import BadUsage, TrailBroken
from audit_pipeline.model.merkle import Peaks
from audit_pipeline.model.trail import RETENTION_YEARS, TrailEvent, canonical

TOOL = "archive_to_immutable_log"
MANIFEST, CHECKPOINT, PROOF = "manifest", "checkpoint", "proof.json"
ENTRIES, FLAGGED, LEDGER = "entries.jsonl", "flags.jsonl", "ledger.jsonl"
_NUMBER = AUDIT_TRAIL.c.log_sequence_number


def archive_to_immutable_log(
    store: Store, sealer: Sealer, audit_run_id: str, retention_years: int = RETENTION_YEARS
) -> Path:
    """Export a run, signed; the file first, then an event in the trail. The specification's name.

    Doing it again gives the same folder, unless the run has gone on: then there is one more.

    Returns:
        The archive's folder.

    Raises:
        BadUsage: the run has no entries.
        TrailBroken: the trail is not what was signed; nothing is archived.
        StoreUnavailable: the database fails.
        OSError: a file cannot be written.
    """
    sealer.seal(store)
    with store.reading() as connection:
        first, last = _range(connection, audit_run_id)
        size = min((s for s in sealer.folder.sizes() if s >= last), default=0)
        name = f"{_file_name(audit_run_id)}-{last:020}"
        place = sealer.folder.path / "archive" / name
        if not (place / MANIFEST).exists():
            try:
                contents = _contents(connection, sealer, audit_run_id, (first, last, size))
            except NoteInvalid as fault:
                raise TrailBroken(f"the checkpoint over entry {last}: {fault}") from fault
            _store(sealer, place, contents, retention_years)
    event = _event(place, audit_run_id)
    with store.writing("archive") as writer:
        known = select(_NUMBER).where(
            AUDIT_TRAIL.c.audit_run_id == audit_run_id,
            AUDIT_TRAIL.c.tool_called == TOOL,
            AUDIT_TRAIL.c.output_summary == json_text(event.output_summary),
        )
        if writer.connection.scalar(known.limit(1)) is None:
            writer.append_events([event])
    return place


def _range(connection: Connection, audit_run_id: str) -> tuple[int, int]:
    """The first and last entry of a run, but for those that say that it was archived."""
    bounds = select(func.min(_NUMBER), func.max(_NUMBER)).where(
        AUDIT_TRAIL.c.audit_run_id == audit_run_id, AUDIT_TRAIL.c.tool_called != TOOL
    )
    first, last = connection.execute(bounds).one()
    if first is None:
        raise BadUsage(f"the trail has no entries of run {audit_run_id}")
    return first, last


def _file_name(audit_run_id: str) -> str:
    if re.fullmatch("[A-Za-z0-9_-]{1,36}", audit_run_id):
        return audit_run_id
    return hashlib.sha256(audit_run_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True)
class _Contents:
    """The files but for the manifest, and what the manifest says of the run."""

    files: dict[str, bytes]
    run: dict[str, object]


def _contents(
    connection: Connection, sealer: Sealer, audit_run_id: str, bounds: tuple[int, int, int]
) -> _Contents:
    first, last, size = bounds
    signer = signer_of(sealer.key_path, may_create=False)
    note, head = read_note(sealer.folder.file(size), signer.trusted)
    left, base = _left(sealer.folder, first - 1, signer.trusted)
    lines: list[bytes] = []
    after: list[str] = []
    ended_at = ""
    tree = left
    for row, leaf in _hashed(connection, base, size):
        number = number_of(row)
        if number == first:
            left = tree.copy()
        if first <= number <= last:
            document = leaf_document(_mapping(row))
            is_own = document["audit_run_id"] == audit_run_id
            what = {"document": document} if is_own else {"leaf_hash": leaf.hex()}
            lines.append(canonical({"number": number, **what}))
            ended_at = str(document["timestamp"]) if is_own else ended_at
        elif number > last:
            after.append(leaf.hex())
        tree.extend([leaf])
    if (tree.size, tree.root()) != (head.tree_size, head.root_hash):
        raise TrailBroken(
            f"entries up to {size} are not those that were signed; "
            "`audit-pipeline verify` says which differ"
        )
    proof = {"left_peaks": [peak.hex() for peak in left.hashes], "right_leaves": after}
    files = {
        ENTRIES: _lines(lines),
        FLAGGED: _lines(canonical(flag) for flag in _flags(connection, audit_run_id)),
        LEDGER: _lines(canonical(day) for day in _days(connection, audit_run_id)),
        PROOF: canonical(proof) + b"\n",
        CHECKPOINT: str(note).encode(),
    }
    run = {
        "audit_run_id": audit_run_id,
        "first_entry": first,
        "last_entry": last,
        "ended_at": ended_at,
        "vkey": str(signer.key),
    }
    return _Contents(files, run)


def _left(folder: TrailFolder, size: int, trusted: Sequence[VerifierKey]) -> tuple[Peaks, int]:
    """A tree over at most the first `size` entries, as near to it as the leaf files go.

    A file that is damaged is passed over: the rows say the same.
    """
    for known in reversed([known for known in folder.sizes() if known <= size]):
        with suppress(NoteInvalid):
            file = folder.leaf_file(known)
            _, head = read_note(folder.file(known), trusted)
            if file is not None and file.tree.root() == head.root_hash:
                return file.tree, known
    return Peaks(), 0


def _hashed(connection: Connection, after: int, upto: int) -> Iterator[tuple[RawRow, bytes]]:
    for rows in trail_reader.raw_rows(connection, after, upto):
        yield from zip(rows, leaves_of(rows), strict=True)


def _mapping(row: RawRow) -> dict[str, object]:
    """A row by column, its timestamp as an instant."""
    found = dict(zip(COLUMNS, row, strict=True))
    if isinstance(found["timestamp"], str):
        found["timestamp"] = dt.datetime.fromisoformat(found["timestamp"])
    return {name: found[name] for name in LEAF_COLUMNS}


def _lines(documents: Iterator[bytes] | Sequence[bytes]) -> bytes:
    return b"".join(document + b"\n" for document in documents)


def _flags(connection: Connection, audit_run_id: str) -> Iterator[dict[str, object]]:
    flags = _rows(connection, FLAGS, FLAGS.c.audit_run_id == audit_run_id)
    ids = [str(flag["flag_id"]) for flag in flags]
    findings, decisions = _by_flag(connection, FINDINGS, ids), _by_flag(connection, DECISIONS, ids)
    for flag in flags:
        identity = str(flag["flag_id"])
        yield {
            **flag,
            "findings": findings.get(identity, []),
            "decisions": decisions.get(identity, []),
        }


def _by_flag(
    connection: Connection, table: Table, ids: Sequence[str]
) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for lot in in_lots(ids):
        for row in _rows(connection, table, table.c.flag_id.in_(lot)):
            found.setdefault(str(row["flag_id"]), []).append(row)
    return found


def _days(connection: Connection, audit_run_id: str) -> list[dict[str, object]]:
    return _rows(connection, AUDIT_PARTITIONS, AUDIT_PARTITIONS.c.audit_run_id == audit_run_id)


def _rows(connection: Connection, table: Table, wanted: Any) -> list[dict[str, object]]:
    query = select(table).where(wanted).order_by(*table.primary_key.columns)
    rows = connection.execute(query).mappings()
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: object) -> object:
    match value:
        case dt.datetime():
            return instant_text(value)
        case dt.date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case _:
            return value


def _store(sealer: Sealer, place: Path, contents: _Contents, retention_years: int) -> None:
    """Write the files and the manifest under another name, then rename the folder."""
    manifest = {
        "archive": 1,
        "run": contents.run,
        "retain_until": _retain_until(str(contents.run["ended_at"]), retention_years),
        "files": [
            {
                "name": name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                "lines": content.count(b"\n"),
            }
            for name, content in sorted(contents.files.items())
        ],
    }
    body = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    note = signer_of(sealer.key_path, may_create=False).sign(body)
    place.parent.mkdir(parents=True, exist_ok=True)
    arriving = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    arriving.mkdir()
    try:
        for name, content in {**contents.files, MANIFEST: str(note).encode()}.items():
            write_once(arriving / name, content, READABLE)
        failpoints.here("archived.before")
        arriving.rename(place)
        failpoints.here("archived.after")
    except OSError:
        shutil.rmtree(arriving, ignore_errors=True)
        if not (place / MANIFEST).exists():  # else another process was faster, with the same files
            raise
    sync(place.parent)


def _retain_until(ended_at: str, years: int) -> str:
    """So many years after the run's last entry."""
    ended_on = dt.date.fromisoformat(ended_at[:10])
    try:
        return ended_on.replace(year=ended_on.year + years).isoformat()
    except ValueError:  # 29 February
        return ended_on.replace(year=ended_on.year + years, day=28).isoformat()


def _event(place: Path, audit_run_id: str) -> TrailEvent:
    raw = (place / MANIFEST).read_bytes()
    said: Mapping[str, Any] = json.loads(raw.decode().rpartition("\n\n")[0])
    return TrailEvent(
        audit_run_id=audit_run_id,
        agent_name="audit_logging",
        tool_called=TOOL,
        occurred_at=dt.datetime.now(dt.UTC),
        output_summary={
            "archive": place.name,
            "manifest_sha256": hashlib.sha256(raw).hexdigest(),
            "entries": said["run"]["last_entry"] - said["run"]["first_entry"] + 1,
            "retain_until": said["retain_until"],
        },
    )
