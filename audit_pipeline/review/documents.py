"""What the API for programs gives and takes about flags.

Amounts are texts to the cent, instants ISO 8601 in UTC, days YYYY-MM-DD. Vendor names, notes and
explanations are data from outside: to be shown, never to be interpreted.
"""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from audit_pipeline.adapters.store import reviewing
from audit_pipeline.adapters.store.reviews import CommentRow, DecisionRow
from audit_pipeline.adapters.store.worklist import Filters, WorkRow
from audit_pipeline.model.decision import Reason, Verdict
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.flag import FlagState, Severity

BULK_MAX = 500
NOTES_MAX = 10_000

FlagId = Annotated[str, Field(min_length=1, max_length=36, description="of a flag")]
Notes = Annotated[str, Field(max_length=NOTES_MAX, description="in the person's own words")]


def _in_range(instant: dt.datetime) -> dt.datetime:
    """In UTC; the first hours of year 1 and the last of 9999 may have none."""
    try:
        return instant.astimezone(dt.UTC)
    except OverflowError as fault:
        raise ValueError("no such instant in UTC") from fault


At = Annotated[AwareDatetime, AfterValidator(_in_range)]


class Document(BaseModel):
    """Nothing but its fields."""

    model_config = ConfigDict(extra="forbid")


class PointOut(Document):
    """A part of the score: the parts add up to it."""

    rule_id: str
    points: int
    reason: str


class WorkOut(Document):
    """Who works on a flag."""

    assignee_id: str | None = Field(description="whose it is to decide; none: anybody's")
    snoozed_until_at: dt.datetime | None
    locked_by: str | None = Field(description="who has it open now")
    locked_until_at: dt.datetime | None


class FlagOut(Document):
    """A flag, as the queue lists it."""

    flag_id: str
    transaction_id: str
    population: str
    audit_on: dt.date = Field(description="the latest audit date with a finding on it")
    audit_run_id: str = Field(description="the run that last changed it")
    first_run_id: str = Field(description="the run that raised it")
    severity: Severity
    score: int = Field(description="0 to 100")
    confidence: float = Field(description="0 to 1")
    explanation: str
    links: list[str] = Field(description="source cells, as table/row_id")
    points: list[PointOut]
    state: FlagState
    awaits_second_person: bool = Field(description="a decision on it waits for another person")
    verdict: Verdict | None = Field(description="of the decision that stands")
    reviewer_id: str | None
    reviewed_at: dt.datetime | None
    notes: str | None
    approver_id: str | None = Field(description="the second person, where one agreed")
    vendor: str | None
    vendor_id: str | None
    cardholder: str | None
    amount: str | None = Field(description="of the charge, to the cent", examples=["1234.50"])
    occurred_on: dt.date | None
    created_at: dt.datetime
    updated_at: dt.datetime = Field(description="what `seen_at` of a decision has to be")
    work: WorkOut

    @classmethod
    def of(cls, row: WorkRow) -> "FlagOut":
        """From a row of the queue."""
        return cls(**_flag_fields(row))


class CellOut(Document):
    """A source value that a finding rests on."""

    name: str
    source: str
    row_id: str
    value: str


class FindingOut(Document):
    """What a rule found on an audit date."""

    rule_id: str
    rule_version: int
    audit_on: dt.date
    measured: str = Field(description="a decimal number")
    threshold: str = Field(description="a decimal number")
    score: int
    query_id: str | None = Field(description="of the query that re-performs it")
    evidence: list[CellOut]

    @classmethod
    def of(cls, finding: Finding, query_id: str | None) -> "FindingOut":
        """From a finding and the id of its query."""
        return cls(
            rule_id=finding.rule_id,
            rule_version=finding.rule_version,
            audit_on=finding.audit_on,
            measured=f"{finding.measured:f}",
            threshold=f"{finding.threshold:f}",
            score=finding.score,
            query_id=query_id,
            evidence=[
                CellOut(name=cell.name, source=cell.source, row_id=cell.row_id, value=cell.value)
                for cell in finding.evidence
            ],
        )


class SecondOut(Document):
    """What a second person said to a decision."""

    approver_id: str
    agrees: bool
    reviewed_at: dt.datetime
    notes: str


class DecisionOut(Document):
    """A decision, whether it still stands or not."""

    decision_id: str
    flag_id: str
    verdict: Verdict
    reason: Reason
    reviewer_id: str
    decided_at: dt.datetime
    recorded_at: dt.datetime
    notes: str
    second: SecondOut | None
    withdrawn_at: dt.datetime | None

    @classmethod
    def of(cls, row: DecisionRow) -> "DecisionOut":
        """From a row of the store."""
        second = None
        if row.approver_id is not None and row.seconded_at is not None:
            second = SecondOut(
                approver_id=row.approver_id,
                agrees=bool(row.agrees),
                reviewed_at=row.seconded_at,
                notes=row.approver_notes or "",
            )
        return cls(
            decision_id=row.decision_id,
            flag_id=row.flag_id,
            verdict=row.verdict,
            reason=row.reason,
            reviewer_id=row.reviewer_id,
            decided_at=row.decided_at,
            recorded_at=row.recorded_at,
            notes=row.notes,
            second=second,
            withdrawn_at=row.withdrawn_at,
        )


class CommentOut(Document):
    """What somebody said about a flag."""

    comment_id: str
    author_id: str
    said_at: dt.datetime
    body: str


