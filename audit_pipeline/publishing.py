"""From findings to published flags: escalation over all that is known, then one transaction.

A transaction's flag stands on its findings of every audit date, so what earlier audits found is
fetched from the store and joined to what this one found. That is why a day audited after another
and a backfill of both leave the same flags.
"""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from audit_pipeline import charts, disposition, subjects
from audit_pipeline.adapters import failpoints
from audit_pipeline.adapters.contracts import check_flags, findings_of
from audit_pipeline.adapters.store import Store, attempts
from audit_pipeline.adapters.store.rows import FlagChanges, PartitionRow, StoredQuery
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.agents import audit_logging, escalation
from audit_pipeline.agents.anomaly_detection import rules as anomaly_rules
from audit_pipeline.agents.context_enrichment import rules as context_rules
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.agents.reconciliation import rules as reconciliation_rules
from audit_pipeline.model.errors import LedgerUnbalanced, PartitionBusy
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.flag import Flag, FlagState
from audit_pipeline.model.query import Query
from audit_pipeline.model.rule import Rules
from audit_pipeline.model.trail import TrailEvent
from audit_pipeline.settings import digest
from audit_pipeline.steps import Step

Tables = Sequence[pa.Table | None]


def suspects(found: Tables) -> pa.Table:
    """audit_on, transaction_id, points: what the rules have found suspicious so far."""
    points: Counter[tuple[dt.date, str]] = Counter()
    for finding in _all(found):
        if finding.score > 0:
            points[finding.audit_on, finding.transaction_id] += finding.score
    ordered = sorted(points.items())
    return pa.table(
        {
            "audit_on": pa.array([key[0] for key, _ in ordered], pa.date32()),
            "transaction_id": pa.array([key[1] for key, _ in ordered], pa.string()),
            "points": pa.array([total for _, total in ordered], pa.int32()),
        }
    )


def _all(found: Tables) -> list[Finding]:
    findings = [finding for table in found for finding in findings_of(table)]
    return sorted(findings, key=lambda f: (f.audit_on, f.transaction_id, f.rule_id))


@dataclass(frozen=True)
class Raised:
    """The flags of a run, before they are published.

    Attributes:
        flags: of every transaction that the run touched.
        touched: the transactions with a finding in the range, now or in an earlier run.
        findings: of this run.
        known: what the store had on the touched transactions, of other audit dates.
    """

    from_on: dt.date
    to_on: dt.date
    flags: list[Flag]
    touched: set[str]
    findings: list[Finding]
    known: list[Finding] = field(default_factory=list[Finding])

    def table(self) -> pa.Table:
        """One row per flag, for reading; dated inside the run's range."""
        return pa.table(
            {
                "audit_on": pa.array(
                    [max(self.from_on, min(f.audit_on, self.to_on)) for f in self.flags],
                    pa.date32(),
                ),
                "flag_id": pa.array([f.flag_id for f in self.flags], pa.string()),
                "transaction_id": pa.array([f.transaction_id for f in self.flags], pa.string()),
                "severity_level": pa.array(
                    [str(f.severity_level) for f in self.flags], pa.string()
                ),
                "severity_score": pa.array([f.severity_score for f in self.flags], pa.int32()),
                "confidence_score": pa.array(
                    [f.confidence_score for f in self.flags], pa.float64()
                ),
                "explanation": pa.array([f.explanation for f in self.flags], pa.string()),
            }
        )

    def counts(self) -> dict[str, int]:
        """For the UI."""
        return {"flags": len(self.flags)}

    def pictures(self) -> dict[str, str]:
        """Markdown for the UI: by severity, by day, and the worst."""
        levels = Counter(str(flag.severity_level) for flag in self.flags)
        days = Counter(flag.audit_on.isoformat() for flag in self.flags)
        worst = sorted(self.flags, key=lambda f: (-f.severity_level.rank, -f.severity_score))[:20]
        rows = [(str(f.severity_level), f.severity_score, f.explanation[:160]) for f in worst]
        severities = {level: levels[level] for level in ("CRITICAL", "WARNING", "INFO")}
        return {
            "by_severity": charts.bars("Flags by severity", severities),
            "by_day": charts.columns("Flags by day", sorted(days.items())),
            "worst": charts.table(("severity", "score", "explanation"), rows),
        }


