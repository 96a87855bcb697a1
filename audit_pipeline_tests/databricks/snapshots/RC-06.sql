-- RC-06 Card payments that are not the sum of their period's lines, where no small set of lines
-- explains the difference, or where more was paid than the statement has. Left out are payments
-- that are settled, or short by a set that RC-02 names. Measured: the difference without its sign.

SELECT
  audit_on,
  transaction_id,
  'RC-06' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(50 AS INT) AS score,
  ARRAY(
    STRUCT(
      'paid' AS name,
      'gold.bank_accounts.amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(paid AS STRING), '') AS value
    ),
    STRUCT(
      'payment_on' AS name,
      'gold.bank_accounts.date' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(payment_on AS STRING), '') AS value
    ),
    STRUCT(
      'card' AS name,
      'audit.statements.card' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(card AS STRING), '') AS value
    ),
    STRUCT(
      'lines' AS name,
      'audit.statements.lines' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(lines AS STRING), '') AS value
    ),
    STRUCT(
      'lines_total' AS name,
      'audit.statements.lines_total' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(lines_total AS STRING), '') AS value
    ),
    STRUCT(
      'difference' AS name,
      'audit.statements.difference' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(difference AS STRING), '') AS value
    ),
    STRUCT(
      'period_from' AS name,
      'audit.statements.period_from' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(period_from AS STRING), '') AS value
    ),
    STRUCT(
      'period_to' AS name,
      'audit.statements.period_to' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(period_to AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    measured,
    threshold,
    paid,
    payment_on,
    card,
    lines,
    lines_total,
    difference,
    period_from,
    period_to
  FROM (
    SELECT
      statement.audit_on,
      statement.payment_id AS transaction_id,
      ABS(statement.difference) AS measured,
      0 AS threshold,
      statement.paid,
      statement.payment_on,
      statement.card,
      statement.lines,
      statement.lines_total,
      statement.difference,
      statement.period_from,
      statement.period_to,
      ROW_NUMBER() OVER (
        PARTITION BY statement.audit_on, statement.payment_id
        ORDER BY statement.card NULLS LAST
      ) AS rank_0
    FROM audit.statements AS statement
    WHERE
      statement.status IN ('over', 'unexplained')
      AND statement.audit_on BETWEEN :from_on AND :to_on
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
