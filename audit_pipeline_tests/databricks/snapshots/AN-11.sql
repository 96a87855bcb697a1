-- AN-11 Ten or a hundred times a usual price of the vendor, with the same digits: a decimal point
-- in the wrong place. A usual price is one that a part of its charges of the year before had; and
-- the amount lies far above what nearly all of them came to. Measured: times that upper bound.

WITH factors AS (
  SELECT
    10 AS times
  UNION ALL
  SELECT
    100 AS times
), entries AS (
  SELECT
    entry.transaction_id,
    entry.audit_on,
    entry.vendor_id,
    entry.vendor,
    entry.amount,
    entry.cents,
    entry.occurred_on,
    factors.times,
    entry.cents DIV factors.times AS price_cents
  FROM audit.transactions AS entry
  CROSS JOIN factors
  WHERE
    entry.amount >= :amount_min
    AND entry.cents % factors.times = 0
    AND LENGTH(TRIM(TRAILING '0' FROM CAST(entry.cents AS STRING))) >= :digits_min
    AND entry.audit_on BETWEEN :from_on AND :to_on
), priced AS (
  SELECT
    entry.transaction_id,
    entry.times,
    COUNT(*) AS price_charges,
    MAX_BY(other.transaction_id, (other.occurred_at, other.transaction_id)) AS other_id
  FROM entries AS entry
  JOIN audit.transactions AS other
    ON other.vendor_id = entry.vendor_id AND other.cents = entry.price_cents
  WHERE
    other.occurred_on >= entry.occurred_on - CAST(:history_days AS INT)
    AND other.occurred_on < entry.occurred_on
  GROUP BY
    entry.transaction_id,
    entry.times
  HAVING
    COUNT(*) >= :price_charges_min
), compared AS (
  SELECT
    entry.audit_on,
    entry.transaction_id,
    entry.vendor,
    entry.amount,
    entry.cents,
    entry.times,
    priced.price_charges,
    priced.other_id AS other_id,
    COUNT(*) AS charges_before,
    PERCENTILE_DISC(:upper_share) WITHIN GROUP (ORDER BY
      other.cents NULLS LAST) AS upper_cents
  FROM priced
  JOIN entries AS entry
    ON entry.transaction_id = priced.transaction_id AND entry.times = priced.times
  JOIN audit.transactions AS other
    ON other.vendor_id = entry.vendor_id
  WHERE
    other.cents > 0
    AND other.occurred_on >= entry.occurred_on - CAST(:history_days AS INT)
    AND other.occurred_on < entry.occurred_on
  GROUP BY
    entry.audit_on,
    entry.transaction_id,
    entry.vendor,
    entry.amount,
    entry.cents,
    entry.times,
    priced.price_charges,
    priced.other_id
)
SELECT
  audit_on,
  transaction_id,
  'AN-11' AS rule_id,
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
      'other_id' AS name,
      'gold.recent_transactions.txn_id' AS source,
      COALESCE(CAST(other_id AS STRING), '') AS row_id,
      COALESCE(CAST(other_id AS STRING), '') AS value
    ),
    STRUCT(
      'times_price' AS name,
      'audit.slip.times_price' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(times_price AS STRING), '') AS value
    ),
    STRUCT(
      'upper_amount' AS name,
      'audit.slip.upper_amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(upper_amount AS STRING), '') AS value
    ),
    STRUCT(
      'price_charges' AS name,
      'audit.slip.price_charges' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(price_charges AS STRING), '') AS value
    ),
    STRUCT(
      'charges_before' AS name,
      'audit.slip.charges_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charges_before AS STRING), '') AS value
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
    other_id,
    times_price,
    upper_amount,
    price_charges,
    charges_before
  FROM (
    SELECT
      audit_on,
      transaction_id,
      (
        ROUND((
          CAST(cents AS DOUBLE) / upper_cents
        ) * 100) / 100
      ) AS measured,
      :times_min AS threshold,
      amount,
      vendor,
      other_id,
      times AS times_price,
      CAST(CAST(upper_cents AS DOUBLE) / 100 AS DECIMAL(18, 2)) AS upper_amount,
      price_charges,
      charges_before,
      ROW_NUMBER() OVER (
        PARTITION BY audit_on, transaction_id
        ORDER BY price_charges DESC, times NULLS LAST
      ) AS rank_0
    FROM compared
    WHERE
      charges_before >= :charges_min
      AND price_charges >= :price_share_min * charges_before
      AND cents >= :times_min * upper_cents
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
