-- RC-03 Ledger entries that their own source's statement does not have: neither the id nor a line
-- of that amount, day and vendor. Asked only on days for which that statement has lines.
WITH reach AS (
  SELECT 'credit_card' AS source, min(line_on) AS first_on FROM audit.card_lines
  UNION ALL
  SELECT 'bank', min(line_on) FROM audit.bank_lines
),
cohort AS (
  SELECT entry.transaction_id, entry.source, entry.amount, entry.vendor, entry.occurred_on,
    entry.occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on
  FROM audit.transactions AS entry
  JOIN reach ON reach.source = entry.source AND reach.first_on <= entry.occurred_on
  WHERE entry.occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
      AND $to_on - CAST($matures_after_days AS INTEGER)
)
SELECT cohort.audit_on, cohort.transaction_id, CAST($matures_after_days AS INTEGER) AS measured,
  0 AS threshold, cohort.amount, cohort.vendor, cohort.occurred_on AS charged_on,
  cohort.source AS statement, CAST($matures_after_days AS INTEGER) AS days_open
FROM cohort
LEFT JOIN audit.card_lines AS card
  ON card.line_id = cohort.transaction_id AND cohort.source = 'credit_card'
  AND card.line_on <= cohort.audit_on
LEFT JOIN audit.bank_lines AS bank
  ON bank.line_id = cohort.transaction_id AND cohort.source = 'bank'
  AND bank.line_on <= cohort.audit_on
LEFT JOIN (
  SELECT left_id, min(audit_on) AS audit_on
  FROM audit.matches
  WHERE kind IN ('ledger_to_card_statement', 'ledger_to_bank_statement')
  GROUP BY left_id
) AS matched ON matched.left_id = cohort.transaction_id AND matched.audit_on <= cohort.audit_on
WHERE card.line_id IS NULL AND bank.line_id IS NULL AND matched.left_id IS NULL
