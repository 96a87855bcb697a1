-- RC-08 Card charges that no bank line matches, where the bank pays charges one by one: no
-- statement of the card is paid, and such a match has been seen before. The specification's orphan
-- finder. Asked once the rule has waited, of days that the bank's lines reach by $window_days,
-- while these are no older than $feed_days days. Measured: the days that the rule waits.
WITH cohort AS (
  SELECT transaction_id, occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on,
    amount, vendor, occurred_on,
    coalesce(regexp_extract(card_number, '([0-9]{4})[^0-9]*$', 1), '') AS last4
  FROM audit.transactions
  WHERE source = 'credit_card' AND cents > 0
    AND occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
      AND $to_on - CAST($matures_after_days AS INTEGER)
),
paid_alone AS (
  SELECT left_id, min(audit_on) AS audit_on
  FROM audit.matches WHERE kind = 'charge_to_bank_line' GROUP BY left_id
),
first_alone AS (SELECT min(audit_on) AS first_on FROM paid_alone),
billed AS (SELECT card, min(audit_on) AS known_on FROM audit.statements GROUP BY card),
reach AS (
  SELECT days.audit_on, min(lines.line_on) AS first_on, max(lines.line_on) AS last_on
  FROM (SELECT DISTINCT audit_on FROM cohort) AS days
  JOIN (SELECT DISTINCT line_on FROM audit.bank_lines) AS lines ON lines.line_on <= days.audit_on
  GROUP BY days.audit_on
),
-- The pair that came nearest to a match, and the rivals that it had.
nearest AS (
  SELECT cohort.audit_on, cohort.transaction_id, near.other_id, near.posterior, near.terms,
    near.rivals
  FROM cohort
  JOIN audit.near_misses AS near
    ON near.line_id = cohort.transaction_id AND near.audit_on <= cohort.audit_on
  WHERE near.kind IN ('charge_to_bank_line')
  QUALIFY row_number() OVER (PARTITION BY cohort.audit_on, cohort.transaction_id
    ORDER BY near.posterior DESC, near.other_id, near.audit_on) = 1
)
SELECT cohort.audit_on, cohort.transaction_id, CAST($matures_after_days AS INTEGER) AS measured,
  0 AS threshold, cohort.amount, cohort.vendor, cohort.occurred_on AS charged_on,
  CAST($matures_after_days AS INTEGER) AS days_open,
  coalesce(nearest.other_id, 'none') AS nearest_id,
  coalesce(nearest.posterior, 0) AS nearest_probability,
  coalesce(nearest.terms, '') AS nearest_terms, coalesce(nearest.rivals, 0) AS nearest_rivals
FROM cohort
LEFT JOIN nearest ON nearest.audit_on = cohort.audit_on
  AND nearest.transaction_id = cohort.transaction_id
JOIN reach ON reach.audit_on = cohort.audit_on
CROSS JOIN first_alone
LEFT JOIN paid_alone
  ON paid_alone.left_id = cohort.transaction_id AND paid_alone.audit_on <= cohort.audit_on
ANTI JOIN billed AS own ON own.card = cohort.last4 AND own.known_on <= cohort.audit_on
ANTI JOIN (SELECT known_on FROM billed WHERE card = 'all') AS joint
  ON joint.known_on <= cohort.audit_on
WHERE paid_alone.left_id IS NULL AND first_alone.first_on <= cohort.audit_on
  AND cohort.occurred_on >= reach.first_on - CAST($window_days AS INTEGER)
  AND reach.last_on >= cohort.audit_on - CAST($feed_days AS INTEGER)
