-- AN-10 A charge at the same vendor on the same card within a week of another one, whose amounts
-- differ only in two neighbouring digits that changed places (54.30 and 53.40): typed in twice, once
-- wrongly. Measured: bits of surprise, from how often this card comes back there within a week, and
-- how often one charge is such a pair with another: this vendor's earlier charges were, or had just
-- this amount, and never less than the share at which digits fall so by accident. As with AN-05,
-- every doubling of the days between takes a bit away.

WITH charges AS (
  SELECT
    transaction_id,
    payer,
    vendor_id,
    cents,
    occurred_at,
    cents % 9 AS remainder
  FROM audit.transactions AS transactions
  WHERE
    amount >= :amount_min
), near /* Digits in another order leave the same remainder by nine. */ AS (
  SELECT
    entry.transaction_id,
    entry.vendor_id,
    entry.occurred_at,
    entry.cents,
    CAST(entry.cents AS STRING) AS digits,
    CAST(other.cents AS STRING) AS other_digits,
    other.transaction_id AS other_id,
    other.occurred_at AS other_at,
    LENGTH(CAST(entry.cents AS STRING)) /* The first of the two digits: the difference is nine times one digit, and a zero for each */ /* place behind. */ - LENGTH(CAST(ABS(entry.cents - other.cents) DIV 9 AS STRING)) AS place
  FROM charges AS entry
  JOIN charges AS other
    ON other.payer = entry.payer
    AND other.vendor_id = entry.vendor_id
    AND other.remainder = entry.remainder
  WHERE
    other.cents <> entry.cents
    AND other.occurred_at BETWEEN entry.occurred_at - INTERVAL '7' DAYS AND entry.occurred_at
    AND (
      other.occurred_at < entry.occurred_at
      OR other.transaction_id < entry.transaction_id
    )
), swapped AS (
  SELECT
    *
    EXCEPT (rank_0)
  FROM (
    SELECT
      *,
      COUNT(*) OVER (PARTITION BY vendor_id ORDER BY occurred_at NULLS LAST, transaction_id NULLS LAST) - 1 AS vendor_swaps_before,
      ROW_NUMBER() OVER (PARTITION BY transaction_id ORDER BY other_at DESC, other_id DESC) AS rank_0
    FROM near
    WHERE
      other_digits = SUBSTRING(digits, 1, place - 1) || SUBSTRING(digits, place + 1, 1) || SUBSTRING(digits, place, 1) || SUBSTRING(digits, place + 2)
  ) AS ranked
  WHERE
    rank_0 = 1
), asked AS (
  SELECT
    entry.*,
    swapped.other_id,
    swapped.vendor_swaps_before,
    other.amount AS other_amount,
    other.occurred_on AS other_on,
    CAST(entry.occurred_on - other.occurred_on AS INT) AS days_apart
  FROM swapped
  JOIN audit.transactions AS entry
    ON entry.transaction_id = swapped.transaction_id
  JOIN audit.transactions AS other
    ON other.transaction_id = swapped.other_id
  WHERE
    entry.audit_on BETWEEN :from_on AND :to_on
), history /* The vendor's charges before: all, of just this amount, of this card, and of these the ones that */ /* came within a week of another. */ AS (
  SELECT
    asked.transaction_id,
    entry.cents = asked.cents AS is_same,
    entry.payer = asked.payer AS is_own,
    entry.occurred_on,
    entry.payer = asked.payer
    AND entry.occurred_at >= asked.occurred_at - INTERVAL '7' DAYS AS is_near
  FROM asked
  JOIN audit.transactions AS entry
    ON entry.vendor_id = asked.vendor_id
  WHERE
    entry.cents > 0
    AND entry.transaction_id <> asked.transaction_id
    AND (
      entry.occurred_at < asked.occurred_at
      OR (
        entry.occurred_at = asked.occurred_at
        AND entry.transaction_id < asked.transaction_id
      )
    )
), customs AS (
  SELECT
    transaction_id,
    COUNT(*) AS vendor_before,
    COUNT(CASE WHEN is_same THEN 1 END) AS same_before,
    COUNT(CASE WHEN is_own THEN 1 END) AS pair_before,
    COUNT(CASE WHEN is_near THEN 1 END) AS pair_in_window
  FROM history
  GROUP BY
    transaction_id
), soon AS (
  SELECT
    transaction_id,
    COUNT(CASE WHEN gap_days <= 7 THEN 1 END) AS pair_soon_before
  FROM (
    SELECT
      transaction_id,
      CAST(occurred_on - LAG(occurred_on) OVER (PARTITION BY transaction_id ORDER BY occurred_on NULLS LAST) AS INT) AS gap_days
    FROM history
    WHERE
      is_own
  ) AS gaps
  GROUP BY
    transaction_id
), rated AS (
  SELECT
    asked.*,
    customs.vendor_before,
    customs.same_before,
    customs.pair_before,
    GREATEST(customs.pair_in_window, 1) AS others,
    LEAST(
      CAST((
        soon.pair_soon_before + :prior_weight * :soon_share
      ) AS DOUBLE) / (
        customs.pair_before + :prior_weight
      ),
      1
    ) AS soon_share,
    LEAST(
      GREATEST(
        :coincidence_share,
        CAST(asked.vendor_swaps_before AS DOUBLE) / (
          customs.vendor_before + :prior_weight
        ),
        CAST(customs.same_before AS DOUBLE) / (
          customs.vendor_before + :prior_weight
        )
      ),
      0.5
    ) AS swap_share
  FROM asked
  JOIN customs
    ON customs.transaction_id = asked.transaction_id
  JOIN soon
    ON soon.transaction_id = asked.transaction_id
), weighed AS (
  SELECT
    *,
    (
      ROUND(
        (
          -LOG2(soon_share) - LOG2(1 - POWER(1 - swap_share, others)) - LOG2(GREATEST(days_apart, 1))
        ) * 10000
      ) / 10000
    ) AS bits
  FROM rated
)
SELECT
  audit_on,
  transaction_id,
  'AN-10' AS rule_id,
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
      'other_amount' AS name,
      'gold.recent_transactions.amount' AS source,
      COALESCE(CAST(other_id AS STRING), '') AS row_id,
      COALESCE(CAST(other_amount AS STRING), '') AS value
    ),
    STRUCT(
      'other_on' AS name,
      'gold.recent_transactions.date' AS source,
      COALESCE(CAST(other_id AS STRING), '') AS row_id,
      COALESCE(CAST(other_on AS STRING), '') AS value
    ),
    STRUCT(
      'days_apart' AS name,
      'audit.transposed.days_apart' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_apart AS STRING), '') AS value
    ),
    STRUCT(
      'pair_before' AS name,
      'audit.transposed.pair_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(pair_before AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_before' AS name,
      'audit.transposed.vendor_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_before AS STRING), '') AS value
    ),
    STRUCT(
      'swaps_before' AS name,
      'audit.transposed.swaps_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(swaps_before AS STRING), '') AS value
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
    other_id,
    other_amount,
    other_on,
    days_apart,
    pair_before,
    vendor_before,
    vendor_swaps_before AS swaps_before
  FROM weighed
  WHERE
    bits >= :bits_min
) AS hit
