"""The two sides of each match: which lines are compared with which.

Every side has line_id, line_on, cents, vendor_name (of the entity, so that aliases are equal
texts), person, counterpart_on: the day of the line that carries the same id on the other side. One
that is there already is left out; one that comes later takes the line out of the decisions made
after it.
"""

from dataclasses import dataclass

_ENTITY = """JOIN audit.vendor_keys AS vendor_keys ON vendor_keys.vendor = line.vendor
JOIN audit.vendor_entities AS entity ON entity.vendor_key = vendor_keys.vendor_key"""

_LEDGER = """SELECT entry.transaction_id AS line_id, entry.occurred_on AS line_on, entry.cents,
  coalesce(entry.vendor_name, entry.vendor_key) AS vendor_name,
  lower(coalesce(entry.cardholder, '')) AS person"""

LEDGER_NOT_ON_CARD = f"""{_LEDGER}, card.line_on AS counterpart_on
FROM audit.transactions AS entry
LEFT JOIN audit.card_lines AS card ON card.line_id = entry.transaction_id
WHERE entry.source = 'credit_card' AND coalesce(card.line_on > entry.occurred_on, true)"""

LEDGER_NOT_ON_BANK = f"""{_LEDGER}, bank.line_on AS counterpart_on
FROM audit.transactions AS entry
LEFT JOIN audit.bank_lines AS bank ON bank.line_id = entry.transaction_id
WHERE entry.source = 'bank' AND coalesce(bank.line_on > entry.occurred_on, true)"""

_LINE = "SELECT line.line_id, line.line_on, line.cents, entity.vendor_name"

CARD_NOT_IN_LEDGER = f"""{_LINE}, lower(coalesce(line.cardholder, '')) AS person,
  ledger.first_on AS counterpart_on
FROM audit.card_lines AS line
{_ENTITY}
LEFT JOIN audit.ledger_ids AS ledger ON ledger.txn_id = line.line_id
WHERE coalesce(ledger.first_on > line.line_on, true)"""

BANK_NOT_IN_LEDGER = f"""{_LINE}, '' AS person, ledger.first_on AS counterpart_on
FROM audit.bank_lines AS line
{_ENTITY}
LEFT JOIN audit.ledger_ids AS ledger ON ledger.txn_id = line.line_id
WHERE line.transaction_type <> 'card_payment' AND coalesce(ledger.first_on > line.line_on, true)"""

_ENTRIES = """SELECT transaction_id AS line_id, occurred_on AS line_on, cents,
  coalesce(vendor_name, vendor_key) AS vendor_name
FROM audit.transactions"""

ALL_LINES = {
    "ledger_to_card_statement": (
        f"{_ENTRIES} WHERE source = 'credit_card'",
        f"{_LINE} FROM audit.card_lines AS line {_ENTITY}",
    ),
    "ledger_to_bank_statement": (
        f"{_ENTRIES} WHERE source = 'bank'",
        f"{_LINE} FROM audit.bank_lines AS line {_ENTITY}",
    ),
}
"""Of the comparisons whose left-over lines are grouped: every line of both sides, matched or not,
which tells what is rare."""

CHARGES = f"""{_LEDGER}, CAST(NULL AS DATE) AS counterpart_on
FROM audit.transactions AS entry
WHERE entry.source = 'credit_card' AND entry.cents > 0"""

RECEIPTS = f"""SELECT line.receipt_id AS line_id, line.line_on,
  line.cents, entity.vendor_name, coalesce(line.person, '') AS person,
  CAST(NULL AS DATE) AS counterpart_on
FROM audit.receipts AS line
{_ENTITY}"""


@dataclass(frozen=True)
class Comparison:
    """One match to be made: its kind, its two sides, and the rule that holds its thresholds.

    `near_misses`: a line without a partner is a finding, which shows the nearest one.
    """

    kind: str
    left: str
    right: str
    rule_id: str
    near_misses: bool = True


COMPARISONS: tuple[Comparison, ...] = (
    Comparison("ledger_to_card_statement", LEDGER_NOT_ON_CARD, CARD_NOT_IN_LEDGER, "RC-03"),
    Comparison("ledger_to_bank_statement", LEDGER_NOT_ON_BANK, BANK_NOT_IN_LEDGER, "RC-03"),
    Comparison("charge_to_bank_line", CHARGES, BANK_NOT_IN_LEDGER, "RC-08"),
    Comparison("charge_to_receipt", CHARGES, RECEIPTS, "RC-07", near_misses=False),
)
"""In this order; `charge_to_bank_line` is the specification's cross-source matcher."""


def ordered(side: str) -> str:
    """The side as linkage wants it: n, day, cents, text, person, line_id, line_on, counterpart_on.

    Numbered by day and then by content, so that a later line never renumbers an earlier one.
    """
    return f"""SELECT
  CAST(row_number() OVER (ORDER BY line_on, cents, text, line_id) - 1 AS INTEGER) AS n,
  CAST(line_on - DATE '2000-01-01' AS INTEGER) AS day, cents, text, person, line_id, line_on,
  counterpart_on
FROM (
  SELECT *, trim(regexp_replace(lower(vendor_name), '[^\\pL\\pN]+', ' ', 'g')) AS text
  FROM ({side}) AS lines
  WHERE line_on <= $to_on
) AS named"""


LEDGER_IDS = """-- Every id that the ledger names, and the first day on which it does: quarantined
-- entries and rows that could not be read, too, since their statement lines are
-- not orphans. Left out are entries without an id.
SELECT txn_id, min(audit_on) AS first_on
FROM (
  SELECT txn_id, audit_on FROM gold.recent_transactions WHERE txn_id IS NOT NULL
  UNION ALL
  SELECT row_id, audit_on FROM gold.quarantine
  WHERE table_name = 'recent_transactions' AND row_id IS NOT NULL
) AS ids
GROUP BY txn_id"""

CARD_PAYMENTS = """SELECT line_id, line_on, cents, vendor
FROM audit.bank_lines
WHERE transaction_type = 'card_payment' AND cents > 0 AND line_on <= $to_on"""

STATEMENT_LINES = """SELECT line_id, line_on, cents, vendor, last4
FROM audit.card_lines
WHERE line_on <= $to_on
ORDER BY last4, line_on, line_id"""
