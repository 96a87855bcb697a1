-- AN-03 A recurring payment that came later than it ever did before, by more than the days that its
-- series may stray. Compared are the days since the payment before with the usual gap. Left out are
-- series that are not steady, and those of which an earlier amount or this one strays by more than
-- $stable_share of the usual one. Measured: days after the usual day.

SELECT
  audit_on,
  transaction_id,
  'AN-03' AS rule_id,
  CAST(1 AS INT) AS rule_version,
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
      'days_late' AS name,
      'audit.recurring.gap_days' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_late AS STRING), '') AS value
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
    gap_days - usual_gap_days AS measured,
    CEIL(allowed_days + gap_days_max - usual_gap_days) AS threshold,
    amount,
    vendor,
    gap_days,
    usual_gap_days,
    gap_days - usual_gap_days AS days_late,
    gaps_before + 1 AS payments_before,
    previous_id
  FROM audit.recurring AS recurring
  WHERE
    is_steady
    AND gap_days - usual_gap_days > CEIL(allowed_days + gap_days_max - usual_gap_days)
    AND cents_max - cents_min <= :stable_share * usual_cents
    AND ABS(cents - usual_cents) <= :stable_share * usual_cents
    AND audit_on BETWEEN :from_on AND :to_on
) AS hit
