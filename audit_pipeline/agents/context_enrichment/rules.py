"""Context enrichment's rules: what a document would have explained, and is not there.

Absence is judged against custom: a receipt is missing where such charges have one. A document that
is there is judged by who made it, from where, and when.
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

_APPROVAL = {
    "email_id": "gold.emails.email_id@email_id",
    "approver": "gold.emails.sender@email_id",
    "approved_on": "gold.emails.date@email_id",
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
            **_APPROVAL,
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
    Detector(
        "CX-05",
        sql_of(HERE, "spender_approval"),
        {**_CHARGE, **_APPROVAL, "cardholder": "gold.credit_cards.cardholder"},
    ),
    Detector(
        "CX-06",
        sql_of(HERE, "foreign_approval"),
        {
            **_CHARGE,
            **_APPROVAL,
            "foreign_domain": "audit.foreign_domains.domain@foreign_domain",
            "what_it_is": "audit.foreign_domains.looks_like@foreign_domain",
        },
    ),
    Detector(
        "CX-07",
        sql_of(HERE, "late_document"),
        {
            **_CHARGE,
            "document": "audit.late_document.document",
            "email_id": "gold.emails.email_id@email_id",
            "receipt_id": "gold.receipts.receipt_id@receipt_id",
            "made_on": "audit.late_document.made_on",
            "days_after": "audit.late_document.days_after",
        },
    ),
)


def findings(rules: "Rules", from_on: dt.date, to_on: dt.date) -> dict[str, Query]:
    """Rule id → the query of its findings on those audit dates."""
    return {d.rule_id: d.query(rules[d.rule_id], from_on, to_on) for d in DETECTORS}
