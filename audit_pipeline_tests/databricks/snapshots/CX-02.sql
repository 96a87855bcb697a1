-- CX-02 Charges from $limit on that were approved only after they were made, but within the days
-- that the rule waits, by somebody else from a domain of the company. Asked only where such charges
-- customarily are approved beforehand: at least $seen_min of them, and $usual_share of them, before
-- the charge's month. Measured: days from the charge to the approval.

SELECT
  audit_on,
  transaction_id,
  'CX-02' AS rule_id,
  CAST(2 AS INT) AS rule_version,
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
      'days_after' AS name,
      'audit.late_approval.days_after' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_after AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    charge.occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    charge.transaction_id,
    DATEDIFF(CAST(charge.approved_on AS DATE), CAST(charge.occurred_on AS DATE)) AS measured,
    0 AS threshold,
    charge.amount,
    charge.vendor,
    charge.occurred_on AS charged_on,
    charge.approver,
    charge.approved_on,
    DATEDIFF(CAST(charge.approved_on AS DATE), CAST(charge.occurred_on AS DATE)) AS days_after,
    charge.email_id
  FROM audit.approved_charges AS charge
  JOIN audit.approval_customs AS custom
    ON custom.month_on = CAST(DATE_TRUNC('MONTH', charge.occurred_on) AS DATE)
  WHERE
    charge.standing = 'proper'
    AND charge.approved_at > charge.occurred_at
    AND charge.approved_on <= charge.occurred_on + CAST(:matures_after_days AS INT)
    AND charge.amount >= :limit
    AND custom.seen >= :seen_min
    AND custom.usual_share >= :usual_share
    AND charge.occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
) AS hit
