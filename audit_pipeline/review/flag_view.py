"""A flag as a reviewer reads it: why, from what, what is missing, what became of others like it."""

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, select

from audit_pipeline.adapters.store import Store, reviewing, worklist
from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.adapters.store.schema import (
    AUDIT_TRAIL,
    COMMENTS,
    DECISIONS,
    SECOND_REVIEWS,
    WITHDRAWALS,
)
from audit_pipeline.adapters.store.worklist import WorkRow
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.rule import Rules
from audit_pipeline.review.flag_pictures import Bar

ALIKE_MAX = 8
QUOTED = ("document", "email", "calendar")
"""The names of cells whose value is the words of a document."""

ABSENCES = {
    "CX-01": "a receipt",
    "CX-02": "an approval before the charge",
    "CX-03": "an approval",
    "CX-05": "an approval by somebody else than the spender",
    "CX-06": "an approval from inside the company",
    "RC-01": "a payment of the card's statement",
    "RC-02": "a place in its statement's payment",
    "RC-03": "a line on its statement",
    "RC-04": "an entry in the ledger",
    "RC-06": "an explanation of the statement's difference",
    "RC-08": "a line on the bank's statement",
    "RC-09": "a line of the statement, between two balances",
    "AN-13": "a payment that was due",
    "DQ-01": "a required value",
}
"""What a rule that hit says is not there."""

_TERM = re.compile(r"(\w+) ([+-][0-9.]+)")


@dataclass(frozen=True)
class Happening:
    """One line of the timeline."""

    at: dt.datetime
    who: str
    what: str
    said: str = ""


@dataclass(frozen=True)
class FlagView:
    """All that the page shows at once; what takes longer is fetched after it.

    Attributes:
        pending: the decision that waits for a second person.
        facts: the cells of each finding that are no quotations; `quotes`: those that are.
        missing: in words.
        settlement: what makes up a statement's payment, or a match: bars that add up.
    """

    row: WorkRow
    findings: Sequence[Finding]
    pending: str | None
    facts: Sequence[tuple[Finding, Sequence[Cell]]]
    quotes: Sequence[Cell]
    missing: Sequence[str]
    settlement: Sequence[tuple[str, Sequence[Bar]]]
    timeline: Sequence[Happening]
    alike: Sequence[FlagRow]


def flag_view(store: Store, flag_id: str, now: dt.datetime) -> FlagView | None:
    """The flag of this id; None where there is none."""
    with store.reading() as connection:
        row = worklist.work_on(connection, flag_id, now)
        if row is None:
            return None
        alike = worklist.vendors_flags(connection, row.flag, ALIKE_MAX)
        said, pending = _decisions(connection, row.flag)
    findings = store.findings_of_flag(flag_id)
    cells = [(one, [c for c in one.evidence if c.name not in QUOTED]) for one in findings]
    quotes = [c for one in findings for c in one.evidence if c.name in QUOTED]
    hits = {one.rule_id for one in findings if one.score > 0}
    return FlagView(
        row,
        findings,
        pending,
        [(one, facts) for one, facts in cells if facts],
        list(dict.fromkeys(quotes)),
        [absence for rule_id, absence in ABSENCES.items() if rule_id in hits],
        [bars for one in findings for bars in _settlement(one)],
        said,
        alike,
    )


def agents_timeline(store: Store, flag: FlagRow) -> list[Happening]:
    """What agents and models did to the flag, as the trail has it."""
    named = f'"flag_id":"{flag.flag_id}"'
    columns = AUDIT_TRAIL.c
    asked = (
        select(columns.timestamp, columns.agent_name, columns.tool_called, columns.output_summary)
        .where(
            columns.audit_run_id.in_({flag.first_run_id, flag.audit_run_id}),
            columns.tool_called.startswith("flag_"),
            columns.output_summary.contains(named, autoescape=True),
        )
        .order_by(columns.log_sequence_number)
    )
    with store.reading() as connection:
        rows = connection.execute(asked).all()
    return [
        Happening(
            row.timestamp,
            row.agent_name.replace("_", " "),
            row.tool_called.replace("_", " "),
            str(json.loads(row.output_summary).get("severity_level", "")),
        )
        for row in rows
    ]