class FlagDetail(FlagOut):
    """A flag with everything that led to it and everything that was said about it."""

    findings: list[FindingOut]
    decisions: list[DecisionOut] = Field(description="the latest last")
    comments: list[CommentOut] = Field(description="the latest last")

    @classmethod
    def whole(
        cls,
        row: WorkRow,
        findings: list[tuple[Finding, str | None]],
        decisions: list[DecisionRow],
        comments: list[CommentRow],
    ) -> "FlagDetail":
        """From what one reading of the store gave."""
        return cls(
            **_flag_fields(row),
            findings=[FindingOut.of(*each) for each in findings],
            decisions=[DecisionOut.of(each) for each in decisions],
            comments=[CommentOut(**vars(each)) for each in comments],
        )


class FlagPage(Document):
    """Some of the flags, in the order in which they are worked through."""

    flags: list[FlagOut]
    next: str | None = Field(description="the cursor of the following page; none: the last one")


class Asked(Document):
    """Which flags; what is left out is not asked."""

    population: str = Field("", max_length=255)
    severity: Severity | None = None
    rule: str = Field("", max_length=20, description="with a finding of this rule")
    vendor: str = Field("", max_length=200, description="a part of the vendor's name")
    cardholder: str = Field("", max_length=200, description="a part of the person's name")
    amount_min: Decimal | None = Field(None, max_digits=15, decimal_places=2)
    amount_max: Decimal | None = Field(None, max_digits=15, decimal_places=2)
    from_on: dt.date | None = Field(None, alias="from", description="of the charge, inclusive")
    to_on: dt.date | None = Field(None, alias="to", description="of the charge, inclusive")
    state: Literal["open", "awaiting", "decided", "superseded", "any"] = "open"
    assignee: str = Field("", max_length=255, description="a user id, or `nobody`")
    snoozed: bool = Field(default=False, description="those put off for later, not the others")
    q: str = Field("", max_length=200, description="in the explanation, the vendor or the ids")

    @property
    def filters(self) -> Filters:
        """As the queue takes them."""
        return Filters(
            population=self.population,
            severity=self.severity,
            rule=self.rule,
            vendor=self.vendor,
            cardholder=self.cardholder,
            amount_min_cents=_cents(self.amount_min),
            amount_max_cents=_cents(self.amount_max),
            from_on=self.from_on,
            to_on=self.to_on,
            state=self.state,
            assignee=self.assignee,
            snoozed=self.snoozed,
            text=self.q,
        )


class AskedPage(Asked):
    """Which flags, and which page of them."""

    cursor: str | None = Field(None, max_length=400, description="`next` of the page before")
    limit: int = Field(50, ge=1, le=200)


class Verdicts(Document):
    """A decision."""

    verdict: Verdict
    reason: Reason
    notes: Notes = ""


class DecideIn(Verdicts):
    """A decision on the flag that was looked at."""

    seen_at: At | None = Field(
        None, description="the flag's `updated_at` when it was looked at; refused if it changed"
    )


class SecondIn(Document):
    """The second person's word."""

    decision_id: str = Field(min_length=64, max_length=64, description="that was looked at")
    agrees: bool
    notes: Notes = ""


class CommentIn(Document):
    """Words about a flag."""

    body: str = Field(min_length=1, max_length=NOTES_MAX, pattern=r"\S")


class _Bulk(Document):
    flag_ids: list[FlagId] = Field(min_length=1, max_length=BULK_MAX)


class BulkDecide(_Bulk, Verdicts):
    """The same decision on each of these flags."""

    action: Literal["decide"]


class BulkAssign(_Bulk):
    """These flags are this person's to decide."""

    action: Literal["assign"]
    assignee_id: str | None = Field(max_length=255, description="none: anybody's")


class BulkSnooze(_Bulk):
    """These flags are put off."""

    action: Literal["snooze"]
    until_at: At | None = Field(description="none: they are shown again")


BulkIn = Annotated[BulkDecide | BulkAssign | BulkSnooze, Field(discriminator="action")]


class Refusal(Document):
    """Why it was not done."""

    kind: str = Field(examples=["OwnCharge"])
    message: str


class BulkResult(Document):
    """What became of one flag."""

    flag_id: str
    done: bool
    error: Refusal | None


class BulkOut(Document):
    """What became of each, in the order in which they were sent."""

    results: list[BulkResult]
    done: int
    refused: int


def _cents(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount.scaleb(2))


def _flag_fields(row: WorkRow) -> dict[str, Any]:
    flag = row.flag
    cents = flag.amount_cents
    return {
        "flag_id": flag.flag_id,
        "transaction_id": flag.transaction_id,
        "population": flag.population,
        "audit_on": flag.audit_on,
        "audit_run_id": flag.audit_run_id,
        "first_run_id": flag.first_run_id,
        "severity": flag.severity_level,
        "score": flag.severity_score,
        "confidence": flag.confidence_score,
        "explanation": flag.explanation,
        "links": list(flag.links),
        "points": [PointOut(**vars(point)) for point in flag.points],
        "state": flag.state,
        "awaits_second_person": reviewing.awaits_second(flag),
        "verdict": flag.human_decision,
        "reviewer_id": flag.reviewer_id,
        "reviewed_at": flag.review_timestamp,
        "notes": flag.reviewer_notes,
        "approver_id": flag.approver_id,
        "vendor": flag.vendor,
        "vendor_id": flag.vendor_id,
        "cardholder": flag.cardholder,
        "amount": None if cents is None else f"{Decimal(cents).scaleb(-2):.2f}",
        "occurred_on": flag.occurred_on,
        "created_at": flag.created_at,
        "updated_at": flag.updated_at,
        "work": WorkOut(
            assignee_id=row.assignee_id,
            snoozed_until_at=row.snoozed_until_at,
            locked_by=row.locked_by,
            locked_until_at=row.locked_until_at,
        ),
    }
