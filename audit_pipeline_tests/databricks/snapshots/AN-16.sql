-- AN-16 A charge on a Saturday, a Sunday or a holiday of the rules file, on a card that hardly ever
-- is used on such days, at a vendor that hardly ever charges on them (a subscription renews on any
-- day). Days are UTC. Measured: bits of surprise at the larger of the two shares; both are counted
-- over the days before and lean on the company's.

WITH cards AS (
  SELECT
    payer,
    occurred_on,
    COUNT(*) AS charges
  FROM audit.transactions AS transactions
  WHERE
    source = 'credit_card' AND cents > 0
  GROUP BY
    payer,
    occurred_on
), days AS (
  SELECT
    occurred_on,
    SUM(charges) AS charges,
    CASE
      WHEN (
        WEEKDAY(occurred_on) + 1
      ) >= 6
      OR ARRAY_CONTAINS(ARRAY_COMPACT(SPLIT(:holidays, ' ')), CAST(occurred_on AS STRING))
      OR ARRAY_CONTAINS(ARRAY_COMPACT(SPLIT(:holidays, ' ')), RIGHT(CAST(occurred_on AS STRING), 5))
      THEN 1
      ELSE 0
    END AS is_off
  FROM cards
  GROUP BY
    occurred_on
), company AS (
  SELECT
    occurred_on,
    is_off,
    SUM(charges) OVER before AS company_before,
    SUM(charges * is_off) OVER before AS company_off
  FROM days
  WINDOW before AS (ORDER BY occurred_on NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), habits AS (
  SELECT
    cards.payer,
    cards.occurred_on,
    company.is_off,
    SUM(cards.charges) OVER before AS card_before,
    SUM(cards.charges * company.is_off) OVER before AS card_off,
    CAST(company.company_off AS DOUBLE) / company.company_before AS company_share
  FROM cards
  JOIN company
    ON company.occurred_on = cards.occurred_on
  WINDOW before AS (
    PARTITION BY cards.payer
    ORDER BY cards.occurred_on NULLS LAST
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  )
), entries AS (
  SELECT
    entry.audit_on,
    entry.transaction_id,
    entry.amount,
    entry.vendor,
    entry.vendor_id,
    entry.occurred_on,
    habits.card_before,
    habits.card_off,
    habits.company_share,
    GREATEST(
      CAST((
        habits.card_off + :prior_weight * habits.company_share
      ) AS DOUBLE) / (
        habits.card_before + :prior_weight
      ),
      :share_min
    ) AS card_share
  FROM audit.transactions AS entry
  JOIN habits
    ON habits.payer = entry.payer AND habits.occurred_on = entry.occurred_on
  WHERE
    entry.source = 'credit_card'
    AND habits.is_off = 1
    AND habits.card_before >= :charges_min
    AND entry.amount >= :amount_min
    AND entry.audit_on BETWEEN :from_on AND :to_on
), surprising AS (
  SELECT
    *
  FROM entries
  WHERE
    (
      ROUND((
        -LOG2(card_share)
      ) * 10000) / 10000
    ) >= :bits_min
), vendors AS (
  SELECT
    entry.transaction_id,
    COUNT(other.transaction_id) AS vendor_before,
    COALESCE(SUM(days.is_off), 0) AS vendor_off
  FROM surprising AS entry
  LEFT JOIN audit.transactions AS other
    ON other.vendor_id = entry.vendor_id
    AND other.cents > 0
    AND other.occurred_on < entry.occurred_on
  LEFT JOIN days
    ON days.occurred_on = other.occurred_on
  GROUP BY
    entry.transaction_id
), weighed AS (
  SELECT
    entry.*,
    vendors.vendor_before,
    vendors.vendor_off,
    (
      ROUND(
        (
          -LOG2(
            GREATEST(
              card_share,
              CAST((
                vendors.vendor_off + :prior_weight * company_share
              ) AS DOUBLE) / (
                vendors.vendor_before + :prior_weight
              )
            )
          )
        ) * 10000
      ) / 10000
    ) AS bits
  FROM surprising AS entry
  JOIN vendors
    ON vendors.transaction_id = entry.transaction_id
)
SELECT
  audit_on,
  transaction_id,
  'AN-16' AS rule_id,
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
      'day_off' AS name,
      'audit.day_off.day_off' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(day_off AS STRING), '') AS value
    ),
    STRUCT(
      'card_before' AS name,
      'audit.day_off.card_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(card_before AS STRING), '') AS value
    ),
    STRUCT(
      'card_off' AS name,
      'audit.day_off.card_off' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(card_off AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_before' AS name,
      'audit.day_off.vendor_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_before AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_off' AS name,
      'audit.day_off.vendor_off' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_off AS STRING), '') AS value
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
    CASE (
        WEEKDAY(occurred_on) + 1
      )
      WHEN 6
      THEN 'Saturday'
      WHEN 7
      THEN 'Sunday'
      ELSE 'holiday'
    END AS day_off,
    card_before,
    card_off,
    vendor_before,
    vendor_off
  FROM weighed
  WHERE
    bits >= :bits_min
) AS hit
