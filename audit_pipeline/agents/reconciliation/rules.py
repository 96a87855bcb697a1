"""Reconciliation's rules: what is left over once everything that matches is matched.

`RC-08` is the specification's orphan finder, `RC-01` the same where statements are paid as a whole;
the others are its unmatched lists, one per reason, so that a reviewer sees at once what is wrong.
"""

import datetime as dt
from typing import TYPE_CHECKING

from audit_pipeline.model.query import Detector, Query, sql_of

if TYPE_CHECKING:
    from audit_pipeline.model.rule import Rules

HERE = "audit_pipeline.agents.reconciliation"

_NEAREST = {
    "nearest_id": "audit.near_misses.other_id",
    "nearest_probability": "audit.near_misses.posterior",
    "nearest_terms": "audit.near_misses.terms",
    "nearest_rivals": "audit.near_misses.rivals",
}
"""What came nearest to a match: the waterfall of its score, and how many rivals it had."""

_GROUPED = {
    "grouped_as": "audit.groups.group_kind",
    "grouped_why": "audit.groups.reason",
}
"""What might explain it together with other lines, but not surely enough."""

DETECTORS: tuple[Detector, ...] = (
    Detector(
        "RC-01",
        sql_of(HERE, "unpaid"),
        {
            "amount": "gold.recent_transactions.amount",
            "vendor": "gold.recent_transactions.vendor",
            "charged_on": "gold.recent_transactions.date",
            "days_open": "audit.unpaid.days_open",
        },
    ),
    Detector(
        "RC-08",
        sql_of(HERE, "orphan"),
        {
            "amount": "gold.recent_transactions.amount",
            "vendor": "gold.recent_transactions.vendor",
            "charged_on": "gold.recent_transactions.date",
            "days_open": "audit.orphan.days_open",
            **_NEAREST,
        },
    ),
    Detector(
        "RC-02",
        sql_of(HERE, "left_out_of_payment"),
        {
            "amount": "gold.credit_cards.amount",
            "vendor": "gold.credit_cards.vendor",
            "charged_on": "gold.credit_cards.date",
            "payment_id": "gold.bank_accounts.txn_id@payment_id",
            "payment_on": "gold.bank_accounts.date@payment_id",
            "paid": "gold.bank_accounts.amount@payment_id",
            "lines": "audit.statements.lines@payment_id",
            "lines_total": "audit.statements.lines_total@payment_id",
            "difference": "audit.statements.difference@payment_id",
            "period_from": "audit.statements.period_from@payment_id",
            "period_to": "audit.statements.period_to@payment_id",
            "set_size": "audit.statements.explained_by@payment_id",
            "rivals": "audit.statements.rivals@payment_id",
        },
    ),
    Detector(
        "RC-03",
        sql_of(HERE, "not_on_statement"),
        {
            "amount": "gold.recent_transactions.amount",
            "vendor": "gold.recent_transactions.vendor",
            "charged_on": "gold.recent_transactions.date",
            "statement": "gold.recent_transactions.source",
            "days_open": "audit.not_on_statement.days_open",
            **_NEAREST,
            **_GROUPED,
        },
    ),
    Detector(
        "RC-04",
        sql_of(HERE, "not_in_ledger"),
        {
            "amount": "audit.card_lines.amount",
            "vendor": "audit.card_lines.vendor",
            "charged_on": "audit.card_lines.line_on",
            "statement": "audit.not_in_ledger.statement",
            **_NEAREST,
            **_GROUPED,
        },
    ),
    Detector(
        "RC-05",
        sql_of(HERE, "amount_disagrees"),
        {
            "amount": "gold.recent_transactions.amount",
            "vendor": "gold.recent_transactions.vendor",
            "statement_id": "audit.amount_disagrees.statement_id",
            "statement_amount": "audit.amount_disagrees.statement_amount@statement_id",
            "difference": "audit.amount_disagrees.difference",
            "shape": "audit.amount_disagrees.shape",
        },
    ),
    Detector(
        "RC-06",
        sql_of(HERE, "payment_unexplained"),
        {
            "paid": "gold.bank_accounts.amount",
            "payment_on": "gold.bank_accounts.date",
            "card": "audit.statements.card",
            "lines": "audit.statements.lines",
            "lines_total": "audit.statements.lines_total",
            "difference": "audit.statements.difference",
            "period_from": "audit.statements.period_from",
            "period_to": "audit.statements.period_to",
        },
    ),
    Detector(
        "RC-07",
        sql_of(HERE, "receipt_disagrees"),
        {
            "amount": "gold.recent_transactions.amount",
            "vendor": "gold.recent_transactions.vendor",
            "receipt_id": "gold.receipts.receipt_id@receipt_id",
            "receipt_amount": "gold.receipts.amount@receipt_id",
            "usual_share": "audit.receipt_disagrees.usual_share",
            "share": "audit.receipt_disagrees.share",
            "match_probability": "audit.matches.posterior",
            "match_terms": "audit.matches.terms",
            "match_rivals": "audit.matches.rivals",
        },
    ),
    Detector(
        "RC-09",
        sql_of(HERE, "balance_breaks"),
        {
            "account": "gold.bank_accounts.account_number",
            "previous_id": "gold.bank_accounts.txn_id@previous_id",
            "previous_on": "gold.bank_accounts.date@previous_id",
            "previous_balance": "gold.bank_accounts.running_balance@previous_id",
            "balance": "gold.bank_accounts.running_balance",
            "expected": "audit.balance_breaks.expected",
            "missing": "audit.balance_breaks.missing",
            "ledger_entry": "gold.recent_transactions.txn_id@ledger_entry",
        },
    ),
)


def findings(rules: "Rules", from_on: dt.date, to_on: dt.date) -> dict[str, Query]:
    """Rule id → the query of its findings on those audit dates."""
    return {d.rule_id: d.query(rules[d.rule_id], from_on, to_on) for d in DETECTORS}