def _decisions(connection: Connection, flag: FlagRow) -> tuple[list[Happening], str | None]:
    """What people said about the flag, in order, and the decision that waits for a second one."""
    told: list[Happening] = []
    latest: str | None = None
    asked = (
        select(
            DECISIONS,
            SECOND_REVIEWS.c.approver_id,
            SECOND_REVIEWS.c.agrees,
            SECOND_REVIEWS.c.reviewed_at,
            SECOND_REVIEWS.c.notes.label("second_notes"),
            WITHDRAWALS.c.withdrawn_by,
            WITHDRAWALS.c.withdrawn_at,
        )
        .outerjoin(SECOND_REVIEWS, SECOND_REVIEWS.c.decision_id == DECISIONS.c.decision_id)
        .outerjoin(WITHDRAWALS, WITHDRAWALS.c.decision_id == DECISIONS.c.decision_id)
        .where(DECISIONS.c.flag_id == flag.flag_id)
        .order_by(DECISIONS.c.decided_at, DECISIONS.c.recorded_at)
    )
    for row in connection.execute(asked).mappings():
        verdict = row["verdict"].replace("_", " ")
        reason = row["reason"].replace("_", " ")
        said = f"{verdict}: {reason}"
        told.append(Happening(row["decided_at"], row["reviewer_id"], said, row["notes"]))
        if row["approver_id"] is not None:
            word = "agreed" if row["agrees"] else "did not agree"
            second = row["reviewed_at"], row["approver_id"], f"{word} to {verdict}"
            told.append(Happening(*second, row["second_notes"]))
        if row["withdrawn_at"] is not None:
            gone = row["withdrawn_at"], row["withdrawn_by"], f"took back {verdict}"
            told.append(Happening(*gone))
        elif row["approver_id"] is None:
            latest = row["decision_id"]
    comments = select(COMMENTS).where(COMMENTS.c.flag_id == flag.flag_id)
    told += [
        Happening(row["said_at"], row["author_id"], "comment", row["body"])
        for row in connection.execute(comments).mappings()
    ]
    pending = latest if reviewing.awaits_second(flag) else None
    return sorted(told, key=lambda one: one.at), pending


def _settlement(finding: Finding) -> list[tuple[str, list[Bar]]]:
    """The sums that a settlement finding compares, or the weights of the nearest match."""
    said = {cell.name: cell.value for cell in finding.evidence}
    if {"lines_total", "paid", "difference"} <= said.keys():
        total, paid = Decimal(said["lines_total"]), Decimal(said["paid"])
        bars = [Bar("charges of the period", total, is_sum=True)]
        own = Decimal(said["amount"]) if "amount" in said else Decimal(0)
        left = paid - total
        if own and abs(own) <= abs(left):
            bars.append(Bar("this charge", own.copy_sign(left)))
            left -= own.copy_sign(left)
        if left:
            bars.append(Bar("others that were left out", left))
        bars.append(Bar("paid", paid, is_sum=True))
        return [
            (f"{finding.rule_id}: how the payment {said.get('payment_id', '')} comes about", bars)
        ]
    terms = _TERM.findall(said.get("nearest_terms", ""))
    if terms:
        bars = [Bar(name, Decimal(value)) for name, value in terms]
        bars.append(Bar("together", sum((bar.value for bar in bars), Decimal(0)), is_sum=True))
        nearest = said.get("nearest_id", "")
        return [(f"{finding.rule_id}: how near {nearest} comes to being the same payment", bars)]
    return []


def severities(rules: Rules) -> str:
    """How points become a severity, in one line."""
    bars = rules["ES-00"]
    named = ((level, bars.whole(level.lower())) for level in ("CRITICAL", "WARNING", "INFO"))
    return ", ".join(f"{level} from {at}" for level, at in named)
