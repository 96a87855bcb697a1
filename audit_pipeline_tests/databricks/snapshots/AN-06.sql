-- AN-06 One purchase cut into parts below the approval limit: charges of one card at one vendor
-- within a few days, each below the limit and together at or above it, where this card does not
-- usually buy from this vendor that often. A batch of many charges is not one purchase that was cut.

WITH charges AS (
  SELECT
    transaction_id,
    occurred_on,
    payer,
    vendor_id,
    vendor,
    amount,
    COUNT(*) OVER near AS parts,
    SUM(amount) OVER near AS parts_total,
    MAX(amount) OVER near AS part_max,
    COUNT(*) OVER before AS charges_before
  FROM audit.transactions AS transactions
  WHERE
    source = 'credit_card'
    AND amount BETWEEN :limit * :part_share_min AND :limit - 0.01
  WINDOW near AS (
    PARTITION BY payer, vendor_id
    ORDER BY occurred_on NULLS LAST
    RANGE BETWEEN INTERVAL '2' DAYS PRECEDING AND INTERVAL '2' DAYS FOLLOWING
  ), before AS (
    PARTITION BY payer, vendor_id
    ORDER BY occurred_on NULLS LAST
    RANGE BETWEEN INTERVAL '92' DAYS PRECEDING AND INTERVAL '3' DAYS PRECEDING
  )
)
SELECT
  audit_on,
  transaction_id,
  'AN-06' AS rule_id,
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
      'parts' AS name,
      'audit.split.parts' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(parts AS STRING), '') AS value
    ),
    STRUCT(
      'parts_total' AS name,
      'audit.split.parts_total' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(parts_total AS STRING), '') AS value
    ),
    STRUCT(
      'usual_parts' AS name,
      'audit.split.usual_parts' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_parts AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    transaction_id,
    parts_total AS measured,
    :limit AS threshold,
    amount,
    vendor,
    parts,
    parts_total,
    charges_before,
    (
      ROUND((
        CAST(charges_before * 5 AS DOUBLE) / 90
      ) * 100) / 100
    ) AS usual_parts
  FROM charges
  WHERE
    parts BETWEEN 2 AND :parts_max
    AND parts_total >= :limit
    AND CAST(charges_before * 5 AS DOUBLE) / 90 < :usual_max
    AND occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
) AS hit
