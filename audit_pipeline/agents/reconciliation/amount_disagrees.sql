-- RC-05 Ledger entries whose own statement line, of the same id, has another amount: off by
-- $difference_min or more. The shape says what slip it looks like: the sign, a decimal point, two
-- digits. Found on the day on which both are known. Measured: the difference without its sign.
WITH linked AS (
  SELECT entry.transaction_id, entry.audit_on, entry.amount, entry.cents, entry.vendor,
    line.line_id AS statement_id, line.amount AS statement_amount, line.cents AS statement_cents,
    greatest(entry.occurred_on, line.line_on) AS known_on
  FROM audit.transactions AS entry
  JOIN audit.card_lines AS line ON line.line_id = entry.transaction_id
  WHERE entry.source = 'credit_card'
  UNION ALL
  SELECT entry.transaction_id, entry.audit_on, entry.amount, entry.cents, entry.vendor,
    line.line_id, line.amount, line.cents, greatest(entry.occurred_on, line.line_on)
  FROM audit.transactions AS entry
  JOIN audit.bank_lines AS line ON line.line_id = entry.transaction_id
  WHERE entry.source = 'bank'
)
SELECT known_on AS audit_on, transaction_id, abs(amount - statement_amount) AS measured,
  $difference_min AS threshold, amount, vendor, statement_id, statement_amount,
  amount - statement_amount AS difference,
  CASE
    WHEN cents = -statement_cents THEN 'the sign'
    WHEN cents = 10 * statement_cents OR statement_cents = 10 * cents
      OR cents = 100 * statement_cents OR statement_cents = 100 * cents
      THEN 'a slipped decimal point'
    WHEN (cents - statement_cents) % 9 = 0
      AND length(CAST(cents AS VARCHAR)) = length(CAST(statement_cents AS VARCHAR))
      THEN 'two digits that changed places'
    ELSE 'another amount'
  END AS shape
FROM linked
WHERE cents <> statement_cents AND abs(amount - statement_amount) >= $difference_min
  AND known_on BETWEEN $from_on AND $to_on
