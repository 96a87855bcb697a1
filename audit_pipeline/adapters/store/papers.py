"""What a workpaper is made of: flags and all that belongs to them, in one state of the store."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from audit_pipeline.adapters.store import trail_reader
from audit_pipeline.adapters.store.rows import (
    FlagRow,
    PartitionRow,
    StoredQuery,
    finding_of,
    in_lots,
)
from audit_pipeline.adapters.store.schema import (
    AUDIT_PARTITIONS,
    AUDIT_TRAIL,
    COMMENTS,
    DECISIONS,
    FINDINGS,
    FLAGS,
    QUERIES,
    RULE_VERSIONS,
    SECOND_REVIEWS,
    WITHDRAWALS,
)
from audit_pipeline.adapters.store.store import Store
from audit_pipeline.adapters.store.trail import Checkpoint
from audit_pipeline.model.errors import BadUsage, FlagUnknown
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.flag import FlagState, Severity

FLAGS_MAX = 20_000
"""In one workpaper; a spreadsheet's million rows hold the evidence of about four times as many."""


@dataclass(frozen=True)
class Selection:
    """Which flags: those dated on a range of audit dates (inclusive), or those named.

    Attributes:
        population: of this one only; None: of every one that is in the store.
    """

    from_on: dt.date | None = None
    to_on: dt.date | None = None
    flag_ids: tuple[str, ...] = ()
    population: str | None = None


@dataclass(frozen=True)
class FlagFinding:
    """A finding with the flag that it leads to and the query that found it."""

    flag_id: str
    population: str
    query_id: str | None
    finding: Finding


@dataclass(frozen=True)
class DecisionRow:
    """A decision with what a second person said to it, and whether it was taken back.

    Attributes:
        agrees: None while no second person has spoken.
    """

    decision_id: str
    flag_id: str
    verdict: str
    reason: str
    reviewer_id: str
    decided_at: dt.datetime
    notes: str
    recorded_at: dt.datetime
    approver_id: str | None
    agrees: bool | None
    reviewed_at: dt.datetime | None
    approver_notes: str | None
    withdrawn_by: str | None
    withdrawn_at: dt.datetime | None


@dataclass(frozen=True)
class CommentRow:
    """What somebody said about a flag."""

    comment_id: str
    flag_id: str
    author_id: str
    said_at: dt.datetime
    body: str


@dataclass(frozen=True)
class RuleVersionRow:
    """One set of thresholds that a rule has or had; `thresholds` is JSON."""

    rule_id: str
    rule_version: int
    thresholds: str
    content_sha256: str
    reason: str
    status: str
    proposed_by: str
    proposed_at: dt.datetime
    approved_by: str | None
    approved_at: dt.datetime | None


@dataclass(frozen=True)
class TrailRange:
    """Where the entries of one run lie in the trail: the first and the last of `entries`."""

    audit_run_id: str
    first_number: int
    last_number: int
    entries: int


@dataclass(frozen=True)
class Papers:
    """Everything, in a fixed order; the days are those that the selection covers.

    Attributes:
        flags: the most severe first, as a reviewer works.
        flags_of_days: how many flags are dated on those days, selected or not.
        quarantine_findings: of the rules that say why an entry was set aside.
        checkpoint: the longest signed state of the trail.
    """

    from_on: dt.date
    to_on: dt.date
    flags: list[FlagRow]
    flags_of_days: int
    partitions: list[PartitionRow]
    quarantine_findings: list[FlagFinding]
    findings: list[FlagFinding]
    queries: list[StoredQuery]
    decisions: list[DecisionRow]
    comments: list[CommentRow]
    rule_versions: list[RuleVersionRow]
    trail: list[TrailRange]
    checkpoint: Checkpoint | None


