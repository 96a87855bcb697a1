"""What the store gives back, and how it spells what it keeps."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.flag import Flag, FlagState, Point, Severity
from audit_pipeline.model.trail import canonical


def json_text(document: object) -> str:
    """The canonical JSON text of a document; what JSON has no word for becomes its `str`."""
    try:
        return canonical(document).decode()
    except TypeError:
        return canonical(json.loads(json.dumps(document, default=str))).decode()


def instant_text(instant: dt.datetime) -> str:
    """An instant as the trail's hashes spell it: UTC with microseconds; naive ones are UTC."""
    aware = instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant
    return aware.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class FlagRow:
    """A flag as it is stored: what was raised, where it stands, and the latest decision.

    Attributes:
        audit_run_id: the run that last changed its content; `first_run_id` raised it.
        reviewed: a decision stands (a reviewer who needs more information leaves it open).
        updated_at: when its content or its decision last changed, UTC.
        approver_id: the second person, where one agreed.
        vendor: of the charge, as are the next four; None in a store that an earlier version
            filled, until the day is audited again.
    """

    flag_id: str
    transaction_id: str
    population: str
    audit_on: dt.date
    audit_run_id: str
    first_run_id: str
    severity_level: Severity
    severity_score: int
    confidence_score: float
    explanation: str
    links: tuple[str, ...]
    points: tuple[Point, ...]
    state: FlagState
    reviewed: bool
    human_decision: Verdict | None
    reviewer_id: str | None
    review_timestamp: dt.datetime | None
    reviewer_notes: str | None
    approver_id: str | None
    vendor: str | None
    vendor_id: str | None
    cardholder: str | None
    amount_cents: int | None
    occurred_on: dt.date | None
    created_at: dt.datetime
    updated_at: dt.datetime

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "FlagRow":
        """From a row of `flags`."""
        verdict = row["human_decision"]
        return cls(
            **{name: row[name] for name in _PLAIN_FLAG_COLUMNS},
            severity_level=Severity(row["severity_level"]),
            links=tuple(json.loads(row["supporting_evidence_links"] or "[]")),
            points=tuple(Point(**point) for point in json.loads(row["points"])),
            state=FlagState(row["state"]),
            reviewed=bool(row["reviewed"]),
            human_decision=None if verdict is None else Verdict(verdict),
        )


_PLAIN_FLAG_COLUMNS = tuple(
    field.name
    for field in fields(FlagRow)
    if field.name
    not in ("severity_level", "links", "points", "state", "reviewed", "human_decision")
)


def flag_content(flag: Flag) -> dict[str, Any]:
    """The columns of `flags` that a run decides about; an equal dict needs no write."""
    charge = flag.charge
    return {
        "transaction_id": storable(flag.transaction_id, 255),
        "population": storable(flag.population, 255),
        "audit_on": flag.audit_on,
        "severity_level": flag.severity_level.value,
        "severity_score": flag.severity_score,
        "confidence_score": flag.confidence_score,
        "explanation": storable(flag.explanation),
        "supporting_evidence_links": json_text(flag.links),
        "points": json_text(
            [{"rule_id": p.rule_id, "points": p.points, "reason": p.reason} for p in flag.points]
        ),
        "vendor": storable(charge.vendor, 255),
        "vendor_id": storable(charge.vendor_id, 255),
        "cardholder": storable(charge.cardholder, 255),
        "amount_cents": None if charge.amount is None else int(charge.amount.scaleb(2)),
        "occurred_on": charge.occurred_on,
    }


FLAG_CONTENT = (
    "transaction_id",
    "population",
    "audit_on",
    "severity_level",
    "severity_score",
    "confidence_score",
    "explanation",
    "supporting_evidence_links",
    "points",
    "vendor",
    "vendor_id",
    "cardholder",
    "amount_cents",
    "occurred_on",
)
"""The keys of `flag_content`."""


def finding_of(row: Mapping[Any, Any]) -> Finding:
    """From a row of `findings`."""
    return Finding(
        audit_on=row["audit_on"],
        transaction_id=row["transaction_id"],
        rule_id=row["rule_id"],
        rule_version=row["rule_version"],
        measured=row["measured"],
        threshold=row["threshold"],
        score=row["score"],
        evidence=tuple(Cell(**cell) for cell in json.loads(row["evidence"])),
    )


