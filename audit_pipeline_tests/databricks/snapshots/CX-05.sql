-- CX-05 Charges from $limit on that only their spender approved: the approver has the cardholder's
-- name, or is the one who asked, writing from another address. Left out are charges with a proper
-- approval of somebody else's, and those that one from outside came first for (CX-06). Measured:
-- the amount, against the limit.

SELECT
  audit_on,
  transaction_id,
  'CX-05' AS rule_id,
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
      'charged_on' AS name,
      'gold.recent_transactions.date' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charged_on AS STRING), '') AS value
    ),
    STRUCT(
      'email_id' AS name,
      'gold.emails.email_id' AS source,
      COALESCE(CAST(email_id AS STRING), '') AS row_id,
      COALESCE(CAST(email_id AS STRING), '') AS value
    ),
    STRUCT(
      'approver' AS name,
      'gold.emails.sender' AS source,
      COALESCE(CAST(email_id AS STRING), '') AS row_id,
      COALESCE(CAST(approver AS STRING), '') AS value
    ),
    STRUCT(
      'approved_on' AS name,
      'gold.emails.date' AS source,
      COALESCE(CAST(email_id AS STRING), '') AS row_id,
      COALESCE(CAST(approved_on AS STRING), '') AS value
    ),
    STRUCT(
      'cardholder' AS name,
      'gold.credit_cards.cardholder' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(cardholder AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    transaction_id,
    amount AS measured,
    :limit AS threshold,
    amount,
    vendor,
    occurred_on AS charged_on,
    cardholder,
    approver,
    approved_on,
    email_id
  FROM audit.approved_charges AS approved_charges
  WHERE
    standing = 'own'
    AND amount >= :limit
    AND occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
) AS hit