def read_papers(store: Store, asked: Selection) -> Papers:
    """All that belongs to the selected flags and to their days.

    Raises:
        BadUsage: nothing is asked for, the range ends before it begins, or it has too many flags.
        FlagUnknown: a named flag is not there.
    """
    with store.reading() as connection:
        flags, from_on, to_on = _selected(connection, asked)
        populations = {flag.population for flag in flags} if asked.flag_ids else None
        if asked.population is not None:
            populations = {asked.population}
        days = _days(connection, populations, from_on, to_on)
        ids = [flag.flag_id for flag in flags]
        findings = list(_findings(connection, ids))
        runs = {run for flag in flags for run in (flag.audit_run_id, flag.first_run_id)}
        runs |= {day.audit_run_id for day in days}
        return Papers(
            from_on=from_on,
            to_on=to_on,
            flags=flags,
            flags_of_days=_count(connection, populations, from_on, to_on),
            partitions=days,
            quarantine_findings=_quarantined(connection, populations, from_on, to_on),
            findings=findings,
            queries=list(_queries(connection, (found.query_id for found in findings))),
            decisions=list(_decisions(connection, ids)),
            comments=list(_comments(connection, ids)),
            rule_versions=_rule_versions(connection),
            trail=list(_ranges(connection, runs)),
            checkpoint=trail_reader.newest_checkpoint(connection),
        )


def _selected(connection: Connection, asked: Selection) -> tuple[list[FlagRow], dt.date, dt.date]:
    if asked.flag_ids:
        flags = _named(connection, asked.flag_ids)
        days = [flag.audit_on for flag in flags]
        return flags, min(days), max(days)
    if asked.from_on is None or asked.to_on is None:
        raise BadUsage("a workpaper takes a first and a last day, or flags")
    if asked.to_on < asked.from_on:
        raise BadUsage(f"the range ends on {asked.to_on}, before it begins on {asked.from_on}")
    populations = None if asked.population is None else {asked.population}
    if (count := _count(connection, populations, asked.from_on, asked.to_on)) > FLAGS_MAX:
        raise BadUsage(
            f"{count:,} flags are dated {asked.from_on} to {asked.to_on}; a workpaper holds "
            f"{FLAGS_MAX:,} at most: take a shorter range"
        )
    query = select(FLAGS).where(*_within(FLAGS, populations, asked.from_on, asked.to_on))
    return _ordered(connection, [query]), asked.from_on, asked.to_on


def _named(connection: Connection, flag_ids: Iterable[str]) -> list[FlagRow]:
    wanted = set(flag_ids)
    if len(wanted) > FLAGS_MAX:
        raise BadUsage(f"{len(wanted):,} flags; a workpaper holds {FLAGS_MAX:,} at most")
    flags = _ordered(
        connection, [select(FLAGS).where(FLAGS.c.flag_id.in_(lot)) for lot in in_lots(wanted)]
    )
    if missing := sorted(wanted - {flag.flag_id for flag in flags}):
        raise FlagUnknown(f"there is no flag {missing[0]}; `audit-pipeline flags` lists them")
    return flags


def _ordered(connection: Connection, queries: Iterable[Select[Any]]) -> list[FlagRow]:
    flags = [FlagRow.of(row) for query in queries for row in connection.execute(query).mappings()]
    levels = list(Severity)
    return sorted(
        flags,
        key=lambda flag: (
            levels.index(flag.severity_level),
            -flag.severity_score,
            flag.audit_on,
            flag.transaction_id,
            flag.flag_id,
        ),
    )


