-- RC-03 Ledger entries that their own source's statement does not have, once the rule has waited:
-- neither the id nor a line of that amount, day and vendor. Asked only of days for which that
-- statement has lines. Left out is what a batch or a reversal explains with a confidence of
-- $explained_min. Measured: the days that the rule waits.
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
),
-- The pair that came nearest to a match, and the rivals that it had.
nearest AS (
  SELECT cohort.audit_on, cohort.transaction_id, near.other_id, near.posterior, near.terms,
    near.rivals
  FROM cohort
  JOIN audit.near_misses AS near
    ON near.line_id = cohort.transaction_id AND near.audit_on <= cohort.audit_on
  WHERE near.kind IN ('ledger_to_card_statement', 'ledger_to_bank_statement')
  QUALIFY row_number() OVER (PARTITION BY cohort.audit_on, cohort.transaction_id
    ORDER BY near.posterior DESC, near.other_id, near.audit_on) = 1
)
SELECT cohort.audit_on, cohort.transaction_id, CAST($matures_after_days AS INTEGER) AS measured,
  0 AS threshold, cohort.amount, cohort.vendor, cohort.occurred_on AS charged_on,
  cohort.source AS statement, CAST($matures_after_days AS INTEGER) AS days_open,
  coalesce(nearest.other_id, 'none') AS nearest_id,
  coalesce(nearest.posterior, 0) AS nearest_probability,
  coalesce(nearest.terms, '') AS nearest_terms, coalesce(nearest.rivals, 0) AS nearest_rivals,
  coalesce(grouped.group_kind, 'none') AS grouped_as, coalesce(grouped.reason, '') AS grouped_why
FROM cohort
LEFT JOIN audit.groups AS grouped
  ON grouped.line_id = cohort.transaction_id AND grouped.audit_on = cohort.audit_on
LEFT JOIN nearest ON nearest.audit_on = cohort.audit_on
  AND nearest.transaction_id = cohort.transaction_id
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
  -- A batch or an entry that was taken back explains the line; a near amount does not.
  AND (grouped.line_id IS NULL OR grouped.group_kind = 'tolerant'
    OR grouped.confidence < $explained_min)
