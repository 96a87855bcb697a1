-- The card issuer's statement lines that can be used: complete, not in the future, one per id.
SELECT txn_id AS line_id, audit_on AS line_on, date AS occurred_at, amount,
  CAST(CAST(amount AS DECIMAL(22,2)) * 100 AS BIGINT) AS cents, vendor, card_number,
  regexp_extract(card_number, '([0-9]{4})[^0-9]*$', 1) AS last4,
  coalesce(cardholder, '') AS cardholder, coalesce(category, 'uncategorised') AS category
FROM (
  SELECT *, row_number() OVER (PARTITION BY txn_id ORDER BY audit_on, row_number) AS copy_number
  FROM gold.credit_cards
  WHERE txn_id IS NOT NULL AND amount IS NOT NULL AND date IS NOT NULL AND card_number IS NOT NULL
    AND vendor IS NOT NULL AND CAST(date AS DATE) <= audit_on
) AS lines
WHERE copy_number = 1
