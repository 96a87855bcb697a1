-- AN-15 A round amount at a vendor whose charges are hardly ever round: whole hundreds are agreed
-- or made up, an invoice seldom comes to them. Compared with charges from the same floor only,
-- because small ones cannot be so round. Measured: bits of surprise at the vendor's share of round
-- charges before, which leans on the company's.

WITH charges AS (
  SELECT
    audit_on,
    transaction_id,
    vendor_id,
    vendor,
    amount,
    occurred_on,
    CASE WHEN amount % :round_to = 0 THEN 1 ELSE 0 END AS is_round
  FROM audit.transactions AS transactions
  WHERE
    amount >= :amount_min
), company AS (
  SELECT
    occurred_on,
    SUM(COUNT(*)) OVER before AS company_before,
    SUM(SUM(is_round)) OVER before AS company_round
  FROM charges
  GROUP BY
    occurred_on
  WINDOW before AS (ORDER BY occurred_on NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), vendors AS (
  SELECT
    vendor_id,
    occurred_on,
    SUM(COUNT(*)) OVER before AS vendor_before,
    SUM(SUM(is_round)) OVER before AS vendor_round
  FROM charges
  GROUP BY
    vendor_id,
    occurred_on
  WINDOW before AS (
    PARTITION BY vendor_id
    ORDER BY occurred_on NULLS LAST
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  )
), weighed AS (
  SELECT
    entry.audit_on,
    entry.transaction_id,
    entry.amount,
    entry.vendor,
    vendors.vendor_before,
    vendors.vendor_round,
    -LOG2(
      CAST((
        vendors.vendor_round + CAST(:prior_weight * (
          company.company_round + 1
        ) AS DOUBLE) / (
          company.company_before + 1
        )
      ) AS DOUBLE) / (
        vendors.vendor_before + :prior_weight
      )
    ) AS bits
  FROM charges AS entry
  JOIN company
    ON company.occurred_on = entry.occurred_on
  JOIN vendors
    ON vendors.vendor_id = entry.vendor_id AND vendors.occurred_on = entry.occurred_on
  WHERE
    entry.is_round = 1 AND entry.audit_on BETWEEN :from_on AND :to_on
)
SELECT
  audit_on,
  transaction_id,
  'AN-15' AS rule_id,
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
      'vendor_before' AS name,
      'audit.round_amount.vendor_before' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_before AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_round' AS name,
      'audit.round_amount.vendor_round' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_round AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    (
      ROUND((
        bits
      ) * 10000) / 10000
    ) AS measured,
    :bits_min AS threshold,
    amount,
    vendor,
    vendor_before,
    vendor_round
  FROM weighed
  WHERE
    vendor_before >= :charges_min
    AND (
      ROUND((
        bits
      ) * 10000) / 10000
    ) >= :bits_min
) AS hit
