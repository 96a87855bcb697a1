-- CX-03 Charges from $limit on for which no approval was found within the days that the rule waits,
-- where charges of that size customarily have one: at least $seen_min of them, and $usual_share of
-- them, before the charge's month. One by the spender, or from outside, is CX-05 or CX-06.
-- Measured: the amount.

SELECT
  audit_on,
  transaction_id,
  'CX-03' AS rule_id,
  CAST(2 AS INT) AS rule_version,
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
      'charged_on' AS name,
      'gold.recent_transactions.date' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charged_on AS STRING), '') AS value
    ),
    STRUCT(
      'approval_limit' AS name,
      'rules.CX-03.limit' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(approval_limit AS STRING), '') AS value
    ),
    STRUCT(
      'usual_share' AS name,
      'audit.approval_customs.usual_share' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_share AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    charge.occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    charge.transaction_id,
    charge.amount AS measured,
    :limit AS threshold,
    charge.amount,
    charge.vendor,
    charge.occurred_on AS charged_on,
    :limit AS approval_limit,
    CAST(ROUND(100 * custom.usual_share) AS INT) || ' %' AS usual_share
  FROM audit.approved_charges AS charge
  JOIN audit.approval_customs AS custom
    ON custom.month_on = CAST(DATE_TRUNC('MONTH', charge.occurred_on) AS DATE)
  WHERE
    (
      charge.approved_on IS NULL
      OR charge.approved_on > charge.occurred_on + CAST(:matures_after_days AS INT)
    )
    AND charge.amount >= :limit
    AND custom.seen >= :seen_min
    AND custom.usual_share >= :usual_share
    AND charge.occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
) AS hit
