"""What an invoice's number and a payee's account say, where an extract has them, in SQL.

Patterns that are named like those of `hits`, but raise no score: whether a number or an account is
known at all depends on who made the extract. All of it is the ledger's own text, compared only.
"""

from collections.abc import Collection

from audit_pipeline.agents.anomaly_detection.scoring.hits import HABIT_SHARE
from audit_pipeline.agents.anomaly_detection.scoring.profiles import SHRINK

FIELDS = {"invoice": ("invoice_again", "invoice_run"), "account": ("account_shared",)}
"""A field of an extract → the patterns that it can show."""
RUN_MIN, RUN_DAYS = 3, 30
"""Invoices in a row, and days from the first to the last, from which a vendor that bills others too
would hardly give all its numbers to one."""
_SIGNS = r"[^\p{L}\p{N}]"
_KNOWN = "regexp_matches({text}, '[1-9]')"
"""Not blank, n/a, or nothing but zeros."""


def _normal(text: str) -> str:
    """SQL of letters and digits in lower case, without zeros at the start or after a letter."""
    bare = f"regexp_replace(lower({text}), '{_SIGNS}+', '', 'g')"
    return rf"regexp_replace({bare}, '(^|[^0-9])0+([0-9])', '\1\2', 'g')"


def _without_blanks(text: str) -> str:
    return rf"regexp_replace(lower({text}), '[\s\p{{Z}}]+', '', 'g')"


_LAST = f"[0-9]+{_SIGNS}*$"
_NUMBER = f"regexp_extract(regexp_extract(invoice, '{_LAST}'), '[0-9]+')"
_INVOICES = f"""SELECT id, entity, vendor, day, {_normal("invoice")} AS invoice,
  {_normal(f"regexp_replace(invoice, '{_LAST}', '')")} AS prefix,
  TRY_CAST({_NUMBER} AS BIGINT) AS number
FROM audit.documents
WHERE cents > 0 AND {_KNOWN.format(text="invoice")}"""

# A vendor whose other invoices come several times too is listed line by line, or pays by
# instalments: a habit. The invoice itself is left out of what it is compared with.
_AGAIN = f"""WITH paid AS (
  SELECT vendor, invoice, CAST(count(*) AS DOUBLE) AS charges,
    CASE WHEN count(*) > 1 THEN CAST(count(*) AS DOUBLE) ELSE 0 END AS again
  FROM audit.invoices
  GROUP BY vendor, invoice
),
compared AS (
  SELECT vendor, invoice, charges,
    sum(charges) OVER own - charges AS vendor_charges, sum(again) OVER own - again AS vendor_again,
    (sum(again) OVER () - again) / greatest(sum(charges) OVER () - charges, 1) AS company_share
  FROM paid
  WINDOW own AS (PARTITION BY vendor)
)
SELECT charge.id, 'invoice_again' AS pattern,
  (compared.vendor_again + {SHRINK} * compared.company_share) / (compared.vendor_charges + {SHRINK})
    > {HABIT_SHARE} AS is_habit
FROM audit.invoices AS charge
JOIN compared ON compared.vendor = charge.vendor AND compared.invoice = charge.invoice
WHERE compared.charges > 1"""
_RUN = f"""WITH numbers AS (
  SELECT entity, vendor, prefix, number, min(day) AS day
  FROM audit.invoices
  WHERE number IS NOT NULL
  GROUP BY entity, vendor, prefix, number
),
placed AS (
  -- In a row of consecutive numbers this difference stays the same.
  SELECT *, number - row_number() OVER (
    PARTITION BY entity, vendor, prefix ORDER BY number) AS row_of
  FROM numbers
),
runs AS (
  SELECT entity, vendor, prefix, min(number) AS lowest, max(number) AS highest
  FROM placed
  GROUP BY entity, vendor, prefix, row_of
  HAVING count(*) >= {RUN_MIN} AND date_diff('day', min(day), max(day)) >= {RUN_DAYS}
)
SELECT charge.id, 'invoice_run' AS pattern, false AS is_habit
FROM audit.invoices AS charge
JOIN runs ON runs.entity = charge.entity AND runs.vendor = charge.vendor
  AND runs.prefix = charge.prefix AND charge.number BETWEEN runs.lowest AND runs.highest"""
_SHARED = f"""WITH paid AS (
  SELECT id, {_without_blanks("account")} AS account,
    nullif({_without_blanks("vendor_name")}, '') AS payee
  FROM audit.documents
  WHERE {_KNOWN.format(text="account")}
),
shared AS (
  SELECT account FROM paid GROUP BY account HAVING min(payee) <> max(payee)
)
SELECT paid.id, 'account_shared' AS pattern, false AS is_habit
FROM paid
SEMI JOIN shared ON shared.account = paid.account"""


def documents(fields: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Tables of the patterns, in the order in which they can be made; none without a field.

    `audit.documents` has id, entity, vendor, vendor_name, cents, day, and of FIELDS those given.
    Only what is paid counts as an invoice paid again: a refund bears the number of what it refunds.

    Args:
        fields: of FIELDS, those that the extract has.

    Returns:
        The last is `document_hits`: id, rules and habits, each a text with commas or NULL.
    """
    if not fields:
        return ()
    found: list[str] = []
    if "invoice" in fields:
        found += (_AGAIN, _RUN)
    if "account" in fields:
        found.append(_SHARED)
    union = " UNION ALL ".join(f"SELECT * FROM ({sql}) AS found" for sql in found)
    rules, habits = (
        f"string_agg(pattern, ', ' ORDER BY pattern) FILTER (WHERE {which})"
        for which in ("NOT is_habit", "is_habit")
    )
    hits = f"SELECT id, {rules} AS rules, {habits} AS habits FROM ({union}) AS found GROUP BY id"
    invoices = (("invoices", _INVOICES),) if "invoice" in fields else ()
    return (*invoices, ("document_hits", hits))
