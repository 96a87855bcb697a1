"""The one shape that every detector emits.

The union of findings feeds escalation, their count feeds metrics, precision by `rule_id` feeds
tuning, and a stored `measured` replays any change of a threshold.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Cell:
    """One fact of a finding's evidence: a value and the cell of a table it was read from.

    Attributes:
        name: what the explanation calls it, e.g. `amount`.
        source: table and column, e.g. `gold.receipts.amount`, or `audit.vendor_profiles.median`.
        row_id: the key of the row in that table.
        value: the value as text; untrusted.
    """

    name: str
    source: str
    row_id: str
    value: str


@dataclass(frozen=True)
class Finding:
    """One rule's verdict on one transaction, on one audit date; unique on those three.

    Attributes:
        audit_on: the audit date (UTC) on which the rule was applied.
        transaction_id: the ledger entry, or the statement line that has none.
        rule_id: stable and never reused, e.g. `RC-02`.
        rule_version: which thresholds and which SQL.
        measured: the quantity that the rule compares, in the rule's unit.
        threshold: what it was compared with.
        score: points that the rule gives (0 to 100).
        evidence: the cells that show it.
    """

    audit_on: dt.date
    transaction_id: str
    rule_id: str
    rule_version: int
    measured: Decimal
    threshold: Decimal
    score: int
    evidence: tuple[Cell, ...]
