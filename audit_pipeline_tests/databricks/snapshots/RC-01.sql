-- RC-01 Card charges that no statement's payment covers, once a payment has had time to come. Asked
-- of cards whose statements the bank pays, as soon as one of their periods is known, and only as
-- far as the bank's lines reach. Left out are charges that a bank line of their own pays. Measured:
-- the days that the rule waits.

WITH cohort AS (
  SELECT
    transaction_id,
    occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    amount,
    vendor,
    occurred_on,
    REGEXP_EXTRACT(card_number, '([0-9]{4})[^0-9]*\\z', 1) AS last4
  FROM audit.transactions AS transactions
  WHERE
    source = 'credit_card'
    AND cents > 0
    AND NOT card_number IS NULL
    AND occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
), named /* Under the card's own name and under `all`: joined by equality, the work grows with the rows only. */ AS (
  SELECT
    *,
    EXPLODE(ARRAY(last4, 'all')) AS card
  FROM cohort
), covered AS (
  SELECT
    named.transaction_id
  FROM named
  JOIN audit.statements AS statement
    ON statement.card = named.card AND statement.audit_on <= named.audit_on
  WHERE
    named.occurred_on <= statement.period_to
    AND (
      statement.period_from IS NULL OR named.occurred_on >= statement.period_from
    )
), paid_alone AS (
  SELECT
    left_id,
    MIN(audit_on) AS audit_on
  FROM audit.matches AS matches
  WHERE
    kind = 'charge_to_bank_line'
  GROUP BY
    left_id
), billed AS (
  SELECT
    card,
    MIN(audit_on) AS known_on
  FROM audit.statements AS statements
  WHERE
    status IN ('settled', 'short')
  GROUP BY
    card
), reach AS (
  SELECT
    days.audit_on,
    MIN(lines.line_on) AS first_on,
    MAX(lines.line_on) AS last_on
  FROM (
    SELECT DISTINCT
      audit_on
    FROM cohort
  ) AS days
  JOIN (
    SELECT DISTINCT
      line_on
    FROM audit.bank_lines AS bank_lines
  ) AS lines
    ON lines.line_on <= days.audit_on
  GROUP BY
    days.audit_on
)
SELECT
  audit_on,
  transaction_id,
  'RC-01' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(40 AS INT) AS score,
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
      'days_open' AS name,
      'audit.unpaid.days_open' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_open AS STRING), '') AS value
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
    charged_on,
    days_open
  FROM (
    SELECT
      named.audit_on,
      named.transaction_id,
      CAST(:matures_after_days AS INT) AS measured,
      0 AS threshold,
      named.amount,
      named.vendor,
      named.occurred_on AS charged_on,
      CAST(:matures_after_days AS INT) AS days_open,
      ROW_NUMBER() OVER (PARTITION BY named.audit_on, named.transaction_id ORDER BY named.card NULLS LAST) AS rank_0
    FROM named
    JOIN reach
      ON reach.audit_on = named.audit_on
    JOIN billed
      ON billed.card = named.card AND billed.known_on <= named.audit_on
    LEFT JOIN paid_alone
      ON paid_alone.left_id = named.transaction_id
      AND paid_alone.audit_on <= named.audit_on
    ANTI JOIN covered
      ON covered.transaction_id = named.transaction_id
    WHERE
      paid_alone.left_id IS NULL AND reach.last_on >= named.occurred_on
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
