"""Context enrichment's rules: what a document would have explained, and is not there.

Absence is judged against custom: a receipt is missing where such charges have one.
"""

import datetime as dt
from typing import TYPE_CHECKING

from audit_pipeline.model.query import Detector, Query, sql_of

if TYPE_CHECKING:
    from audit_pipeline.model.rule import Rules

HERE = "audit_pipeline.agents.context_enrichment"

_CHARGE = {
    "amount": "gold.recent_transactions.amount",
    "vendor": "gold.recent_transactions.vendor",
    "charged_on": "gold.recent_transactions.date",
}

DETECTORS: tuple[Detector, ...] = (
    Detector(
        "CX-01",
        sql_of(HERE, "no_receipt"),
        {
            **_CHARGE,
            "category": "gold.credit_cards.category",
            "days_open": "audit.no_receipt.days_open",
            "usual_share": "audit.no_receipt.usual_share",
        },
    ),
    Detector(
        "CX-02",
        sql_of(HERE, "late_approval"),
        {
            **_CHARGE,
            "email_id": "gold.emails.email_id@email_id",
            "approver": "gold.emails.sender@email_id",
            "approved_on": "gold.emails.date@email_id",
            "days_after": "audit.late_approval.days_after",
        },
    ),
    Detector(
        "CX-03",
        sql_of(HERE, "no_approval"),
        {
            **_CHARGE,
            "approval_limit": "rules.CX-03.limit",
            "usual_share": "audit.approval_customs.usual_share",
        },
    ),
)


def findings(rules: "Rules", from_on: dt.date, to_on: dt.date) -> dict[str, Query]:
    """Rule id → the query of its findings on those audit dates."""
    return {d.rule_id: d.query(rules[d.rule_id], from_on, to_on) for d in DETECTORS}
