-- AN-17 Charges of one card that gather just below the approval limit within some weeks, at any
-- vendors: the one that makes it several. Of the card's charges in that time that come somewhere
-- near the limit from below, as many would lie just below it as that band is wide. Measured: bits of
-- surprise at how many do, by Chernoff's bound: n times the divergence of their share from it.

WITH around AS (
  SELECT
    transaction_id,
    audit_on,
    payer,
    vendor,
    amount,
    occurred_at,
    occurred_on,
    amount >= :limit * (
      1 - :below_share
    ) AS is_near
  FROM audit.transactions AS transactions
  WHERE
    source = 'credit_card'
    AND amount < :limit
    AND amount >= :limit * (
      1 - :around_share
    )
), counted AS (
  SELECT
    entry.audit_on,
    entry.transaction_id,
    entry.amount,
    entry.vendor,
    COUNT(*) AS charges_around,
    COUNT(*) FILTER(WHERE
      other.is_near) AS charges,
    SUM(other.amount) FILTER(WHERE
      other.is_near) AS together,
    MIN(other.occurred_on) FILTER(WHERE
      other.is_near) AS first_on,
    MIN_BY(other.transaction_id, (other.occurred_at, other.transaction_id)) FILTER(WHERE
      other.is_near) AS first_id
  FROM around AS entry
  JOIN around AS other
    ON other.payer = entry.payer
  WHERE
    entry.is_near
    AND entry.audit_on BETWEEN :from_on AND :to_on
    AND other.occurred_on BETWEEN entry.occurred_on - CAST(:window_days AS INT) AND entry.occurred_on
    AND (
      other.occurred_at < entry.occurred_at
      OR (
        other.occurred_at = entry.occurred_at
        AND other.transaction_id <= entry.transaction_id
      )
    )
  GROUP BY
    entry.audit_on,
    entry.transaction_id,
    entry.amount,
    entry.vendor
), weighed AS (
  SELECT
    *,
    (
      ROUND(
        (
          charges * LOG2(
            CAST(CAST(charges AS DOUBLE) / charges_around * :around_share AS DOUBLE) / :below_share
          ) + CASE
            WHEN charges = charges_around
            THEN 0
            ELSE (
              charges_around - charges
            ) * LOG2(
              CAST((
                1 - CAST(charges AS DOUBLE) / charges_around
              ) AS DOUBLE) / (
                1 - CAST(:below_share AS DOUBLE) / :around_share
              )
            )
          END
        ) * 10000
      ) / 10000
    ) AS bits
  FROM counted
  WHERE
    charges = :charges_min
)
SELECT
  audit_on,
  transaction_id,
  'AN-17' AS rule_id,
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
      'charges' AS name,
      'audit.often_below.charges' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charges AS STRING), '') AS value
    ),
    STRUCT(
      'charges_around' AS name,
      'audit.often_below.charges_around' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charges_around AS STRING), '') AS value
    ),
    STRUCT(
      'first_on' AS name,
      'audit.often_below.first_on' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(first_on AS STRING), '') AS value
    ),
    STRUCT(
      'together' AS name,
      'audit.often_below.together' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(together AS STRING), '') AS value
    ),
    STRUCT(
      'first_id' AS name,
      'gold.recent_transactions.txn_id' AS source,
      COALESCE(CAST(first_id AS STRING), '') AS row_id,
      COALESCE(CAST(first_id AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    bits AS measured,
    :bits_min AS threshold,
    amount,
    vendor,
    charges,
    charges_around,
    together,
    first_on,
    first_id
  FROM weighed
  WHERE
    bits >= :bits_min AND charges * :around_share > charges_around * :below_share
) AS hit
