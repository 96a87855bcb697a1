-- AN-04 The first payment ever to a vendor that is not in the vendor master, of a size that only a
-- tenth of the company's charges of the year before reach. Left out are months with fewer than
-- $history_min charges of history. Measured: the amount, against the upper decile.

SELECT
  audit_on,
  transaction_id,
  'AN-04' AS rule_id,
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
      'upper_decile' AS name,
      'audit.scores.upper_decile' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(upper_decile AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    score.audit_on,
    score.transaction_id,
    score.amount AS measured,
    score.upper_decile AS threshold,
    score.amount,
    score.vendor,
    score.upper_decile
  FROM audit.scores AS score
  JOIN audit.vendor_entities AS entity
    ON entity.vendor_id = score.vendor_id AND entity.method = 'own'
  WHERE
    score.is_vendor_first
    AND score.company_charges >= :history_min
    AND score.amount >= score.upper_decile
    AND score.audit_on BETWEEN :from_on AND :to_on
) AS hit
