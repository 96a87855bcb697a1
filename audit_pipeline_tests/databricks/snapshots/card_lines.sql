-- The card issuer's statement lines that can be used: complete, not in the future, one per id.

SELECT
  txn_id AS line_id,
  audit_on AS line_on,
  date AS occurred_at,
  amount,
  CAST(CAST(amount AS DECIMAL(22, 2)) * 100 AS BIGINT) AS cents,
  vendor,
  card_number,
  REGEXP_EXTRACT(card_number, '([0-9]{4})[^0-9]*\\z', 1) AS last4,
  COALESCE(cardholder, '') AS cardholder,
  COALESCE(category, 'uncategorised') AS category
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY txn_id ORDER BY audit_on NULLS LAST, row_number NULLS LAST) AS copy_number
  FROM gold.credit_cards AS credit_cards
  WHERE
    NOT txn_id IS NULL
    AND NOT amount IS NULL
    AND NOT date IS NULL
    AND NOT card_number IS NULL
    AND NOT vendor IS NULL
    AND CAST(date AS DATE) <= audit_on
) AS lines
WHERE
  copy_number = 1
