-- The bank's lines with one sign for all: money out is positive, whatever the statement prints.
-- An account of whose first twenty payments most are negative prints money out as negative.

WITH lines AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY txn_id ORDER BY audit_on NULLS LAST, row_number NULLS LAST) AS copy_number
  FROM gold.bank_accounts AS bank_accounts
  WHERE
    NOT txn_id IS NULL
    AND NOT amount IS NULL
    AND NOT date IS NULL
    AND NOT account_number IS NULL
    AND CAST(date AS DATE) <= audit_on
), signs AS (
  SELECT
    account_number,
    CASE WHEN SUM(CASE WHEN amount < 0 THEN 1 ELSE -1 END) > 0 THEN -1 ELSE 1 END AS out_sign
  FROM (
    SELECT
      account_number,
      amount,
      ROW_NUMBER() OVER (PARTITION BY account_number ORDER BY audit_on NULLS LAST, row_number NULLS LAST) AS place
    FROM lines
    WHERE
      NOT LOWER(TRANSLATE(COALESCE(transaction_type, ''), 'İΣ', 'iσ')) IN ('credit', 'deposit', 'refund', 'interest')
  ) AS payments
  WHERE
    place <= 20
  GROUP BY
    account_number
)
SELECT
  txn_id AS line_id,
  audit_on AS line_on,
  date AS occurred_at,
  CAST(amount * COALESCE(out_sign, 1) AS DECIMAL(18, 2)) AS amount,
  CAST(CAST(amount AS DECIMAL(22, 2)) * COALESCE(out_sign, 1) * 100 AS BIGINT) AS cents,
  COALESCE(payee, '') AS vendor,
  lines.account_number,
  LOWER(TRANSLATE(COALESCE(transaction_type, ''), 'İΣ', 'iσ')) AS transaction_type
FROM lines
LEFT JOIN signs
  ON signs.account_number = lines.account_number
WHERE
  copy_number = 1
