-- RC-09 Bank lines whose running balance is off by $difference_min or more from the balance before
-- them and their own amount. With it, the ledger entry of exactly the missing amount that has no
-- bank line: what was removed. Left out are gaps in which a line could not be read, whose amount
-- they may be. Measured: the missing amount without its sign.
WITH gaps AS (
  SELECT *, balance - expected AS missing
  FROM audit.balance_breaks
  WHERE audit_on BETWEEN $from_on AND $to_on AND abs(balance - expected) >= $difference_min
),
-- Where a line between the two could not be read, its amount is the gap, and no line is missing.
unreadable AS (
  SELECT audit_on AS unread_on, account_number AS account FROM gold.bank_accounts
  WHERE amount IS NULL OR account_number IS NULL
  UNION ALL
  SELECT audit_on, CAST(NULL AS VARCHAR) FROM gold.quarantine WHERE table_name = 'bank_accounts'
),
on_statement AS (
  SELECT line_id AS transaction_id, line_on AS known_on FROM audit.bank_lines
  UNION ALL
  SELECT left_id, audit_on FROM audit.matches WHERE kind = 'ledger_to_bank_statement'
),
removed AS (
  SELECT gaps.audit_on, gaps.line_id, gaps.account, entry.transaction_id AS ledger_entry
  FROM gaps
  JOIN audit.transactions AS entry
    ON entry.source = 'bank' AND entry.amount = -gaps.missing
    AND entry.occurred_on BETWEEN gaps.previous_on AND gaps.audit_on
  ANTI JOIN on_statement
    ON on_statement.transaction_id = entry.transaction_id
    AND on_statement.known_on <= gaps.audit_on
  QUALIFY row_number() OVER (PARTITION BY gaps.audit_on, gaps.line_id, gaps.account
    ORDER BY entry.occurred_on, entry.transaction_id) = 1
)
SELECT gaps.audit_on, gaps.line_id AS transaction_id,
  least(abs(gaps.missing), 99999999999999.99) AS measured, -- what a finding can hold
  $difference_min AS threshold, gaps.account, gaps.previous_id, gaps.previous_on,
  gaps.previous_balance, gaps.balance, gaps.expected, gaps.missing,
  coalesce(removed.ledger_entry, 'none') AS ledger_entry
FROM gaps
LEFT JOIN removed ON removed.audit_on = gaps.audit_on AND removed.line_id = gaps.line_id
  AND removed.account = gaps.account
ANTI JOIN unreadable
  ON unreadable.unread_on BETWEEN gaps.previous_on AND gaps.audit_on
  AND coalesce(unreadable.account = gaps.account, true)
QUALIFY row_number() OVER (PARTITION BY gaps.audit_on, gaps.line_id
  ORDER BY abs(gaps.missing) DESC, gaps.account) = 1
