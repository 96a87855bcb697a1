-- RC-07 Charges above their own matched receipt by more than is customary in their category (a tip)
-- and $margin on top. The customary share is the 99th percentile of what the category's charges
-- matched before that month were above their receipts. Left out are categories with fewer than
-- $seen_min of these. Measured: the share above the receipt.

WITH matched AS (
  SELECT
    match.audit_on,
    match.left_id AS transaction_id,
    match.right_id AS receipt_id,
    entry.amount,
    entry.vendor,
    entry.category,
    receipt.amount AS receipt_amount,
    CAST((
      entry.cents - receipt.cents
    ) AS DOUBLE) / receipt.cents AS share,
    DATE_TRUNC('MONTH', match.audit_on) AS month_on,
    match.posterior,
    match.terms,
    match.rivals
  FROM audit.matches AS match
  JOIN audit.transactions AS entry
    ON entry.transaction_id = match.left_id
  JOIN audit.receipts AS receipt
    ON receipt.receipt_id = match.right_id
  WHERE
    match.kind = 'charge_to_receipt'
), months AS (
  SELECT DISTINCT
    month_on
  FROM matched
  WHERE
    audit_on BETWEEN :from_on AND :to_on
), customary AS (
  SELECT
    months.month_on,
    earlier.category,
    COUNT(*) AS seen,
    PERCENTILE_DISC(0.99) WITHIN GROUP (ORDER BY
      earlier.share NULLS LAST) AS usual_share
  FROM months
  JOIN matched AS earlier
    ON earlier.audit_on < months.month_on
  GROUP BY
    months.month_on,
    earlier.category
)
SELECT
  audit_on,
  transaction_id,
  'RC-07' AS rule_id,
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
      'receipt_id' AS name,
      'gold.receipts.receipt_id' AS source,
      COALESCE(CAST(receipt_id AS STRING), '') AS row_id,
      COALESCE(CAST(receipt_id AS STRING), '') AS value
    ),
    STRUCT(
      'receipt_amount' AS name,
      'gold.receipts.amount' AS source,
      COALESCE(CAST(receipt_id AS STRING), '') AS row_id,
      COALESCE(CAST(receipt_amount AS STRING), '') AS value
    ),
    STRUCT(
      'usual_share' AS name,
      'audit.receipt_disagrees.usual_share' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_share AS STRING), '') AS value
    ),
    STRUCT(
      'share' AS name,
      'audit.receipt_disagrees.share' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(share AS STRING), '') AS value
    ),
    STRUCT(
      'match_probability' AS name,
      'audit.matches.posterior' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(match_probability AS STRING), '') AS value
    ),
    STRUCT(
      'match_terms' AS name,
      'audit.matches.terms' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(match_terms AS STRING), '') AS value
    ),
    STRUCT(
      'match_rivals' AS name,
      'audit.matches.rivals' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(match_rivals AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    measured,
    threshold,
    amount,
    vendor,
    receipt_id,
    receipt_amount,
    usual_share,
    share,
    match_probability,
    match_terms,
    match_rivals
  FROM (
    SELECT
      matched.audit_on,
      matched.transaction_id,
      (
        ROUND((
          matched.share
        ) * 10000) / 10000
      ) AS measured,
      (
        ROUND((
          customary.usual_share + :margin
        ) * 10000) / 10000
      ) AS threshold,
      matched.amount,
      matched.vendor,
      matched.receipt_id,
      matched.receipt_amount,
      CAST((
        ROUND((
          customary.usual_share
        ) * 10000) / 10000
      ) AS DECIMAL(38, 4)) AS usual_share,
      CAST((
        ROUND((
          matched.share
        ) * 10000) / 10000
      ) AS DECIMAL(38, 4)) AS share,
      matched.posterior AS match_probability,
      matched.terms AS match_terms,
      matched.rivals AS match_rivals,
      ROW_NUMBER() OVER (
        PARTITION BY matched.audit_on, matched.transaction_id
        ORDER BY matched.receipt_id NULLS LAST
      ) AS rank_0
    FROM matched
    JOIN customary
      ON customary.month_on = matched.month_on AND customary.category = matched.category
    WHERE
      customary.seen >= :seen_min
      AND matched.share > customary.usual_share + :margin
      AND matched.audit_on BETWEEN :from_on AND :to_on
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
