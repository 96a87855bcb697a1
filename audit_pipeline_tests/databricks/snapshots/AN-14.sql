-- AN-14 A recurring payment that was paid again much too early, after $early_share of its usual gap
-- or sooner and at about the usual amount: charged twice. (Late is AN-03.) Left out are series that
-- are not steady, that have fewer than $gaps_min gaps, or whose amounts stray by more than
-- $stable_share. Measured: the gap as a share of the usual one.

SELECT
  audit_on,
  transaction_id,
  'AN-14' AS rule_id,
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
      'gap_days' AS name,
      'audit.recurring.gap_days' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(gap_days AS STRING), '') AS value
    ),
    STRUCT(
      'usual_gap_days' AS name,
      'audit.recurring.usual_gap_days' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_gap_days AS STRING), '') AS value
    ),
    STRUCT(
      'payments_before' AS name,
      'audit.recurring.gaps_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(payments_before AS STRING), '') AS value
    ),
    STRUCT(
      'previous_id' AS name,
      'gold.recent_transactions.txn_id' AS source,
      COALESCE(CAST(previous_id AS STRING), '') AS row_id,
      COALESCE(CAST(previous_id AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    (
      ROUND((
        CAST(gap_days AS DOUBLE) / usual_gap_days
      ) * 10000) / 10000
    ) AS measured,
    :early_share AS threshold,
    amount,
    vendor,
    gap_days,
    usual_gap_days,
    gaps_before + 1 AS payments_before,
    previous_id
  FROM audit.recurring AS recurring
  WHERE
    is_steady
    AND gap_days <= :early_share * usual_gap_days
    AND gaps_before >= :gaps_min
    AND cents_max - cents_min <= :stable_share * usual_cents
    AND ABS(cents - usual_cents) <= :stable_share * usual_cents
    AND audit_on BETWEEN :from_on AND :to_on
) AS hit
