-- DQ-03 Ledger entries that repeat the id of an earlier entry, by day and then by
-- row: the first copy is audited, the later ones are quarantined. Left out are
-- copies that are incomplete or dated in the future, which DQ-01 and DQ-05 name.
-- Measured: 1, against 0.

SELECT
  audit_on,
  transaction_id,
  'DQ-03' AS rule_id,
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
      'row_number' AS name,
      'gold.recent_transactions.row_number' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(row_number AS STRING), '') AS value
    ),
    STRUCT(
      'first_row' AS name,
      'gold.recent_transactions.row_number' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(first_row AS STRING), '') AS value
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
    row_number,
    first_row
  FROM (
    SELECT
      audit_on,
      transaction_id,
      1 AS measured,
      0 AS threshold,
      amount,
      vendor,
      dated,
      reason,
      row_number,
      first_row,
      ROW_NUMBER() OVER (PARTITION BY audit_on, transaction_id ORDER BY row_number NULLS LAST) AS rank_0
    FROM audit.quarantined AS quarantined
    WHERE
      rule_id = 'DQ-03' AND audit_on BETWEEN :from_on AND :to_on
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
