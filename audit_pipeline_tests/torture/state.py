"""What a store holds, times aside, and what is wrong with it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import (
    AUDIT_PARTITIONS,
    DECISIONS,
    FINDINGS,
    FLAGS,
    LLM_CALLS,
    QUERIES,
    SECOND_REVIEWS,
    WORKFLOW_STATE,
)
from audit_pipeline.adapters.trail.archive_check import verify_archive
from audit_pipeline.adapters.trail.keys import trusted_keys
from audit_pipeline.adapters.trail.verify import verify
from audit_pipeline_tests.torture.work import TABLE, Place

TIMES = ("created_at", "updated_at", "recorded_at", "reviewed_at")
PUBLISHED = (FLAGS, FINDINGS, QUERIES, DECISIONS, SECOND_REVIEWS, AUDIT_PARTITIONS)
ONCE = ("flag_", "decide", "approve_decision", "mark_audit_complete", "record_rules")
"""Trail events of which an undisturbed run has as many as one that was killed."""


@dataclass(frozen=True)
class State:
    """What was read at one moment.

    Attributes:
        rows: the published tables, as text without their times.
        events: trail events by tool and flag.
        statuses: of the workflows.
        files: the digest of each stored partition.
        archives: their folders, and those that the trail names.
        broken: what no order of kills excuses.
    """

    rows: dict[str, list[str]]
    events: Counter[str]
    statuses: list[str]
    files: dict[str, str]
    archives: tuple[set[str], set[str]]
    broken: list[str] = field(default_factory=list[str])

    @property
    def published(self) -> str:
        """One word for all that a reviewer or an auditor sees."""
        return hashlib.sha256(
            json.dumps([self.rows, sorted(self.events.items())]).encode()
        ).hexdigest()


def read(place: Place) -> State:
    """What the store and the folder hold now."""
    rows: dict[str, list[str]] = {}
    with Store.open(place.url) as store:
        with store.reading() as connection:
            for table in PUBLISHED:
                columns = [column for column in table.columns if column.name not in TIMES]
                found = connection.execute(select(*columns))
                rows[table.name] = sorted(repr(tuple(row)) for row in found)
            statuses = sorted(connection.scalars(select(WORKFLOW_STATE.c.workflow_status)))
            answered = len(
                connection.execute(
                    select(LLM_CALLS.c.call_id).where(LLM_CALLS.c.status == "answered")
                ).all()
            )
        events, named, broken = _trail(store, answered)
    files = _files(place.folder / "derived" / TABLE, broken)
    broken += _unverified(place)
    archives = {folder.name for folder in (place.trail / "archive").glob("[!.]*")}
    return State(rows, events, statuses, files, (archives, named), broken)


def _trail(store: Store, answered: int) -> tuple[Counter[str], set[str], list[str]]:
    events: Counter[str] = Counter()
    named: set[str] = set()
    broken: list[str] = []
    calls = 0
    for number, entry in enumerate(store.trail(), 1):
        if entry.log_sequence_number != number:
            broken.append(f"trail: {entry.log_sequence_number} where {number} should be")
        if not entry.intact:
            broken.append(f"trail: entry {number} does not fit its hash")
        event = entry.event
        calls += event.tool_called == "call_llm"
        if event.tool_called == "archive_to_immutable_log":
            named.add(str(event.output_summary["archive"]))
        if event.tool_called.startswith(ONCE) and event.error_message is None:
            flag = event.output_summary.get("flag_id") or event.input_data.get("flag_id") or ""
            events[f"{event.audit_run_id} {event.tool_called} {flag}"] += 1
    if calls != answered:
        broken.append(f"{answered} answers of a model, {calls} of them in the trail")
    return events, named, broken


def _unverified(place: Place) -> list[str]:
    """What `audit-pipeline verify` finds wrong with the trail, and with each archive."""
    if not any(place.trail.glob("*.checkpoint")):
        return []  # killed before the first one: nothing vouches for anything yet
    keys = trusted_keys(None, place.trail)
    wrong = [f"verify: {fault.said}" for fault in verify(place.url, place.trail, keys).faults]
    for archive in (place.trail / "archive").glob("[!.]*"):
        wrong += [f"archive: {fault.said}" for fault in verify_archive(archive, keys).faults]
    return wrong


def _files(folder: Path, broken: list[str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for part in sorted(folder.glob("audit_on=*/part.parquet")):
        try:
            rows = pq.read_table(part).to_pylist()
        except OSError as fault:
            broken.append(f"{part.parent.name}: {fault}")
            continue
        files[part.parent.name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return files


@dataclass
class Undisturbed:
    """What a run that nobody kills goes through.

    Attributes:
        stages: what is published after each of its transactions; no other state may be seen.
        end: what it leaves.
        hits: how often each failpoint is passed.
        seconds: how long it takes.
    """

    stages: set[str]
    end: State
    hits: Counter[str]
    seconds: float

    def half_done(self, state: State) -> list[str]:
        """What is wrong with what a kill left behind, before anybody repairs it."""
        wrong = list(state.broken)
        if state.published not in self.stages:
            wrong.append("partial: what is published is no stage of an undisturbed run")
        return wrong

    def differences(self, state: State) -> list[str]:
        """What is wrong with the end, after the last restart."""
        wrong = list(state.broken)
        for name, expected in self.end.rows.items():
            wrong += _compared(name, expected, state.rows[name])
        for key in self.end.events.keys() | state.events.keys():
            if self.end.events[key] != state.events[key]:
                wrong.append(f"trail: {key}: {state.events[key]}, not {self.end.events[key]}")
        if state.statuses != self.end.statuses:
            wrong.append(f"workflows: {state.statuses}")
        if state.files != self.end.files:
            wrong.append("stored partitions differ")
        folders, named = state.archives
        if folders != named or len(folders) < len(self.end.archives[0]):
            wrong.append(f"archives {sorted(folders)}, in the trail {sorted(named)}")
        return wrong


def _compared(name: str, expected: list[str], found: list[str]) -> Iterator[str]:
    lost, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    if lost:
        yield f"{name}: {lost.total()} lost or changed"
    if more:
        yield f"{name}: {more.total()} doubled or changed"


@contextmanager
def stages_of(place: Place) -> Iterator[set[str]]:
    """Collects what is published after each transaction that commits within it."""
    stages: set[str] = set()
    writing = Store.writing

    @contextmanager
    def noted(self: Store, *given: Any) -> Iterator[Any]:
        with writing(self, *given) as writer:
            yield writer
        stages.add(read(place).published)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "writing", noted)
        yield stages
