-- AN-12 A card charge just below the approval limit, on a card and at a vendor that hardly ever have
-- a charge of about that size. A sign, no more: something has to cost that much. Measured: bits of
-- surprise at the share of earlier charges around the limit, of the card or of the vendor, whichever
-- is larger; each starts from the share that the rules file gives.

WITH near AS (
  SELECT
    transaction_id,
    audit_on,
    payer,
    vendor_id,
    vendor,
    amount,
    occurred_at
  FROM audit.transactions AS transactions
  WHERE
    source = 'credit_card'
    AND amount < :limit
    AND amount >= :limit * (
      1 - :below_share
    )
    AND audit_on BETWEEN :from_on AND :to_on
), cards AS (
  SELECT
    near.transaction_id,
    COUNT(entry.transaction_id) AS card_before,
    COUNT(CASE WHEN ABS(entry.amount - :limit) <= :limit * :around_share THEN 1 END) AS card_around
  FROM near
  JOIN audit.transactions AS entry
    ON entry.payer = near.payer
    AND entry.cents > 0
    AND entry.occurred_at < near.occurred_at
  GROUP BY
    near.transaction_id
  HAVING
    COUNT(entry.transaction_id) >= :charges_min
), vendors AS (
  SELECT
    near.transaction_id,
    COUNT(entry.transaction_id) AS vendor_before,
    COUNT(CASE WHEN ABS(entry.amount - :limit) <= :limit * :around_share THEN 1 END) AS vendor_around
  FROM near
  LEFT JOIN audit.transactions AS entry
    ON entry.vendor_id = near.vendor_id
    AND entry.cents > 0
    AND entry.occurred_at < near.occurred_at
  GROUP BY
    near.transaction_id
), weighed AS (
  SELECT
    near.*,
    cards.card_before,
    cards.card_around,
    vendors.vendor_before,
    vendors.vendor_around,
    (
      ROUND(
        (
          -LOG2(
            GREATEST(
              CAST((
                cards.card_around + :prior_weight * :prior_share
              ) AS DOUBLE) / (
                cards.card_before + :prior_weight
              ),
              CAST((
                vendors.vendor_around + :prior_weight * :prior_share
              ) AS DOUBLE) / (
                vendors.vendor_before + :prior_weight
              )
            )
          )
        ) * 10000
      ) / 10000
    ) AS bits
  FROM near
  JOIN cards
    ON cards.transaction_id = near.transaction_id
  JOIN vendors
    ON vendors.transaction_id = near.transaction_id
)
SELECT
  audit_on,
  transaction_id,
  'AN-12' AS rule_id,
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
      'below_by' AS name,
      'audit.just_below.below_by' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(below_by AS STRING), '') AS value
    ),
    STRUCT(
      'card_before' AS name,
      'audit.just_below.card_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(card_before AS STRING), '') AS value
    ),
    STRUCT(
      'card_around' AS name,
      'audit.just_below.card_around' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(card_around AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_before' AS name,
      'audit.just_below.vendor_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_before AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_around' AS name,
      'audit.just_below.vendor_around' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_around AS STRING), '') AS value
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
    :limit - amount AS below_by,
    card_before,
    card_around,
    vendor_before,
    vendor_around
  FROM weighed
  WHERE
    bits >= :bits_min
) AS hit
