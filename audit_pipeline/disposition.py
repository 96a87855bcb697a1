"""The disposition ledger: each audited day's entries, flagged, cleared or quarantined.

What was received and what became of it are counted apart, by count and by amount, so that the two
can be compared.
"""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa

from audit_pipeline import charts
from audit_pipeline.adapters.store.rows import PartitionRow
from audit_pipeline.books import Books
from audit_pipeline.model.query import Query

LEDGER = """WITH rejected AS (
  SELECT audit_on, count(*) AS n, sum(coalesce(amount, 0)) AS amount
  FROM gold.quarantine
  WHERE table_name = 'recent_transactions' AND audit_on BETWEEN $from_on AND $to_on
  GROUP BY audit_on
),
received AS (
  SELECT audit_on, count(*) AS n, sum(coalesce(amount, 0)) AS amount
  FROM gold.recent_transactions
  WHERE audit_on BETWEEN $from_on AND $to_on
  GROUP BY audit_on
),
held AS (
  SELECT audit_on, count(*) AS n, sum(coalesce(amount, 0)) AS amount
  FROM audit.quarantined
  WHERE audit_on BETWEEN $from_on AND $to_on
  GROUP BY audit_on
),
disposed AS (
  SELECT entry.audit_on,
    count(*) FILTER (WHERE flagged.transaction_id IS NOT NULL) AS flagged,
    coalesce(sum(entry.amount) FILTER (WHERE flagged.transaction_id IS NOT NULL), 0)
      AS flagged_amount,
    count(*) FILTER (WHERE flagged.transaction_id IS NULL) AS cleared,
    coalesce(sum(entry.amount) FILTER (WHERE flagged.transaction_id IS NULL), 0) AS cleared_amount
  FROM audit.transactions AS entry
  LEFT JOIN audit.flagged AS flagged ON flagged.transaction_id = entry.transaction_id
  WHERE entry.audit_on BETWEEN $from_on AND $to_on
  GROUP BY entry.audit_on
),
days AS (
  SELECT CAST(each_on AS DATE) AS audit_on
  FROM (SELECT unnest(generate_series(CAST($from_on AS DATE), CAST($to_on AS DATE),
    INTERVAL 1 DAY)) AS each_on) AS every_day
)
SELECT days.audit_on,
  coalesce(received.n, 0) + coalesce(rejected.n, 0) AS transactions,
  CAST(coalesce(received.amount, 0) + coalesce(rejected.amount, 0) AS DECIMAL(20,2)) AS amount,
  coalesce(flagged, 0) AS flagged,
  CAST(coalesce(flagged_amount, 0) AS DECIMAL(20,2)) AS flagged_amount,
  coalesce(cleared, 0) AS cleared,
  CAST(coalesce(cleared_amount, 0) AS DECIMAL(20,2)) AS cleared_amount,
  coalesce(held.n, 0) + coalesce(rejected.n, 0) AS quarantined,
  CAST(coalesce(held.amount, 0) + coalesce(rejected.amount, 0) AS DECIMAL(20,2))
    AS quarantined_amount
FROM days
LEFT JOIN received ON received.audit_on = days.audit_on
LEFT JOIN rejected ON rejected.audit_on = days.audit_on
LEFT JOIN held ON held.audit_on = days.audit_on
LEFT JOIN disposed ON disposed.audit_on = days.audit_on
ORDER BY days.audit_on"""


def disposition(
    books: Books,
    population: str,
    run_id: str,
    flagged: set[str],
    from_on: dt.date | None = None,
) -> list[PartitionRow]:
    """The ledger of the books' days, or from `from_on` on, for a set of flagged transactions."""
    books.need("transactions", "quarantined")
    ids = pa.table({"transaction_id": pa.array(sorted(flagged), pa.string())})
    books.warehouse.create("flagged", ids)
    rows = books.warehouse.query(
        Query(LEDGER, {"from_on": from_on or books.from_on, "to_on": books.to_on})
    )
    return [
        PartitionRow(population=population, audit_run_id=run_id, **row) for row in rows.to_pylist()
    ]


def imbalances(days: Sequence[PartitionRow]) -> list[str]:
    """The days on which flagged + cleared + quarantined is not what was received."""
    return [
        f"{day.audit_on}: received {day.transactions} ({day.amount}), "
        f"flagged {day.flagged} + cleared {day.cleared} + quarantined {day.quarantined} "
        f"({day.flagged_amount + day.cleared_amount + day.quarantined_amount})"
        for day in days
        if day.transactions != day.flagged + day.cleared + day.quarantined
        or day.amount != day.flagged_amount + day.cleared_amount + day.quarantined_amount
    ]


_COUNT, _TOTAL = pa.int64(), pa.decimal128(20, 2)
LEDGER_ROWS = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("transactions", _COUNT), ("amount", _TOTAL),
        ("flagged", _COUNT), ("flagged_amount", _TOTAL),
        ("cleared", _COUNT), ("cleared_amount", _TOTAL),
        ("quarantined", _COUNT), ("quarantined_amount", _TOTAL),
    ]
)  # fmt: skip
"""The columns of `audit_log`."""


def ledger_table(days: Sequence[PartitionRow]) -> pa.Table:
    """The ledger as rows: LEDGER_ROWS, however small its amounts are."""
    columns = [[getattr(day, name) for day in days] for name in LEDGER_ROWS.names]
    return pa.table(columns, LEDGER_ROWS)


def ledger_markdown(days: Sequence[PartitionRow]) -> str:
    """The totals of the ledger as a Markdown table, and a column for each day."""
    rows = [
        ("received", sum(d.transactions for d in days), sum((d.amount for d in days), Decimal(0))),
        (
            "flagged",
            sum(d.flagged for d in days),
            sum((d.flagged_amount for d in days), Decimal(0)),
        ),
        (
            "cleared",
            sum(d.cleared for d in days),
            sum((d.cleared_amount for d in days), Decimal(0)),
        ),
        (
            "quarantined",
            sum(d.quarantined for d in days),
            sum((d.quarantined_amount for d in days), Decimal(0)),
        ),
    ]
    picture = charts.columns(
        "Transactions by day", [(d.audit_on.isoformat(), d.transactions) for d in days]
    )
    return charts.table(("disposition", "count", "amount"), rows) + "\n\n" + picture
