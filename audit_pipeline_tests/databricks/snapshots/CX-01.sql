-- CX-01 Card charges from $amount_min on that have no matched receipt once the rule has waited,
-- where charges of that category and size customarily have one: at least $usual_share of $seen_min
-- or more. Size goes in powers of two; where too few charges of that size are known, the whole
-- category is asked. Custom is what was so before the first day of the charge's month. Measured:
-- the customary share.

WITH receipted AS (
  SELECT
    left_id,
    MIN(audit_on) AS audit_on
  FROM audit.matches AS matches
  WHERE
    kind = 'charge_to_receipt'
  GROUP BY
    left_id
), charges AS (
  SELECT
    entry.transaction_id,
    entry.occurred_on,
    entry.amount,
    entry.vendor,
    entry.category,
    CAST(FLOOR((
      ROUND((
        LOG2(entry.amount)
      ) * 1000000000) / 1000000000
    )) AS INT) AS size,
    CAST(DATE_TRUNC('MONTH', entry.occurred_on) AS DATE) AS month_on,
    receipted.audit_on
  FROM audit.transactions AS entry
  LEFT JOIN receipted
    ON receipted.left_id = entry.transaction_id
  WHERE
    entry.source = 'credit_card' AND entry.amount >= :amount_min
), wanted AS (
  SELECT
    *
  FROM charges
  WHERE
    occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
    AND (
      audit_on IS NULL OR audit_on > occurred_on + CAST(:matures_after_days AS INT)
    )
), months AS (
  SELECT DISTINCT
    month_on
  FROM wanted
), customs AS (
  SELECT
    months.month_on,
    earlier.category,
    earlier.size,
    COUNT(*) AS seen,
    COUNT(*) FILTER(WHERE
      earlier.audit_on <= months.month_on) AS receipted
  FROM months
  JOIN charges AS earlier
    ON earlier.occurred_on < months.month_on - 7
  GROUP BY
    months.month_on,
    earlier.category,
    earlier.size
), in_category AS (
  SELECT
    month_on,
    category,
    SUM(seen) AS seen,
    SUM(receipted) AS receipted
  FROM customs
  GROUP BY
    month_on,
    category
), judged AS (
  SELECT
    wanted.*,
    CASE WHEN sized.seen >= :seen_min THEN sized.seen ELSE in_category.seen END AS seen,
    CASE
      WHEN sized.seen >= :seen_min
      THEN CAST(sized.receipted AS DOUBLE) / sized.seen
      ELSE CAST(in_category.receipted AS DOUBLE) / in_category.seen
    END AS usual_share
  FROM wanted
  JOIN in_category
    ON in_category.month_on = wanted.month_on AND in_category.category = wanted.category
  LEFT JOIN customs AS sized
    ON sized.month_on = wanted.month_on
    AND sized.category = wanted.category
    AND sized.size = wanted.size
)
SELECT
  audit_on,
  transaction_id,
  'CX-01' AS rule_id,
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
      'charged_on' AS name,
      'gold.recent_transactions.date' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charged_on AS STRING), '') AS value
    ),
    STRUCT(
      'category' AS name,
      'gold.credit_cards.category' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(category AS STRING), '') AS value
    ),
    STRUCT(
      'days_open' AS name,
      'audit.no_receipt.days_open' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_open AS STRING), '') AS value
    ),
    STRUCT(
      'usual_share' AS name,
      'audit.no_receipt.usual_share' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(usual_share AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    transaction_id,
    (
      ROUND((
        usual_share
      ) * 10000) / 10000
    ) AS measured,
    :usual_share AS threshold,
    amount,
    vendor,
    category,
    occurred_on AS charged_on,
    CAST(:matures_after_days AS INT) AS days_open,
    CAST(ROUND(100 * usual_share) AS INT) || ' %' AS usual_share
  FROM judged
  WHERE
    seen >= :seen_min AND usual_share >= :usual_share
) AS hit