def escalate(step: Step, store: Store, found: Tables) -> Raised:
    """The flags of every transaction that has a finding in the run's range, or had one."""
    books, population = step.books, step.gold.population
    from_on, to_on = books.from_on, books.to_on
    findings = _all(found)
    touched = {finding.transaction_id for finding in findings}
    touched |= store.transactions_with_findings(population, from_on, to_on)
    known = store.findings_of(population, touched, outside=(from_on, to_on))
    flags = escalation.create_flags(
        [*findings, *known],
        subjects.subjects(step, touched),
        step.gold.rules,
        population,
        subjects.charges(step),
    )
    check_flags(flags)
    return Raised(from_on, to_on, flags, touched, findings, known)


FLAG_ROWS = pa.schema(
    [
        ("flag_id", pa.string()),
        ("transaction_id", pa.string()),
        ("audit_run_id", pa.string()),
        ("severity_level", pa.string()),
        ("confidence_score", pa.float64()),
        ("explanation", pa.string()),
        ("supporting_evidence_links", pa.string()),
        ("reviewed", pa.bool_()),
        ("human_decision", pa.string()),
        ("reviewer_id", pa.string()),
        ("review_timestamp", pa.timestamp("us", "UTC")),
        ("reviewer_notes", pa.string()),
        ("created_at", pa.timestamp("us", "UTC")),
        ("updated_at", pa.timestamp("us", "UTC")),
        ("population", pa.string()),
        ("audit_on", pa.date32()),
        ("severity_score", pa.int64()),
        ("state", pa.string()),
        ("points", pa.string()),
        ("first_run_id", pa.string()),
        ("vendor", pa.string()),
        ("vendor_id", pa.string()),
        ("cardholder", pa.string()),
        ("amount_cents", pa.int64()),
        ("occurred_on", pa.date32()),
        ("approver_id", pa.string()),
        ("vanished", pa.bool_()),
    ]
)
"""The columns of `flags` in the store, and whether a flag does not stand any more."""


@dataclass(frozen=True)
class Published:
    """What publishing did; `stored` has the flags of the touched transactions, as they stand."""

    raised: Raised
    changes: FlagChanges
    stored: list[dict[str, Any]]

    def table(self) -> pa.Table:
        """FLAG_ROWS, for whoever reads flags beside the store."""
        gone = FlagState.SUPERSEDED.value
        rows = [{**row, "vanished": row["state"] == gone} for row in self.stored]
        return pa.Table.from_pylist(rows, FLAG_ROWS)

    def counts(self) -> dict[str, int]:
        """How many flags were created, updated, left, superseded, reopened."""
        return self.changes.counts()


@dataclass(frozen=True)
class Publication:
    """All that a run changes in the store about flags; `put` does it in the caller's transaction.

    Attributes:
        rules: those that found it; one that is new, or was changed, is recorded.
        queries: what re-performs each rule, by rule id.
        days: the disposition ledger of the days that change.
    """

    population: str
    raised: Raised
    rules: Rules
    queries: dict[str, StoredQuery]
    days: list[PartitionRow]

    def put(self, writer: Writer, run_id: str) -> FlagChanges:
        """Findings, queries, flags, ledger and the flags' trail; a repetition changes nothing."""
        raised = self.raised
        writer.put_queries(self.queries.values())
        writer.replace_findings(
            self.population,
            raised.from_on,
            raised.to_on,
            raised.findings,
            {rule_id: query.query_id for rule_id, query in self.queries.items()},
        )
        changes = writer.publish_flags(self.population, raised.flags, raised.touched, run_id)
        writer.put_partitions(self.days)
        writer.record_rules(self.rules, run_id)
        writer.append_events(flag_events(run_id, raised, changes))
        return changes


def publish(step: Step, store: Store, raised: Raised) -> Published:
    """Everything about the run's flags in one transaction.

    Raises:
        LedgerUnbalanced: flagged + cleared + quarantined is not what was received.
        AttemptSuperseded: a later attempt has these days.
        PartitionBusy: an audit of other days has meanwhile published on the same transactions.
    """
    population = step.gold.population
    days = ledger(step, store, raised)
    wrong = disposition.imbalances(days)
    if wrong:
        raise LedgerUnbalanced("the disposition ledger does not balance: " + "; ".join(wrong))
    publication = Publication(population, raised, step.gold.rules, _stored_queries(step), days)

    def effect(writer: Writer) -> FlagChanges:
        # Nobody else writes now, so what is read here beside the transaction holds until its end.
        outside = (raised.from_on, raised.to_on)
        if store.findings_of(population, raised.touched, outside) != raised.known:
            raise PartitionBusy(
                "an audit of other days has published findings on the same transactions meanwhile"
            )
        return publication.put(writer, step.run_id)

    changes = step.commit("publish_flags", "publish", store, effect)
    return Published(raised, changes, store.flags_of_transactions(population, raised.touched))


