-- DQ-06 Ledger entries in another currency than the company's own, which
-- is the one that most entries have had up to that day (of equals, the
-- first by its code). No amount is converted. Left out are entries without
-- a currency, which count as the company's own. Measured: 1, against 0.

WITH by_day AS (
  SELECT
    audit_on,
    currency,
    COUNT(*) AS entries
  FROM audit.transactions AS transactions
  WHERE
    NOT currency IS NULL
  GROUP BY
    audit_on,
    currency
), until AS (
  SELECT
    days.audit_on,
    by_day.currency,
    SUM(by_day.entries) AS entries
  FROM (
    SELECT DISTINCT
      audit_on
    FROM by_day
    WHERE
      audit_on BETWEEN :from_on AND :to_on
  ) AS days
  JOIN by_day
    ON by_day.audit_on <= days.audit_on
  GROUP BY
    days.audit_on,
    by_day.currency
), own AS (
  SELECT
    audit_on,
    own_currency
  FROM (
    SELECT
      audit_on,
      currency AS own_currency,
      ROW_NUMBER() OVER (PARTITION BY audit_on ORDER BY entries DESC, currency NULLS LAST) AS rank_0
    FROM until
  ) AS ranked
  WHERE
    rank_0 = 1
)
SELECT
  audit_on,
  transaction_id,
  'DQ-06' AS rule_id,
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
      'currency' AS name,
      'gold.recent_transactions.currency' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(currency AS STRING), '') AS value
    ),
    STRUCT(
      'own_currency' AS name,
      'audit.transactions.own_currency' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(own_currency AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    entry.audit_on,
    transaction_id,
    1 AS measured,
    0 AS threshold,
    amount,
    vendor,
    currency,
    own_currency
  FROM audit.transactions AS entry
  JOIN own
    ON own.audit_on = entry.audit_on
  WHERE
    entry.currency <> own.own_currency
) AS hit
