-- AN-01 An amount far above what this card pays this vendor, or where they have little history,
-- above what the vendor usually charges: $sigmas_min robust sigmas or more on the logarithm of the
-- amount, at least $times_min times the usual amount and $difference_min above it. Left out are
-- charges of which neither the pair nor the vendor has $charges_min others. Measured: the sigmas.

SELECT
  audit_on,
  transaction_id,
  'AN-01' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(40 AS INT) AS score,
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
      'audit.scores.usual_amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_amount AS STRING), '') AS value
    ),
    STRUCT(
      'times_usual' AS name,
      'audit.amount_outlier.times_usual' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(times_usual AS STRING), '') AS value
    ),
    STRUCT(
      'pair_charges' AS name,
      'audit.scores.pair_charges' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(pair_charges AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_charges' AS name,
      'audit.scores.vendor_charges' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_charges AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    distance AS measured,
    :sigmas_min AS threshold,
    amount,
    vendor,
    usual_amount,
    CAST((
      ROUND((
        CAST(amount AS DOUBLE) / usual_amount
      ) * 10) / 10
    ) AS DECIMAL(38, 1)) AS times_usual,
    pair_charges,
    vendor_charges
  FROM audit.scores AS scores
  WHERE
    distance >= :sigmas_min
    AND GREATEST(pair_charges, vendor_charges) >= :charges_min
    AND amount >= :times_min * usual_amount
    AND amount - usual_amount >= :difference_min
    AND audit_on BETWEEN :from_on AND :to_on
) AS hit
