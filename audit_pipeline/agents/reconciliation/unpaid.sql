-- RC-01 Card charges that no statement's payment covers, once a payment has had time to come. Asked
-- of cards whose statements the bank pays, as soon as one of their periods is known, and only as
-- far as the bank's lines reach. Left out are charges that a bank line of their own pays. Measured:
-- the days that the rule waits.
WITH cohort AS (
  SELECT transaction_id, occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on,
    amount, vendor, occurred_on, regexp_extract(card_number, '([0-9]{4})[^0-9]*$', 1) AS last4
  FROM audit.transactions
  WHERE source = 'credit_card' AND cents > 0 AND card_number IS NOT NULL
    AND occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
      AND $to_on - CAST($matures_after_days AS INTEGER)
),
-- Under the card's own name and under `all`: joined by equality, the work grows with the rows only.
named AS (SELECT *, unnest([last4, 'all']) AS card FROM cohort),
covered AS (
  SELECT named.transaction_id
  FROM named
  JOIN audit.statements AS statement
    ON statement.card = named.card AND statement.audit_on <= named.audit_on
  WHERE named.occurred_on <= statement.period_to
    AND (statement.period_from IS NULL OR named.occurred_on >= statement.period_from)
),
paid_alone AS (
  SELECT left_id, min(audit_on) AS audit_on
  FROM audit.matches WHERE kind = 'charge_to_bank_line' GROUP BY left_id
),
billed AS (
  SELECT card, min(audit_on) AS known_on
  FROM audit.statements WHERE status IN ('settled', 'short') GROUP BY card
),
reach AS (
  SELECT days.audit_on, min(lines.line_on) AS first_on, max(lines.line_on) AS last_on
  FROM (SELECT DISTINCT audit_on FROM cohort) AS days
  JOIN (SELECT DISTINCT line_on FROM audit.bank_lines) AS lines ON lines.line_on <= days.audit_on
  GROUP BY days.audit_on
)
SELECT named.audit_on, named.transaction_id, CAST($matures_after_days AS INTEGER) AS measured,
  0 AS threshold, named.amount, named.vendor, named.occurred_on AS charged_on,
  CAST($matures_after_days AS INTEGER) AS days_open
FROM named
JOIN reach ON reach.audit_on = named.audit_on
JOIN billed ON billed.card = named.card AND billed.known_on <= named.audit_on
LEFT JOIN paid_alone
  ON paid_alone.left_id = named.transaction_id AND paid_alone.audit_on <= named.audit_on
ANTI JOIN covered ON covered.transaction_id = named.transaction_id
WHERE paid_alone.left_id IS NULL AND reach.last_on >= named.occurred_on
QUALIFY row_number() OVER (
  PARTITION BY named.audit_on, named.transaction_id ORDER BY named.card) = 1