def keep_rules(folder: Path, text: str, run_id: str) -> None:
    """Keep a rules text under its digest, for whoever re-performs what it found."""
    kept = folder / f"{digest(text)}.yaml"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        arriving = kept.with_suffix(f".{run_id}")
        arriving.write_text(text, encoding="utf-8")
        failpoints.here("rules.before")
        arriving.replace(kept)
        failpoints.here("rules.after")


def _stored_queries(step: Step) -> dict[str, StoredQuery]:
    """What re-performs each rule, and the rules text it was made from."""
    gold, books = step.gold, step.books
    text = gold.rules_text
    keep_rules(gold.derived.parent.parent / "rules", text, step.run_id)
    stored: dict[str, StoredQuery] = {}
    for agent in (gate, reconciliation_rules, anomaly_rules, context_rules):
        for rule_id, query in agent.findings(gold.rules, books.from_on, books.to_on).items():
            stored[rule_id] = StoredQuery.asked(
                rule_id,
                query.sql,
                {name: _json_value(value) for name, value in query.parameters.items()},
                gold.state.id,
                {
                    "from_on": books.from_on.isoformat(),
                    "to_on": books.to_on.isoformat(),
                    "rules": digest(text),
                    "horizon": gold.state.horizon.isoformat(),
                    "versions": gold.state.versions,
                },
            )
    return stored


def _json_value(value: object) -> object:
    return (
        value.isoformat()
        if isinstance(value, dt.date)
        else (str(value) if isinstance(value, Decimal) else value)
    )


def flag_events(run_id: str, raised: Raised, changes: FlagChanges) -> list[TrailEvent]:
    """What happened to each flag, for the trail."""
    now = dt.datetime.now(dt.UTC)
    by_id = {flag.flag_id: flag for flag in raised.flags}
    events = [
        audit_logging.flag_event(
            by_id[flag_id], change, run_id, now, escalation.decision_chain(by_id[flag_id])
        )
        for change in ("created", "updated", "reopened")
        for flag_id in getattr(changes, change)
    ]
    events += [
        TrailEvent(run_id, "escalation", "flag_superseded", now, output_summary={"flag_id": gone})
        for gone in changes.superseded
    ]
    return events


def ledger(step: Step, store: Store, raised: Raised) -> list[PartitionRow]:
    """The disposition of every day of the range, and of earlier days that this run changed.

    A rule that had to wait flags an entry of a day that was audited before; that day's entry is
    not cleared any more.
    """
    books, population = step.books, step.gold.population
    books.need("transactions")
    ids = pa.table({"transaction_id": pa.array(sorted(raised.touched), pa.string())})
    books.warehouse.create("touched", ids)
    changed = {
        row["audit_on"]
        for row in books.warehouse.rows(
            Query(
                "SELECT DISTINCT entry.audit_on FROM audit.touched AS touched"
                " JOIN audit.transactions AS entry ON entry.transaction_id = touched.transaction_id"
            )
        )
    }
    audited = {
        row.audit_on
        for row in store.partitions(population)
        if row.audit_on in changed and not books.from_on <= row.audit_on <= books.to_on
    }
    flagged = {flag.transaction_id for flag in raised.flags}
    flagged |= store.flagged_transactions(population) - raised.touched
    return [
        day
        for day in disposition.disposition(
            books, population, step.run_id, flagged, min({books.from_on, *audited})
        )
        if day.audit_on >= books.from_on or day.audit_on in audited
    ]


def close(step: Step, store: Store) -> list[PartitionRow]:
    """Mark the run complete, with its totals; returns the ledger of its days."""
    books, population = step.books, step.gold.population
    days = list(store.partitions(population, books.from_on, books.to_on))
    summary = {
        "population": population,
        "from": books.from_on.isoformat(),
        "to": books.to_on.isoformat(),
        "transactions": sum(day.transactions for day in days),
        "flagged": sum(day.flagged for day in days),
        "cleared": sum(day.cleared for day in days),
        "quarantined": sum(day.quarantined for day in days),
    }

    def effect(writer: Writer) -> list[PartitionRow]:
        writer.mark_audit_complete(step.run_id, summary)
        attempts.release(writer, step.attempt.dagster_run_id)
        return days

    step.commit("mark_audit_complete", "close", store, effect)
    step.live.mark_audit_complete(step.run_id, summary)
    return days
