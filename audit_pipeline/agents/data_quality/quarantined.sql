-- Ledger entries that cannot be audited, each with the first reason that applies: a required
-- value is missing, it is dated after the data was received, or it repeats an earlier entry's id.
-- `row_number` identifies the row in gold; the first copy of an id (by day, then row) is audited.
WITH entries AS (
  SELECT txn_id, source, amount, vendor, date, audit_on, row_number,
    row_number() OVER (PARTITION BY txn_id ORDER BY audit_on, row_number) AS copy_number,
    first_value(row_number) OVER (PARTITION BY txn_id ORDER BY audit_on, row_number) AS first_row
  FROM gold.recent_transactions
),
judged AS (
  SELECT entries.*,
    CASE
      WHEN txn_id IS NULL THEN 'txn_id'
      WHEN source IS NULL THEN 'source'
      WHEN amount IS NULL THEN 'amount'
      WHEN vendor IS NULL THEN 'vendor'
      WHEN date IS NULL THEN 'date'
    END AS missing_field,
    CAST(date AS DATE) > audit_on AS is_future,
    txn_id IS NOT NULL AND copy_number > 1 AS is_copy
  FROM entries
)
SELECT audit_on, row_number, coalesce(txn_id, 'row:' || row_number) AS transaction_id, amount,
  vendor, CAST(date AS VARCHAR) AS dated, first_row,
  CASE WHEN missing_field IS NOT NULL THEN 'DQ-01' WHEN is_future THEN 'DQ-05' ELSE 'DQ-03' END
    AS rule_id,
  CASE
    WHEN missing_field IS NOT NULL THEN 'no ' || missing_field
    WHEN is_future THEN 'dated after the data was received'
    ELSE 'the id of an earlier entry'
  END AS reason,
  coalesce(missing_field, '') AS missing_field,
  CASE WHEN is_future THEN CAST(CAST(date AS DATE) - audit_on AS INTEGER) ELSE 0 END AS days_ahead
FROM judged
WHERE missing_field IS NOT NULL OR is_future OR is_copy
