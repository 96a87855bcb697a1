-- The bank's lines with one sign for all: money out is positive, whatever the statement prints.
-- An account of whose first twenty payments most are negative prints money out as negative.
WITH lines AS (
  SELECT *, row_number() OVER (PARTITION BY txn_id ORDER BY audit_on, row_number) AS copy_number
  FROM gold.bank_accounts
  WHERE txn_id IS NOT NULL AND amount IS NOT NULL AND date IS NOT NULL
    AND account_number IS NOT NULL AND CAST(date AS DATE) <= audit_on
),
signs AS (
  SELECT account_number,
    CASE WHEN sum(CASE WHEN amount < 0 THEN 1 ELSE -1 END) > 0 THEN -1 ELSE 1 END AS out_sign
  FROM (
    SELECT account_number, amount,
      row_number() OVER (PARTITION BY account_number ORDER BY audit_on, row_number) AS place
    FROM lines
    WHERE lower(coalesce(transaction_type, '')) NOT IN ('credit', 'deposit', 'refund', 'interest')
  ) AS payments
  WHERE place <= 20
  GROUP BY account_number
)
SELECT txn_id AS line_id, audit_on AS line_on, date AS occurred_at,
  CAST(amount * coalesce(out_sign, 1) AS DECIMAL(18,2)) AS amount,
  CAST(CAST(amount AS DECIMAL(22,2)) * coalesce(out_sign, 1) * 100 AS BIGINT) AS cents,
  coalesce(payee, '') AS vendor, lines.account_number,
  lower(coalesce(transaction_type, '')) AS transaction_type
FROM lines
LEFT JOIN signs ON signs.account_number = lines.account_number
WHERE copy_number = 1
