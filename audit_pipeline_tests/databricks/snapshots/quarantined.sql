-- Ledger entries that cannot be audited, each with the first reason that applies: a required
-- value is missing, it is dated after the data was received, or it repeats an earlier entry's id.
-- `row_number` identifies the row in gold; the first copy of an id (by day, then row) is audited.

WITH entries AS (
  SELECT
    txn_id,
    source,
    amount,
    vendor,
    date,
    audit_on,
    row_number,
    ROW_NUMBER() OVER (PARTITION BY txn_id ORDER BY audit_on NULLS LAST, row_number NULLS LAST) AS copy_number,
    FIRST_VALUE(row_number) OVER (PARTITION BY txn_id ORDER BY audit_on NULLS LAST, row_number NULLS LAST) AS first_row
  FROM gold.recent_transactions AS recent_transactions
), judged AS (
  SELECT
    entries.*,
    CASE
      WHEN txn_id IS NULL
      THEN 'txn_id'
      WHEN source IS NULL
      THEN 'source'
      WHEN amount IS NULL
      THEN 'amount'
      WHEN vendor IS NULL
      THEN 'vendor'
      WHEN date IS NULL
      THEN 'date'
    END AS missing_field,
    CAST(date AS DATE) > audit_on AS is_future,
    NOT txn_id IS NULL AND copy_number > 1 AS is_copy
  FROM entries
)
SELECT
  audit_on,
  row_number,
  COALESCE(txn_id, 'row:' || row_number) AS transaction_id,
  amount,
  vendor,
  CAST(date AS STRING) AS dated,
  first_row,
  CASE
    WHEN NOT missing_field IS NULL
    THEN 'DQ-01'
    WHEN is_future
    THEN 'DQ-05'
    ELSE 'DQ-03'
  END AS rule_id,
  CASE
    WHEN NOT missing_field IS NULL
    THEN 'no ' || missing_field
    WHEN is_future
    THEN 'dated after the data was received'
    ELSE 'the id of an earlier entry'
  END AS reason,
  COALESCE(missing_field, '') AS missing_field,
  CASE WHEN is_future THEN CAST(CAST(date AS DATE) - audit_on AS INT) ELSE 0 END AS days_ahead
FROM judged
WHERE
  NOT missing_field IS NULL OR is_future OR is_copy
