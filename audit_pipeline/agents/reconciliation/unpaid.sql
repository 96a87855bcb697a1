-- RC-01 Card charges that no bank line pays, once a bank line has had time to arrive.
-- Asked only where the bank's lines can answer: of a card whose statements the bank pays (the
-- period of the charge must have begun after the first known one), or, where charges are paid one
-- by one, once such a payment has been seen.
WITH cohort AS (
  SELECT transaction_id, occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on,
    amount, vendor, occurred_on, regexp_extract(card_number, '([0-9]{4})[^0-9]*$', 1) AS last4
  FROM audit.transactions
  WHERE source = 'credit_card' AND cents > 0 AND card_number IS NOT NULL
    AND occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
      AND $to_on - CAST($matures_after_days AS INTEGER)
),
covered AS (
  SELECT cohort.transaction_id
  FROM cohort
  JOIN audit.statements AS statement
    ON statement.card IN (cohort.last4, 'all') AND statement.audit_on <= cohort.audit_on
  WHERE cohort.occurred_on <= statement.period_to
    AND (statement.period_from IS NULL OR cohort.occurred_on >= statement.period_from)
),
paid_alone AS (
  SELECT left_id, min(audit_on) AS audit_on
  FROM audit.matches WHERE kind = 'charge_to_bank_line' GROUP BY left_id
),
billed AS (
  SELECT card, min(payment_on) AS first_on, max(audit_on) AS last_on,
    min(CASE WHEN status IN ('settled', 'short') THEN audit_on END) AS known_on
  FROM audit.statements GROUP BY card
),
first_alone AS (
  SELECT min(audit_on) AS first_on FROM audit.matches WHERE kind = 'charge_to_bank_line'
),
bank_reach AS (SELECT max(line_on) AS last_on FROM audit.bank_lines)
SELECT cohort.audit_on, cohort.transaction_id, CAST($matures_after_days AS INTEGER) AS measured,
  0 AS threshold, cohort.amount, cohort.vendor, cohort.occurred_on AS charged_on,
  CAST($matures_after_days AS INTEGER) AS days_open
FROM cohort
CROSS JOIN bank_reach
CROSS JOIN first_alone
LEFT JOIN billed ON billed.card IN (cohort.last4, 'all')
LEFT JOIN paid_alone
  ON paid_alone.left_id = cohort.transaction_id AND paid_alone.audit_on <= cohort.audit_on
ANTI JOIN covered ON covered.transaction_id = cohort.transaction_id
WHERE paid_alone.left_id IS NULL
  AND (billed.known_on <= cohort.audit_on
    OR (billed.card IS NULL AND first_alone.first_on <= cohort.audit_on))
  AND (bank_reach.last_on >= cohort.occurred_on)
