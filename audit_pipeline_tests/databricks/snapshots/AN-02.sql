-- AN-02 A recurring payment whose amount was stable and is not any more: off from the usual amount,
-- and from the one before, by more than $drift_share of the usual one and $spreads times its median
-- spread, so that a price that has changed is told once. Stable is a steady series whose amounts
-- lie within $stable_share, or one of $gaps_robust gaps whose median spread does. Left out are
-- payments far from their day. Measured: the share by which it is off.

SELECT
  audit_on,
  transaction_id,
  'AN-02' AS rule_id,
  CAST(2 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(30 AS INT) AS score,
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
      'usual_amount' AS name,
      'audit.recurring.usual_cents' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_amount AS STRING), '') AS value
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
        CAST(ABS(cents - usual_cents) AS DOUBLE) / usual_cents
      ) * 10000) / 10000
    ) AS measured,
    (
      ROUND(
        (
          :drift_share + CAST(:spreads * cents_spread AS DOUBLE) / usual_cents
        ) * 10000
      ) / 10000
    ) AS threshold,
    amount,
    vendor,
    CAST(CAST(usual_cents AS DOUBLE) / 100 AS DECIMAL(18, 2)) AS usual_amount,
    usual_gap_days,
    gaps_before + 1 AS payments_before,
    previous_id
  FROM audit.recurring AS recurring
  WHERE
    (
      is_steady
      AND cents_max - cents_min <= :stable_share * usual_cents
      OR gaps_before >= :gaps_robust
      AND cents_spread <= :stable_share * usual_cents
    )
    AND ABS(cents - usual_cents) > :drift_share * usual_cents + :spreads * cents_spread
    AND ABS(cents - previous_cents) > :drift_share * usual_cents + :spreads * cents_spread
    AND gap_days BETWEEN usual_gap_days - 2 * allowed_days AND usual_gap_days + 2 * allowed_days
    AND audit_on BETWEEN :from_on AND :to_on
) AS hit
