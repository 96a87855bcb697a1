"""The two sides of each match: which lines are compared with which.

Every side has line_id, line_on, cents, vendor, vendor_key, vendor_id, person. A line that carries
the id of its counterpart needs no matching and is left out.
"""

from dataclasses import dataclass

_ENTITY = """JOIN audit.vendor_keys AS vendor_keys ON vendor_keys.vendor = line.vendor
JOIN audit.vendor_entities AS entity ON entity.vendor_key = vendor_keys.vendor_key"""

_LEDGER = """SELECT transaction_id AS line_id, occurred_on AS line_on, cents, vendor, vendor_key,
  vendor_id, lower(cardholder) AS person
FROM audit.transactions"""

LEDGER_NOT_ON_CARD = f"""{_LEDGER}
WHERE source = 'credit_card' AND card_number IS NULL"""

CARD_NOT_IN_LEDGER = f"""SELECT line.line_id, line.line_on, line.cents, line.vendor,
  vendor_keys.vendor_key, entity.vendor_id, lower(line.cardholder) AS person
FROM audit.card_lines AS line
{_ENTITY}
ANTI JOIN audit.ledger_ids AS ledger ON ledger.txn_id = line.line_id"""

LEDGER_NOT_ON_BANK = f"""{_LEDGER} AS entry
ANTI JOIN audit.bank_lines AS bank ON bank.line_id = entry.transaction_id
WHERE source = 'bank'"""

BANK_NOT_IN_LEDGER = f"""SELECT line.line_id, line.line_on, line.cents, line.vendor,
  vendor_keys.vendor_key, entity.vendor_id, '' AS person
FROM audit.bank_lines AS line
{_ENTITY}
ANTI JOIN audit.ledger_ids AS ledger ON ledger.txn_id = line.line_id
WHERE line.transaction_type <> 'card_payment'"""

CHARGES = f"""{_LEDGER}
WHERE source = 'credit_card' AND cents > 0"""

RECEIPTS = f"""SELECT line.receipt_id AS line_id, line.audit_on AS line_on,
  CAST(line.amount * 100 AS BIGINT) AS cents, line.vendor, vendor_keys.vendor_key,
  entity.vendor_id, lower(coalesce(line.cardholder, '')) AS person
FROM (
  SELECT *, row_number() OVER (PARTITION BY receipt_id ORDER BY audit_on, row_number) AS copy_number
  FROM gold.receipts
  WHERE receipt_id IS NOT NULL AND amount > 0 AND vendor IS NOT NULL AND date IS NOT NULL
    AND CAST(date AS DATE) <= audit_on
) AS line
{_ENTITY}
WHERE line.copy_number = 1"""


@dataclass(frozen=True)
class Comparison:
    """One match to be made: its kind, its two sides, and the rule that holds its thresholds."""

    kind: str
    left: str
    right: str
    rule_id: str


COMPARISONS: tuple[Comparison, ...] = (
    Comparison("ledger_to_card_statement", LEDGER_NOT_ON_CARD, CARD_NOT_IN_LEDGER, "RC-03"),
    Comparison("ledger_to_bank_statement", LEDGER_NOT_ON_BANK, BANK_NOT_IN_LEDGER, "RC-03"),
    Comparison("charge_to_bank_line", CHARGES, BANK_NOT_IN_LEDGER, "RC-08"),
    Comparison("charge_to_receipt", CHARGES, RECEIPTS, "RC-07"),
)
"""In this order; `charge_to_bank_line` is the specification's cross-source matcher."""

LEDGER_IDS = """SELECT txn_id, min(audit_on) AS first_on
FROM (
  SELECT txn_id, audit_on FROM gold.recent_transactions WHERE txn_id IS NOT NULL
  UNION ALL
  SELECT row_id, audit_on FROM gold.quarantine
  WHERE table_name = 'recent_transactions' AND row_id IS NOT NULL
) AS ids
GROUP BY txn_id"""
"""Every id the ledger names, quarantined entries too: their statement lines are not orphans."""

CARD_PAYMENTS = """SELECT line_id, line_on, cents, vendor
FROM audit.bank_lines
WHERE transaction_type = 'card_payment' AND cents > 0 AND line_on <= $to_on"""

STATEMENT_LINES = """SELECT line_id, line_on, cents, vendor, last4
FROM audit.card_lines
WHERE line_on <= $to_on"""
