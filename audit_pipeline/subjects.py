"""What escalation has to know of the transactions that a run touched, beside their findings."""

import pyarrow as pa

from audit_pipeline.agents import escalation
from audit_pipeline.model.flag import Charge
from audit_pipeline.model.query import Query
from audit_pipeline.steps import Step


def subjects(step: Step, touched: set[str]) -> dict[str, escalation.Subject]:
    """By transaction id, of the touched that the ledger has; they are made `audit.touched`."""
    books = step.books
    books.need("transactions", "recurring")
    ids = pa.table({"transaction_id": pa.array(sorted(touched), pa.string())})
    books.warehouse.create("touched", ids)
    rows = books.warehouse.query(
        Query(
            "SELECT entry.transaction_id, entry.amount, entry.domain, entry.vendor_id,"
            " coalesce(entry.vendor_name, '') AS vendor_name,"
            " coalesce(series.is_steady"
            "  AND abs(series.cents - series.usual_cents) <= $share * series.usual_cents"
            "  AND abs(series.gap_days - series.usual_gap_days) <= series.allowed_days, false)"
            "  AS regular"
            " FROM audit.touched AS touched"
            " JOIN audit.transactions AS entry ON entry.transaction_id = touched.transaction_id"
            " LEFT JOIN audit.recurring AS series"
            " ON series.transaction_id = touched.transaction_id",
            {"share": step.gold.rules["ES-03"].number("within_share")},
        )
    )
    return {row["transaction_id"]: escalation.Subject(**row) for row in rows.to_pylist()}


def charges(step: Step) -> dict[str, Charge]:
    """What was paid, of the touched: as the ledger has it, else as the card's statement does."""
    step.books.need("transactions", "card_lines")
    rows = step.books.warehouse.query(
        Query(
            "SELECT entry.transaction_id, entry.vendor, coalesce(entry.vendor_id, '') AS vendor_id,"
            " entry.cardholder, entry.amount, entry.occurred_on"
            " FROM audit.touched AS touched"
            " JOIN audit.transactions AS entry ON entry.transaction_id = touched.transaction_id"
            " UNION ALL"
            " SELECT line.line_id, line.vendor, '', coalesce(line.cardholder, ''), line.amount,"
            " line.line_on"
            " FROM audit.touched AS touched"
            " JOIN audit.card_lines AS line ON line.line_id = touched.transaction_id"
            " ANTI JOIN audit.transactions AS entry ON entry.transaction_id = line.line_id",
            {},
        )
    )
    return {row.pop("transaction_id"): Charge(**row) for row in rows.to_pylist()}
