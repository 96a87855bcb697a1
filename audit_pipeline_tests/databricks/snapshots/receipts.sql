-- Receipts that can be used: complete, positive, not in the future, one per id (the first copy).

SELECT
  receipt_id,
  audit_on AS line_on,
  amount,
  CAST(CAST(amount AS DECIMAL(22, 2)) * 100 AS BIGINT) AS cents,
  vendor,
  LOWER(TRANSLATE(COALESCE(cardholder, ''), 'İΣ', 'iσ')) AS person
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY receipt_id ORDER BY audit_on NULLS LAST, row_number NULLS LAST) AS copy_number
  FROM gold.receipts AS receipts
  WHERE
    NOT receipt_id IS NULL
    AND amount > 0
    AND NOT vendor IS NULL
    AND NOT date IS NULL
    AND CAST(date AS DATE) <= audit_on
) AS line
WHERE
  copy_number = 1
