-- Receipts that can be used: complete, positive, not in the future, one per id (the first copy).
SELECT receipt_id, audit_on AS line_on, amount, CAST(CAST(amount AS DECIMAL(22,2)) * 100 AS BIGINT) AS cents, vendor,
  lower(coalesce(cardholder, '')) AS person
FROM (
  SELECT *, row_number() OVER (PARTITION BY receipt_id ORDER BY audit_on, row_number) AS copy_number
  FROM gold.receipts
  WHERE receipt_id IS NOT NULL AND amount > 0 AND vendor IS NOT NULL AND date IS NOT NULL
    AND CAST(date AS DATE) <= audit_on
) AS line
WHERE copy_number = 1