def _within(
    table: Any, populations: set[str] | None, from_on: dt.date, to_on: dt.date
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [table.c.audit_on.between(from_on, to_on)]
    if populations is not None:
        wanted.append(table.c.population.in_(sorted(populations)))
    if table is FLAGS:  # as idx_flags_overview has them
        wanted += [table.c.state.in_(list(FlagState)), table.c.severity_level.in_(list(Severity))]
    return wanted


def _count(
    connection: Connection, populations: set[str] | None, from_on: dt.date, to_on: dt.date
) -> int:
    within = _within(FLAGS, populations, from_on, to_on)
    return connection.scalar(select(func.count()).select_from(FLAGS).where(*within)) or 0


def _days(
    connection: Connection, populations: set[str] | None, from_on: dt.date, to_on: dt.date
) -> list[PartitionRow]:
    table = AUDIT_PARTITIONS
    query = select(table).where(*_within(table, populations, from_on, to_on))
    rows = connection.execute(query.order_by(table.c.population, table.c.audit_on))
    return [PartitionRow.of(row) for row in rows.mappings()]


def _flag_finding(row: Any) -> FlagFinding:
    return FlagFinding(row["flag_id"], row["population"], row["query_id"], finding_of(row))


def _findings(connection: Connection, flag_ids: list[str]) -> Iterator[FlagFinding]:
    place = {flag_id: number for number, flag_id in enumerate(flag_ids)}
    found = [
        _flag_finding(row)
        for lot in in_lots(flag_ids)
        for row in connection.execute(
            select(FINDINGS).where(FINDINGS.c.flag_id.in_(lot))
        ).mappings()
    ]
    return iter(
        sorted(
            found,
            key=lambda one: (place[one.flag_id], one.finding.audit_on, one.finding.rule_id),
        )
    )


def _quarantined(
    connection: Connection, populations: set[str] | None, from_on: dt.date, to_on: dt.date
) -> list[FlagFinding]:
    query = (
        select(FINDINGS)
        .where(*_within(FINDINGS, populations, from_on, to_on), FINDINGS.c.rule_id.like("DQ-%"))
        .order_by(*(FINDINGS.c[name] for name in ("population", "audit_on", "transaction_id")))
        .order_by(FINDINGS.c.rule_id)
    )
    found = [_flag_finding(row) for row in connection.execute(query).mappings()]
    return [
        one for one in found if any("quarantine" in cell.source for cell in one.finding.evidence)
    ]


def _queries(connection: Connection, ids: Iterable[str | None]) -> Iterator[StoredQuery]:
    found = [
        StoredQuery.of(row)
        for lot in in_lots(identity for identity in ids if identity is not None)
        for row in connection.execute(select(QUERIES).where(QUERIES.c.query_id.in_(lot))).mappings()
    ]
    return iter(sorted(found, key=lambda query: (query.rule_id, query.query_id)))


def _decisions(connection: Connection, flag_ids: list[str]) -> Iterator[DecisionRow]:
    place = {flag_id: number for number, flag_id in enumerate(flag_ids)}
    said = (
        select(
            DECISIONS,
            SECOND_REVIEWS.c.approver_id,
            SECOND_REVIEWS.c.agrees,
            SECOND_REVIEWS.c.reviewed_at,
            SECOND_REVIEWS.c.notes.label("approver_notes"),
            WITHDRAWALS.c.withdrawn_by,
            WITHDRAWALS.c.withdrawn_at,
        )
        .outerjoin(SECOND_REVIEWS, SECOND_REVIEWS.c.decision_id == DECISIONS.c.decision_id)
        .outerjoin(WITHDRAWALS, WITHDRAWALS.c.decision_id == DECISIONS.c.decision_id)
    )
    found = [
        DecisionRow(**row)
        for lot in in_lots(flag_ids)
        for row in connection.execute(said.where(DECISIONS.c.flag_id.in_(lot))).mappings()
    ]
    return iter(
        sorted(
            found,
            key=lambda one: (
                place[one.flag_id],
                one.decided_at,
                one.recorded_at,
                one.decision_id,
            ),
        )
    )


def _comments(connection: Connection, flag_ids: list[str]) -> Iterator[CommentRow]:
    place = {flag_id: number for number, flag_id in enumerate(flag_ids)}
    found = [
        CommentRow(**row)
        for lot in in_lots(flag_ids)
        for row in connection.execute(
            select(COMMENTS).where(COMMENTS.c.flag_id.in_(lot))
        ).mappings()
    ]
    return iter(sorted(found, key=lambda one: (place[one.flag_id], one.said_at, one.comment_id)))


def _rule_versions(connection: Connection) -> list[RuleVersionRow]:
    columns = [RULE_VERSIONS.c[field.name] for field in fields(RuleVersionRow)]
    query = select(*columns).order_by(RULE_VERSIONS.c.rule_id, RULE_VERSIONS.c.rule_version)
    return [RuleVersionRow(**row) for row in connection.execute(query).mappings()]


def _ranges(connection: Connection, runs: set[str]) -> Iterator[TrailRange]:
    number, run = AUDIT_TRAIL.c.log_sequence_number, AUDIT_TRAIL.c.audit_run_id
    query = select(run, func.min(number), func.max(number), func.count()).group_by(run)
    found = [
        TrailRange(*row)
        for lot in in_lots(runs)
        for row in connection.execute(query.where(run.in_(lot)))
    ]
    return iter(sorted(found, key=lambda one: one.first_number))
