-- DQ-05 Ledger entries that are dated after the day on which the data was
-- received. They are quarantined, and no other rule audits them. Left out are
-- incomplete ones, which DQ-01 names. Where several rows of a day go by one id,
-- the first row of the file stands for them. Measured: the days ahead.

SELECT
  audit_on,
  transaction_id,
  'DQ-05' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(50 AS INT) AS score,
  ARRAY(
    STRUCT(
      'amount' AS name,
      'gold.recent_transactions.amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(amount AS STRING), '') AS value
    ),
    STRUCT(
      'vendor' AS name,
      'gold.recent_transactions.vendor' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor AS STRING), '') AS value
    ),
    STRUCT(
      'dated' AS name,
      'gold.recent_transactions.date' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(dated AS STRING), '') AS value
    ),
    STRUCT(
      'reason' AS name,
      'audit.quarantined.reason' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(reason AS STRING), '') AS value
    ),
    STRUCT(
      'days_ahead' AS name,
      'audit.quarantined.days_ahead' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_ahead AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    measured,
    threshold,
    amount,
    vendor,
    dated,
    reason,
    days_ahead
  FROM (
    SELECT
      audit_on,
      transaction_id,
      days_ahead AS measured,
      0 AS threshold,
      amount,
      vendor,
      dated,
      reason,
      days_ahead,
      ROW_NUMBER() OVER (PARTITION BY audit_on, transaction_id ORDER BY row_number NULLS LAST) AS rank_0
    FROM audit.quarantined AS quarantined
    WHERE
      rule_id = 'DQ-05' AND audit_on BETWEEN :from_on AND :to_on
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
