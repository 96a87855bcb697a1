-- AN-07 Charges whose anomaly score is above $score_min, of 100, with the strongest signals and
-- each one's share of the score. The score compares a charge with the company's year before its
-- month; `audit.scores` has none for months without enough history. Measured: the score.

SELECT
  audit_on,
  transaction_id,
  'AN-07' AS rule_id,
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
      'score' AS name,
      'audit.scores.score' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(score AS STRING), '') AS value
    ),
    STRUCT(
      'parts' AS name,
      'audit.scores.reasons' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(parts AS STRING), '') AS value
    ),
    STRUCT(
      'usual_amount' AS name,
      'audit.scores.usual_amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_amount AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    score AS measured,
    :score_min AS threshold,
    amount,
    vendor,
    score,
    reasons AS parts,
    usual_amount,
    companions
  FROM audit.scores AS scores
  WHERE
    score > :score_min AND audit_on BETWEEN :from_on AND :to_on
) AS hit
