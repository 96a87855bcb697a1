-- AN-09 As AN-05, for amounts from $amount_min to below $amount_below and at most $days_max days
-- after the charge that they repeat: worth a line in a list, not a reviewer's morning. Measured:
-- bits of surprise, from $bits_min on.

SELECT
  audit_on,
  transaction_id,
  'AN-09' AS rule_id,
  CAST(2 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(20 AS INT) AS score,
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
      'other_id' AS name,
      'gold.recent_transactions.txn_id' AS source,
      COALESCE(CAST(other_id AS STRING), '') AS row_id,
      COALESCE(CAST(other_id AS STRING), '') AS value
    ),
    STRUCT(
      'other_on' AS name,
      'gold.recent_transactions.date' AS source,
      COALESCE(CAST(other_id AS STRING), '') AS row_id,
      COALESCE(CAST(other_on AS STRING), '') AS value
    ),
    STRUCT(
      'days_apart' AS name,
      'audit.repeats.days_apart' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_apart AS STRING), '') AS value
    ),
    STRUCT(
      'same_before' AS name,
      'audit.repeats.same_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(same_before AS STRING), '') AS value
    ),
    STRUCT(
      'pair_before' AS name,
      'audit.repeats.pair_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(pair_before AS STRING), '') AS value
    ),
    STRUCT(
      'repeats_before' AS name,
      'audit.repeats.pair_repeats_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(repeats_before AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    bits AS measured,
    :bits_min AS threshold,
    amount,
    vendor,
    other_id,
    CAST(other_at AS DATE) AS other_on,
    days_apart,
    same_before,
    pair_before,
    pair_repeats_before AS repeats_before
  FROM audit.repeats AS repeats
  WHERE
    bits >= :bits_min
    AND amount >= :amount_min
    AND amount < :amount_below
    AND days_apart <= :days_max
    AND audit_on BETWEEN :from_on AND :to_on
) AS hit
