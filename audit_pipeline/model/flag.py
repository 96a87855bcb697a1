"""A flag: what a reviewer decides on. One per transaction and audited population."""

import datetime as dt
import uuid
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from audit_pipeline.model.errors import TransitionRefused
from audit_pipeline.model.finding import Finding

FLAG_NAMESPACE = uuid.UUID("6f1c2a52-9b1d-5c5e-8a55-2d1f4a1f7c10")
"""Drawn once at random; changing it would give every flag a new id."""


class Severity(StrEnum):
    """In the order in which a reviewer works through them."""

    CRITICAL = "CRITICAL"
    WARNING = "WARNING"
    INFO = "INFO"

    @property
    def rank(self) -> int:
        """3 for CRITICAL, 2 for WARNING, 1 for INFO: `max` of ranks is the floor rule."""
        return {Severity.CRITICAL: 3, Severity.WARNING: 2, Severity.INFO: 1}[self]


class FlagState(StrEnum):
    """Where a flag stands."""

    OPEN = "open"
    DECIDED = "decided"
    SUPERSEDED = "superseded"


TRANSITIONS: dict[FlagState, frozenset[FlagState]] = {
    FlagState.OPEN: frozenset({FlagState.OPEN, FlagState.DECIDED, FlagState.SUPERSEDED}),
    FlagState.DECIDED: frozenset({FlagState.DECIDED, FlagState.OPEN}),
    FlagState.SUPERSEDED: frozenset({FlagState.SUPERSEDED, FlagState.OPEN}),
}
"""A decided flag keeps its decision when its findings vanish; undoing the decision reopens it.
A superseded flag opens again when the findings come back."""


def transition(current: FlagState, target: FlagState) -> FlagState:
    """`target`, where a flag may go there from `current`.

    Raises:
        TransitionRefused: it may not.
    """
    if target not in TRANSITIONS[current]:
        raise TransitionRefused(f"a flag that is {current} cannot become {target}")
    return target


def flag_id(transaction_id: str, population: str) -> str:
    """The same transaction of the same population has the same flag, whichever run finds it."""
    name = f"{transaction_id}|{population}"
    # half a surrogate pair, which has no UTF-8, is spelt out
    return str(uuid.uuid5(FLAG_NAMESPACE, name.encode("utf-8", "backslashreplace").decode()))


@dataclass(frozen=True)
class Point:
    """One part of a severity score: the parts add up to the score."""

    rule_id: str
    points: int
    reason: str


@dataclass(frozen=True)
class Charge:
    """What was paid, to whom and by whom: what a reviewer looks a flag up by.

    Attributes:
        vendor: as the ledger writes it; untrusted, as are the others.
        vendor_id: the vendor's entity, where it is known.
        cardholder: the person or cost centre that spent it, where a card did.
        amount: None where it could not be read.
        occurred_on: None where it could not be read.
    """

    vendor: str = ""
    vendor_id: str = ""
    cardholder: str = ""
    amount: Decimal | None = None
    occurred_on: dt.date | None = None


@dataclass(frozen=True)
class Flag:
    """What is raised for a transaction; the review columns are not here, they are decisions.

    Attributes:
        flag_id: see `flag_id`.
        population: what was audited, e.g. the name of the fixture folder or the catalog.
        audit_on: the latest audit date that has a finding on the transaction.
        severity_score: 0 to 100, the sum of `points`, capped.
        confidence_score: 0 to 1, how sure the rules are.
        explanation: one or two sentences, generated from the evidence.
        links: `supporting_evidence_links`: source cells as `table/row_id`, sorted, unique.
        findings: everything that led here, ordered by (audit_on, rule_id).
        charge: of the transaction.
    """

    flag_id: str
    transaction_id: str
    population: str
    audit_on: dt.date
    severity_level: Severity
    severity_score: int
    confidence_score: float
    explanation: str
    links: tuple[str, ...]
    points: tuple[Point, ...]
    findings: tuple[Finding, ...]
    charge: Charge = Charge()
