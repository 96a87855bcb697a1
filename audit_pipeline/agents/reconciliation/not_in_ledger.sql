-- RC-04 Statement lines that the ledger does not have, once the rule has waited: neither their id
-- nor a matched entry. Asked of a statement only where the ledger keeps entries of that source at
-- all, from its first one on. Left out is what a batch or a reversal explains with a confidence of
-- $explained_min. Measured: the amount without its sign.
WITH kept AS (
  SELECT source, min(occurred_on) AS first_on FROM audit.transactions GROUP BY source
),
lines AS (
  SELECT line_id, line_on, amount, vendor, 'credit_card' AS statement FROM audit.card_lines
  UNION ALL
  SELECT line_id, line_on, amount, vendor, 'bank' FROM audit.bank_lines
),
cohort AS (
  SELECT lines.*, lines.line_id AS transaction_id,
    lines.line_on + CAST($matures_after_days AS INTEGER) AS audit_on
  FROM lines
  JOIN kept ON kept.source = lines.statement AND kept.first_on <= lines.line_on
  WHERE lines.line_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
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
SELECT cohort.audit_on, cohort.line_id AS transaction_id, abs(cohort.amount) AS measured,
  0 AS threshold, cohort.amount, cohort.vendor, cohort.line_on AS charged_on, cohort.statement,
  coalesce(nearest.other_id, 'none') AS nearest_id,
  coalesce(nearest.posterior, 0) AS nearest_probability,
  coalesce(nearest.terms, '') AS nearest_terms, coalesce(nearest.rivals, 0) AS nearest_rivals,
  coalesce(grouped.group_kind, 'none') AS grouped_as, coalesce(grouped.reason, '') AS grouped_why
FROM cohort
LEFT JOIN audit.groups AS grouped
  ON grouped.line_id = cohort.transaction_id AND grouped.audit_on = cohort.audit_on
LEFT JOIN nearest ON nearest.audit_on = cohort.audit_on
  AND nearest.transaction_id = cohort.transaction_id
ANTI JOIN audit.ledger_ids AS ledger
  ON ledger.txn_id = cohort.line_id AND ledger.first_on <= cohort.audit_on
LEFT JOIN (
  SELECT right_id, min(audit_on) AS audit_on
  FROM audit.matches
  WHERE kind IN ('ledger_to_card_statement', 'ledger_to_bank_statement')
  GROUP BY right_id
) AS matched ON matched.right_id = cohort.line_id AND matched.audit_on <= cohort.audit_on
WHERE matched.right_id IS NULL
  -- A batch or an entry that was taken back explains the line; a near amount does not.
  AND (grouped.line_id IS NULL OR grouped.group_kind = 'tolerant'
    OR grouped.confidence < $explained_min)
QUALIFY row_number() OVER (PARTITION BY cohort.audit_on, cohort.line_id ORDER BY statement) = 1