def evidence_text(finding: Finding) -> str:
    """The finding's cells as canonical JSON."""
    return json_text(
        [
            {"name": c.name, "source": c.source, "row_id": c.row_id, "value": c.value}
            for c in finding.evidence
        ]
    )


@dataclass(frozen=True)
class StoredQuery:
    """What re-performs a finding.

    Attributes:
        sql: the statement as it was executed.
        parameters: the values that were bound (JSON-able).
        snapshot_id: the state of gold that was asked.
        tables: what the statement reads, as of the snapshot (JSON-able).
    """

    query_id: str
    rule_id: str
    sql: str
    parameters: Mapping[str, object]
    snapshot_id: str
    tables: object

    @classmethod
    def asked(
        cls,
        rule_id: str,
        sql: str,
        parameters: Mapping[str, object],
        snapshot_id: str,
        tables: object,
    ) -> "StoredQuery":
        """With the id that these contents have."""
        identity = query_id(sql, parameters, snapshot_id)
        return cls(identity, rule_id, sql, parameters, snapshot_id, tables)

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "StoredQuery":
        """From a row of `queries`."""
        return cls(
            row["query_id"],
            row["rule_id"],
            row["sql"],
            json.loads(row["parameters"]),
            row["snapshot_id"],
            json.loads(row["tables"]),
        )


def query_id(sql: str, parameters: Mapping[str, object], snapshot_id: str) -> str:
    """SHA-256 of the SQL text, its parameters and the snapshot it was asked of."""
    asked = {"sql": sql, "parameters": parameters, "snapshot_id": snapshot_id}
    return hashlib.sha256(json_text(asked).encode()).hexdigest()


@dataclass(frozen=True)
class FlagChanges:
    """What publishing did, as flag ids, each in one of the five.

    Attributes:
        updated: content changed; the state stayed.
        unchanged: found again, and not a byte of the row was written.
        superseded: open before, and no finding leads to it any more.
        reopened: superseded before, and found again; or decided by one person, and now critical.
    """

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {name: len(ids) for name, ids in vars(self).items()}


@dataclass(frozen=True)
class PartitionRow:
    """One audited day of the disposition ledger: flagged + cleared + quarantined = gold.

    Amounts are in the company's own currency, with two decimals.
    """

    population: str
    audit_on: dt.date
    audit_run_id: str
    transactions: int
    amount: Decimal
    flagged: int
    flagged_amount: Decimal
    cleared: int
    cleared_amount: Decimal
    quarantined: int
    quarantined_amount: Decimal

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "PartitionRow":
        """From a row of `audit_partitions`."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class RunRow:
    """One audit run, as far as it got. Instants are UTC."""

    audit_run_id: str
    workflow_status: str
    population: str | None
    from_on: dt.date | None
    to_on: dt.date | None
    current_agent: str | None
    completed_agents: tuple[str, ...]
    pending_agents: tuple[str, ...]
    created_at: dt.datetime
    updated_at: dt.datetime

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "RunRow":
        """From a row of `workflow_state`."""
        values = {field.name: row[field.name] for field in fields(cls)}
        for agents in ("completed_agents", "pending_agents"):
            values[agents] = tuple(json.loads(row[agents] or "[]"))
        return cls(**values)


def decision_of(row: Mapping[Any, Any]) -> Decision:
    """From a row of `decisions`."""
    return Decision(
        flag_id=row["flag_id"],
        verdict=Verdict(row["verdict"]),
        reason=Reason(row["reason"]),
        reviewer_id=row["reviewer_id"],
        decided_at=row["decided_at"],
        notes=row["notes"],
    )


def decision_id(decision: Decision) -> str:
    """SHA-256 of a decision: sending the same one twice records it once."""
    said = {
        "flag_id": decision.flag_id,
        "verdict": decision.verdict.value,
        "reason": decision.reason.value,
        "reviewer_id": decision.reviewer_id,
        "decided_at": instant_text(decision.decided_at),
        "notes": decision.notes,
    }
    return hashlib.sha256(json_text(said).encode()).hexdigest()


ROWS_AT_ONCE = 5_000
"""Values in one IN list: SQLite takes 32,766 in a statement, Postgres 65,535."""


def in_lots(values: Iterable[str]) -> Iterator[list[str]]:
    """The distinct values, sorted, in lists that one statement can carry."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), ROWS_AT_ONCE):
        yield ordered[start : start + ROWS_AT_ONCE]
