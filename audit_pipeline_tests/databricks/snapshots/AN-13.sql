-- AN-13 A recurring payment that has not come: its usual day is over, and so are the days by which
-- it ever strayed and may stray; neither has this card paid the vendor again nor any other card the
-- usual amount. Found on the last of those days, once, at the payment before: cancelled, moved or
-- unpaid. Measured: days after the usual day.

WITH series AS (
  SELECT
    transaction_id,
    payer,
    vendor_id,
    vendor,
    amount,
    occurred_on,
    usual_gap_days,
    usual_cents,
    gaps_before,
    occurred_on + CAST(usual_gap_days AS INT) AS expected_on,
    CAST(CEIL(allowed_days + gap_days_max - usual_gap_days) AS INT) AS wait_days
  FROM audit.recurring AS recurring
  WHERE
    is_steady
    AND gaps_before >= :gaps_min
    AND usual_gap_days <= :gap_days_max
    AND ABS(gap_days - usual_gap_days) <= allowed_days
    AND cents_max - cents_min <= :stable_share * usual_cents
    AND ABS(cents - usual_cents) <= :stable_share * usual_cents
), due AS (
  SELECT
    *
  FROM series
  WHERE
    expected_on + wait_days BETWEEN :from_on AND :to_on
), came AS (
  SELECT
    due.transaction_id
  FROM due
  JOIN audit.transactions AS entry
    ON entry.vendor_id = due.vendor_id
  WHERE
    entry.cents > 0
    AND entry.occurred_on BETWEEN due.occurred_on AND due.expected_on + due.wait_days
    AND (
      entry.occurred_on > due.occurred_on OR entry.transaction_id > due.transaction_id
    )
    AND (
      entry.payer = due.payer
      OR ABS(entry.cents - due.usual_cents) <= :stable_share * due.usual_cents
    )
)
SELECT
  audit_on,
  transaction_id,
  'AN-13' AS rule_id,
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
      'expected_on' AS name,
      'audit.recurring_missing.expected_on' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(expected_on AS STRING), '') AS value
    ),
    STRUCT(
      'usual_gap_days' AS name,
      'audit.recurring.usual_gap_days' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_gap_days AS STRING), '') AS value
    ),
    STRUCT(
      'payments' AS name,
      'audit.recurring.gaps_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(payments AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    due.expected_on + due.wait_days AS audit_on,
    due.transaction_id,
    due.wait_days AS measured,
    due.wait_days AS threshold,
    due.amount,
    due.vendor,
    due.expected_on,
    due.usual_gap_days,
    due.gaps_before + 2 AS payments
  FROM due
  ANTI JOIN came
    ON came.transaction_id = due.transaction_id
) AS hit
