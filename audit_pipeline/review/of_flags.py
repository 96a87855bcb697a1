"""The sheets of a workpaper that are about its flags: one table each, joined by the flag's id."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from audit_pipeline.review.paper import Column, Kind, Sheet

if TYPE_CHECKING:
    from audit_pipeline.adapters.store.papers import DecisionRow, FlagFinding, Papers
    from audit_pipeline.adapters.store.rows import FlagRow

ID, RULE = Column("flag id", width=38), Column("rule", width=8)
DAY = Column("day", Kind.DAY, 11)


def flags_sheet(flags: "list[FlagRow]", decisions: "list[DecisionRow]") -> Sheet:
    """Each flag with its charge, its standing and the decision that stands."""
    columns = (
        ID,
        Column("severity", width=10),
        Column("score", Kind.COUNT, 8),
        Column("sum of parts", Kind.COUNT, 12),
        Column("confidence", Kind.NUMBER, 11),
        Column("state", width=11),
        Column("transaction", width=24),
        Column("vendor", width=30),
        Column("vendor id", width=22),
        Column("cardholder", width=22),
        Column("date", Kind.DAY, 11),
        Column("amount", Kind.MONEY, 14),
        Column("explanation", width=80),
        Column("decision", width=16),
        Column("reason", width=20),
        Column("decided by", width=20),
        Column("decided at (UTC)", Kind.INSTANT, 20),
        Column("second person", width=20),
        Column("notes", width=50),
        Column("audit date", Kind.DAY, 11),
        Column("population", width=20),
        Column("raised at (UTC)", Kind.INSTANT, 20),
        Column("changed at (UTC)", Kind.INSTANT, 20),
        Column("raised by run", width=38),
        Column("last changed by run", width=38),
    )
    standing = {said.flag_id: said for said in decisions if _holds(said)}
    return Sheet.of("Flags", columns, (_flag(flag, standing) for flag in flags))


def _flag(flag: "FlagRow", standing: "Mapping[str, DecisionRow]") -> tuple[object, ...]:
    said = standing.get(flag.flag_id)
    return (
        flag.flag_id,
        flag.severity_level,
        flag.severity_score,
        sum(point.points for point in flag.points),
        round(flag.confidence_score, 4),
        flag.state,
        flag.transaction_id,
        flag.vendor,
        flag.vendor_id,
        flag.cardholder,
        flag.occurred_on,
        None if flag.amount_cents is None else Decimal(flag.amount_cents).scaleb(-2),
        flag.explanation,
        flag.human_decision,
        None if said is None or flag.human_decision is None else said.reason,
        flag.reviewer_id,
        flag.review_timestamp,
        flag.approver_id,
        flag.reviewer_notes,
        flag.audit_on,
        flag.population,
        flag.created_at,
        flag.updated_at,
        flag.first_run_id,
        flag.audit_run_id,
    )


def _holds(said: "DecisionRow") -> bool:
    """Neither taken back nor refused; of several the latest one stands, and they are in order."""
    return said.withdrawn_at is None and said.agrees is not False


def score_parts_sheet(flags: "list[FlagRow]") -> Sheet:
    """The parts that add up to each flag's score."""
    columns = (ID, RULE, Column("points", Kind.COUNT, 8), Column("reason", width=100))
    rows = [
        (flag.flag_id, point.rule_id, point.points, point.reason)
        for flag in flags
        for point in flag.points
    ]
    return Sheet.of("Score parts", columns, rows)


def findings_sheet(found: "list[FlagFinding]") -> Sheet:
    """What each rule measured."""
    columns = (
        ID,
        RULE,
        Column("rule version", Kind.COUNT, 11),
        DAY,
        Column("transaction", width=24),
        Column("measured", Kind.NUMBER, 16),
        Column("threshold", Kind.NUMBER, 16),
        Column("points", Kind.COUNT, 8),
        Column("query id", width=66),
    )
    rows = [
        (
            one.flag_id,
            one.finding.rule_id,
            one.finding.rule_version,
            one.finding.audit_on,
            one.finding.transaction_id,
            one.finding.measured,
            one.finding.threshold,
            one.finding.score,
            one.query_id,
        )
        for one in found
    ]
    return Sheet.of("Findings", columns, rows)


def evidence_sheet(found: "list[FlagFinding]") -> Sheet:
    """The cells that show each finding."""
    columns = (
        ID,
        RULE,
        DAY,
        Column("fact", width=22),
        Column("value", width=40),
        Column("table", width=26),
        Column("column", width=20),
        Column("row id", width=26),
    )
    rows: list[tuple[object, ...]] = []
    for one in found:
        for cell in one.finding.evidence:
            table, _, column = cell.source.rpartition(".")
            head = (one.flag_id, one.finding.rule_id, one.finding.audit_on)
            rows.append((*head, cell.name, cell.value, table, column, cell.row_id))
    return Sheet.of("Evidence", columns, rows)


def decisions_sheet(papers: "Papers") -> Sheet:
    """Every decision, those that were taken back or refused too, the latest of a flag last."""
    columns = (
        ID,
        Column("decision", width=16),
        Column("reason", width=20),
        Column("decided by", width=20),
        Column("decided at (UTC)", Kind.INSTANT, 20),
        Column("stands", width=8),
        Column("notes", width=50),
        Column("recorded at (UTC)", Kind.INSTANT, 20),
        Column("second person", width=20),
        Column("agrees", width=8),
        Column("second review at (UTC)", Kind.INSTANT, 20),
        Column("second person's notes", width=40),
        Column("withdrawn by", width=20),
        Column("withdrawn at (UTC)", Kind.INSTANT, 20),
        Column("decision id", width=66),
    )
    standing = {said.flag_id: said.decision_id for said in papers.decisions if _holds(said)}
    rows = [
        (
            said.flag_id,
            said.verdict,
            said.reason,
            said.reviewer_id,
            said.decided_at,
            standing.get(said.flag_id) == said.decision_id,
            said.notes,
            said.recorded_at,
            said.approver_id,
            said.agrees,
            said.reviewed_at,
            said.approver_notes,
            said.withdrawn_by,
            said.withdrawn_at,
            said.decision_id,
        )
        for said in papers.decisions
    ]
    return Sheet.of("Decisions", columns, rows)


def comments_sheet(papers: "Papers") -> Sheet:
    """What people said."""
    columns = (
        ID,
        Column("author", width=20),
        Column("said at (UTC)", Kind.INSTANT, 20),
        Column("comment", width=100),
    )
    rows = [(one.flag_id, one.author_id, one.said_at, one.body) for one in papers.comments]
    return Sheet.of("Comments", columns, rows)
